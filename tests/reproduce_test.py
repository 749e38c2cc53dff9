"""reproduce_{sleep,mhealth,wisdm} and fetch_data.sh: from raw files, found or fetched, to the tables; without network.

    reproduce_test.py DIRECTORY_OF_THE_PROGRAMS EXAMPLES

Standard library only.
"""
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
import zipfile

BUILD, EXAMPLES = sys.argv[1:3]
FEW = ["--effort", "smoke", "--threads", "1", "--set", "epochs=1", "--set", "fold=0", "--set", "seed=0", "--set", "train_fraction=0.5"]


class Scratch(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory(prefix="retort-reproduce-")
        self.addCleanup(directory.cleanup)
        self.directory = directory.name
        self.environment = {key: value for key, value in os.environ.items() if key not in ("RETORT_DATA", "XDG_CACHE_HOME")}
        self.environment["HOME"] = self.path("home")

    def path(self, *names):
        return os.path.join(self.directory, *names)

    def write(self, name, content):
        os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
        with open(self.path(name), "wb") as file:
            file.write(content)
        return self.path(name)

    def call(self, *command, code=0, **environment):
        done = subprocess.run(command, env={**self.environment, **environment}, cwd=self.directory, capture_output=True, text=True, timeout=300,
                              stdin=subprocess.DEVNULL)
        self.assertEqual(done.returncode, code, "%s\n%s%s" % (" ".join(command), done.stdout, done.stderr))
        return done


class Reproduce(Scratch):
    def program(self, dataset):
        return os.path.join(BUILD, "reproduce_" + dataset)

    def synth(self, dataset, where):
        self.call(os.path.join(BUILD, "retort"), "data", "synth", "--dataset", dataset, "--out", where, "--subjects", "7", "--seconds", "8")

    def test_from_raw_files_to_tables(self):
        for dataset in ("sleep", "mhealth", "wisdm"):
            with self.subTest(dataset=dataset):
                self.synth(dataset, self.path("data", dataset))
                done = self.call(self.program(dataset), *FEW)  # found in ./data
                self.assertIn("SYNTHETIC", done.stdout)
                self.assertIn("$ retort data prepare --dataset %s" % dataset, done.stdout)
                self.assertIn("smooth-distill", done.stdout)
                for name in ("results.csv", "tests.csv", "report.html"):
                    self.assertTrue(os.path.exists(self.path("results-" + dataset, "table5", name)), name)
        again = self.call(self.program("wisdm"), *FEW[:2], self.path("data", "wisdm"), *FEW[2:])
        self.assertIn("5 runs, 5 finished", again.stdout)

    def test_says_where_it_looked(self):
        done = self.call(self.program("mhealth"), code=2, RETORT_DATA=self.path("here"))
        for place in (self.path("here", "mhealth"), "data/mhealth", self.path("home", ".cache", "retort", "mhealth"), "fetch_data.sh mhealth", "--synthetic"):
            self.assertIn(place, done.stderr)
        self.assertEqual(done.stderr.count("\n"), 1)
        self.assertEqual(self.call(self.program("mhealth"), "--effort", "heroic", code=2).stdout, "")

    def test_refuses_other_files(self):
        raw = os.path.dirname(self.write("elsewhere/wisdm/raw/phone/accel/data_1600_accel_phone.txt", b"1600,A,252207666810782,-0.36,8.79,1.05;\n"))
        done = self.call(self.program("wisdm"), code=2, RETORT_DATA=self.path("elsewhere"))
        self.assertIn("data_1600_accel_phone.txt is not the published file", done.stderr)
        os.remove(os.path.join(raw, "data_1600_accel_phone.txt"))
        done = self.call(self.program("wisdm"), raw, code=2)
        self.assertIn("102 of the 102 published files are missing", done.stderr)
        self.assertFalse(os.path.exists(self.path("results-wisdm", "table5")))


class FetchData(Scratch):
    """With a list of hashes of its own and a curl that takes the archive from a file, or fails."""

    def setUp(self):
        super().setUp()
        os.makedirs(self.path("kit", "hashes"))
        shutil.copy(os.path.join(EXAMPLES, "fetch_data.sh"), self.path("kit", "fetch_data.sh"))
        self.files = {"raw/phone/accel/data_1600_accel_phone.txt": b"phone\n", "raw/watch/accel/data_1600_accel_watch.txt": b"watch\n"}
        self.write("kit/hashes/wisdm.sha256", b"".join(b"%s  %s\n" % (hashlib.sha256(content).hexdigest().encode(), name.encode())
                                                       for name, content in self.files.items()))

    def curl(self, script):
        os.chmod(self.write("bin/curl", b"#!/bin/sh\n" + script.encode()), 0o755)
        return {"PATH": self.path("bin") + ":" + os.environ["PATH"]}

    def archive(self):
        """As UCI's: a zip in a zip, with files that nobody wants."""
        with zipfile.ZipFile(self.path("inner.zip"), "w") as inner:
            for name, content in {**self.files, "raw/phone/gyro/data_1600_gyro_phone.txt": b"gyro\n"}.items():
                inner.writestr("wisdm-dataset/" + name, content)
        with zipfile.ZipFile(self.path("outer.zip"), "w") as outer:
            outer.write(self.path("inner.zip"), "wisdm-dataset.zip")
        return self.curl('while [ "$1" != --output ]; do shift; done; cp "%s" "$2"\n' % self.path("outer.zip"))

    def fetch(self, *arguments, **options):
        return self.call(self.path("kit", "fetch_data.sh"), *arguments, **options)

    def test_downloads_and_verifies(self):
        self.fetch("wisdm", **self.archive())
        found = self.path("home", ".cache", "retort", "wisdm")
        self.assertEqual(sorted(os.listdir(found)), ["raw"])
        self.assertEqual(sorted(os.listdir(os.path.join(found, "raw", "phone"))), ["accel"])
        self.assertIn("2 files", self.fetch("--check", "wisdm").stdout)
        self.assertIn("everything already", self.fetch("wisdm", **self.curl("exit 9")).stdout)
        self.write("home/.cache/retort/wisdm/raw/watch/accel/data_1600_accel_watch.txt", b"other\n")
        self.assertIn("1 of 2 files", self.fetch("--check", "wisdm", code=1).stderr)

    def test_refuses_what_is_not_published(self):
        self.files["raw/phone/accel/data_1600_accel_phone.txt"] = b"changed\n"
        done = self.fetch("wisdm", self.path("there"), code=1, **self.archive())
        self.assertIn("1 of 2 files", done.stderr)

    def test_without_network(self):
        done = self.fetch("wisdm", self.path("there"), code=3, **self.curl("echo 'curl: (6) Could not resolve host' >&2; exit 6"))
        for text in ("Could not resolve host", "By hand", "archive.ics.uci.edu/dataset/507", "--check wisdm"):
            self.assertIn(text, done.stderr)
        self.assertFalse(os.path.exists(self.path("there")))
        self.assertIn("no public archive", self.fetch("sleep", code=3).stderr)
        self.fetch("bicycle", code=2)
        self.fetch("--check", "wisdm", self.path("there"), code=1)

    def test_the_lists_that_come_with_it(self):
        for dataset, count in (("wisdm", 102), ("mhealth", 10)):
            with open(os.path.join(EXAMPLES, "hashes", dataset + ".sha256")) as file:
                lines = [line.split() for line in file]
            self.assertEqual(len({name for _, name in lines}), count)
            self.assertTrue(all(len(line) == 2 and len(bytes.fromhex(line[0])) == 32 for line in lines))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
