#!/usr/bin/env python3
"""Makes the golden fixtures: what PyTorch computes in float64, for the C++ tests to compare the engine with.

PyTorch is the yardstick because everyone in the field can check it; float64 because then a difference is ours and not PyTorch's own
float32 rounding. Inputs are float32 numbers that both sides hold exactly (large ones by the formulas in hashed.py, so they need no
file), outputs are rounded to float32 only when stored. The tests are tests/core_golden_test.cpp and tests/nn_golden_test.cpp; no
Python runs in them, the fixtures are committed.

    make_golden.py                 write all fixtures beside this script
    make_golden.py --check         make them again in memory and compare with the committed ones
    make_golden.py --export DIR    write the formula's weights and windows as files, e.g. to train from them with `retort train --init`
    make_golden.py --float32       print how far PyTorch's own float32 departs from its float64 over the 20 steps

Needs PyTorch 1.13 or newer (Debian: python3-torch) and numpy.
"""
import argparse
import json
import os
import sys

import numpy as np
import torch

import hashed
import metric_fixtures
import op_fixtures
import recurrent_fixtures
import safetensors_io
import training_fixtures

HERE = os.path.dirname(os.path.abspath(__file__))


def makers():
    """File name -> function that returns (arrays, metadata), or a dict for JSON."""
    files = {"ops.safetensors": op_fixtures.make, "optimizers.safetensors": training_fixtures.optimizers,
             "ema.safetensors": training_fixtures.ema, "sd_dropout.safetensors": training_fixtures.sd_dropout,
             "cross_task.safetensors": training_fixtures.cross_task, "metrics.json": metric_fixtures.make,
             "recurrent.safetensors": recurrent_fixtures.make}
    for form in training_fixtures.FORMS:
        files["model_%s.safetensors" % form] = lambda form=form: training_fixtures.model(form)
        files["smooth_distill_%s.safetensors" % form] = lambda form=form: training_fixtures.smooth_distill(form)
    return files


def write(path, content):
    if path.endswith(".json"):
        with open(path, "w") as file:
            file.write(json.dumps(content, indent=1) + "\n")
    else:
        arrays, metadata = content
        safetensors_io.save(path, arrays, {**metadata, "made_by": "tests/golden/make_golden.py"})
    print("%8d bytes  %s" % (os.path.getsize(path), os.path.basename(path)))


def numbers(value):
    """All numbers of a nested JSON value, flat."""
    if isinstance(value, dict):
        return [n for v in value.values() for n in numbers(v)]
    if isinstance(value, list):
        return [n for v in value for n in numbers(v)]
    return [float(value)] if isinstance(value, (int, float)) else []


def differences(path, content, tolerance):
    """One line for each array that differs from the committed file by more than `tolerance` relative to its norm."""
    if path.endswith(".json"):
        with open(path) as file:
            committed, made = {"all": np.array(numbers(json.load(file)))}, {"all": np.array(numbers(content))}
    else:
        committed, made = safetensors_io.load(path)[0], content[0]
    for name in sorted(set(committed) ^ set(made)):
        yield "%s: %s is only in the %s" % (os.path.basename(path), name, "file" if name in committed else "newly made set")
    for name in sorted(set(committed) & set(made)):
        a, b = np.asarray(committed[name], np.float64), np.asarray(made[name], np.float64)
        if a.shape != b.shape:
            yield "%s: %s has shape %s, made anew %s" % (os.path.basename(path), name, a.shape, b.shape)
            continue
        error = np.linalg.norm(a - b) / max(np.linalg.norm(a), 1e-30)
        # Mathematically zero gradients are rounding noise: an absolute floor for those.
        if not error <= tolerance and np.linalg.norm(a - b) > 1e-12:
            yield "%s: %s differs by %.3g relative" % (os.path.basename(path), name, error)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with the committed files instead of writing")
    parser.add_argument("--tolerance", type=float, default=1e-6, help="for --check, relative (default 1e-6)")
    parser.add_argument("--only", default="", metavar="TEXT", help="only files whose name contains TEXT")
    parser.add_argument("--export", metavar="DIR", help="write weights_<form>.safetensors and windows.safetensors to DIR")
    parser.add_argument("--float32", action="store_true", help="report PyTorch's own float32 error over the 20 steps")
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # one order of summation
    if arguments.export:
        return training_fixtures.export(arguments.export)
    if arguments.float32:
        return training_fixtures.report_float32()
    files = {name: maker for name, maker in makers().items() if arguments.only in name}
    if not files:
        parser.error("no fixture's name contains '%s'" % arguments.only)
    wrong = 0
    for name, maker in files.items():
        path = os.path.join(HERE, name)
        if not arguments.check:
            write(path, maker())
            continue
        for line in differences(path, maker(), arguments.tolerance):
            print(line, file=sys.stderr)
            wrong += 1
    if arguments.check:
        print("%d fixture files checked, %d differences (PyTorch %s)" % (len(files), wrong, torch.__version__))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
