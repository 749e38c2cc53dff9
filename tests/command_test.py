"""The command as its users meet it: every subcommand, bad input, full disks, interruptions.

    command_test.py RETORT [TestClass[.test_name] ...]

RETORT is the program to test. Standard library only; the tests that compare with PyTorch or with the Python package `safetensors` skip
with a message when those are absent.
"""
import contextlib
import hashlib
import json
import math
import os
import random
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
RETORT = ""  # set in the main part
NAMES = ["up", "upright", "rightup", "right", "rightdown", "downright", "down", "downleft", "leftdown", "left", "leftup", "upleft"]
RESULTS = ("last.safetensors", "best.safetensors", "teacher.safetensors")
# What makes a training run small: few windows, one thread (the machine runs other tests beside this one).
SMALL = ["--threads", "1", "--batch", "32"]


def retort(*arguments, **options):
    """Runs the program to its end; text output unless told otherwise."""
    options = {"capture_output": True, "text": True, "timeout": 300, "stdin": subprocess.DEVNULL, **options}
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
        raw, prepared = cls.path("raw-" + dataset), cls.path((name or dataset) + ".safetensors")
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
                self.assertTrue(name.endswith(".tmp") or name == "report.html", name)


class Help(Scratch):
    COMMANDS = [["data"], ["data", "synth"], ["data", "prepare"], ["data", "inspect"], ["train"], ["evaluate"], ["predict"], ["report"],
                ["summary"], ["info"]]

    def test_every_subcommand_has_help(self):
        for command in [[], *self.COMMANDS]:
            text = self.ok(*command, "--help").stdout
            self.assertIn("Usage: retort " + "".join(name + " " for name in command), text)
            self.assertIn("--config", text)
            self.assertEqual(self.ok(*command, "-h").stdout, text)
        self.assertRegex(self.ok("--version").stdout, r"^\d+\.\d+")

    def test_defaults_that_depend_are_not_shown_as_values(self):
        text = self.ok("train", "--help").stdout
        for option, origin in (("arch", "preset"), ("preset", "data"), ("split", "preset"), ("select", "preset"), ("lambda", "method"),
                               ("tau", "method")):
            line = next(line for line in text.split("\n") if line.startswith("  --%s " % option))
            self.assertIn("=[%s]" % origin, line)
        self.assertIn("--epochs INT=300", text)
        text = self.ok("data", "prepare", "--help").stdout
        for option in ("--label", "--axis-layout", "--resample"):
            self.assertIn("=[preset]", next(line for line in text.split("\n") if line.startswith("  %s " % option)))

    def test_misuse_is_one_line(self):
        self.fails(says="subcommand")
        self.fails("data", says="subcommand")
        self.fails("fly", says="fly")
        self.fails("train", "--wings", "2", says="--wings")
        self.fails("train", says="--out")
        self.fails("train", "--out", self.path("none"), says="--data")
        self.fails("train", "--out", self.path("none"), "--epochs", "many", says=["--epochs", "many"])
        self.fails("train", "--out", self.path("none"), "--method", "magic", says=["--method", "smooth-distill"])
        self.fails("train", "--out", self.path("none"), "--seed", "-1", says=["--seed", "-1"])
        self.fails("train", "--out", self.path("none"), "--threads", "-1", says="--threads")
        self.fails("data", "prepare", "--dataset", "sleep", "--raw", ".", "--out", self.path("none"), "--length", "0", says="--length")
        self.fails("report", says="runs")
        self.fails("evaluate", says=["--run", "--weights"])
        self.fails("evaluate", "--weights", "w.safetensors", says="--data")
        self.fails("summary", "--input", "1,1,3", says="--input")
        self.fails("summary", "--classes", "0,3", says="--classes")
        self.fails("summary", "--arch", "resnet", says=["--arch", "mtl-net"])

    def test_summary_counts_as_the_paper_does(self):
        def summary(arch, axes=3):
            return json.loads(self.ok("summary", "--arch", arch, "--input", "1,1,%d,100" % axes, "--classes", "12,3", "--json").stdout)

        for arch, parameters in (("mtl-net-released", 1797519), ("mtl-net-paper", 1797711), ("mtl-net", 1798287)):
            self.assertEqual(summary(arch)["parameters"], parameters)
            self.assertIn(str(parameters), self.ok("summary", "--arch", arch).stdout)
        self.assertEqual(summary("mtl-net-released", 1)["flops"], 5008128)
        self.assertEqual(summary("mtl-net-released", 3)["flops"], 6514944)

    def test_info(self):
        text = self.ok("info").stdout
        self.assertIn("cpu", text)
        self.assertIn("conv2d", text)

    def test_full_stdout_is_an_error(self):
        with open("/dev/full", "w") as full:
            result = retort("summary", "--json", capture_output=False, stdout=full, stderr=subprocess.PIPE)
        self.assertEqual((result.returncode, result.stderr.count("\n")), (2, 1), result.stderr)
        self.assertIn("No space left", result.stderr)


class Config(Scratch):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.raw, cls.data = cls.make_data(subjects=6, seconds=3)
        cls.count = 0

    def config(self, text):
        type(self).count += 1
        return write(self.path("options%d.toml" % self.count), text)

    def options_of(self, config, *arguments):
        """The options that a run with this file was given, from its config.json."""
        out = self.path("run%d" % self.count)
        self.ok("train", "--config", config, "--out", out, "--data", self.data, "--max-steps", 1, *SMALL, *arguments)
        return json.loads(read(os.path.join(out, "config.json")))

    def test_flat_keys_and_the_command_line_wins(self):
        config = self.config('# a comment\nepochs = 7   # another\nlr = 2.5e-3\nmethod = "multi-task"\nno-shuffle = true\nseed = 1_000\n')
        options = self.options_of(config, "--epochs", 9)
        self.assertEqual([options[key] for key in ("epochs", "lr", "method", "shuffle", "seed")], [9, 2.5e-3, "multi-task", False, 1000])

    def test_sections(self):
        config = self.config('[train]\nalpha = 0.25\nsplit = \'stratified\'\n[data.prepare]\npreset = "paper"\nstep = 50\n[summary]\n'
                             'input = [1, 1,  # the axes:\n 1, 100]\narch = "mtl-net-released"\njson = true\n')
        options = self.options_of(config)
        self.assertEqual((options["alpha"], options["split"], options["preset"]), (0.25, "stratified", "strict"))
        out = self.path("by-config.safetensors")
        self.ok("data", "prepare", "--dataset", "sleep", "--raw", self.raw, "--out", out, "--config", config)
        metadata = load_safetensors(out)[1]
        self.assertEqual((metadata["preset"], metadata["step"], metadata["across_recordings"]), ("paper", "50", "true"))
        self.assertEqual(json.loads(self.ok("--config", config, "summary").stdout)["flops"], 5008128)

    def test_required_options_and_flags_may_come_from_the_file(self):
        out = self.path("all-from-file.safetensors")
        config = self.config('dataset = "sleep"\nraw = "%s"\nout = "%s"\nwithin-recordings = true\npreset = "paper"\n' % (self.raw, out))
        self.ok("data", "prepare", "--config", config)
        self.assertEqual(load_safetensors(out)[1]["across_recordings"], "false")
        write(config, read(config).replace("within-recordings = true", "across-recordings = false"))
        self.ok("data", "prepare", "--config", config)
        self.assertEqual(load_safetensors(out)[1]["across_recordings"], "false")
        config = self.config("no-shuffle = false\n")
        self.assertTrue(self.options_of(config)["shuffle"])

    def test_what_is_wrong_is_named_with_file_and_line(self):
        for text, line, says in (("epochs = 3\nwings = 2\n", 2, "wings"), ("[train]\nwings = 2\n", 2, "wings"), ("[fly]\nx = 2\n", 2, "fly"),
                                 ("[data.prepare]\nepochs = 2\n", 2, "epochs"), ("\nepochs = \"many\"\n", 2, "epochs"),
                                 ("epochs = many\n", 1, "epochs"), ("epochs = 2.5\n", 1, "epochs"), ("method = 'magic'\n", 1, "method"),
                                 ("threads = 5000\n", 1, "threads"), ("epochs 3\n", 1, "epochs"), ("epochs =\n", 1, "epochs"),
                                 ("epochs = 3 4\n", 1, "'4'"), ("method = \"multi-task\n", 1, "\""), ("epochs = true\n", 1, "epochs"),
                                 ("no-shuffle = 3\n", 1, "no-shuffle"), ("epochs = [1, 2]\n", 1, "epochs"), ("epochs = [1\n", 2, "epochs"),
                                 ("epochs = 1\nepochs = 2\n", 2, "line 1"), ("[train\n", 1, "section"), ("= 3\n", 1, "= 3"),
                                 ("\x00\x01\n", 1, ""), ("epochs = 99999999999999999999\n", 1, "epochs"), ("help = true\n", 1, "help"),
                                 ("config = 'x'\n", 1, "config")):
            config = self.config(text)
            self.fails("train", "--config", config, "--out", self.path("none"), "--data", self.data, says=["%s:%d:" % (config, line), says])
            self.assertFalse(os.path.exists(self.path("none")))
        self.fails("train", "--config", self.path("missing.toml"), "--out", "x", says="missing.toml")
        self.fails("train", "--config", self.directory, "--out", "x", says=self.directory)


class EndToEnd(Scratch):
    def journey(self, dataset, classes, seconds):
        for preset in ("strict", "paper", "released"):
            raw, data = self.make_data(dataset, 6, seconds, preset, dataset + "-" + preset)
            inspected = json.loads(self.ok("data", "inspect", data, "--json").stdout)
            self.assertEqual((inspected["preset"], inspected["synthetic"], inspected["dataset"]), (preset, True, dataset))
            self.assertEqual((len(inspected["task1"]), len(inspected["task2"])), classes)
            for task in ("task1", "task2"):
                self.assertEqual(sum(inspected[task].values()), inspected["windows"])
            text = self.ok("data", "inspect", data).stdout
            for part in ("SYNTHETIC", "published", *inspected["task1"], *inspected["task2"]):
                self.assertIn(part, text)
            run = self.path("run-%s-%s" % (dataset, preset))
            result = self.ok("train", "--data", data, "--out", run, "--max-steps", 4, "--log-every", 2, *SMALL)
            self.assertIn("SYNTHETIC", result.stdout)
            self.check_run(run, preset)
            self.evaluate(run, data, preset)
        self.predict(dataset, raw, os.path.join(run, "best.safetensors"), classes)
        runs = [self.path("run-%s-%s" % (dataset, preset)) for preset in ("strict", "paper", "released")]
        page = self.path(dataset + ".html")
        text = self.ok("report", *runs, "--out", page).stdout
        self.assertIn("SYNTHETIC", read(page))
        for run in runs:
            self.assertIn(os.path.basename(run), text)
            self.assertIn(os.path.basename(run), read(page))

    def check_run(self, run, preset):
        config = json.loads(read(os.path.join(run, "config.json")))
        arch = {"strict": "mtl-net", "paper": "mtl-net-paper", "released": "mtl-net-released"}[preset]
        split = {"strict": "subject", "paper": "stratified", "released": "random"}[preset]
        select = "best-task1" if preset == "released" else "best-mean"
        self.assertEqual([config[key] for key in ("preset", "arch", "split", "select")], [preset, arch, split, select])
        self.assertEqual(sorted(os.listdir(run)), sorted([*RESULTS, "checkpoint.safetensors", "config.json", "metrics.jsonl", "report.html",
                                                          "summary.json"]))
        self.assertEqual([line["step"] for line in metrics(run) if "train_loss" not in line], [2, 4])

    def evaluate(self, run, data, preset):
        best = json.loads(read(os.path.join(run, "summary.json")))["best"]
        measured = json.loads(self.ok("evaluate", "--run", run, "--json", "--threads", 1).stdout)
        for part in ("val", "test"):
            for task in ("task1", "task2"):
                self.assertEqual(measured[part][task], best[part][task])
        if preset == "strict":
            weights = os.path.join(run, "last.safetensors")
            whole = json.loads(self.ok("evaluate", "--weights", weights, "--data", data, "--json").stdout)["all windows"]
            self.assertEqual(sum(map(sum, whole["task1"]["confusion"])), len(load_safetensors(data)[2]) // 4 // 304)
            self.assertIn("macro F1", self.ok("evaluate", "--run", run).stdout)

    def predict(self, dataset, raw, weights, classes):
        for source in (raw, next(os.path.join(d, f) for d, _, names in os.walk(raw) for f in sorted(names) if f != "SYNTHETIC.txt")):
            lines = self.ok("predict", "--weights", weights, "--input", source, "--dataset", dataset).stdout.splitlines()
            self.assertGreater(len(lines), 0)
            for number, line in enumerate(lines):
                window = json.loads(line)
                self.assertEqual(window["window"], number)
                for task, count in zip(("task1", "task2"), classes):
                    p = window[task]["probabilities"]
                    self.assertEqual(len(p), count)
                    self.assertAlmostEqual(sum(p.values()), 1, delta=1e-5)
                    self.assertEqual(window[task]["probability"], max(p.values()))
                    self.assertEqual(p[window[task]["label"]], max(p.values()))

    def test_sleep(self):
        self.journey("sleep", (12, 3), 4)

    def test_mhealth(self):
        self.journey("mhealth", (13, 3), 4)

    def test_wisdm(self):
        self.journey("wisdm", (18, 2), 11)

    def test_every_method_and_file_order(self):
        _, data = self.make_data("sleep", 2, 4, name="two")
        for method in ("single-task", "multi-task", "sd-dropout", "born-again", "smooth-distill", "cross-task"):
            run = self.path("run-" + method)
            self.ok("train", "--data", data, "--out", run, "--method", method, "--split", "stratified", "--epochs", 1, "--batch", 64,
                    "--threads", 1)
            self.ok("evaluate", "--run", run, "--json")
        init = self.path("run-multi-task", "last.safetensors")
        run = self.path("run-order")
        self.ok("train", "--data", data, "--out", run, "--init", init, "--split", "all", "--no-shuffle", "--max-steps", 20, "--log-every", 1,
                "--batch", 50, "--threads", 1)
        steps = [line for line in metrics(run) if "train_loss" not in line]
        self.assertEqual([line["step"] for line in steps], list(range(1, 21)))
        per_epoch = math.ceil(load_safetensors(data)[0]["task1"]["shape"][0] / 50)  # the short last batch is one too
        self.assertEqual([line["epoch"] for line in steps], [1 + (step - 1) // per_epoch for step in range(1, 21)])
        self.assertTrue(all(math.isfinite(line["loss"]) for line in steps))


class BadRaw(Scratch):
    """Raw files that are not as they should be."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.raw = {}
        for dataset in ("sleep", "mhealth", "wisdm"):
            cls.raw[dataset] = cls.make_data(dataset, 2, 4)[0]

    def copies(self, dataset):
        """A fresh copy of the recordings, and its data files."""
        raw = self.path("bad-" + dataset)
        shutil.rmtree(raw, ignore_errors=True)
        shutil.copytree(self.raw[dataset], raw)
        files = sorted(os.path.join(d, f) for d, _, names in os.walk(raw) for f in names if f != "SYNTHETIC.txt")
        return raw, files

    def prepare(self, dataset, raw, *more):
        return ["data", "prepare", "--dataset", dataset, "--raw", raw, "--out", self.path(dataset + ".safetensors"), *more]

    def refused(self, dataset, raw, says, **options):
        with self.untouched(self.path(dataset + ".safetensors")):
            self.fails(*self.prepare(dataset, raw), says=says, **options)

    def test_damaged_lines(self):
        for dataset in ("sleep", "mhealth", "wisdm"):
            separator = "\t" if dataset == "mhealth" else ","

            def column(line, at, value):
                parts = line.split(separator)
                parts[at] = value
                return separator.join(parts)

            damages = {"cut": lambda line: line[: len(line) // 2], "nan": lambda line: column(line, 1 if dataset != "wisdm" else 4, "NaN"),
                       "infinite": lambda line: column(line, 1 if dataset != "wisdm" else 4, "inf"),
                       "more columns": lambda line: line.rstrip(";") + separator + "0.5" + separator + "1", "words": lambda line: "hello",
                       "fewer": lambda line: separator.join(line.rstrip(";").split(separator)[:-1])}
            for what, damage in damages.items():
                raw, files = self.copies(dataset)
                file = files[len(files) // 2]
                lines = read(file).split("\n")
                bad = list(range(7, len(lines) - 1, 50))  # 2 %
                for at in bad:
                    lines[at] = damage(lines[at])
                write(file, "\n".join(lines))
                with self.subTest(dataset=dataset, damage=what):
                    self.refused(dataset, raw, ["%s:8: " % file, "--lenient"])
                    lenient = ["data", "prepare", "--dataset", dataset, "--raw", raw, "--out", self.path("lenient.safetensors"), "--lenient"]
                    text = self.ok(*lenient).stdout
                    self.assertIn("skipped %d bad lines" % len(bad), text)
                    self.assertIn(file + ":8:", text)

    def test_a_few_bad_lines_are_counted(self):
        raw, files = self.copies("mhealth")
        lines = read(files[0]).split("\n")
        lines[5] = "torn"
        write(files[0], "\n".join(lines))
        text = self.ok("data", "prepare", "--dataset", "mhealth", "--raw", raw, "--out", self.path("few.safetensors")).stdout
        self.assertIn("skipped 1 bad lines", text)
        self.assertIn(files[0] + ":6", text)

    def test_files_and_directories(self):
        for dataset, name in (("sleep", "03_Up_co.txt"), ("mhealth", "mHealth_subject9.log"), ("wisdm", "data_1699_accel_watch.txt")):
            with self.subTest(dataset=dataset):
                raw, files = self.copies(dataset)
                write(os.path.join(raw, name), "")
                self.refused(dataset, raw, [name, "empty"])
                write(os.path.join(raw, name), b"\xff\xfe\x00\x01" * 1000)
                self.refused(dataset, raw, [name + ":1:"])
                write(os.path.join(raw, name), b"\n\n\n")
                self.refused(dataset, raw, [name])
                os.remove(os.path.join(raw, name))
                os.mkdir(os.path.join(raw, name))
                self.refused(dataset, raw, [name, "directory"])
                self.refused(dataset, self.path("nowhere"), "nowhere")
                self.refused(dataset, self.path(dataset + ".safetensors"), dataset + ".safetensors")
                os.mkdir(self.path("empty-" + dataset))
                self.refused(dataset, self.path("empty-" + dataset), "empty-" + dataset)

    def test_unknown_names(self):
        raw, files = self.copies("sleep")
        os.rename(files[3], os.path.join(raw, "01_Sideways_co.txt"))
        self.refused("sleep", raw, ["01_Sideways_co.txt", "sideways", *NAMES])
        os.rename(os.path.join(raw, "01_Sideways_co.txt"), os.path.join(raw, "01_Up_elbow.txt"))
        self.refused("sleep", raw, ["01_Up_elbow.txt", "elbow", "nguc"])

    def test_unreadable(self):
        if retort("info", **as_nobody()).returncode != 0:
            self.skipTest("this program cannot be run by another user")
        raw, files = self.copies("sleep")
        os.chmod(self.directory, 0o755)
        os.chmod(raw, 0o755)
        os.chmod(files[0], 0)
        self.refused("sleep", raw, [os.path.basename(files[0]), "ermission"], **as_nobody())
        os.chmod(files[0], 0o644)
        os.chmod(raw, 0)
        self.refused("sleep", raw, [raw, "ermission"], **as_nobody())
        os.chmod(raw, 0o755)
        os.mkdir(self.path("locked"), 0)
        for arguments in (["data", "inspect", self.path("locked", "x.safetensors")],
                          ["train", "--data", self.path("locked", "x.safetensors"), "--out", self.path("none")],
                          ["train", "--data", self.path("sleep.safetensors"), "--out", self.path("locked", "run"), "--max-steps", 1],
                          ["train", "--data", self.path("sleep.safetensors"), "--out", self.path("locked", "run"), "--resume"],
                          ["report", self.path("locked", "run")], ["evaluate", "--run", self.path("locked", "run")],
                          ["data", "synth", "--dataset", "sleep", "--out", self.path("locked", "raw")]):
            self.fails(*arguments, says=["locked", "ermission"], **as_nobody())

    def test_strange_file_names(self):
        raw, files = self.copies("sleep")
        strange = os.path.join(os.fsencode(raw), b"\xff\n _Up_co.txt")
        os.rename(files[0], strange)
        self.ok("data", "prepare", "--dataset", "sleep", "--raw", raw, "--out", self.path("strange.safetensors"))
        self.ok("data", "inspect", self.path("strange.safetensors"), "--json", text=False)
        write(strange, "")
        result = self.fails(*self.prepare("sleep", raw), says="empty", errors="replace")


class BadFiles(Scratch):
    """Files of our own that are damaged, foreign, or in the way."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.raw, cls.data = cls.make_data("sleep", 6, 3)
        cls.run_directory = cls.path("run")
        result = retort("train", "--data", cls.data, "--out", cls.run_directory, "--max-steps", 3, *SMALL)
        if result.returncode:
            raise RuntimeError(result.stderr)
        cls.weights = cls.path("run", "best.safetensors")

    def uses(self, path):
        """Every command that reads a safetensors file, reading this one."""
        none = self.path("none")
        return {"inspect": ["data", "inspect", path], "train": ["train", "--data", path, "--out", none],
                "init": ["train", "--data", self.data, "--out", none, "--init", path],
                "weights": ["evaluate", "--weights", path, "--data", self.data],
                "data": ["evaluate", "--weights", self.weights, "--data", path],
                "predict": ["predict", "--weights", path, "--input", self.raw, "--dataset", "sleep"]}

    def test_damaged_or_foreign_safetensors(self):
        whole = read(self.data, "rb")
        (length,) = struct.unpack("<Q", whole[:8])
        header = json.loads(whole[8 : 8 + length])

        def with_header(change):
            changed = json.loads(json.dumps(header))
            change(changed)
            text = json.dumps(changed).encode()
            return struct.pack("<Q", len(text)) + text + whole[8 + length :]

        def set_offsets(changed):
            changed["task1"]["data_offsets"][1] += 4

        def set_shape(changed):
            changed["windows"]["shape"] = [1, 2]

        variants = {"empty": b"", "short": whole[:5], "header cut": whole[: 8 + length // 2], "data cut": whole[:-100],
                    "length": struct.pack("<Q", 1 << 60) + whole[8:], "text": b"hello, this is no tensor file at all\n" * 3,
                    "json": struct.pack("<Q", 2) + b"[]", "other json": struct.pack("<Q", 2) + b"{}",
                    "offsets": with_header(set_offsets), "shape": with_header(set_shape), "longer": whole + b"abcd",
                    "torn": whole[:8] + b"\xff" * 40 + whole[48:]}
        for what, content in variants.items():
            path = write(self.path("damaged.safetensors"), content)
            for use, arguments in self.uses(path).items():
                with self.subTest(damage=what, use=use), self.untouched(self.run_directory, self.data):
                    self.fails(*arguments, says=path)
                    self.assertFalse(os.path.exists(self.path("none")))

    def test_one_of_our_files_for_another(self):
        for use, arguments in self.uses(self.data).items():
            if use in ("init", "weights", "predict"):
                self.fails(*arguments, says=self.data)
        for use, arguments in self.uses(self.weights).items():
            if use in ("inspect", "train", "data"):
                self.fails(*arguments, says=self.weights)
        checkpoint = self.path("run", "checkpoint.safetensors")
        for use in ("inspect", "weights", "predict"):
            self.fails(*self.uses(checkpoint)[use], says=checkpoint)
        self.fails("train", "--data", self.data, "--out", self.path("none"), "--arch", "mtl-net-paper", "--init", self.weights,
                   says=self.weights)

    def test_values_that_cannot_be(self):
        whole, (header, _, _) = read(self.data, "rb"), load_safetensors(self.data)
        start = 8 + struct.unpack("<Q", whole[:8])[0]
        for array, at, value, says in (("windows", 700, struct.pack("<f", math.nan), "window 2 "), ("task1", 5, struct.pack("<i", 12), "task1[5]"),
                                       ("task2", 0, struct.pack("<i", -1), "task2[0]"), ("subject", 1, struct.pack("<i", 99), "subject[1]")):
            begin = start + header[array]["data_offsets"][0] + 4 * at
            path = write(self.path("damaged.safetensors"), whole[:begin] + value + whole[begin + 4 :])
            for use in ("inspect", "train", "data"):
                self.fails(*self.uses(path)[use], says=[path, says])
        whole, (header, _, _) = read(self.weights, "rb"), load_safetensors(self.weights)
        begin = 8 + struct.unpack("<Q", whole[:8])[0] + header["fc1.weight"]["data_offsets"][0]
        path = write(self.path("damaged.safetensors"), whole[:begin] + struct.pack("<f", math.nan) + whole[begin + 4 :])
        for use in ("init", "weights", "predict"):
            self.fails(*self.uses(path)[use], says=[path, "fc1.weight"])

    def test_directories_and_files_in_the_way(self):
        directory = self.path("directory.safetensors")
        os.mkdir(directory)
        write(os.path.join(directory, "inside"), "kept")
        for arguments in self.uses(directory).values():
            self.fails(*arguments, says=[directory, "directory"])
        for arguments in self.uses(self.path("missing.safetensors")).values():
            self.fails(*arguments, says="missing.safetensors")
        with self.untouched(directory, self.data):
            self.fails("data", "prepare", "--dataset", "sleep", "--raw", self.raw, "--out", directory, says=[directory, "directory"])
            self.fails("data", "prepare", "--dataset", "sleep", "--raw", self.raw, "--out", self.path("no", "such", "x"), says="no/such/x")
            self.fails("train", "--data", self.data, "--out", self.data, says=self.data)
            self.fails("train", "--data", self.data, "--out", os.path.join(self.data, "run"), says=os.path.join(self.data, "run"))
            self.fails("data", "synth", "--dataset", "sleep", "--out", self.data, says=self.data)
            self.fails("data", "synth", "--dataset", "sleep", "--out", directory, says=directory)
            self.fails("report", self.data, says=self.data)
            self.fails("report", directory, says=directory)
            self.fails("report", self.run_directory, "--out", directory, says=directory)
            self.fails("evaluate", "--run", directory, says="config.json")
            self.fails("train", "--resume", "--out", directory, says=directory)
        self.fails("train", "--data", self.data, "--out", "x" * 300, says="xxx")

    def test_a_run_is_not_overwritten(self):
        with self.untouched(self.run_directory):
            self.fails("train", "--data", self.data, "--out", self.run_directory, says=[self.run_directory, "--resume"])

    def test_damaged_run_directories(self):
        copy = self.path("copy")
        for name, content, says in (("config.json", "{", "config.json"), ("config.json", "{}", "config.json"), ("config.json", "", "config.json"),
                                    ("metrics.jsonl", "{\"step\":1}\n", "metrics.jsonl:1"), ("summary.json", "[1]", "summary.json"),
                                    ("metrics.jsonl", b"\xff\n", "metrics.jsonl:1")):
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(self.run_directory, copy)
            write(os.path.join(copy, name), content)
            self.fails("report", copy, says=[copy, says])
        for name in ("checkpoint.safetensors", "config.json"):
            for content in (b"", b"garbage garbage garbage", read(os.path.join(self.run_directory, name), "rb")[:-50]):
                shutil.rmtree(copy, ignore_errors=True)
                shutil.copytree(self.run_directory, copy)
                write(os.path.join(copy, name), content)
                with self.untouched(copy):
                    self.fails("train", "--resume", "--out", copy, says=os.path.join(copy, name))

    def test_impossible_options(self):
        none = self.path("none")
        for arguments, says in ((["--fold", 5], "fold"), (["--fold", -1], "fold"), (["--folds", 1], "folds"), (["--folds", 7], "folds"),
                                (["--folds", 4000000000], "folds"), (["--epochs", 0], "--epochs"), (["--batch", 1], "--batch"),
                                (["--batch", 4000000000], "--batch"), (["--lr", "nan"], "--lr"), (["--lr", 0], "--lr"), (["--alpha", 1.1], "--alpha"),
                                (["--lambda", -1], "--lambda"), (["--tau", 0], "--tau"), (["--beta", 2], "--beta"), (["--max-steps", -1], "--max-steps"),
                                (["--epochs", 10**18], "--epochs"), (["--log-every", -1], "--log-every")):
            self.fails("train", "--data", self.data, "--out", none, *arguments, says=says)
            self.assertFalse(os.path.exists(none))
        if "cuda      not available" in self.ok("info").stdout:
            for arguments in (["train", "--data", self.data, "--out", none], ["evaluate", "--run", self.run_directory],
                              ["predict", "--weights", self.weights, "--input", self.raw]):
                self.fails(*arguments, "--device", "cuda", code=3, says="cuda")
        self.assertFalse(os.path.exists(none))

    def test_a_class_that_no_fold_trains(self):
        # The one subject who has task 2's last class is the one who validates, in one of the five folds or in the test part.
        raw = self.path("raw-lopsided")
        shutil.copytree(self.raw, raw)
        for name in os.listdir(raw):
            if name.endswith("_bung.txt") and not name.startswith("04"):
                os.remove(os.path.join(raw, name))
        data = self.path("lopsided.safetensors")
        self.ok("data", "prepare", "--dataset", "sleep", "--raw", raw, "--out", data)
        codes = []
        for fold in range(5):
            out = self.path("lopsided%d" % fold)
            result = retort("train", "--data", data, "--out", out, "--fold", fold, "--max-steps", 1, *SMALL)
            codes.append(result.returncode)
            if result.returncode:
                self.assertEqual((result.returncode, result.stderr.count("\n")), (2, 1), result.stderr)
                self.assertIn("'abdomen' of task 2", result.stderr)
                self.assertFalse(os.path.exists(out))
            else:
                self.assertIn("note: ", result.stdout)
        self.assertIn(2, codes)

    def test_other_windows_than_the_model_takes(self):
        data = self.path("short.safetensors")
        self.ok("data", "prepare", "--dataset", "sleep", "--raw", self.raw, "--out", data, "--length", 80)
        self.fails("evaluate", "--weights", self.weights, "--data", data, says=["80", "100"])
        _, wisdm = self.make_data("wisdm", 1, 11)
        self.fails("evaluate", "--weights", self.weights, "--data", wisdm, says="classes")
        self.fails("data", "prepare", "--dataset", "sleep", "--raw", self.raw, "--out", self.path("none"), "--length", 100000, says="100000")


class FullDisk(Scratch):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.raw, cls.data = cls.make_data("sleep", 6, 3)
        cls.run_directory = cls.path("run")
        result = retort("train", "--data", cls.data, "--out", cls.run_directory, "--max-steps", 3, *SMALL)
        if result.returncode:
            raise RuntimeError(result.stderr)

    def full(self, limit, *arguments, says):
        self.fails(*arguments, says=[says, "File too large"], preexec_fn=full_disk(limit))

    def test_prepare_and_synth(self):
        with self.untouched(self.directory):
            self.full(20000, "data", "prepare", "--dataset", "sleep", "--raw", self.raw, "--out", self.data, says=self.data)
        self.full(3000, "data", "synth", "--dataset", "sleep", "--out", self.path("raw2"), "--subjects", 1, says="raw2")
        self.assertEqual([f for f in os.listdir(self.path("raw2")) if f != "SYNTHETIC.txt"], [])

    def test_train(self):
        out = self.path("full")
        for limit in (100, 5000, 3000000):
            self.full(limit, "train", "--data", self.data, "--out", out, "--max-steps", 2, *SMALL, says=out)
            self.assertFalse(os.path.exists(os.path.join(out, "config.json")))
            self.all_whole(out)
        self.ok("train", "--data", self.data, "--out", out, "--max-steps", 2, *SMALL)
        self.assertEqual([f for f in os.listdir(out) if f.endswith(".tmp")], [])

    def test_resume_report_and_output(self):
        with self.untouched(self.run_directory):
            self.full(100000, "train", "--resume", "--out", self.run_directory, says=self.run_directory)
            self.full(2000, "report", self.run_directory, says="report.html")
        with open("/dev/full", "w") as full:
            result = retort("predict", "--weights", self.path("run", "best.safetensors"), "--input", self.raw, capture_output=False, stdout=full,
                            stderr=subprocess.PIPE)
        self.assertEqual((result.returncode, result.stderr.count("\n")), (2, 1), result.stderr)


class Interrupted(Scratch):
    EPOCHS = 3

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        _, cls.data = cls.make_data("sleep", 6, 3)
        cls.options = ["--data", cls.data, "--epochs", cls.EPOCHS, "--log-every", 1, "--seed", 4, *SMALL]
        cls.runs = 0

    def whole(self, method):
        """An uninterrupted run and how long it took."""
        out, begun = self.path("whole-" + method), time.monotonic()
        self.ok("train", "--out", out, "--method", method, *self.options)
        return out, time.monotonic() - begun

    def stop_once(self, out, arguments, seconds, number):
        """Starts a run and sends the signal after some time; the exit code."""
        with subprocess.Popen([RETORT, "train", "--out", out, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True) as process:
            time.sleep(seconds)
            process.send_signal(number)
            _, errors = process.communicate(timeout=300)
        if process.returncode == 130:
            self.assertIn("--resume --out " + out, errors)
        return process.returncode

    def test_ctrl_c_at_any_time(self):
        for method in ("smooth-distill", "born-again"):
            whole, seconds = self.whole(method)
            for number in (signal.SIGINT, signal.SIGTERM):
                out = self.path("halves-%s-%d" % (method, number))
                arguments, codes = ["--method", method, *self.options], []
                for _ in range(20):
                    wait = self.random.uniform(0.1, 0.8) * seconds
                    codes.append(self.stop_once(out, arguments, wait, number))
                    with self.subTest(seed=self.seed, method=method, codes=codes):
                        # Killed by the signal: it came before the program could ask for it.
                        self.assertIn(codes[-1], (0, 130, -number))
                        if codes[-1] == 130:
                            self.all_whole(out)
                            self.assertEqual([f for f in os.listdir(out) if f.endswith(".tmp")], [])
                            arguments = ["--resume"]
                    if codes[-1] == 0:
                        break
                else:
                    self.ok("train", "--out", out, *arguments)
                self.same_results(whole, out)

    def test_kill_at_any_time(self):
        whole, seconds = self.whole("smooth-distill")
        # Killed while it writes: several runs, so that some die in a checkpoint.
        for attempt in range(5):
            out = self.path("killed-%d" % attempt)
            arguments = ["--method", "smooth-distill", *self.options]
            for _ in range(4):
                begun = os.path.exists(os.path.join(out, "config.json"))
                if self.stop_once(out, ["--resume"] if begun else arguments, self.random.uniform(0.02, 1) * seconds, signal.SIGKILL) == 0:
                    break
                if os.path.exists(out):
                    self.all_whole(out)
            begun = os.path.exists(os.path.join(out, "config.json"))
            if begun:
                self.fails("train", "--out", out, *arguments, says="--resume")
            else:
                self.fails("train", "--out", out, "--resume", says="without --resume")
            with self.subTest(seed=self.seed, attempt=attempt):
                self.ok("train", "--out", out, *(["--resume"] if begun else arguments))
                self.same_results(whole, out)

    def test_what_resume_may_change(self):
        out = self.path("changed")
        self.ok("train", "--out", out, "--method", "smooth-distill", *self.options)
        other = self.path("other.safetensors")
        self.ok("data", "prepare", "--dataset", "sleep", "--raw", self.path("raw-sleep"), "--out", other, "--step", 50)
        with self.untouched(out):
            for key, value in (("epochs", 5), ("batch", 16), ("lr", 0.01), ("alpha", 0.3), ("lambda", 0.1), ("tau", 2), ("beta", 0.9), ("seed", 5),
                               ("method", "multi-task"), ("arch", "mtl-net-paper"), ("split", "all"), ("fold", 1), ("select", "last"),
                               ("ema-buffers", "copy"), ("max-steps", 3), ("log-every", 2), ("init", other), ("preset", "paper")):
                self.fails("train", "--resume", "--out", out, "--" + key, value, says=[out, key.replace("-", "_")])
            self.fails("train", "--resume", "--out", out, "--no-shuffle", says=[out, "shuffle"])
            self.fails("train", "--resume", "--out", out, "--data", other, says=other)
        self.fails("train", "--resume", "--out", self.path("nothing"), says="without --resume")
        before = snapshot(out)
        self.ok("train", "--resume", "--out", out, "--threads", 2, "--epochs", self.EPOCHS)  # done already: nothing to do but the report
        after = snapshot(out)
        for name in (*RESULTS, "metrics.jsonl"):
            self.assertEqual(before[name], after[name], name)


class PythonPackage(Scratch):
    """Our files in the hands of the Python package `safetensors`."""

    def test_prepared_files_and_weights(self):
        try:
            import numpy
            import safetensors
            from safetensors.numpy import load_file
        except ImportError as error:
            self.skipTest("the Python package is absent: %s" % error)
        _, data = self.make_data("sleep", 6, 3)
        arrays = load_file(data)
        self.assertEqual(sorted(arrays), ["recording", "subject", "task1", "task2", "windows"])
        n = len(arrays["task1"])
        self.assertEqual((arrays["windows"].shape, arrays["windows"].dtype), ((n, 1, 3, 100), numpy.float32))
        self.assertTrue(all(arrays[name].dtype == numpy.int32 and arrays[name].shape == (n,) for name in arrays if name != "windows"))
        with safetensors.safe_open(data, "numpy") as file:
            metadata = file.metadata()
        self.assertEqual(json.loads(metadata["task1_counts"]), numpy.bincount(arrays["task1"], minlength=12).tolist())
        run = self.path("run")
        self.ok("train", "--data", data, "--out", run, "--max-steps", 2, *SMALL)
        for name in RESULTS:
            self.assertTrue(all(numpy.isfinite(array).all() for array in load_file(os.path.join(run, name)).values()))
        load_file(os.path.join(run, "checkpoint.safetensors"))

    def test_names_order_and_shapes_of_weights(self):
        _, data = self.make_data("sleep", 6, 3)
        for arch, norm in (("mtl-net", True), ("mtl-net-released", False)):
            run = self.path(arch)
            self.ok("train", "--data", data, "--out", run, "--arch", arch, "--max-steps", 2, *SMALL)
            layers = ["conv1", "bn1", "conv2", "bn2", "fc1", "fc2", "head1", "head2"]
            names = [layer + part for layer in layers if norm or not layer.startswith("bn")
                     for part in ([".weight", ".bias"] + ([".running_mean", ".running_var"] if layer.startswith("bn") else []))]
            for file in RESULTS:
                header, metadata, _ = load_safetensors(os.path.join(run, file))
                self.assertEqual(list(header), names)
                self.assertEqual(header["fc1.weight"]["shape"], [1024, 1216])
                self.assertEqual(header["conv1.weight"]["shape"], [32, 3 if norm else 1, 1, 9])
                self.assertEqual(metadata["format"], "retort-weights-1")


class Golden(Scratch):
    """Twenty steps from given weights, against the fixtures that double-precision PyTorch made."""

    def test_twenty_steps(self):
        made = subprocess.run(["/usr/bin/python3", os.path.join(HERE, "golden", "make_golden.py"), "--export", self.directory],
                              capture_output=True, text=True)
        if made.returncode != 0 and "ModuleNotFoundError" in made.stderr:
            self.skipTest("PyTorch is absent: " + made.stderr.strip().split("\n")[-1])
        self.assertEqual(made.returncode, 0, made.stderr)
        for form in ("mtl-net", "mtl-net-paper", "mtl-net-released"):
            header, metadata, data = load_safetensors(os.path.join(HERE, "golden", "smooth_distill_%s.safetensors" % form))
            columns = metadata["columns"].split()
            for buffers in ("average", "copy"):
                if buffers + ".losses" not in header:
                    continue
                begin, end = header[buffers + ".losses"]["data_offsets"]
                exact = [row for row in struct.iter_unpack("<%df" % len(columns), data[begin:end])]
                run = self.path(form + buffers)
                self.ok("train", "--data", self.path("windows.safetensors"), "--out", run, "--arch", form, "--init",
                        self.path("weights_%s.safetensors" % form), "--no-shuffle", "--split", "all", "--max-steps", 20, "--log-every", 1,
                        "--ema-buffers", buffers)
                steps = [line for line in metrics(run) if "train_loss" not in line]
                self.assertEqual(len(steps), 20)
                for number, (step, row) in enumerate(zip(steps, exact)):
                    for key, value in zip(("loss", "ce1", "ce2", "kl1", "kl2"), row):
                        tolerance = (5e-4 if number < 5 else 1e-2) * abs(value)
                        # The teacher is the student at first: KL is zero but for rounding.
                        self.assertAlmostEqual(step[key], value, delta=max(tolerance, 1e-6), msg="%s step %d %s" % (form, number + 1, key))


if __name__ == "__main__":
    if len(sys.argv) < 2 or not os.access(sys.argv[1], os.X_OK):
        sys.exit("usage: command_test.py RETORT [TestClass[.test_name] ...]")
    RETORT = os.path.abspath(sys.argv.pop(1))
    unittest.main()
