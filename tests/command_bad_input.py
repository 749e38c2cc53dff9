"""The command and what users get wrong: raw files, our own files, directories, full disks. Run by command_test.py."""
import json
import math
import os
import shutil
import struct
import subprocess

import command_harness
from command_harness import SMALL, POSTURES, Scratch, full_disk, as_nobody, load_safetensors, metrics, read, retort, write


class BadRaw(Scratch):
    """Raw files that are not as they should be."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.raw = {}
        for dataset in ("sleep", "mhealth", "wisdm"):
            cls.raw[dataset] = cls.make_data(dataset, 2, 11 if dataset == "wisdm" else 4)[0]

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
        self.refused("sleep", raw, ["01_Sideways_co.txt", "sideways", *POSTURES])
        os.rename(os.path.join(raw, "01_Sideways_co.txt"), os.path.join(raw, "01_Up_elbow.txt"))
        self.refused("sleep", raw, ["01_Up_elbow.txt", "elbow", "nguc"])

    def test_unreadable(self):
        os.chmod(self.directory, 0o755)
        if retort("data", "inspect", self.path("sleep.safetensors"), **as_nobody()).returncode != 0:
            self.skipTest("another user can reach neither this program nor " + self.directory)
        raw, files = self.copies("sleep")
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
        data, run = os.fsencode(self.path("")) + b"data\xff\n.safetensors", self.path("run-strange")
        os.rename(self.path("strange.safetensors"), data)
        for arguments in (["data", "inspect", data, "--json"], ["train", "--data", data, "--out", run, "--split", "all", "--max-steps", 1, *SMALL],
                          ["train", "--data", data, "--out", run, "--resume"], ["evaluate", "--run", run, "--data", data, "--json"],
                          ["report", run], ["predict", "--weights", os.path.join(run, "last.safetensors"), "--input", strange]):
            result = subprocess.run([os.fsencode(str(a)) if not isinstance(a, bytes) else a for a in [command_harness.RETORT, *arguments]], capture_output=True)
            self.assertEqual(result.returncode, 0, result.stderr)
            result.stdout.decode()
        self.fails("train", "--resume", "--out", run, says="data")
        write(strange, "")
        self.fails(*self.prepare("sleep", raw), says="empty")


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
        return {"inspect": ["data", "inspect", path], "train": ["train", "--data", path, "--out", none, "--max-steps", 1],
                "init": ["train", "--data", self.data, "--out", none, "--init", path, "--max-steps", 1],
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
                if use == "init" and what not in ("empty", "data cut", "text"):
                    continue  # makes a model first, which takes its time
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
        self.fails("train", "--data", self.data, "--out", "x" * 300, says="x" * 20)

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
            self.fails("train", "--data", self.data, "--out", none, "--max-steps", 1, *arguments, says=says)
            self.assertFalse(os.path.exists(none))
        if "cuda      not available" in self.ok("info").stdout:
            for arguments in (["train", "--data", self.data, "--out", none], ["evaluate", "--run", self.run_directory],
                              ["predict", "--weights", self.weights, "--input", self.raw]):
                self.fails(*arguments, "--device", "cuda", code=3, says="CUDA")
        for arguments in (["train", "--data", self.data, "--out", none], ["evaluate", "--run", self.run_directory],
                          ["predict", "--weights", self.weights, "--input", self.raw]):
            self.fails(*arguments, "--tf32", says=["tf32", "--device cuda"])
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
