#!/usr/bin/env python3
"""Makes docs/benchmarks.md and its figures from the JSON files under bench/results, and the sentences of README.md that hold figures.

    bench/make_docs.py            writes the page
    bench/make_docs.py --plots    and draws the figures, with gnuplot
    bench/make_docs.py --check    writes nothing; fails when a page is not what the files say

The prose is in bench/benchmarks.md.in; a line of it that is {{name ...}} becomes the table of that name. In README.md the text between
<!-- bench --> and <!-- /bench --> is replaced.
"""
import argparse
import glob
import json
import os
import re
import subprocess
import sys

BENCH = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(BENCH)


def read(pattern):
    """[(file name, contents)] of the results that match, in order of name."""
    found = []
    for path in sorted(glob.glob(os.path.join(BENCH, "results", pattern))):
        with open(path, encoding="utf-8") as file:
            found.append((os.path.basename(path), json.load(file)))
    if not found:
        sys.exit("make_docs: no results match bench/results/" + pattern)
    return found


def table(heads, rows):
    lines = ["| " + " | ".join(heads) + " |", "|" + "|".join("---" if i == 0 else "---:" for i in range(len(heads))) + "|"]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def step_order(item):
    r = item[1]
    forms = ["mtl-net", "mtl-net-released", "mtl-net-paper"]
    return (r["method"] != "smooth-distill", r["method"], forms.index(r["form"]) if r["form"] in forms else 9, r["form"], -r["threads"],
            r.get("impl", ""), r.get("peer", {}).get("torch", ""))


def steps(pattern):
    rows = []
    for _, r in sorted(read(pattern), key=step_order):
        row = [r["method"], r["form"], str(r["threads"]), r.get("impl") or "default", "%.2f (%.2f–%.2f)" % (r["median_ms"], r["min_ms"], r["p90_ms"])]
        if "peer" in r:
            p = r["peer"]
            row += ["%s, %s" % (p["torch"].split("+")[0], p.get("set_up", "tuned" if p.get("tuned") else "default")),
                    "%.2f (%.2f)" % (r["peer_median_ms"], r["peer_min_ms"]), "**%.2f** (%.2f)" % (r["ratio_of_medians"], r["ratio_of_minima"])]
        else:
            row += ["–", "–", "–"]
        rows.append(row)
    return table(["method", "form", "threads", "kernels", "ours, ms", "PyTorch", "PyTorch, ms", "ratio of medians (minima)"], rows)


def replicas(pattern):
    rows = [["%.2f (%.2f)" % (r["alone_ms"], r["alone_min_ms"]), "%.2f (%.2f)" % (r["beside_ms"], r["beside_min_ms"]), "**%.2f** (%.2f)" % (r["throughput_ratio"], r["alone_min_ms"] / r["beside_min_ms"])]
            for _, r in read(pattern)]
    return table(["one run, two threads, ms a step", "two runs, one thread each, ms a step of both, halved", "times the throughput (minima)"], rows)


def predictions(pattern):
    rows = []
    for _, r in sorted(read(pattern), key=lambda item: (item[1].get("trained", False), item[1]["form"], item[1]["batch"], item[1]["threads"])):
        p = r["peer"]
        rows.append([r["form"], "trained" if r.get("trained") else "random", str(r["batch"]), str(r["threads"]), "%.3f (%.3f–%.3f)" % (r["infer_median_ms"], r["infer_min_ms"], r["infer_p90_ms"]),
                     "%s, %s" % (p["torch"].split("+")[0], p["how"]), "%.3f (%.3f)" % (r["peer_median_ms"], r["peer_min_ms"]),
                     "**%.2f** (%.2f)" % (r["peer_median_ms"] / r["infer_median_ms"], r["peer_min_ms"] / r["infer_min_ms"])])
    return table(["form", "weights", "batch", "threads", "ours, ms", "PyTorch", "PyTorch, ms", "ratio of medians (minima)"], rows)


def roof(pattern):
    rows = [[str(r["machine"]["threads"]), "%.0f GFLOP/s" % (r["roof"]["flops"] * 1e-9), "%.1f GB/s" % (r["roof"]["bytes"] * 1e-9)]
            for _, r in sorted(read(pattern), key=lambda item: item[1]["machine"]["threads"])]
    return table(["threads", "multiply-adds", "triad"], rows)


def kernels(pattern):
    """A line an op, a column an implementation: median microseconds and the share of the roof."""
    found = read(pattern)[0][1]["results"]
    for r in found:
        if "error" in r:
            sys.exit("make_docs: %s: %s/%s: %s; mend it and measure again" % (pattern, r["name"], r["impl"], r["error"]))
    columns = [name for name in ("simd", "eigen", "openblas", "onednn") if any(r["impl"] == name for r in found)]
    times = {(r["name"], r["impl"]): r for r in found}
    rows = []
    for name in dict.fromkeys(r["name"] for r in found if r["op"] != "step"):
        row = [name]
        for column in columns:
            r = times.get((name, column))
            row.append("–" if r is None else "%.1f (%.0f %%)" % (r["median_us"], 100 * r["of_roof"]))
        rows.append(row)
    return table(["op, µs (of the roof)"] + columns, rows)


def step_roof(pattern):
    rows = []
    for _, r in sorted(read(pattern), key=lambda item: -item[1]["machine"]["threads"]):
        for s in r["results"]:
            if s["op"] == "step":
                floor = s["of_roof"] * s["median_us"] * 1e-3
                rows.append([s["name"].split("/", 1)[1], str(r["machine"]["threads"]), "%.2f" % (s["median_us"] * 1e-3), "%.2f" % floor, "%.2f" % (1 / s["of_roof"])])
    return table(["step", "threads", "median, ms", "floor, ms", "times the floor"], rows)


def scaling(pattern):
    rows = []
    for _, r in sorted(read(pattern), key=lambda item: (item[1]["machine"]["threads"], item[1]["batch"])):
        for s in r["results"]:
            rows.append([str(r["batch"]), str(r["machine"]["threads"]), "%.2f" % (s["median_us"] * 1e-3), "%.0f" % (r["batch"] * 1e6 / s["median_us"])])
    return table(["batch", "threads", "step, ms", "windows a second"], rows)


def loader(pattern):
    rows = []
    for _, r in sorted(read(pattern), key=lambda item: item[1]["results"][0]["windows"]):
        for w in r["results"]:
            rows.append(["{:,}".format(w["windows"]).replace(",", " "), "%.0f" % w["file_mb"], "%.3f" % w["open_s"], "%.2f" % w["split_s"],
                         "%.2f" % w["shuffle_s"], "%.2f" % w["ahead_s"], "%.0f" % w["gather_us"], "%.0f" % w["gather_p90_us"], "%.1f" % w["gather_cached_us"], "%.2f" % w["step_cached_ms"],
                         "%.0f" % w["rss_anon_mb"], "%.0f" % w["rss_file_mb"]])
    return table(["windows", "file, MB", "open, s", "split, s", "shuffle, s", "read ahead, s", "gather from disk, µs", "90 % below", "again, µs", "step, ms", "own memory, MB",
                  "mapped pages, MB"], rows)


def parsing(pattern):
    """Of Google Benchmark's JSON, whose names end in /real_time where the clock of the wall was used."""
    rows = []
    for _, r in read(pattern):
        for b in sorted(r["benchmarks"], key=lambda b: (b["family_index"], b["per_family_instance_index"])):
            if b["aggregate_name"] != "median":
                continue
            clock = "wall" if b["run_name"].endswith("/real_time") else "CPU"
            items = "%.1f million" % (b["items_per_second"] * 1e-6) if "items_per_second" in b else "–"
            rows.append([b["run_name"].replace("/real_time", ""), clock, "%.0f" % (b["bytes_per_second"] * 1e-6), items])
    return table(["what", "clock", "MB a second", "lines or windows a second"], rows)


TABLES = {f.__name__: f for f in (steps, replicas, predictions, roof, kernels, step_roof, scaling, loader, parsing)}


def page():
    with open(os.path.join(BENCH, "benchmarks.md.in"), encoding="utf-8") as file:
        lines = file.read().split("\n")
    out = ["<!-- Made by bench/make_docs.py from bench/benchmarks.md.in and bench/results. -->"]
    for line in lines:
        call = re.fullmatch(r"\{\{(\w+) (\S+)\}\}", line)
        out += TABLES[call[1]](call[2]) if call else [line]
    return "\n".join(out)


def readme():
    """README.md with its figures."""
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
        text = file.read()
    best = {}  # the fastest PyTorch of each version
    for _, r in read("epyc-zen4-*/s*-mtl-net-2*.json"):
        if "peer" not in r or r.get("impl") or r["method"] != "smooth-distill" or r["form"] != "mtl-net":
            continue
        version = r["peer"]["torch"].split("+")[0]
        if version not in best or r["peer_median_ms"] < best[version]["peer_median_ms"]:
            best[version] = r
    newest = sorted(best, key=lambda v: [int(n) for n in re.findall(r"\d+", v)[:2]])
    said = ", ".join("PyTorch %s %.1f ms (%.1f ×)" % (v, best[v]["peer_median_ms"], best[v]["ratio_of_medians"]) for v in reversed(newest))
    ours = sorted(r["median_ms"] for r in best.values())
    sentence = ("A Smooth-Distill step of the default model takes %.1f ms on two Zen 4 cores; taking turns with it, in the best set-up that was tried, %s (medians; "
                "[all figures and how they were measured](docs/benchmarks.md))." % (ours[len(ours) // 2], said))
    return re.sub(r"(<!-- bench -->).*?(<!-- /bench -->)", lambda m: m[1] + sentence + m[2], text, flags=re.S)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--plots", action="store_true")
    arguments = parser.parse_args()
    pages = {os.path.join(ROOT, "docs", "benchmarks.md"): page(), os.path.join(ROOT, "README.md"): readme()}
    stale = []
    for path, text in pages.items():
        with open(path, encoding="utf-8") as file:
            if file.read() != text:
                stale.append(os.path.relpath(path, ROOT))
        if not arguments.check:
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
    if arguments.check and stale:
        sys.exit("make_docs: out of date: %s; run bench/make_docs.py" % ", ".join(stale))
    if arguments.plots:
        subprocess.run([sys.executable, os.path.join(BENCH, "plot.py")], check=True)


if __name__ == "__main__":
    main()
