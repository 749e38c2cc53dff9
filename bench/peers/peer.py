"""What the PyTorch peers beside this file share: what they run on, figures of a list of times, and the end of their output."""
import json
import os
import platform
import re
import statistics
import sys


def import_golden():
    """Makes the models and losses of tests/golden importable, without leaving __pycache__ there."""
    sys.dont_write_bytecode = True
    sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tests", "golden"))


def loaded_blas():
    """The BLAS and OpenMP libraries mapped into this process, e.g. 'openblas (openmp)': what decides the speed of matrix products."""
    with open("/proc/self/maps") as maps:
        files = {line.split()[-1] for line in maps if ".so" in line}
    found = sorted({os.path.realpath(f) for f in files if re.search(r"(blas|mkl_rt|mkl_core|blis|torch_cpu|gomp|iomp|omp\.so)", f)})
    kinds = []
    for path in found:
        if "openblas" in path:
            kinds.append("openblas (%s)" % ("openmp" if "openmp" in path else "pthread: slow, see README.md" if "pthread" in path
                                            else "unknown threading"))
        elif "mkl" in os.path.basename(path):
            kinds.append("mkl")
        elif "blis" in path:
            kinds.append("blis")
        elif re.search(r"libblas\.so", path):
            kinds.append("reference blas: very slow, see README.md")
    return sorted(set(kinds)), found


def machine():
    with open("/proc/cpuinfo") as info:
        model = next((line.split(":")[1].strip() for line in info if line.startswith("model name")), platform.processor())
    return {"cpu": model, "cpus_usable": len(os.sched_getaffinity(0)), "system": platform.platform(), "python": platform.python_version()}


def spread(times):
    """Median, fastest and 90th percentile of milliseconds."""
    times = sorted(times)
    return {"median_ms": statistics.median(times), "min_ms": times[0], "p90_ms": times[int(0.9 * (len(times) - 1))]}


def save(path, result):
    """Writes `result` as JSON to `path`, if it is a file."""
    if path and path != "-":
        with open(path, "w") as file:
            file.write(json.dumps(result, indent=1) + "\n")


def deliver(path, result, lines):
    """Prints `lines` and saves `result`; with the path '-' that is what goes to stdout, and nothing else."""
    if path == "-":
        sys.stdout.write(json.dumps(result, indent=1) + "\n")
        return
    for line in lines:
        print(line)
    save(path, result)
