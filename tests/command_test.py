"""The command as its users meet it: every subcommand, bad input, full disks, interruptions.

    command_test.py RETORT [TestClass[.test_name] ...]

RETORT is the program to test. Standard library only; the tests that compare with PyTorch or with the Python package `safetensors` skip
with a message when those are absent.
"""
import json
import math
import os
import random
import signal
import struct
import subprocess
import sys
import time
import unittest

import command_harness
from command_harness import HERE, RESULTS, SMALL, Scratch, load_safetensors, metrics, read, retort, snapshot, write
from command_bad_input import BadFiles, BadRaw, FullDisk  # noqa: F401  (run from here)


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
        self.assertRegex(text, r"--epochs INT.*=300")
        text = self.ok("data", "prepare", "--help").stdout
        for option in ("--label", "--axis-layout", "--resample"):
            self.assertIn("=[preset]", next(line for line in text.split("\n") if line.startswith("  %s " % option)))

    def test_misuse_is_one_line(self):
        self.fails(says="subcommand")
        self.fails("data", says="subcommand")
        self.fails("data", "fly", says="fly")
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
        self.fails("summary", "--classes", "9000000000000000000,3", says="--classes")
        self.fails("summary", "--input", "9000000000000000000,1,3,100", says="--input")
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

    def test_bench_times_what_the_filter_names(self):
        if "Google Benchmark" in retort("bench", "--list").stderr:
            self.skipTest("this build has no Google Benchmark")
        devices = ["cpu"] + (["cuda_sim"] if "cuda_sim  available" in self.ok("info").stdout else [])
        for device in devices:
            out = self.path("bench-%s.json" % device)
            self.ok("bench", "--device", device, "--filter", "^log_softmax", "--seconds", 0.0001, "--batch", 7, "--json", out)
            results = json.loads(read(out))["results"]
            self.assertEqual({r["name"] for r in results}, {"log_softmax_7x12/forward", "log_softmax_7x12/backward"})
            for r in results:
                self.assertNotIn("error", r)
                self.assertGreater(r["median_us"], 0)
        if len(devices) > 1:  # what fails is listed with its error, and does not take the others' results with it
            self.ok("bench", "--device", "cuda_sim", "--filter", "^log_softmax", "--batch", 7, "--json", out, code=1,
                    env=dict(os.environ, RETORT_SIM_FAULT="2"))
            self.assertTrue(all("failed" in r["error"] for r in json.loads(read(out))["results"]))
        self.fails("bench", "--filter", "no_such_kernel", says="no_such_kernel")
        self.fails("bench", "--filter", "[", says="'['")

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
        out = self.path("run-%s-%d" % (self._testMethodName, self.count))
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

    def test_the_sample(self):
        sample = os.path.join(HERE, "..", "examples", "retort", "smooth_distill.toml")
        options = self.options_of(sample)
        self.assertEqual((options["method"], options["tau"], options["beta"]), ("smooth-distill", 3, 0.999))
        self.ok("data", "prepare", "--config", sample, "--dataset", "sleep", "--raw", self.raw, "--out", self.path("sample.safetensors"))

    def test_kernels_are_chosen_op_by_op(self):
        options = self.options_of(self.config('impl = "conv2d=eigen,linear=ref"\n'))
        self.assertEqual(options["impl"], "conv2d=eigen,linear=ref")
        out = self.path("impl")
        for impl, says in (("conv3d=eigen", ["conv3d", "batch_norm, "]), ("conv2d=magic", ["conv2d", "magic", "eigen, ref"]),
                           ("magic", ["magic", "eigen"]), ("conv2d=", "conv2d=")):
            self.fails("train", "--data", self.data, "--out", out, "--impl", impl, says=says)
            self.fails("evaluate", "--data", self.data, "--weights", out, "--impl", impl, says=says)
        self.assertFalse(os.path.exists(out))

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
                                 ("no-shuffle = 3\n", 1, "no-shuffle"), ("epochs = [1, 2]\n", 1, "epochs"), ("epochs = [1\n", 1, "epochs"),
                                 ("epochs = 1\nepochs = 2\n", 2, "epochs = 2"), ("[train\n", 1, "[train"), ("= 3\n", 1, "= 3"),
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
        self.assertEqual(sorted(os.listdir(run)), sorted([*RESULTS, "checkpoint.safetensors", "config.json", "lock", "metrics.jsonl", "report.html",
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
            self.assertEqual(sum(whole["task1"]["confusion"]), load_safetensors(data)[0]["task1"]["shape"][0])
            self.assertIn("macro F1", self.ok("evaluate", "--run", run).stdout)

    def predict(self, dataset, raw, weights, classes):
        for source in (raw, next(os.path.join(d, f) for d, _, names in os.walk(raw) for f in sorted(names) if f not in ("SYNTHETIC.txt", "notes.txt"))):
            with open(os.path.join(raw, "notes.txt"), "w"):
                pass  # passed over, and said so
            done = self.ok("predict", "--weights", weights, "--input", source, "--dataset", dataset)
            self.assertEqual("ignored 1 files" in done.stderr and "notes.txt" in done.stderr, source == raw, done.stderr)
            lines = done.stdout.splitlines()
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

    def test_own_recordings(self):
        """Recordings of Sleep as CSV: the same labels from weights of sleep, and a run of their own."""
        raw, data = self.make_data("sleep", 6, 4, name="own")
        run = self.path("run-own-sleep")
        self.ok("train", "--data", data, "--out", run, "--max-steps", 2, *SMALL)
        directory = self.path("csv")
        os.mkdir(directory)
        for file in sorted(name for name in os.listdir(raw) if name != "SYNTHETIC.txt"):
            subject, posture, position = file[:-len(".txt")].split("_")
            rows = read(os.path.join(raw, file)).splitlines()
            rows = rows[1:] if rows[0][0].isalpha() else [row.rstrip(";").split(",", 1)[1] for row in rows]
            write(os.path.join(directory, file[:-3] + "csv"), "x,y,z,subject,activity,position\n" +
                  "".join("%s,%s,%s,%s\n" % (row, subject, posture.lower(), position.lower()) for row in rows))
        weights = os.path.join(run, "best.safetensors")
        self.assertEqual(*([{**json.loads(line), "recording": None} for line in self.ok(
            "predict", "--weights", weights, "--input", os.path.join(where, "01_Up_co" + suffix), "--dataset", dataset).stdout.splitlines()]
            for where, suffix, dataset in ((raw, ".txt", "sleep"), (directory, ".csv", "csv"))))

        own, prepared = self.path("run-own"), self.path("csv.safetensors")
        text = self.ok("data", "prepare", "--dataset", "csv", "--raw", directory, "--out", prepared).stdout
        self.assertIn("upleft", text)
        self.assertNotIn("published", text)
        inspected, published = (json.loads(self.ok("data", "inspect", file, "--json").stdout) for file in (prepared, data))
        self.assertEqual(inspected["windows"], published["windows"])
        self.assertEqual(inspected["task2"], {"bung": published["task2"]["abdomen"], "co": published["task2"]["neck"],
                                              "nguc": published["task2"]["chest"]})
        self.ok("train", "--data", prepared, "--out", own, "--max-steps", 2, *SMALL)
        line = json.loads(self.ok("predict", "--weights", os.path.join(own, "best.safetensors"), "--input", directory).stdout.splitlines()[0])
        self.assertEqual(sorted(line["task2"]["probabilities"]), ["bung", "co", "nguc"])
        write(os.path.join(self.directory, "bare.csv"), "x,y,z\n" + "1,2,3\n" * 200)
        self.fails("data", "prepare", "--dataset", "csv", "--raw", self.path("bare.csv"), "--out", self.path("bare.safetensors"),
                   says="nothing to tell apart")

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


class Interrupted(Scratch):
    EPOCHS = 3

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        _, cls.data = cls.make_data("sleep", 6, 3)
        cls.options = ["--data", cls.data, "--epochs", cls.EPOCHS, "--log-every", 1, "--seed", 4, *SMALL]
        cls.runs = 0

    def whole(self, method, name):
        """An uninterrupted run and how long it took."""
        out, begun = self.path(name), time.monotonic()
        self.ok("train", "--out", out, "--method", method, *self.options)
        return out, time.monotonic() - begun

    def stop_once(self, out, arguments, seconds, number):
        """Starts a run and sends the signal after some time; the exit code."""
        with subprocess.Popen([command_harness.RETORT, "train", "--out", out, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True) as process:
            time.sleep(seconds)
            process.send_signal(number)
            _, errors = process.communicate(timeout=300)
        if process.returncode == 130:
            self.assertIn("--resume --out " + out, errors)
        return process.returncode

    def test_ctrl_c_at_any_time(self):
        for method in ("smooth-distill", "born-again"):
            whole, seconds = self.whole(method, "whole-" + method)
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
        whole, seconds = self.whole("smooth-distill", "unkilled")
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

    def test_one_process_a_run(self):
        options = ["--data", self.data, "--epochs", 10000, *SMALL]
        for several in ([], ["--ensemble", 2]):
            directory = self.path("shared-%d" % len(several))
            first = os.path.join(directory, "seed-0") if several else directory
            command = [command_harness.RETORT, "train", "--out", directory, *map(str, options + several)]
            with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
                for _ in range(1000):
                    if os.path.exists(os.path.join(first, "config.json")):
                        break
                    time.sleep(0.02)
                self.fails("train", "--resume", "--out", first, says=[first, "another process"])
                process.send_signal(signal.SIGINT)
                process.communicate(timeout=100)
            self.assertEqual(process.returncode, 130)

    def test_what_resume_may_change(self):
        out = self.path("changed")
        self.ok("train", "--out", out, "--method", "smooth-distill", *self.options)
        other = self.path("other.safetensors")
        self.ok("data", "prepare", "--dataset", "sleep", "--raw", self.path("raw-sleep-6"), "--out", other, "--step", 50)
        with self.untouched(out):
            for key, value in (("epochs", 5), ("batch", 16), ("lr", 0.01), ("alpha", 0.3), ("lambda", 0.1), ("tau", 2), ("beta", 0.9), ("seed", 5),
                               ("method", "multi-task"), ("arch", "mtl-net-paper"), ("split", "all"), ("fold", 1), ("select", "last"),
                               ("ema-buffers", "copy"), ("impl", "eigen"), ("max-steps", 3), ("log-every", 2), ("init", other), ("preset", "paper")):
                self.fails("train", "--resume", "--out", out, "--" + key, value, says=[out, key.replace("-", "_")])
            self.fails("train", "--resume", "--out", out, "--no-shuffle", says=[out, "shuffle"])
            self.fails("train", "--resume", "--out", out, "--tf32", says=[out, "tf32 = its default, not true"])
            self.fails("train", "--resume", "--out", out, "--data", other, says=other)
        self.fails("train", "--resume", "--out", self.path("nothing"), says="without --resume")
        before = snapshot(out)
        self.ok("train", "--resume", "--out", out, "--threads", 2, "--epochs", self.EPOCHS)  # done already: nothing to do but the report
        after = snapshot(out)
        for name in (*RESULTS, "metrics.jsonl"):
            self.assertEqual(before[name], after[name], name)


class DeviceTrouble(Scratch):
    """A simulated GPU that runs out of memory, or whose kernel fails: one line, exit code 3, and a run that can go on."""

    def test_out_of_memory_and_a_failed_kernel(self):
        info = self.ok("info").stdout
        if "cuda_sim  available" not in info:
            self.skipTest("this build has no kernel simulator")
        _, data = self.make_data("sleep", 6, 3)
        options = ["--data", data, "--device", "cuda_sim", "--method", "multi-task", "--split", "all", "--epochs", 1, "--max-steps", 4,
                   "--batch", 2, "--threads", 2, "--log-every", 1]
        whole, out = self.path("whole"), self.path("failed")
        self.ok("train", "--out", whole, *options)
        self.fails("train", "--out", self.path("none"), *options, code=3, says=["out of memory", "asked for", "free"],
                   env={**os.environ, "RETORT_SIM_MEMORY": "1000000"})
        self.assertFalse(os.path.exists(self.path("none")))
        result = retort("train", "--out", out, *options, env={**os.environ, "RETORT_SIM_FAULT": "70"})
        self.assertEqual(result.returncode, 3, result.stderr)
        self.assertEqual([line for line in result.stderr.splitlines() if line.startswith("retort: ")], result.stderr.splitlines()[-1:])
        self.assertIn("illegal address", result.stderr)
        self.all_whole(out)
        self.ok("train", "--resume", "--out", out, "--no-graph")
        self.same_results(whole, out)

    def test_no_gpu(self):
        if "cuda      available" in self.ok("info").stdout:
            self.skipTest("this machine has a GPU")
        _, data = self.make_data("sleep", 6, 3)
        self.fails("train", "--out", self.path("gpu"), "--data", data, "--device", "cuda", code=3, says=["CUDA"])
        self.assertFalse(os.path.exists(self.path("gpu")))


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
        python = next(p for p in ("/usr/bin/python3", sys.executable) if os.path.exists(p))  # where Debian installs PyTorch
        made = subprocess.run([python, os.path.join(HERE, "golden", "make_golden.py"), "--export", self.directory],
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
    command_harness.RETORT = os.path.abspath(sys.argv.pop(1))
    unittest.main()
