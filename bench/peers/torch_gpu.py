#!/usr/bin/env python3
"""What PyTorch does on a GPU with the work of our GPU benches: the Smooth-Distill step of MTL-net, batch gathered from a data set on the
device, and the two-task loss with its gradients. Everything in fp32 without TF32 unless --tf32.

    torch_gpu.py step                 every set-up below that works here; "best" names the fastest
        eager      plain PyTorch: torch.optim.Adam as it comes, a loop for the moving average
        tuned      fused (else foreach) Adam, foreach moving average
        graph      tuned, the whole step captured once in a CUDA graph and replayed
        compiled   forward and losses through torch.compile, then the whole step in a CUDA graph
    torch_gpu.py loss                 the composition of PyTorch's losses for 64 to 65,536 rows, eager and in a CUDA graph

Times are microseconds a step (or call): `median_us` and `min_us` of rounds, each a run of steps that is waited for once at its end, as our
bench measures; `waited_us` is the median of steps that are waited for one by one. Works with PyTorch 1.13 and newer; a set-up that fails
is listed with its error. --device cpu runs what needs no GPU, to try the script.
"""
import argparse
import copy
import platform
import statistics
import sys
import time

import peer  # beside this file

BETA, LEARNING_RATE = 0.999, 1e-3
LOSS_ROWS = (64, 256, 1024, 4096, 16384, 65536)
LOSS_CLASSES = (18, 2)
STEP_SET_UPS = ("eager", "tuned", "graph", "compiled")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("step", "loss"))
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--form", choices=("mtl-net", "mtl-net-paper", "mtl-net-released"), default="mtl-net")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--set-ups", default=",".join(STEP_SET_UPS), help="of `step`, separated by commas (default: all)")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--steps", type=int, default=50, help="a round (default 50)")
    parser.add_argument("--tf32", action="store_true", help="let matrix products and convolutions use TF32")
    parser.add_argument("--json", metavar="FILE", help="also write the result here ('-': to stdout, and nothing else there)")
    arguments = parser.parse_args()
    unknown = set(arguments.set_ups.split(",")) - set(STEP_SET_UPS)
    if unknown:
        parser.error("--set-ups: %s is not one of %s" % (", ".join(sorted(unknown)), ", ".join(STEP_SET_UPS)))
    return arguments


def unavailable(what):
    """Ends with the code by which gpu_check.sh knows that something is not there."""
    print("%s: not available" % what, file=sys.stderr)
    sys.exit(125)


class Bench:
    """One process's set-up: the library, the device, how to wait and to capture."""

    def __init__(self, arguments):
        try:
            import torch
        except ImportError as error:
            unavailable("PyTorch for %s (%s)" % (sys.executable, error))
        peer.import_golden()
        import mtl_net

        self.torch, self.net, self.arguments = torch, mtl_net, arguments
        self.gpu = arguments.device == "cuda"
        if self.gpu and not torch.cuda.is_available():
            unavailable("a CUDA device for this PyTorch (%s)" % torch.__version__)
        torch.backends.cuda.matmul.allow_tf32 = arguments.tf32
        torch.backends.cudnn.allow_tf32 = arguments.tf32
        torch.backends.cudnn.benchmark = True  # cuDNN times its algorithms and takes the fastest

    def wait(self):
        if self.gpu:
            self.torch.cuda.synchronize()

    def capture(self, work):
        """`work` as a CUDA graph; returns the function that replays it."""
        if not self.gpu:
            raise RuntimeError("a CUDA graph needs a GPU")
        torch = self.torch
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(11):  # cuDNN's timing, torch.compile and the allocator come to rest
                work()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            work()
        return graph.replay

    def measure(self, work):
        rounds, waited = [], []
        for _ in range(20):
            work()
        self.wait()
        for _ in range(self.arguments.rounds):
            start = time.perf_counter()
            for _ in range(self.arguments.steps):
                work()
            self.wait()
            rounds.append(1e6 * (time.perf_counter() - start) / self.arguments.steps)
        for _ in range(self.arguments.steps):
            start = time.perf_counter()
            work()
            self.wait()
            waited.append(1e6 * (time.perf_counter() - start))
        return {"median_us": statistics.median(rounds), "min_us": min(rounds), "waited_us": statistics.median(waited)}

    def attempt(self, make):
        """The measurement of what `make` returns, or the error that stood in its way."""
        try:
            return self.measure(make())
        except Exception as error:  # whatever a version, driver or compiler lacks: the others are still measured
            return {"error": "%s: %s" % (type(error).__name__, str(error).splitlines()[0][:200] if str(error) else "")}


class Step:
    """Student, teacher, optimiser and a data set on the device; `run` is one whole step."""

    def __init__(self, bench, tuned, compiled=False):
        torch, a = bench.torch, bench.arguments
        torch.manual_seed(1)
        device = torch.device(a.device)
        self.torch, self.net, self.tuned = torch, bench.net, tuned
        self.student = bench.net.MtlNet(a.form).to(device)
        self.teacher = copy.deepcopy(self.student).eval().requires_grad_(False)
        self.windows = torch.randn(4096, 1, 3, 100, device=device)
        self.labels = [torch.randint(0, n, (4096,), device=device) for n in (12, 3)]
        self.index = torch.randint(0, 4096, (a.batch,), device=device)
        self.optimizer, self.adam = self.make_adam(list(self.student.parameters()), bench)
        self.pairs = [list(p) for p in (self.teacher.parameters(), self.student.parameters())]
        self.floats = [(t, s) for t, s in zip(self.teacher.buffers(), self.student.buffers()) if t.is_floating_point()]
        self.counts = [(t, s) for t, s in zip(self.teacher.buffers(), self.student.buffers()) if not t.is_floating_point()]
        self.losses = self.forward
        if compiled:
            if not hasattr(torch, "compile"):
                raise RuntimeError("PyTorch %s has no torch.compile" % torch.__version__)
            self.losses = torch.compile(self.forward, mode="max-autotune-no-cudagraphs")

    def make_adam(self, parameters, bench):
        torch = self.torch
        on_device = {"capturable": True} if bench.gpu else {}
        attempts = ((dict(fused=True, **on_device), "fused"), (dict(foreach=True, **on_device), "foreach"), (on_device, "plain"))
        for options, name in attempts if self.tuned else (({}, "default"),):
            try:
                optimizer = torch.optim.Adam(parameters, lr=LEARNING_RATE, **options)
                return optimizer, name
            except (TypeError, RuntimeError, ValueError):
                continue
        raise RuntimeError("no form of Adam works")

    def forward(self, index):
        x = self.windows.index_select(0, index)
        targets = [y.index_select(0, index) for y in self.labels]
        with self.torch.no_grad():
            soft = self.teacher(x)[1:]
        return self.net.multitask_losses(self.student(x)[1:], targets, soft)[0]

    def run(self):
        self.optimizer.zero_grad(set_to_none=True)
        self.losses(self.index).backward()
        self.optimizer.step()
        if not self.tuned:
            self.net.ema_update(self.teacher, self.student, BETA)
            return
        torch = self.torch
        with torch.no_grad():
            teacher = self.pairs[0] + [t for t, _ in self.floats]
            torch._foreach_mul_(teacher, BETA)
            torch._foreach_add_(teacher, self.pairs[1] + [s for _, s in self.floats], alpha=1 - BETA)
            for t, s in self.counts:
                t.copy_(s)


def measure_steps(bench):
    def make(name):
        def build():
            step = Step(bench, tuned=name != "eager", compiled=name == "compiled")
            adam[name] = step.adam
            return bench.capture(step.run) if name in ("graph", "compiled") else step.run
        return build

    adam, found = {}, {}
    for name in bench.arguments.set_ups.split(","):
        found[name] = bench.attempt(make(name))
        found[name]["adam"] = adam.get(name)
        working = [name for name, result in found.items() if "error" not in result]
        yield {"form": bench.arguments.form, "batch": bench.arguments.batch, "set_ups": found,
               "best": min(working, key=lambda name: found[name]["median_us"]) if working else None}


def measure_losses(bench):
    torch, rows = bench.torch, []
    device = torch.device(bench.arguments.device)
    for n in LOSS_ROWS:
        torch.manual_seed(1)
        logits = [torch.randn(n, c, device=device, requires_grad=True) for c in LOSS_CLASSES]
        soft = [torch.randn(n, c, device=device) for c in LOSS_CLASSES]
        targets = [torch.randint(0, c, (n,), device=device) for c in LOSS_CLASSES]

        def work():
            return torch.autograd.grad(bench.net.multitask_losses(logits, targets, soft)[0], logits)

        rows.append({"rows": n, "classes": list(LOSS_CLASSES), "eager": bench.attempt(lambda: work),
                     "graph": bench.attempt(lambda: bench.capture(work))})
        yield {"losses": rows}


def machine(bench):
    torch = bench.torch
    gpu = {"gpu": torch.cuda.get_device_name(0), "cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()} if bench.gpu else {}
    return dict(gpu, torch=torch.__version__, system=platform.platform(), python=platform.python_version())


def main():
    arguments = parse_arguments()
    bench = Bench(arguments)
    result = {"what": "PyTorch " + arguments.what, "device": arguments.device, "tf32": arguments.tf32, "machine": machine(bench)}
    for so_far in measure_steps(bench) if arguments.what == "step" else measure_losses(bench):
        result.update(so_far)
        peer.save(arguments.json, result)  # the next set-up may be cut off: torch.compile can take minutes
    listed = result["set_ups"].items() if arguments.what == "step" else (
        ("%d rows, %s" % (row["rows"], name), row[name]) for row in result["losses"] for name in ("eager", "graph"))
    peer.deliver(arguments.json, result, ("%-22s %s" % (
        name, r["error"] if "error" in r else "median %.1f us, min %.1f us, waited for one by one %.1f us" % (
            r["median_us"], r["min_us"], r["waited_us"])) for name, r in listed))
    return 0


if __name__ == "__main__":
    sys.exit(main())
