#!/usr/bin/env python3
"""Draws docs/figures/roofline.svg and docs/figures/scaling.svg from bench/results with gnuplot.

    bench/plot.py [--png DIR]      --png: also as pictures for a quick look
"""
import argparse
import glob
import json
import os
import subprocess

BENCH = os.path.dirname(os.path.abspath(__file__))
FIGURES = os.path.join(os.path.dirname(BENCH), "docs", "figures")
COLOURS = {"simd": "#0b6e4f", "eigen": "#c8553d", "openblas": "#6d597a", "onednn": "#1d6fa5"}
NAMES = {"simd": "Retort, SIMD", "eigen": "Retort, Eigen", "openblas": "OpenBLAS", "onednn": "oneDNN"}


def read(pattern):
    results = []
    for path in sorted(glob.glob(os.path.join(BENCH, "results", pattern))):
        with open(path, encoding="utf-8") as file:
            results.append(json.load(file))
    return results


def block(name, rows):
    return "$%s << EOD\n%s\nEOD\n" % (name, "\n".join(" ".join("%g" % v for v in row) for row in rows))


HEAD = """set font ',11'
set border 3 lc '#666666'
set tics nomirror
set grid lc '#dddddd' lt 1
set key opaque samplen 1
"""


def roofline(bench):
    """GFLOP/s of each op over its flops a byte, below what the machine can do."""
    flops, bytes_ = bench["roof"]["flops"] * 1e-9, bench["roof"]["bytes"] * 1e-9
    text, plots = HEAD, ["min(%g, %g * x) lw 2 lc '#333333' title 'roof: %.0f GFLOP/s, %.0f GB/s from memory'" % (flops, bytes_, flops, bytes_)]
    for impl, colour in COLOURS.items():
        rows = [(r["flops"] / r["bytes"], r["flops"] / r["median_us"] * 1e-3) for r in bench["results"]
                if r["impl"] == impl and r.get("flops") and r["op"] != "step" and "median_us" in r]
        if rows:
            text += block(impl, rows)
            plots.append("$%s with points pt 7 ps 0.7 lc '%s' title '%s'" % (impl, colour, NAMES[impl]))
    rows = [(r["flops"] / r["bytes"], r["flops"] / r["median_us"] * 1e-3) for r in bench["results"] if r["op"] == "step" and "median_us" in r]
    if rows:
        text += block("step", rows)
        plots.append("$step with points pt 9 ps 1.1 lc '#000000' title 'whole training steps'")
    text += """set logscale xy
min(a, b) = a < b ? a : b
set xrange [1:300]
set yrange [1:%g]
set xlabel 'flops a byte'
set ylabel 'GFLOP/s'
set key bottom right
set title 'Layers at batch %d, %d threads' noenhanced
plot %s
""" % (flops * 1.6, bench["batch"], bench["machine"]["threads"], ", ".join(plots))
    return text, "760,460"


def scaling(batches, loaders):
    text, plots = HEAD, []
    threads = sorted({r["machine"]["threads"] for r in batches})
    for t in threads:
        text += block("b%d" % t, sorted((r["batch"], r["batch"] * 1e6 / s["median_us"]) for r in batches if r["machine"]["threads"] == t for s in r["results"]))
        plots.append("$b%d with linespoints pt 7 ps 0.6 lw 2 lc '%s' title '%d thread%s'" % (t, list(COLOURS.values())[t % 4], t, "s" if t > 1 else ""))
    text += "set multiplot layout 1,3\nset logscale x\nset yrange [0:*]\nset key bottom right\nset xlabel 'batch'\nset ylabel 'windows a second'\nset title 'Smooth-Distill step'\n"
    text += "plot %s\n" % ", ".join(plots)
    at64 = sorted((r["machine"]["threads"], 64e6 / s["median_us"]) for r in batches if r["batch"] == 64 for s in r["results"])
    text += block("t", at64) + "unset logscale x\nset xtics 1\nset xrange [0.5:%g]\nset xlabel 'threads'\nset title 'Batch 64'\n" % (max(t for t, _ in at64) + 0.5)
    text += "plot $t with linespoints pt 7 lw 2 lc '%s' title 'measured', %g * x lc '#999999' dt 2 title 'in proportion'\n" % (COLOURS["simd"], at64[0][1] / at64[0][0])
    everything = sorted((w for r in loaders for w in r["results"]), key=lambda w: w["windows"])
    rows = sorted((w for r in loaders if not r.get("busy") for w in r["results"]), key=lambda w: w["windows"])
    for key, scale in (("gather_us", 1e-3), ("gather_cached_us", 1e-3), ("step_cached_ms", 1)):
        text += block(key, [(w["windows"], w[key] * scale) for w in rows])
    text += block("anon", [(w["windows"], w["rss_anon_mb"]) for w in everything])
    text += """set xtics auto
set xrange [500:2e7]
set logscale xy
set format x '10^{%%T}'
set yrange [0.001:*]
set xlabel 'windows in the file'
set ylabel 'ms, MB'
set title 'Training from a file'
set key bottom right maxrows 2 samplen 1 width 1
plot $step_cached_ms with linespoints pt 7 lw 2 lc '%s' title 'step, ms', $gather_us with linespoints pt 7 lw 2 lc '%s' title 'from disk, ms', \\
     $gather_cached_us with linespoints pt 6 lw 2 lc '%s' title 'again, ms', \\
     $anon with linespoints pt 7 lw 2 lc '%s' title 'memory, MB'
unset multiplot
""" % (COLOURS["simd"], COLOURS["eigen"], COLOURS["eigen"], COLOURS["onednn"])
    return text, "1140,380"


def draw(name, figure, png):
    text, size = figure
    outputs = [("svg size %s background '#ffffff' dynamic font 'sans,11'" % size, os.path.join(FIGURES, name + ".svg"))]
    if png:
        outputs.append(("pngcairo size %s" % size, os.path.join(png, name + ".png")))
    for terminal, path in outputs:
        subprocess.run(["gnuplot"], input="set terminal %s\nset output '%s'\n%s" % (terminal, path, text), text=True, check=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--png", metavar="DIR")
    arguments = parser.parse_args()
    os.makedirs(FIGURES, exist_ok=True)
    benches = read("epyc-avx512-*/bench-*.json")
    draw("roofline", roofline(max(benches, key=lambda b: b["machine"]["threads"])), arguments.png)
    draw("scaling", scaling(read("epyc-avx512-*/scaling-*.json"), read("epyc-avx512-*/loader*.json")), arguments.png)


if __name__ == "__main__":
    main()
