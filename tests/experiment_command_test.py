"""`retort experiment` as its users meet it: refused before the first run, stopped and killed at random moments, gone on with.

    experiment_command_test.py RETORT

Standard library only.
"""
import os
import random
import signal
import subprocess
import sys
import tempfile
import unittest

RETORT = sys.argv[1]
TABLES = ("results.csv", "results.tex", "tests.csv", "tests.tex", "classes.csv", "classes.tex", "runs.csv")
GRID = """title = "Small"
[grid]
method = ["multi-task", "smooth-distill", "born-again"]
fold = [0, 1]
seed = [0, 1]
epochs = 2
train_fraction = 0.5
"""


class Experiment(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.TemporaryDirectory(prefix="retort-experiment-")
        cls.data = cls.path("sleep.safetensors")
        subprocess.run([RETORT, "data", "synth", "--out", cls.path("raw"), "--subjects", "7", "--seconds", "5"], check=True, capture_output=True)
        subprocess.run([RETORT, "data", "prepare", "--dataset", "sleep", "--raw", cls.path("raw"), "--out", cls.data], check=True,
                       capture_output=True)
        with open(cls.path("grid.toml"), "w") as file:
            file.write(GRID)

    @classmethod
    def tearDownClass(cls):
        cls.directory.cleanup()

    @classmethod
    def path(cls, *names):
        return os.path.join(cls.directory.name, *names)

    def command(self, out, *more):
        return [RETORT, "experiment", self.path("grid.toml"), "--data", self.data, "--out", self.path(out), "--threads", "1", *more]

    def tables(self, out):
        texts = {}
        for name in TABLES:
            with open(self.path(out, "grid", name)) as file:
                texts[name] = file.read()
        return texts

    def test_killed_at_random_moments(self):
        whole = subprocess.run(self.command("whole"), capture_output=True, text=True, timeout=300)
        self.assertEqual(whole.returncode, 0, whole.stderr)
        self.assertIn("12 runs", whole.stdout)
        self.assertIn("SYNTHETIC", whole.stdout)
        seed = random.randrange(2**32)
        chance = random.Random(seed)
        kills = 0
        while True:
            process = subprocess.Popen(self.command("broken", "--jobs", "2"), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                       start_new_session=True)
            try:
                process.wait(chance.uniform(0.1, 1.2) if kills < 10 else 300)
                break
            except subprocess.TimeoutExpired:
                kills += 1
            how = chance.choice(("interrupt", "terminate", "ctrl-c", "kill"))
            if how == "ctrl-c":  # reaches the workers too
                os.killpg(process.pid, signal.SIGINT)
            else:
                process.send_signal({"interrupt": signal.SIGINT, "terminate": signal.SIGTERM, "kill": signal.SIGKILL}[how])
            error = process.communicate()[1].decode()
            with self.subTest(seed=seed, kills=kills, how=how, error=error):
                # A signal may come before the program has learnt to listen to it, or when its work is done.
                self.assertIn(process.returncode, (130, 0, -signal.SIGINT, -signal.SIGTERM, -signal.SIGKILL))
                if process.returncode == 130:
                    self.assertIn("the same command goes on", error)
        error = process.communicate()[1].decode()
        self.assertEqual(process.returncode, 0, (seed, error))
        self.assertEqual(self.tables("broken"), self.tables("whole"), seed)

    def test_refused_before_the_first_run(self):
        with open(self.path("bad.toml"), "w") as file:
            file.write(GRID.replace("smooth-distill", "smooth-distil"))
        out = self.path("none")
        for arguments, says in (([self.path("bad.toml")], "bad.toml:3: unknown method 'smooth-distil'"), (["table55"], "unknown experiment 'table55'"),
                                (["table5", "--set", "epoch=3"], "unknown key 'epoch'"), (["table5", "--effort", "smok"], "no effort 'smok'"),
                                (["table5", "--shard", "3/2"], "--shard 3/2"), (["table5", "--set", "folds=40", "--set", "split=subject"], "subjects"),
                                (["lambda", "--set", "method=multi-task"], "lambda has 4 values but no effect")):
            with self.subTest(arguments=arguments):
                done = subprocess.run([RETORT, "experiment", *arguments, "--data", self.data, "--out", out], capture_output=True, text=True, timeout=60)
                self.assertEqual(done.returncode, 2, done.stderr)
                self.assertIn(says, done.stderr)
                self.assertEqual(done.stderr.count("\n"), 1)
                self.assertFalse(os.path.exists(out))

    def test_report_of_a_grid(self):
        few = ["--set", "method=multi-task", "--set", "epochs=1"]
        done = subprocess.run(self.command("paged", "--shard", "1/2", *few), capture_output=True, text=True, timeout=100)
        self.assertEqual(done.returncode, 0, done.stderr)

        def report(*arguments):
            return subprocess.run([RETORT, "report", *arguments], capture_output=True, text=True, timeout=100)
        page = self.path("paged", "grid", "report.html")
        os.remove(page)
        done = report(self.path("paged", "grid"))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("INCOMPLETE: 2 of 4 runs", done.stdout)
        with open(page) as file:
            self.assertIn("INCOMPLETE: 2 of 4 runs are finished", file.read())
        done = report(self.path("paged"))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertTrue(os.path.exists(self.path("paged", "report.html")))
        os.mkdir(self.path("neither"))
        for arguments, says in (([self.path("neither")], "neither a run"), ([self.path("missing")], "not a directory"),
                                ([self.path("paged", "grid"), self.path("paged", "grid")], "one at a time"),
                                ([self.path("paged"), "--out", self.path("x.html")], "several grids")):
            with self.subTest(arguments=arguments):
                done = report(*arguments)
                self.assertEqual(done.returncode, 2, done.stderr)
                self.assertIn(says, done.stderr)
                self.assertEqual(done.stderr.count("\n"), 1)

    def test_shards_and_dry_run(self):
        listed = subprocess.run(self.command("shards", "--dry-run"), capture_output=True, text=True, timeout=60)
        self.assertEqual(listed.stdout.count("seed 1"), 6)
        self.assertFalse(os.path.exists(self.path("shards")))
        few = ["--set", "method=multi-task", "--set", "epochs=1"]
        first = subprocess.run(self.command("shards", "--shard", "1/2", *few), capture_output=True, text=True, timeout=100)
        self.assertEqual(first.returncode, 0, first.stderr)
        self.assertIn("INCOMPLETE: 2 of 4 runs", first.stdout)
        second = subprocess.run(self.command("shards", "--shard", "2/2", *few), capture_output=True, text=True, timeout=100)
        self.assertEqual(second.returncode, 0, second.stderr)
        self.assertNotIn("INCOMPLETE", second.stdout)

    def test_shards_with_jobs_at_the_same_time(self):
        few = ["--set", "epochs=1", "--set", "seed=0"]
        alone = subprocess.run(self.command("alone", *few), capture_output=True, text=True, timeout=100)
        self.assertEqual(alone.returncode, 0, alone.stderr)
        both = [subprocess.Popen(self.command("both", "--shard", shard, "--jobs", "2", *few), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                for shard in ("1/2", "2/2")]
        for process in both:
            error = process.communicate(timeout=200)[1]
            self.assertEqual(process.returncode, 0, error)
        # Who was first to end has written tables of what was there; the same command without a shard trains nothing and writes them all.
        last = subprocess.run(self.command("both", *few), capture_output=True, text=True, timeout=100)
        self.assertIn("6 runs, 6 finished", last.stdout)
        self.assertEqual(self.tables("both"), self.tables("alone"))

    def test_jobs_where_the_end_of_children_is_ignored(self):
        """As below a daemon that never waits for its children."""
        done = subprocess.run(self.command("daemon", "--jobs", "2", "--set", "method=multi-task", "--set", "epochs=1", "--set", "seed=0"),
                              capture_output=True, text=True, timeout=100, preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("2 runs", done.stdout)

    def test_slurm_script(self):
        """Array tasks 1 and 2 of 2, as sbatch would start them; a third after a task was terminated goes on."""
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "examples", "slurm", "table5.sbatch")
        environment = {**os.environ, "PATH": os.path.dirname(RETORT) + ":" + os.environ["PATH"], "DATA": self.data, "OUT": self.path("slurm"),
                       "EFFORT": "smoke", "SLURM_CPUS_PER_TASK": "1", "SLURM_ARRAY_TASK_COUNT": "2"}
        start = lambda task: subprocess.Popen(["bash", script], env={**environment, "SLURM_ARRAY_TASK_ID": task}, stdout=subprocess.PIPE,
                                              stderr=subprocess.PIPE)
        first, second = start("1"), start("2")
        try:
            second.wait(0.7)
        except subprocess.TimeoutExpired:
            second.send_signal(signal.SIGTERM)  # what Slurm sends before the time is up
        self.assertIn(second.wait(100), (130, 0, -signal.SIGTERM))
        again = start("2")
        for process in (first, again):
            error = process.communicate(timeout=200)[1]
            self.assertEqual(process.returncode, 0, error)
        second.communicate()
        done = subprocess.run([RETORT, "experiment", "table5", "--data", self.data, "--out", self.path("slurm"), "--effort", "smoke"],
                              capture_output=True, text=True, timeout=100)
        self.assertIn("20 runs, 20 finished", done.stdout, done.stderr)
        self.assertEqual(subprocess.run(["bash", script], env={"PATH": environment["PATH"]}, capture_output=True).returncode, 1)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
