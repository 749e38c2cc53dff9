"""`mpirun -n N retort experiment`: on one machine, with a rank killed, and across two machines made of network namespaces.

    mpi_command_test.py RETORT

Standard library only. Without Open MPI nothing is tested but the message that says so; the namespaces need root and `ip` and `unshare`.
"""
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

RETORT = sys.argv[1]
TABLES = ("results.csv", "results.tex", "tests.csv", "classes.csv", "runs.csv")
GRID = """title = "Small"
[grid]
method = ["multi-task", "smooth-distill"]
fold = [0, 1]
seed = [0, 1]
epochs = 2
train_fraction = 0.5
"""
BUILT_IN = "not built in" not in subprocess.run([RETORT, "info"], capture_output=True, text=True, check=True).stdout
MPIRUN = shutil.which("mpirun") if BUILT_IN else None
# Root is who runs the tests in a container. What libmpi leaks at its end is its own.
ENVIRONMENT = {**os.environ, "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "ASAN_OPTIONS": "detect_leaks=0"}


def ranks_of(mpirun):
    """Process numbers of mpirun's ranks."""
    children = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/stat" % entry) as file:
                name, rest = file.read().rsplit(") ", 1)
            if int(rest.split()[1]) == mpirun and name.endswith("(retort"):
                children.append(int(entry))
        except OSError:
            pass
    return children


@unittest.skipIf(BUILT_IN, "built with MPI")
class WithoutMpi(unittest.TestCase):
    def test_says_what_to_install(self):
        done = subprocess.run([RETORT, "experiment", "table5", "--data", "x", "--out", "y"], env={**os.environ, "OMPI_COMM_WORLD_SIZE": "2"},
                              capture_output=True, text=True)
        self.assertEqual(done.returncode, 2)
        self.assertIn("libopenmpi-dev", done.stderr)


@unittest.skipUnless(MPIRUN, "needs Open MPI: apt-get install libopenmpi-dev openmpi-bin, and configure again")
class Mpirun(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        directory = tempfile.TemporaryDirectory(prefix="retort-mpi-")
        cls.addClassCleanup(directory.cleanup)
        cls.directory = directory.name
        subprocess.run([RETORT, "data", "synth", "--out", cls.path("raw"), "--subjects", "7", "--seconds", "5"], check=True, capture_output=True)
        subprocess.run([RETORT, "data", "prepare", "--dataset", "sleep", "--raw", cls.path("raw"), "--out", cls.path("data.safetensors")], check=True,
                       capture_output=True)
        with open(cls.path("grid.toml"), "w") as file:
            file.write(GRID)
        alone = subprocess.run(cls.command("alone"), capture_output=True, text=True, timeout=300)
        assert alone.returncode == 0, alone.stderr
        cls.expected = cls.tables("alone")

    @classmethod
    def path(cls, *names):
        return os.path.join(cls.directory, *names)

    @classmethod
    def command(cls, out, *more):
        return [RETORT, "experiment", cls.path("grid.toml"), "--data", cls.path("data.safetensors"), "--out", cls.path(out), "--threads", "1", *more]

    @classmethod
    def tables(cls, out):
        texts = {}
        for name in TABLES:
            with open(cls.path(out, "grid", name)) as file:
                texts[name] = file.read()
        return texts

    def mpirun(self, ranks, *command):
        return [MPIRUN, "--oversubscribe", "--bind-to", "none", "-n", str(ranks), *command]

    def test_three_ranks_make_the_tables_of_one_process(self):
        done = subprocess.run(self.mpirun(3, *self.command("three")), env=ENVIRONMENT, capture_output=True, text=True, timeout=300)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stdout.count("written:"), 1)  # by rank 0
        self.assertEqual(self.tables("three"), self.expected)
        again = subprocess.run(self.mpirun(2, *self.command("three")), env=ENVIRONMENT, capture_output=True, text=True, timeout=100)
        self.assertIn("8 runs, 8 finished", again.stdout, again.stderr)

    def test_a_rank_that_dies_loses_its_run_only(self):
        seed = random.randrange(2**32)
        chance = random.Random(seed)
        for kills in range(4):
            process = subprocess.Popen(self.mpirun(2, *self.command("killed")), env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            try:
                process.wait(chance.uniform(0.3, 1.5) if kills < 3 else 300)
            except subprocess.TimeoutExpired:
                ranks = ranks_of(process.pid)
                victim = chance.choice(ranks) if ranks and chance.random() < 0.7 else process.pid
                how = signal.SIGTERM if victim == process.pid else signal.SIGKILL
                try:
                    os.kill(victim, how)
                except ProcessLookupError:
                    pass
            error = process.communicate(timeout=100)[1].decode()
            if process.returncode == 0:
                break
        self.assertEqual(process.returncode, 0, (seed, error))
        self.assertEqual(self.tables("killed"), self.expected, seed)

    def test_refuses_jobs(self):
        done = subprocess.run(self.mpirun(1, *self.command("jobs", "--jobs", "2")), env=ENVIRONMENT, capture_output=True, text=True, timeout=100)
        self.assertEqual(done.returncode, 2)
        self.assertIn("under mpirun, -n is the number of processes", done.stderr)

    @unittest.skipUnless(os.geteuid() == 0 and shutil.which("ip") and shutil.which("unshare"), "needs root, ip and unshare")
    def test_two_network_namespaces(self):
        a, b = "retort%da" % os.getpid(), "retort%db" % os.getpid()
        ip = lambda *arguments: subprocess.run(["ip", *arguments], capture_output=True, text=True)
        made = ip("netns", "add", a)
        if made.returncode:
            self.skipTest("no network namespaces here: " + made.stderr)
        self.addCleanup(ip, "netns", "del", a)
        ip("netns", "add", b)
        self.addCleanup(ip, "netns", "del", b)
        for arguments in (["link", "add", "wire", "netns", a, "type", "veth", "peer", "name", "wire", "netns", b],
                          ["-n", a, "addr", "add", "10.77.3.1/24", "dev", "wire"], ["-n", b, "addr", "add", "10.77.3.2/24", "dev", "wire"],
                          *(["-n", space, "link", "set", device, "up"] for space in (a, b) for device in ("wire", "lo"))):
            made = ip(*arguments)
            if made.returncode:
                self.skipTest("no virtual wire here: " + made.stderr)
        # In the place of ssh: the other machine is the other namespace, with a name of its own so that nobody takes it for this one.
        with open(self.path("agent"), "w") as file:
            file.write("#!/bin/sh\nshift\nexec ip netns exec %s unshare --uts sh -c 'hostname %s && exec sh -c \"$0\"' \"$*\"\n" % (b, b))
        os.chmod(self.path("agent"), 0o755)
        here = ["ip", "netns", "exec", a, "unshare", "--uts", "sh", "-c", 'hostname %s && exec "$@"' % a, "sh"]
        mpi = [MPIRUN, "--host", "10.77.3.1,10.77.3.2", "--mca", "plm_rsh_agent", self.path("agent"), "--mca", "oob_tcp_if_include", "10.77.3.0/24",
               "--mca", "btl", "tcp,self", "--mca", "btl_tcp_if_include", "10.77.3.0/24", "--bind-to", "none", "-n", "2"]
        names = subprocess.run([*here, *mpi, "hostname"], env=ENVIRONMENT, capture_output=True, text=True, timeout=100)
        self.assertEqual(set(names.stdout.split()), {a, b}, names.stderr)
        done = subprocess.run([*here, *mpi, *self.command("wire")], env=ENVIRONMENT, capture_output=True, text=True, timeout=300)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.tables("wire"), self.expected)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
