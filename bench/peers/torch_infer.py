#!/usr/bin/env python3
"""Prediction with PyTorch, timed: the peer of bench/infer.

A call takes a batch of windows that is ready in memory to the logits of both tasks, in evaluation mode and under
torch.inference_mode. The net is that of tests/golden/mtl_net.py (or recurrent_fixtures.py). PyTorch has several ways to make a net
ready for prediction, and which is fastest depends on batch and threads; --how best, the default, tries them all and times the fastest.

    torch_infer.py --batch 1 --threads 1
    torch_infer.py --batch 1024 --how eager --json infer.json
"""
import argparse
import os
import statistics
import sys
import time
import warnings

import peer  # beside this file
import torch_step  # likewise: the models

HOW = ("eager", "frozen", "optimized")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--form", choices=torch_step.MTL_NETS + torch_step.RECURRENT, default="mtl-net", help="architecture (default mtl-net)")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--calls", type=int, default=100, help="timed calls (default 100)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--how", choices=("best",) + HOW + tuple(how + "+channels_last" for how in HOW), default="best")
    parser.add_argument("--json", metavar="FILE", help="also write the result, with the machine in it, as JSON ('-': to stdout)")
    return parser.parse_args()


def make_ready(torch, model, x, how):
    """The model as `how` says: a function of the windows."""
    how, _, layout = how.partition("+")
    if layout:
        model = model.to(memory_format=torch.channels_last)
    if how == "eager":
        return model
    traced = torch.jit.trace(model, x)
    return torch.jit.freeze(traced) if how == "frozen" else torch.jit.optimize_for_inference(traced)


def time_calls(call, x, calls):
    """Milliseconds of each call."""
    times = []
    for _ in range(calls):
        start = time.perf_counter()
        call(x)
        times.append(1e3 * (time.perf_counter() - start))
    return times


def candidates(torch, arguments, make_model, x, expected):
    """(name, function) of every way that works here and gives the right logits."""
    every = HOW + tuple(how + "+channels_last" for how in HOW)
    for how in every if arguments.how == "best" else (arguments.how,):
        try:
            call = make_ready(torch, make_model(), x, how)
            logits = call(x)
        except RuntimeError as error:
            print("torch_infer: %s does not work here: %s" % (how, str(error).splitlines()[0]), file=sys.stderr)
            continue
        if all(torch.allclose(a, b, rtol=1e-3, atol=1e-4) for a, b in zip(logits, expected)):
            yield how, call


def fastest(torch, arguments, make_model, x, expected):
    """The candidate with the least median over a few calls, and all medians."""
    trial = max(5, min(50, arguments.calls))
    found, medians = None, {}
    for how, call in candidates(torch, arguments, make_model, x, expected):
        time_calls(call, x, max(3, trial // 2))
        medians[how] = statistics.median(time_calls(call, x, trial))
        if found is None or medians[how] < medians[found[0]]:
            found = how, call
    if found is None:
        sys.exit("torch_infer: nothing works here")
    return (*found, medians)


def main():
    arguments = parse_arguments()
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)  # before torch is loaded, see README.md
    import torch

    peer.import_golden()
    warnings.filterwarnings("ignore")
    import mtl_net

    torch.set_num_threads(arguments.threads)

    class Logits(torch.nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(1)
            self.net = torch_step.make_model(arguments.form, mtl_net)

        def forward(self, x):
            return tuple(self.net(x)[1:])

    x = torch.randn(arguments.batch, 1, 3, 100)
    load = os.getloadavg()[0]
    with torch.inference_mode():
        expected = Logits().eval()(x)
        how, call, medians = fastest(torch, arguments, lambda: Logits().eval(), x, expected)
        times = time_calls(call, x, arguments.calls)
    blas, files = peer.loaded_blas()
    result = {"what": "PyTorch prediction", "form": arguments.form, "batch": arguments.batch, "threads": torch.get_num_threads(), "how": how,
              "tried_median_ms": medians, "calls": len(times), **peer.spread(times), "torch": torch.__version__, "blas": blas, "libraries": [os.path.basename(f) for f in files],
              "machine": peer.machine(), "load_before": load}
    peer.deliver(arguments.json, result, [
        "PyTorch %s, BLAS: %s, %d thread(s), %s" % (torch.__version__, ", ".join(blas) or "built in", torch.get_num_threads(), how),
        "%s batch %d: median %.3f ms, min %.3f ms, p90 %.3f ms a call (%d calls)" % (
            arguments.form, arguments.batch, result["median_ms"], result["min_ms"], result["p90_ms"], len(times))])
    return 0


if __name__ == "__main__":
    sys.exit(main())
