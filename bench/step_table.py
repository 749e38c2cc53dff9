#!/usr/bin/env python3
"""Prints the step results under a directory of bench/results as a markdown table, ours beside PyTorch's.

    bench/step_table.py bench/results/epyc-avx512-2026-11-23
"""
import glob
import json
import os
import sys


def main():
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        print(__doc__.strip())
        return 0 if sys.argv[1:] in (["-h"], ["--help"]) else 2
    rows = []
    for path in sorted(glob.glob(os.path.join(sys.argv[1], "*.json"))):
        with open(path) as file:
            result = json.load(file)
        if "median_ms" in result:
            rows.append(result)
    if not rows:
        print("step_table: no step results in " + sys.argv[1], file=sys.stderr)
        return 2
    print("| method | form | threads | kernels | ours, median (min) ms | PyTorch, median (min) ms | ratio of medians (of minima) |")
    print("|---|---|---|---|---|---|---|")
    for r in sorted(rows, key=lambda r: (r["method"], r["form"], -r["threads"], r["impl"], r.get("peer", {}).get("tuned", False))):
        peer = "–" if "peer" not in r else "%s %.1f (%.1f)" % ("tuned" if r["peer"]["tuned"] else "default", r["peer_median_ms"], r["peer_min_ms"])
        ratio = "–" if "peer" not in r else "%.2f (%.2f)" % (r["ratio_of_medians"], r["ratio_of_minima"])
        print("| %s | %s | %d | %s | %.2f (%.2f) | %s | %s |" % (r["method"], r["form"], r["threads"], r["impl"] or "default", r["median_ms"],
                                                              r["min_ms"], peer, ratio))
    return 0


if __name__ == "__main__":
    sys.exit(main())
