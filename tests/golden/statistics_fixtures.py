#!/usr/bin/env python3
"""Fixture of the statistics: what SciPy computes, written to statistics.json beside this script.

    statistics_fixtures.py            write statistics.json
    statistics_fixtures.py --check    compute again and compare with the committed file

Needs scipy 1.7 to 1.16 (Debian: python3-scipy) and numpy. The inputs are in the file too, so the C++ test needs nothing of this script.
Holm's correction is in no SciPy function; `holm` below is its definition (Scandinavian Journal of Statistics 6, 1979) and was checked
by hand on the textbook case. The bootstrap is checked draw by draw: `Philox` is the project's generator in plain Python.
"""
import inspect
import json
import os
import sys
import warnings

import numpy as np
from scipy import stats

PATH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "statistics.json")


class Philox:
    """Philox4x32-10 as kernels/philox.h and core/random.h use it: 64-bit draws, the low pair of words of a block first."""

    def __init__(self, seed):
        self.seed, self.block, self.left = seed, 0, []

    def bits(self):
        if not self.left:
            c = [self.block & 0xFFFFFFFF, self.block >> 32, 0, 0]
            k0, k1 = self.seed & 0xFFFFFFFF, self.seed >> 32
            for _ in range(10):
                p0, p1 = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
                c = [(p1 >> 32) ^ c[1] ^ k0, p1 & 0xFFFFFFFF, (p0 >> 32) ^ c[3] ^ k1, p0 & 0xFFFFFFFF]
                k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
            self.left = [c[0] | c[1] << 32, c[2] | c[3] << 32]
            self.block += 1
        return self.left.pop(0)

    def below(self, n):
        return ((self.bits() >> 32) * n) >> 32


def t_test(a, b):
    result = stats.ttest_rel(a, b)
    return {"a": a, "b": b, "statistic": float(result.statistic), "p": float(result.pvalue)}


def wilcoxon(a, b):
    """Exact up to 25 pairs without ties and zeros, else the normal approximation."""
    d = np.subtract(a, b)
    exact = len(d) <= 25 and not (d == 0).any() and len(set(abs(d))) == len(d)
    mode = "method" if "method" in inspect.signature(stats.wilcoxon).parameters else "mode"  # renamed in SciPy 1.9
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # small samples are the point
        result = stats.wilcoxon(a, b, zero_method="wilcox", correction=False, **{mode: "exact" if exact else "approx"})
    return {"a": a, "b": b, "exact": bool(exact), "statistic": float(result.statistic), "p": float(result.pvalue)}


def holm(p):
    order = np.argsort(p, kind="stable")
    adjusted, highest = [0.0] * len(p), 0.0
    for k, i in enumerate(order):
        highest = max(highest, min(1.0, (len(p) - k) * p[i]))
        adjusted[i] = highest
    return adjusted


def bootstrap(subjects, seed, resamples, level):
    random, ratios = Philox(seed), []
    for _ in range(resamples):
        drawn = [subjects[random.below(len(subjects))] for _ in subjects]
        ratios.append(sum(d[0] for d in drawn) / sum(d[1] for d in drawn))
    low, high = np.quantile(ratios, [(1 - level) / 2, (1 + level) / 2])
    return {"subjects": subjects, "seed": seed, "resamples": resamples, "level": level, "low": float(low), "high": float(high)}


def make():
    random = np.random.RandomState(7)

    def pairs(n, shift, digits=None):
        a = random.normal(0.9, 0.02, n)
        b = a + random.normal(shift, 0.01, n)
        a, b = ((a, b) if digits is None else (a.round(digits), b.round(digits)))
        return a.tolist(), b.tolist()

    plain = [pairs(n, shift) for n, shift in ((2, 0.01), (3, 0.0), (5, 0.02), (10, -0.004), (25, 0.003), (26, 0.003), (60, 0.05))]
    # Whole numbers tie and give differences of zero exactly.
    tied = [(random.randint(0, 6, n).astype(float).tolist(), random.randint(0, 6, n).astype(float).tolist()) for n in (8, 25, 40)]
    seeds = [[pairs(5, 0)[0] for _ in range(4)] for _ in range(2)]  # (case, seed, fold)
    subjects = [[float(random.randint(10, 60)), 60.0 + 5 * i] for i in range(12)]
    return {
        "made_by": "tests/golden/statistics_fixtures.py",
        "t_test": [t_test(a, b) for a, b in plain + tied],
        "wilcoxon": [wilcoxon(a, b) for a, b in plain + tied],
        "holm": [{"p": p, "adjusted": holm(p)} for p in ([0.01, 0.04, 0.03, 0.005], [0.5, 0.9, 0.02], [0.2], random.uniform(size=10).tolist())],
        "over_seeds": [{"values": v, "mean": float(np.mean(np.mean(v, 1))), "deviation": float(np.std(np.mean(v, 1), ddof=1))} for v in seeds],
        "bootstrap": [bootstrap(subjects, 5, 400, 0.95), bootstrap(subjects[:3], 2**40 + 1, 99, 0.8)],
    }


def numbers(value):
    if isinstance(value, dict):
        return [n for v in value.values() for n in numbers(v)]
    if isinstance(value, list):
        return [n for v in value for n in numbers(v)]
    return [] if isinstance(value, str) else [float(value)]


if __name__ == "__main__":
    made = make()
    if "--check" in sys.argv[1:]:
        with open(PATH) as file:
            there = json.load(file)
        np.testing.assert_allclose(numbers(made), numbers(there), rtol=1e-12)
        print("statistics.json: as SciPy says")
    else:
        with open(PATH, "w") as file:
            file.write(json.dumps(made) + "\n")
        print("%8d bytes  statistics.json" % os.path.getsize(PATH))
