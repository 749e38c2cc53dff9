#!/usr/bin/env python3
"""bench/regression.sh with a valgrind that only pretends: regression_script_test.py <source folder>."""
import json
import os
import random
import subprocess
import sys
import tempfile
import unittest

SOURCE = ""
VALGRIND = """#!/bin/sh
if [ "$1" = --version ]; then echo valgrind-3.0; exit 0; fi
for argument; do case $argument in --callgrind-out-file=*) out=${argument#*=} ;; esac; name=$argument; done
. "$(dirname "$0")/counts"
eval "echo summary: \\$$name" > "$out"
exit "${code:-0}"
"""


class RegressionScript(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory(prefix="retort-regression-")
        self.addCleanup(scratch.cleanup)
        self.directory = scratch.name
        # A copy, so that the committed baseline stays as it is.
        self.bench = os.path.join(self.directory, "bench")
        os.makedirs(os.path.join(self.bench, "regression"))
        for name in ("regression.sh", "regression/compare.py"):
            with open(os.path.join(SOURCE, "bench", name)) as file:
                self.program(os.path.join("bench", name), file.read())
        self.program("bin/valgrind", VALGRIND)
        self.program("build/bench_regression_workloads", "#!/bin/sh\necho one\necho two\n")
        self.setup_is(compiler="GNU 12.2.0")

    def program(self, name, text):
        path = os.path.join(self.directory, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write(text)
        os.chmod(path, 0o755)

    def setup_is(self, **setup):
        self.program("build/regression_setup.json", json.dumps(setup))

    def counts(self, **counts):
        self.program("bin/counts", "".join("%s='%s'\n" % item for item in counts.items()))

    def script(self, *arguments, code, says=()):
        command = [os.path.join(self.bench, "regression.sh"), "--build", os.path.join(self.directory, "build"), *arguments]
        environment = {**os.environ, "PATH": os.path.join(self.directory, "bin") + ":" + os.environ["PATH"]}
        run = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=100)
        about = "%s\n%s%s" % (" ".join(command), run.stdout, run.stderr)
        self.assertEqual(run.returncode, code, about)
        for text in says:
            self.assertIn(text, run.stdout + run.stderr, about)
        return run

    def test_more_instructions_than_tolerated_are_a_regression(self):
        before = random.randrange(10**6, 10**9)
        self.counts(one=before, two=1000)
        self.script(code=3, says=["no baseline", "GNU 12.2.0", "--update"])
        self.script("--update", code=0)
        self.assertNotIn("REGRESSION", self.script(code=0).stdout)
        self.counts(one=before + before // 100, two=1000)
        self.script(code=0, says=["+1.00%"])
        self.script("--tolerance", "0.5", code=1, says=["more than 0.5% more instructions: one\n"])
        self.counts(one=before, two=1030)
        self.script(code=1, says=["more than 2% more instructions: two\n", "+3.00%  REGRESSION"])
        self.script("--update", code=0)
        self.script(code=0)

    def test_fewer_are_mentioned(self):
        self.counts(one=1000, two=1000)
        self.script("--update", code=0)
        self.counts(one=900, two=1000)
        self.script(code=0, says=["-10.00%", "fewer instructions than before: one;"])

    def test_another_compiler_has_a_baseline_of_its_own(self):
        self.counts(one=1000, two=1000)
        self.script("--update", code=0)
        self.setup_is(compiler="GNU 14.2.0")
        self.counts(one=2000, two=2000)
        self.script(code=3, says=["no baseline for this compiler", "GNU 14.2.0", "GNU 12.2.0"])
        self.script("--update", code=0)
        self.script(code=0)
        self.setup_is(compiler="GNU 12.2.0")
        self.script(code=1, says=["one, two"])

    def test_a_new_workload_asks_for_a_baseline(self):
        self.counts(one=1000, two=1000, three=10)
        self.script("--update", code=0)
        self.program("build/bench_regression_workloads", "#!/bin/sh\necho one\necho two\necho three\n")
        self.script(code=3, says=["without a baseline: three"])

    def test_what_could_not_be_counted_is_said(self):
        self.counts(one=1000, two=0)
        self.script("--update", code=2, says=["two: callgrind counted nothing"])
        self.counts(one=1000, two=1000, code=1)
        self.script("--update", code=2, says=["ended with 1"])
        self.counts(one=1000, two=1000, code=132)
        self.script("--update", code=2, says=["-DRETORT_ARCH=x86-64-v3"])
        self.program("bench/regression/baseline.json", "{")
        self.script(code=2, says=["baseline.json"])
        os.remove(os.path.join(self.directory, "bench/regression/baseline.json"))
        os.remove(os.path.join(self.directory, "build/regression_setup.json"))
        self.script(code=2, says=["regression_setup.json", "configure"])
        self.script("--tolerance", code=2, says=["needs a value"])
        self.script("--nonsense", code=2, says=["--nonsense"])


if __name__ == "__main__":
    SOURCE = sys.argv.pop(1)
    unittest.main()
