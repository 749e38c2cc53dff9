"""Numbers by formula: weights, windows and labels that Python and C++ compute alike, bit for bit.

Seven megabytes of weights a model form are too many to commit, so both sides make them from an integer hash. Everything is uint32
arithmetic followed by at most one float32 rounding, so compilers cannot disagree (no fused multiply-add can change a result).

    mix(h):        h ^= h >> 16; h *= 0x85EBCA6B; h ^= h >> 13; h *= 0xC2B2AE35; h ^= h >> 16      (MurmurHash3's finaliser)
    stream(name):  FNV-1a, 32 bits, of the name's bytes
    word(name, i): mix(mix(stream(name)) + i * 0x9E3779B9)
    unit(name, i): (word >> 8) * 2^-24 in [0, 1)          signed(name, i): 2 * unit - 1 in [-1, 1), exact in float32

    weight and bias of a convolution or linear layer:  float32(1 / sqrt(fan_in)) * signed       (PyTorch's default distribution)
    batch norm weight:  1 + 0.125 * signed    bias:  0.125 * signed    running_mean:  0    running_var:  1
    task1[n] = word("task1", n) % classes1                task2[n] = word("task2", n) % classes2
    windows[n, 0, a, t] = (word("offset1", 3 * task1[n] + a) % 9 - 4) / 8 + (word("offset2", 3 * task2[n] + a) % 9 - 4) / 8
                          + 0.5 * signed("windows.2", (3 * n + a) * 100 + t)
    k-th sampled entry of a tensor with count > 64 entries: word("sample." + name, k) % count; a smaller one is stored whole

(".2": of the noises tried, the first with which no ReLU or pooling choice of the first five training steps is decided by float32
rounding, in any form of the model: weights changed by 4e-7 change the losses by less than 1e-5. With others one element tips over
and KL moves by 8e-4.)

`stream` names are those of the parameters ("conv1.weight", ...). tests/golden.h is the same in C++.
"""
import numpy as np

MAX_SAMPLES = 64
EXPLANATION = "weights, windows, labels and sampled positions by the formulas in tests/golden/hashed.py"


def mix(h):
    h = np.asarray(h, np.uint32)
    h = h ^ (h >> np.uint32(16))
    h = h * np.uint32(0x85EBCA6B)
    h = h ^ (h >> np.uint32(13))
    h = h * np.uint32(0xC2B2AE35)
    return h ^ (h >> np.uint32(16))


def stream(name):
    h = 0x811C9DC5
    for byte in name.encode():
        h = ((h ^ byte) * 0x01000193) & 0xFFFFFFFF
    return h


def words(name, count):
    """word(name, 0 .. count-1) as uint32."""
    with np.errstate(over="ignore"):  # wrapping is the point
        start = mix(np.array([stream(name)], np.uint32))
        return mix(start + np.arange(count, dtype=np.uint32) * np.uint32(0x9E3779B9))


def unit(name, shape):
    count = int(np.prod(shape, dtype=np.int64))
    return ((words(name, count) >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24)).reshape(shape)


def signed(name, shape):
    return np.float32(2) * unit(name, shape) - np.float32(1)


def parameter(name, shape, fan_in):
    """A weight or bias as float32; batch norm's are told by their name."""
    if name.startswith("bn"):
        noise = np.float32(0.125) * signed(name, shape)
        return np.float32(1) + noise if name.endswith("weight") else noise
    return np.float32(1.0 / np.sqrt(float(fan_in))) * signed(name, shape)


def labels(classes, count):
    return [(words("task%d" % (t + 1), count) % np.uint32(classes[t])).astype(np.int32) for t in (0, 1)]


def windows(classes, count):
    """(count, 1, 3, 100) windows and their two labels: an offset for each class and axis, and noise."""
    task = labels(classes, count)
    x = np.float32(0.5) * signed("windows.2", (count, 1, 3, 100))
    for t in (0, 1):
        grid = (words("offset%d" % (t + 1), 3 * classes[t]).astype(np.int64) % 9 - 4).reshape(classes[t], 3)
        offset = (grid[task[t]] / 8).astype(np.float32)
        both = offset if t == 0 else both + offset  # exact: multiples of 1/8
    return (both[:, None, :, None] + x).astype(np.float32), task[0], task[1]


def sample_positions(name, count):
    if count <= MAX_SAMPLES:
        return np.arange(count)
    return (words("sample." + name, MAX_SAMPLES) % np.uint32(count)).astype(np.int64)


def checksums(prefix, name, values):
    """What a fixture keeps of a tensor: its Euclidean norm, its sum, and up to 64 entries."""
    flat = np.asarray(values, np.float64).reshape(-1)
    return {prefix + name + ".norm_sum": np.array([np.sqrt((flat * flat).sum()), flat.sum()]),
            prefix + name + ".samples": flat[sample_positions(name, flat.size)]}
