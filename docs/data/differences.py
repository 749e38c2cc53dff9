#!/usr/bin/env python3
"""The tables of docs/reproducibility.md from the results of `retort experiment differences`.

    differences.py DIRECTORY      holds differences-*/runs.csv, or differences-*.csv as they lie beside this script

Prints, for each question, the rows (mean over seeds, standard deviation) and the differences between rows paired by seed, with their
95 % interval (Student's t over the seeds). Standard library only.
"""
import csv
import math
import os
import statistics
import sys

# Two-sided 95 % quantiles of Student's t by degrees of freedom.
T95 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}
FIGURES = ("test_accuracy_1", "test_f1_1", "test_accuracy_2")
NAMES = ["differences-" + name for name in ("geometry", "layout", "model", "split", "selection", "ema")]
OTHERS = ("seed", "fold", "run", "best_epoch")


def read(directory, name):
    """{row's keys: {seed: {figure: value}}}, in the order of the file."""
    path = os.path.join(directory, name, "runs.csv")
    if not os.path.exists(path):
        path = os.path.join(directory, name + ".csv")
    if not os.path.exists(path):
        sys.exit("differences.py: neither %s/runs.csv nor %s.csv is in %s" % (name, name, directory))
    rows = {}
    with open(path, newline="") as file:
        for line in csv.DictReader(file):
            key = tuple((k, v) for k, v in line.items() if k not in OTHERS and not k.startswith(("test_", "val_")))
            rows.setdefault(key, {})[int(line["seed"])] = {figure: float(line[figure]) for figure in FIGURES}
    return rows


def varied(rows):
    """Names of the keys in which rows differ."""
    values = {}
    for key in rows:
        for name, value in key:
            values.setdefault(name, set()).add(value)
    return [name for name, seen in values.items() if len(seen) > 1]


def label(key, names):
    return ", ".join(value for name, value in key if name in names)


def print_rows(rows):
    print("| %s | seeds | %s |" % (", ".join(varied(rows)), " | ".join(FIGURES)))
    print("|---|---|%s" % ("---|" * len(FIGURES)))
    for key, seeds in rows.items():
        cells = []
        for figure in FIGURES:
            values = [seed[figure] for seed in seeds.values()]
            cells.append("%.2f ± %.2f" % (statistics.mean(values), statistics.stdev(values)) if len(values) > 1 else "%.2f" % values[0])
        print("| %s | %d | %s |" % (label(key, varied(rows)), len(seeds), " | ".join(cells)))
    print()


def difference(a, b, figure):
    """Of two rows over the seeds that both have: pairs, mean, half the width of its 95 % interval."""
    values = [a[seed][figure] - b[seed][figure] for seed in a if seed in b]
    if len(values) < 2:
        return len(values), values[0] if values else math.nan, math.nan
    return len(values), statistics.mean(values), T95[len(values) - 1] * statistics.stdev(values) / math.sqrt(len(values))


def print_differences(rows, pairs):
    print("| difference | pairs | %s |" % " | ".join(FIGURES))
    print("|---|---|%s" % ("---|" * len(FIGURES)))
    for a, b in pairs:
        changed = [x[0] for x, y in zip(a, b) if x != y]
        same = label(a, [name for name in varied(rows) if name not in changed])
        cells = []
        for figure in FIGURES:
            count, mean, half = difference(rows[a], rows[b], figure)
            cells.append("%+.2f ± %.2f" % (mean, half))
        print("| %s − %s%s | %d | %s |" % (label(a, changed), label(b, changed), same and " (%s)" % same, count, " | ".join(cells)))
    print()


def neighbours(rows):
    """Pairs of rows that differ in one key."""
    keys = list(rows)
    return [(b, a) for i, a in enumerate(keys) for b in keys[i + 1:] if sum(x != y for x, y in zip(a, b)) == 1]


def main():
    if "--help" in sys.argv or "-h" in sys.argv:
        print(__doc__)
        return
    directory = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.abspath(__file__))
    for name in NAMES:
        rows = read(directory, name)
        print("## %s\n" % name)
        print_rows(rows)
        pairs = neighbours(rows)
        if name == "differences-selection":  # as released: the best epoch of one method against the last one of the other
            find = lambda method, select: next(key for key in rows if ("method", method) in key and ("select", select) in key)
            pairs.append((find("smooth-distill", "best-task1"), find("multi-task", "last")))
        print_differences(rows, pairs)


if __name__ == "__main__":
    main()
