"""The safetensors format in thirty lines of numpy, so that the fixtures need no package.

A file is: eight bytes (little-endian length of the header), a JSON header that maps each name to its type, shape and byte range, and
the raw little-endian data. F32 and I32 are all the fixtures use (https://huggingface.co/docs/safetensors).
"""
import json
import struct

import numpy as np

TYPES = {"F32": np.dtype("<f4"), "I32": np.dtype("<i4"), "F64": np.dtype("<f8"), "I64": np.dtype("<i8")}


def dumps(arrays, metadata=None):
    """The bytes of a file with `arrays` (name -> numpy array: floats become F32, integers I32) and string `metadata`."""
    header, data = ({"__metadata__": metadata} if metadata else {}), []
    at = 0
    for name, array in arrays.items():
        kind = "I32" if np.issubdtype(np.asarray(array).dtype, np.integer) else "F32"
        raw = np.asarray(array, TYPES[kind], order="C")
        header[name] = {"dtype": kind, "shape": list(raw.shape), "data_offsets": [at, at + raw.nbytes]}
        data.append(raw.tobytes())
        at += raw.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # data starts at a multiple of eight, so a memory map is aligned
    return struct.pack("<Q", len(text)) + text + b"".join(data)


def save(path, arrays, metadata=None):
    with open(path, "wb") as file:
        file.write(dumps(arrays, metadata))


def load(path):
    """Returns (arrays, metadata) of the file at `path`."""
    with open(path, "rb") as file:
        content = file.read()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    metadata = header.pop("__metadata__", {})
    arrays = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        arrays[name] = np.frombuffer(content[8 + length + begin : 8 + length + end], TYPES[entry["dtype"]]).reshape(entry["shape"])
    return arrays, metadata
