#!/usr/bin/env python3
"""Puts together what the stages of gpu_check.sh left: <out>.json with everything, <out>.md with the tables, which are also printed.

A number that no stage measured is "not measured"; every ratio stands beside both of its times.
"""
import argparse
import json
import os
import sys
import time

MISSING = "not measured"


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("logs", "out", "gpu", "capability", "driver", "nvcc", "commit"):
        parser.add_argument("--" + name, required=True)
    return parser.parse_args()


def read_json(path):
    """None when the stage wrote nothing, or was cut off in the middle of it."""
    try:
        with open(path) as file:
            return json.load(file)
    except (OSError, ValueError):
        return None


def read_stages(path):
    stages = []
    if os.path.exists(path):
        with open(path) as file:
            for line in file:
                name, state, seconds, note = line.rstrip("\n").split("\t")
                stages.append({"name": name, "state": state, "seconds": int(seconds), "note": note})
    return stages


def number(value, form="%.1f"):
    return MISSING if value is None else form % value


def ratio(other, ours):
    return MISSING if other is None or ours is None else "%.2f" % (other / ours)


def dig(tree, *path):
    for key in path:
        if not isinstance(tree, dict) or key not in tree:
            return None
        tree = tree[key]
    return tree


def table(heading, rows):
    if not rows:
        return [MISSING]
    return ["| " + " | ".join(heading) + " |", "|" + "---|" * len(heading)] + ["| " + " | ".join(map(str, row)) + " |" for row in rows]


def step_rows(parts):
    """Ours by graph, eager and with TF32, against PyTorch's eager and best."""
    peers = dig(parts["peer_step"], "set_ups") or {}
    best = dig(parts["peer_step"], "best")
    times = {"PyTorch eager": dig(peers, "eager", "median_us"), "PyTorch best (%s)" % (best or "?"): dig(peers, best, "median_us")}
    rows = []
    for name, title in (("step_graph", "graph replay"), ("step_eager", "eager"), ("step_tf32", "graph replay, TF32")):
        ours = dig(parts[name], "median_us")
        rows.append([title, number(ours)] + [cell for time in times.values() for cell in (number(time), ratio(time, ours))])
    return ["Retort, Smooth-Distill, batch 64", "us a step"] + [h for t in times for h in (t + ", us", "times")], rows


def replica_rows(parts):
    r = parts["replicas"]
    if r is None:
        return []
    return [[r["together"], number(1e3 * r["alone_ms"]), number(1e3 * r["beside_ms"]), "%.2f" % r["throughput_ratio"]]]


def twin_rows(parts):
    """Each bench of kernels: ours, each twin, and the fastest twin over ours."""
    by_name = {}
    for r in dig(parts["kernels"], "results") or []:
        by_name.setdefault(r["name"], {})[r["impl"]] = r.get("error") or r.get("median_us")
    rows = []
    for name, implementations in by_name.items():
        # cuDNN's pooling tells no indices, so that twin is our kernel and cuDNN's after each other: no comparison.
        ours_too = ("cuda", "by_shape") + (("cudnn",) if name.startswith("max_pool2d") else ())
        times = {k: v for k, v in implementations.items() if isinstance(v, float) and k not in ours_too}
        wrong = ["%s: %s" % (k, v) for k, v in implementations.items() if isinstance(v, str)]
        ours = implementations.get("cuda")
        ours = ours if isinstance(ours, float) else None
        fastest = min(times.values()) if times else None
        rows.append([name, number(ours), ", ".join("%s %.1f" % item for item in times.items()) or MISSING, ratio(fastest, ours), "; ".join(wrong)])
    return rows


def loss_rows(parts):
    peers = {row["rows"]: row for row in dig(parts["peer_loss"], "losses") or []}
    ours = {row["rows"]: row["us"] for row in dig(parts["points"], "losses") or []}
    rows = []
    for n in sorted(set(peers) | set(ours)):
        eager, graph = dig(peers.get(n), "eager", "median_us"), dig(peers.get(n), "graph", "median_us")
        rows.append([n, number(ours.get(n)), number(eager), ratio(eager, ours.get(n)), number(graph), ratio(graph, ours.get(n))])
    return rows


def adam_rows(parts):
    adam, copy = dig(parts["points"], "adam_ema"), dig(parts["points"], "copy_gbs")
    if adam is None or copy is None:
        return []
    return [["%.0f M" % (adam["parameters"] / 1e6), number(adam["us"]), number(adam["gbs"]), number(copy), "%.1f %%" % (100 * adam["gbs"] / copy)]]


def markdown(result, parts):
    lines = ["# %s, compute capability %s, driver %s" % (result["gpu"], result["compute_capability"], result["driver"]), "",
             "%s, commit %s, nvcc %s. Times are medians; ratios are the other's time over ours." % (result["date"], result["commit"], result["nvcc"] or "?"), ""]
    lines += table(("stage", "result", "seconds", ""), [(s["name"], s["state"], s["seconds"], s["note"]) for s in result["stages"]])
    heading, rows = step_rows(parts)
    lines += ["", "## Training step", ""] + table(heading, rows)
    lines += ["", "## Runs side by side (--ensemble)", ""]
    lines += table(("runs", "a step of one alone, us", "a step of all, by their number, us", "times the throughput"), replica_rows(parts))
    lines += ["", "## Two-task loss and its gradients, 18 and 2 classes", ""]
    lines += table(("rows", "one launch, us", "PyTorch eager, us", "times", "PyTorch in a CUDA graph, us", "times"), loss_rows(parts))
    lines += ["", "## Adam with the moving average", ""]
    lines += table(("parameters", "us", "GB/s", "copy, GB/s", "of the copy"), adam_rows(parts))
    lines += ["", "## Kernels beside their twins", ""]
    lines += table(("bench", "hand-written, us", "twins, us", "fastest twin over ours", "wrong"), twin_rows(parts))
    return "\n".join(lines) + "\n"


def main():
    a = parse_arguments()
    names = ("kernels", "points", "step_graph", "step_eager", "step_tf32", "replicas", "peer_step", "peer_loss")
    parts = {name: read_json(os.path.join(a.logs, name + ".json")) for name in names}
    result = {"gpu": a.gpu, "compute_capability": a.capability, "driver": a.driver, "nvcc": a.nvcc, "commit": a.commit,
              "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()), "stages": read_stages(os.path.join(a.logs, "stages.tsv")), **parts}
    text = markdown(result, parts)
    for path, content in ((a.out + ".json", json.dumps(result, indent=1) + "\n"), (a.out + ".md", text)):
        with open(path, "w") as file:
            file.write(content)
    print("--- %s.json, %s.md\n%s" % (a.out, a.out, text), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
