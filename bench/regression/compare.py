#!/usr/bin/env python3
"""Counts instructions and compares them with the baseline; bench/regression.sh says how it is used."""
import argparse
import concurrent.futures
import json
import os
import re
import signal
import subprocess
import sys
import tempfile

REGRESSION, TROUBLE, NO_BASELINE = 1, 2, 3
HERE = os.path.dirname(os.path.abspath(__file__))


class Trouble(Exception):
    """Something that keeps us from counting."""


def output_of(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise Trouble("%s: %s" % (command[0], (getattr(error, "stderr", None) or str(error)).strip().splitlines()[-1])) from error


def setup_of(build):
    """All that a count depends on beside the code: what CMake wrote down, the C library, and the processor that valgrind plays."""
    path = os.path.join(build, "regression_setup.json")
    try:
        with open(path) as file:
            setup = json.load(file)
    except (OSError, ValueError) as error:
        raise Trouble("%s: %s; configure the build again" % (path, error)) from error
    setup["libc"] = " ".join(os.confstr("CS_GNU_LIBC_VERSION").split())
    setup["valgrind"] = output_of("valgrind", "--version").strip()
    return setup


def count(program, workload):
    """Instructions of `measured_work`, in a process that knows as little as possible of its surroundings."""
    with tempfile.TemporaryDirectory(prefix="retort-callgrind-") as directory:
        profile = os.path.join(directory, "out")
        command = ["valgrind", "--tool=callgrind", "--toggle-collect=measured_work", "--callgrind-out-file=" + profile, program, workload]
        environment = {key: os.environ[key] for key in ("PATH", "TMPDIR") if key in os.environ}
        # glibc fills and copies large blocks with one instruction that is counted once a byte; with vectors, less hides behind that.
        environment["GLIBC_TUNABLES"] = "glibc.cpu.x86_rep_stosb_threshold=%d:glibc.cpu.x86_rep_movsb_threshold=%d" % (1 << 40, 1 << 40)
        run = subprocess.run(command, capture_output=True, text=True, env=environment)
        if run.returncode in (-signal.SIGILL, 128 + signal.SIGILL) or "SIGILL" in run.stderr:
            raise Trouble("%s: this build has instructions that valgrind does not know; configure it with -DRETORT_ARCH=x86-64-v3" % workload)
        if run.returncode != 0:
            raise Trouble("%s: ended with %d: %s" % (workload, run.returncode, (run.stderr.strip().splitlines() or ["no message"])[-1]))
        with open(profile) as file:
            totals = re.findall(r"^(?:summary|totals):\s*(\d+)", file.read(), re.MULTILINE)
        if not totals or int(totals[-1]) == 0:
            raise Trouble("%s: callgrind counted nothing; is `measured_work` still a function of its own?" % workload)
        return int(totals[-1])


def count_all(build):
    program = os.path.join(build, "bench_regression_workloads")
    workloads = output_of(program).split()
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return dict(zip(workloads, pool.map(lambda workload: count(program, workload), workloads)))


def compare(baseline, now, tolerance):
    """Prints the table; returns the names of what became slower, faster, and is not in the baseline."""
    slower, faster, new = [], [], []
    print("%-18s %16s %16s %9s" % ("instructions", "baseline", "now", "change"))
    for workload, instructions in now.items():
        if workload not in baseline:
            new.append(workload)
            print("%-18s %16s %16s %9s" % (workload, "-", format(instructions, ","), "new"))
            continue
        before = baseline[workload]
        change = 100.0 * (instructions - before) / before
        (slower if change > tolerance else faster if change < -tolerance else []).append(workload)
        print("%-18s %16s %16s %+8.2f%%%s" % (workload, format(before, ","), format(instructions, ","), change,
                                             "  REGRESSION" if change > tolerance else ""))
    return slower, faster, new


def load(path):
    if not os.path.exists(path):
        return []
    try:
        with open(path) as file:
            return json.load(file)["baselines"]
    except (ValueError, KeyError) as error:
        raise Trouble("%s: not a baseline: %s" % (path, error)) from error


def update(path, baselines, setup, now):
    others = [entry for entry in baselines if entry["setup"] != setup]
    with open(path, "w") as file:
        json.dump({"what": "instructions under callgrind, made by bench/regression.sh --update",
                   "baselines": others + [{"setup": setup, "instructions": now}]}, file, indent=1)
        file.write("\n")
    print("baseline for %s written to %s" % (short(setup), path))


def short(setup):
    return ", ".join("%s %s" % item for item in setup.items())


def run(arguments):
    setup = setup_of(arguments.build)
    baselines = load(arguments.baseline)
    known = next((entry["instructions"] for entry in baselines if entry["setup"] == setup), None)
    if known is None and not arguments.update:  # say so before minutes are spent
        print("regression: no baseline for this compiler and these libraries: %s\nCount a commit that you trust with --update, then "
              "compare; known are:" % short(setup), file=sys.stderr)
        for entry in baselines:
            print("  " + short(entry["setup"]), file=sys.stderr)
        return NO_BASELINE
    now = count_all(arguments.build)
    slower, faster, new = compare(known or {}, now, arguments.tolerance)
    if arguments.update:
        update(arguments.baseline, baselines, setup, now)
        return 0
    if faster:
        print("fewer instructions than before: %s; --update keeps that" % ", ".join(faster))
    if slower:
        print("regression: more than %g%% more instructions: %s" % (arguments.tolerance, ", ".join(slower)), file=sys.stderr)
        return REGRESSION
    if new:
        print("regression: without a baseline: %s; --update adds it" % ", ".join(new), file=sys.stderr)
        return NO_BASELINE
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", required=True)
    parser.add_argument("--tolerance", type=float, default=2.0)
    parser.add_argument("--update", action="store_true")
    parser.add_argument("--baseline", default=os.path.join(HERE, "baseline.json"))
    try:
        return run(parser.parse_args())
    except Trouble as error:
        print("regression: %s" % error, file=sys.stderr)
        return TROUBLE


if __name__ == "__main__":
    sys.exit(main())
