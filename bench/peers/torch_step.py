#!/usr/bin/env python3
"""One training step of PyTorch, timed: the peer that `retort` is compared with.

A step is what `retort train` does for a batch: student forward and backward, teacher forward, the losses, Adam and the teacher's moving
average (for Smooth-Distill; the other methods leave their part out). Model and losses are those of tests/golden/mtl_net.py, which also
makes the golden fixtures, so what is timed here is what the tests compare the engine with.

A comparison is only fair if the peer is at its best. So this script prints which PyTorch and which BLAS it runs on, sets the number of
threads explicitly, warms up, and with --tuned uses what this version of PyTorch offers: channels_last, fused or foreach Adam, a foreach
moving average; with --compile also torch.compile. It reports the median, the fastest and the 90th percentile of the steps: on a shared machine the fastest is the least
disturbed, the median the usual. See README.md beside this file for the traps.

    torch_step.py --threads 2
    torch_step.py --threads 2 --tuned --form mtl-net-released --json step.json
"""
import argparse
import copy
import os
import sys
import time

import peer  # beside this file

METHODS = ("smooth-distill", "multi-task", "sd-dropout")
MTL_NETS = ("mtl-net", "mtl-net-paper", "mtl-net-released")
RECURRENT = ("lstm", "bilstm", "gru", "anpo-net")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--form", choices=MTL_NETS + RECURRENT, default="mtl-net", help="architecture (default mtl-net)")
    parser.add_argument("--method", choices=METHODS, default="smooth-distill")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=100, help="timed steps (default 100)")
    parser.add_argument("--warm-up", type=int, default=20, help="steps before that (default 20)")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="default: all this process may use")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--tuned", action="store_true", help="channels_last, fused or foreach Adam, foreach moving average")
    parser.add_argument("--compile", action="store_true", help="torch.compile for student and teacher")
    parser.add_argument("--json", metavar="FILE", help="also write the result, with the machine in it, as JSON ('-': to stdout)")
    return parser.parse_args()


def make_optimizer(torch, parameters, tuned):
    """torch.optim.Adam in the fastest form that this version and device have; its name for the record."""
    attempts = (({"fused": True}, "fused"), ({"foreach": True}, "foreach"), ({}, "plain")) if tuned else (({}, "default"),)
    for options, name in attempts:
        try:
            return torch.optim.Adam(parameters, lr=1e-3, **options), name
        except (TypeError, RuntimeError, ValueError):
            continue
    raise RuntimeError("no form of Adam works")


def make_model(form, mtl_net):
    """The model under this name, giving (shared features or None, logits of task 1, logits of task 2)."""
    if form in MTL_NETS:
        return mtl_net.MtlNet(form)
    import recurrent_fixtures

    class RecurrentNet(recurrent_fixtures.Net):
        def forward(self, x):
            return (None, *super().forward(x))

    return RecurrentNet(form)


def make_step(torch, mtl_net, arguments):
    """A function that runs one step and returns its loss, and how the optimiser is made."""
    device = torch.device(arguments.device)
    torch.manual_seed(1)
    student = make_model(arguments.form, mtl_net).to(device)
    x = torch.randn(arguments.batch, 1, 3, 100, device=device)
    targets = [torch.randint(0, classes, (arguments.batch,), device=device) for classes in (12, 3)]
    if arguments.tuned:
        student = student.to(memory_format=torch.channels_last)
    teacher = copy.deepcopy(student).eval().requires_grad_(False)
    if arguments.compile:
        student.compile()
        teacher.compile()
    optimizer, adam = make_optimizer(torch, list(student.parameters()), arguments.tuned)
    pairs = [list(p) for p in (teacher.parameters(), student.parameters())]

    def backward(loss):
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return loss

    @torch.no_grad()
    def foreach_ema(beta):
        torch._foreach_mul_(pairs[0], beta)
        torch._foreach_add_(pairs[0], pairs[1], alpha=1 - beta)
        for t, s in zip(teacher.buffers(), student.buffers()):
            t.mul_(beta).add_(s, alpha=1 - beta) if t.is_floating_point() else t.copy_(s)

    def multi_task():
        return backward(mtl_net.multitask_losses(student(x)[1:], targets)[0])

    def sd_dropout():
        f = student.features(x)
        masks = [torch.nn.functional.dropout(torch.ones_like(f)) for _ in range(4)]
        return backward(mtl_net.sd_dropout_losses(f, student.head1, student.head2, targets, masks)[0])

    def smooth_distill():
        if not arguments.tuned:
            return mtl_net.smooth_distill_step(student, teacher, optimizer, x, targets)[0]
        with torch.no_grad():
            soft = teacher(x)[1:]
        loss = backward(mtl_net.multitask_losses(student(x)[1:], targets, soft)[0])
        foreach_ema(0.999)
        return loss

    return {"multi-task": multi_task, "sd-dropout": sd_dropout, "smooth-distill": smooth_distill}[arguments.method], adam


def time_steps(torch, step, arguments):
    """Milliseconds of each timed step."""
    wait = torch.cuda.synchronize if arguments.device == "cuda" else lambda: None
    for _ in range(arguments.warm_up):
        loss = step()
    wait()
    times = []
    for _ in range(arguments.steps):
        start = time.perf_counter()
        loss = step()
        wait()
        times.append(1e3 * (time.perf_counter() - start))
    if not bool(torch.isfinite(loss)):
        sys.exit("torch_step: the loss is %s after %d steps; a wrong step is not timed" % (loss.item(), arguments.steps))
    return times


def main():
    arguments = parse_arguments()
    if arguments.method == "sd-dropout" and arguments.form in RECURRENT:
        sys.exit("torch_step: sd-dropout is here for the forms of MTL-net only")
    # OpenMP reads this once, when torch is loaded; set_num_threads alone leaves OpenBLAS with its own idea.
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)
    import torch

    peer.import_golden()
    import mtl_net

    torch.set_num_threads(arguments.threads)
    if arguments.device == "cuda" and not torch.cuda.is_available():
        sys.exit("torch_step: this PyTorch sees no CUDA device")
    load = os.getloadavg()[0]
    if arguments.device == "cpu" and load > 0.5:
        print("torch_step: other programs keep %.1f processors busy; OpenMP threads wait for each other, so times with more than one "
              "thread mean little now" % load, file=sys.stderr)
    step, adam = make_step(torch, mtl_net, arguments)
    times = time_steps(torch, step, arguments)
    blas, files = peer.loaded_blas()
    result = {"what": "PyTorch training step", "form": arguments.form, "method": arguments.method, "batch": arguments.batch,
              "threads": torch.get_num_threads(), "device": arguments.device, "tuned": arguments.tuned,
              "compiled": arguments.compile, "adam": adam,
              "steps": len(times), **peer.spread(times),
              "torch": torch.__version__, "blas": blas, "libraries": [os.path.basename(f) for f in files], "machine": peer.machine(),
              "load_before": load, "allocator": os.path.basename(os.environ.get("LD_PRELOAD", "")) or "libc"}
    peer.deliver(arguments.json, result, [
        "PyTorch %s, BLAS: %s, %d thread(s), Adam %s%s" % (torch.__version__, ", ".join(blas) or "built in", torch.get_num_threads(),
                                                           adam, ", channels_last" if arguments.tuned else ""),
        "%s %s batch %d: median %.2f ms, min %.2f ms, p90 %.2f ms a step (%d steps)" % (
            arguments.method, arguments.form, arguments.batch, result["median_ms"], result["min_ms"], result["p90_ms"], len(times))])
    return 0


if __name__ == "__main__":
    sys.exit(main())
