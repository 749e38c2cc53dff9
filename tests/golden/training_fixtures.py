"""Fixtures of training: optimisers, the EMA teacher, the three model forms, 20 Smooth-Distill steps, SD-Dropout and cross-task losses.

Weights, windows and labels are those of hashed.py; of large results only norms, sums and sampled entries are kept.
"""
import copy
import json
import os

import numpy as np
import torch
import torch.nn.functional as F

import hashed
import mtl_net
import safetensors_io

FORMS = mtl_net.FORMS
CLASSES = (12, 3)
WINDOWS, BATCH, STEPS = 256, 64, 20
HYPER = {"lr": 1e-3, "alpha": 0.5, "lambda": 0.5, "tau": 3.0, "beta": 0.999, "batch": BATCH, "steps": STEPS, "windows": WINDOWS}


def double(array):
    return torch.from_numpy(np.asarray(array, np.float64))


def numpy(tensor):
    """A copy: the tensor may be changed in place later."""
    return tensor.detach().double().numpy().copy()


def formula_model(form, dtype=torch.float64):
    """The model with the weights of hashed.py, in training mode."""
    model = mtl_net.MtlNet(form, CLASSES)
    weights = dict(model.named_parameters())
    with torch.no_grad():
        for name, p in weights.items():
            fan_in = weights[name.split(".")[0] + ".weight"][0].numel()
            p.copy_(torch.from_numpy(hashed.parameter(name, tuple(p.shape), fan_in)))
    return model.to(dtype)


def state(model):
    """Parameters and running statistics by name (the count of batches is not part of our format)."""
    return {name: numpy(t) for name, t in model.state_dict().items() if not name.endswith("num_batches_tracked")}


def data(dtype=torch.float64):
    x, y1, y2 = hashed.windows(CLASSES, WINDOWS)
    return torch.from_numpy(x).to(dtype), torch.from_numpy(y1.astype(np.int64)), torch.from_numpy(y2.astype(np.int64))


def model(form):
    """Forward and backward of one batch of eight: train-mode outputs, eq. 1's losses and gradients, then eval-mode outputs."""
    net, (x, y1, y2) = formula_model(form), data()
    x, y = x[:8], (y1[:8], y2[:8])
    features, *logits = net(x)
    losses = mtl_net.multitask_losses(logits, y)
    losses[0].backward()
    arrays = {"x.first_window": numpy(x[0]), "task1": y[0].numpy().astype(np.int32), "task2": y[1].numpy().astype(np.int32),
              "train.features": numpy(features), "train.logits1": numpy(logits[0]), "train.logits2": numpy(logits[1]),
              "train.losses": np.array([v.item() for v in losses])}
    for name, p in net.named_parameters():
        arrays.update(hashed.checksums("weight.", name, numpy(p)))
        arrays.update(hashed.checksums("grad.", name, numpy(p.grad)))
    arrays.update({"after." + name: numpy(b) for name, b in net.named_buffers() if b.is_floating_point()})
    net.eval()
    features, *logits = net(x)
    arrays.update({"eval.features": numpy(features), "eval.logits1": numpy(logits[0]), "eval.logits2": numpy(logits[1])})
    return arrays, {"form": form, "formula": hashed.EXPLANATION, "classes": json.dumps(CLASSES), "batch": "8", "alpha": "0.5"}


def run_smooth_distill(form, buffers, dtype=torch.float64):
    """Losses (20, 5), teacher and student after 20 steps over the windows in order."""
    student, (x, y1, y2) = formula_model(form, dtype), data(dtype)
    teacher = copy.deepcopy(student).eval().requires_grad_(False)
    optimizer = torch.optim.Adam(student.parameters(), lr=HYPER["lr"])
    rows = []
    for step in range(STEPS):
        at = slice(step * BATCH % WINDOWS, step * BATCH % WINDOWS + BATCH)
        losses = mtl_net.smooth_distill_step(student, teacher, optimizer, x[at], (y1[at], y2[at]), HYPER["alpha"], HYPER["lambda"],
                                             HYPER["tau"], HYPER["beta"], buffers)
        rows.append([v.item() for v in losses])
    return np.array(rows), teacher, student


def smooth_distill(form):
    arrays = {}
    variants = ("average", "copy") if form != "mtl-net-released" else ("average",)
    for buffers in variants:
        losses, teacher, student = run_smooth_distill(form, buffers)
        arrays[buffers + ".losses"] = losses
        for who, net in (("teacher", teacher), ("student", student)):
            for name, value in state(net).items():
                arrays.update(hashed.checksums("%s.%s." % (buffers, who), name, value))
    metadata = {"form": form, "formula": hashed.EXPLANATION, "hyper": json.dumps(HYPER), "columns": " ".join(mtl_net.LOSSES)}
    return arrays, metadata


def report_float32():
    for form in FORMS:
        exact, teacher64, _ = run_smooth_distill(form, "average")
        rounded, teacher32, _ = run_smooth_distill(form, "average", torch.float32)
        error = np.abs(rounded - exact) / np.maximum(np.abs(exact), 1e-30)
        error[exact == 0] = 0
        print("%-17s total %.1e in 5 steps, %.1e in 20; kl %.1e, %.1e" % (form, error[:5, 0].max(), error[:, 0].max(),
                                                                         error[:5, 3:].max(), error[:, 3:].max()))
        a, b = state(teacher64), state(teacher32)
        worst = max((np.linalg.norm(a[k] - b[k]) / np.linalg.norm(a[k]), k) for k in a)
        print("%-17s teacher: worst relative error %.1e in %s" % ((form,) + worst))
    return 0


def prepared_metadata(y1, y2):
    """What a file of `retort data prepare` says about itself (docs/file_formats.md)."""
    text = {"format": "retort-windows-1", "dataset": "sleep", "synthetic": "true", "nominal_hz": "50", "version": "fixture",
            "preset": "strict", "length": "100", "step": "60", "label": "majority", "axis_layout": "transposed",
            "across_recordings": "false", "resample_hz": "0", "max_gap": "0", "drop_repeats": "false", "count": str(WINDOWS)}
    lists = {"subjects": ["formula"], "recordings": ["formula"], "sources": [], "notes": [hashed.EXPLANATION]}
    for task, labels in (("task1", y1), ("task2", y2)):
        classes = CLASSES[int(task[-1]) - 1]
        lists[task + "_names"] = ["%s class %d" % (task, k) for k in range(classes)]
        lists[task + "_counts"] = np.bincount(labels, minlength=classes).tolist()
    return {**text, **{name: json.dumps(value) for name, value in lists.items()}}


def export(directory):
    """The formula's weights and windows as files that the command reads."""
    os.makedirs(directory, exist_ok=True)
    for form in FORMS:
        path = os.path.join(directory, "weights_%s.safetensors" % form)
        safetensors_io.save(path, state(formula_model(form)), {"form": form, "formula": hashed.EXPLANATION})
        print(path)
    x, y1, y2 = hashed.windows(CLASSES, WINDOWS)
    path = os.path.join(directory, "windows.safetensors")
    zeros = np.zeros(WINDOWS, np.int32)
    safetensors_io.save(path, {"windows": x, "task1": y1, "task2": y2, "subject": zeros, "recording": zeros}, prepared_metadata(y1, y2))
    print(path)
    return 0


def optimizers():
    """Ten steps over 257 parameters with given gradients, some of them zero or tiny (so that eps matters)."""
    n, steps = 257, 10
    start = hashed.signed("optimizer.p", (n,))
    gradients = hashed.signed("optimizer.g", (steps, n)) * np.exp2(-(np.arange(n) % 30)).astype(np.float32)
    gradients[:, ::41] = 0
    arrays, metadata = {"start": start, "gradients": gradients}, {}
    cases = {"adam": (torch.optim.Adam, {"lr": 1e-3}), "adam_decay": (torch.optim.Adam, {"lr": 1e-2, "weight_decay": 0.01}),
             "adamw": (torch.optim.AdamW, {"lr": 1e-2, "weight_decay": 0.01}), "sgd": (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9}),
             "sgd_plain": (torch.optim.SGD, {"lr": 0.1}), "sgd_decay": (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}),
             "adam_ema": (torch.optim.Adam, {"lr": 1e-2})}
    for name, (kind, hyper) in cases.items():
        p = torch.nn.Parameter(double(start))
        optimizer, after, teacher, teachers, beta = kind([p], **hyper), [], double(start), [], 0.9
        for g in gradients:
            p.grad = double(g)
            optimizer.step()
            after.append(numpy(p))
            teacher = beta * teacher + (1 - beta) * p.detach()
            teachers.append(numpy(teacher))
        arrays[name + ".after"] = np.array(after)
        if name == "adam_ema":
            arrays[name + ".teacher"] = np.array(teachers)
            hyper = dict(hyper, ema=beta)
        metadata[name] = json.dumps(hyper)
    return arrays, metadata


def ema():
    """A teacher of one batch norm layer over five steps, its running statistics averaged and copied."""
    arrays = {}
    student = torch.nn.BatchNorm2d(5).double()
    teachers = {kind: copy.deepcopy(student).eval() for kind in ("average", "copy")}
    for step in range(5):
        with torch.no_grad():
            student.weight.add_(double(0.1 * hashed.signed("ema.weight%d" % step, (5,))))
            student.bias.add_(double(0.1 * hashed.signed("ema.bias%d" % step, (5,))))
        student(double(hashed.signed("ema.x%d" % step, (4, 5, 1, 3)) * np.float32(2)))
        for name, value in state(student).items():
            arrays["student.%d.%s" % (step, name)] = value
        for kind, teacher in teachers.items():
            # The student's numbers as the engine holds them, so that one float32 rounding of each is no difference.
            rounded = copy.deepcopy(student)
            for t in list(rounded.parameters()) + [b for b in rounded.buffers() if b.is_floating_point()]:
                t.data = t.data.float().double()
            mtl_net.ema_update(teacher, rounded, 0.75, kind)
            for name, value in state(teacher).items():
                arrays["%s.%d.%s" % (kind, step, name)] = value
    return arrays, {"beta": "0.75", "steps": "5"}


def heads_and_features(unit):
    """Non-negative features (64, 512) as ReLU leaves them, two heads and labels, by formula; all with gradients."""
    f = np.maximum(hashed.signed(unit + ".features", (64, 512)), np.float32(0))
    made = {"features": double(f)}
    for t in (1, 2):
        made["head%d.weight" % t] = double(hashed.parameter("%s.head%d.weight" % (unit, t), (CLASSES[t - 1], 512), 512))
        made["head%d.bias" % t] = double(hashed.parameter("%s.head%d.bias" % (unit, t), (CLASSES[t - 1],), 512))
    for tensor in made.values():
        tensor.requires_grad_()
    targets = [torch.from_numpy((hashed.words("%s.task%d" % (unit, t), 64) % np.uint32(CLASSES[t - 1])).astype(np.int64)) for t in (1, 2)]
    head = lambda t: lambda x: F.linear(x, made["head%d.weight" % t], made["head%d.bias" % t])
    return made, head(1), head(2), targets


def gradients(made):
    return {"grad." + name: numpy(t.grad) for name, t in made.items()}


def sd_dropout():
    """The loss and its gradients for four given masks: mask k = 2 where unit("sd_dropout.mask<k>") >= 0.5, else 0."""
    made, head1, head2, targets = heads_and_features("sd_dropout")
    masks = [double(np.where(hashed.unit("sd_dropout.mask%d" % k, (64, 512)) >= 0.5, 2.0, 0.0)) for k in range(4)]
    hyper = {"alpha": 0.5, "lambda": 1.0, "tau": 2.0}
    losses = mtl_net.sd_dropout_losses(made["features"], head1, head2, targets, masks, hyper["alpha"], hyper["lambda"], hyper["tau"])
    losses[0].backward()
    arrays = {"losses": np.array([v.item() for v in losses]), **gradients(made)}
    return arrays, {"hyper": json.dumps(hyper), "columns": " ".join(mtl_net.LOSSES), "formula": hashed.EXPLANATION,
                    "masks": sd_dropout.__doc__}


def cross_task():
    """CE1 + CE2 + 0.5 InfoNCE(f1, f2) + 0.01 |a|_1 with f1 = a f, f2 = (1 - a) f, a = 0.5 + 0.25 signed("cross_task.a").

    InfoNCE normalises the rows of f1 and f2 and is the cross-entropy of f1 f2^T / tau with the diagonal as labels. The heads read f.
    """
    hyper = {"contrast": 0.5, "sparsity": 0.01, "tau": 0.7}
    made, head1, head2, targets = heads_and_features("cross_task")
    made["a"] = double(np.float32(0.5) + np.float32(0.25) * hashed.signed("cross_task.a", (512,))).requires_grad_()
    f, a = made["features"], made["a"]
    ce1, ce2 = F.cross_entropy(head1(f), targets[0]), F.cross_entropy(head2(f), targets[1])
    similarity = F.normalize(a * f, dim=1) @ F.normalize((1 - a) * f, dim=1).t() / hyper["tau"]
    contrast, l1 = F.cross_entropy(similarity, torch.arange(64)), a.abs().sum()
    total = ce1 + ce2 + hyper["contrast"] * contrast + hyper["sparsity"] * l1
    total.backward()
    arrays = {"losses": np.array([v.item() for v in (total, ce1, ce2, contrast, l1)]), **gradients(made)}
    return arrays, {"hyper": json.dumps(hyper), "columns": "total ce1 ce2 contrast l1", "formula": hashed.EXPLANATION,
                    "what": cross_task.__doc__}
