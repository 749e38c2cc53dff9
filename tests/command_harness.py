"""What the tests of the command share: running it, checking its errors, small data, snapshots of files."""
import contextlib
import hashlib
import json
import os
import random
import resource
import shutil
import signal
import struct
import subprocess
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
RETORT = ""  # the program to test; set by command_test.py
POSTURES = ["up", "upright", "rightup", "right", "rightdown", "downright", "down", "downleft", "leftdown", "left", "leftup", "upleft"]
RESULTS = ("last.safetensors", "best.safetensors", "teacher.safetensors")
# What makes a training run small: few windows, one thread (the machine runs other tests beside this one).
SMALL = ["--threads", "1", "--batch", "32"]


def retort(*arguments, **options):
    """Runs the program to its end; text output unless told otherwise."""
    options = {"capture_output": True, "text": True, "timeout": 100, "stdin": subprocess.DEVNULL, **options}
    return subprocess.run([RETORT, *map(str, arguments)], **options)


def snapshot(path):
    """{relative name: hash} of a file or of all files below a directory."""
    files = [path] if os.path.isfile(path) else [os.path.join(d, f) for d, _, names in os.walk(path) for f in names]
    out = {}
    for file in files:
        with open(file, "rb") as content:
            out[os.path.relpath(file, path)] = hashlib.sha256(content.read()).hexdigest()
    return out


def read(path, mode="r"):
    with open(path, mode) as file:
        return file.read()


def write(path, content):
    with open(path, "wb" if isinstance(content, bytes) else "w") as file:
        file.write(content)
    return path


def load_safetensors(path):
    """(header, metadata, bytes of data) of a whole safetensors file; raises when it is not whole."""
    content = read(path, "rb")
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    metadata = header.pop("__metadata__", {})
    if max(entry["data_offsets"][1] for entry in header.values()) != len(content) - 8 - length:
        raise ValueError(path + ": not whole")
    return header, metadata, content[8 + length :]


def metrics(run):
    """The lines of metrics.jsonl without the one field that measures time; a torn last line is dropped."""
    lines = [json.loads(line) for line in read(os.path.join(run, "metrics.jsonl")).split("\n")[:-1]]
    for line in lines:
        line.pop("seconds", None)
    return lines


def full_disk(limit):
    """preexec_fn: no file can grow beyond `limit` bytes, and the attempt is an error instead of a signal."""

    def prepare():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return prepare


def as_nobody():
    """preexec_fn: root may read everything, so give that up. Returns options for `retort`."""
    if os.geteuid() != 0:
        return {}

    def prepare():
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)

    # LeakSanitizer cannot look into a process that changed its user.
    return {"preexec_fn": prepare, "env": {**os.environ, "ASAN_OPTIONS": "detect_leaks=0"}}


class Scratch(unittest.TestCase):
    """A directory of its own and the checks that all tests share."""

    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.mkdtemp(prefix="retort-command-")
        cls.addClassCleanup(shutil.rmtree, cls.directory, ignore_errors=True)
        cls.seed = random.SystemRandom().randrange(1 << 30)
        cls.random = random.Random(cls.seed)

    @classmethod
    def path(cls, *parts):
        return os.path.join(cls.directory, *parts)

    def ok(self, *arguments, code=0, **options):
        result = retort(*arguments, **options)
        self.assertEqual(result.returncode, code, "retort %s\n%s%s" % (" ".join(map(str, arguments)), result.stdout, result.stderr))
        return result

    def fails(self, *arguments, says=(), code=2, **options):
        """The call must end with `code` and one line on stderr that holds every text of `says`."""
        result = retort(*arguments, **options)
        about = "retort %s\n%s" % (" ".join(map(str, arguments)), result.stderr)
        self.assertEqual(result.returncode, code, about)
        self.assertEqual(result.stderr.count("\n"), 1, about)
        self.assertTrue(result.stderr.startswith("retort: "), about)
        for text in (says,) if isinstance(says, str) else says:
            self.assertIn(text, result.stderr, about)
        for text in ("terminate called", "internal error", "exception", "basic_string"):
            self.assertNotIn(text, result.stderr, about)
        return result

    @contextlib.contextmanager
    def untouched(self, *paths):
        """Nothing at these paths may change, appear or vanish."""
        before = [snapshot(path) for path in paths]
        yield
        self.assertEqual(before, [snapshot(path) for path in paths])

    @classmethod
    def make_data(cls, dataset="sleep", subjects=6, seconds=6, preset="strict", name=""):
        """Small synthetic raw files and their prepared file; returns both paths."""
        raw, prepared = cls.path("raw-%s-%d" % (dataset, subjects)), cls.path((name or dataset) + ".safetensors")
        for arguments in (["synth", "--dataset", dataset, "--out", raw, "--subjects", subjects, "--seconds", seconds, "--seed", 3],
                          ["prepare", "--dataset", dataset, "--raw", raw, "--out", prepared, "--preset", preset]):
            result = retort("data", *arguments)
            if result.returncode:
                raise RuntimeError("retort data %s: %s" % (arguments, result.stderr))
        return raw, prepared

    def same_results(self, a, b):
        """Two runs left the same weights, logs and figures, bit for bit."""
        for name in RESULTS:
            self.assertEqual(os.path.exists(os.path.join(a, name)), os.path.exists(os.path.join(b, name)), name)
            if os.path.exists(os.path.join(a, name)):
                self.assertTrue(read(os.path.join(a, name), "rb") == read(os.path.join(b, name), "rb"), name + " differs")
        self.assertEqual(metrics(a), metrics(b))
        summaries = [json.loads(read(os.path.join(run, "summary.json"))) for run in (a, b)]
        for summary in summaries:
            summary.pop("train_seconds")
        self.assertEqual(*summaries)

    def all_whole(self, run):
        """Every result in a run directory, at any moment, is a whole file; only names that end in .tmp may be torn."""
        for name in os.listdir(run):
            path = os.path.join(run, name)
            if name.endswith(".safetensors"):
                load_safetensors(path)
            elif name.endswith(".json"):
                json.loads(read(path))
            elif name == "metrics.jsonl":
                metrics(run)
            else:
                self.assertTrue(name.endswith(".tmp") or name in ("report.html", "lock"), name)
