"""Fixtures of every op: inputs, outputs, an upstream gradient and the gradients of all inputs, by PyTorch in float64.

Names are `<op>.<case>.<tensor>`; the gradient of `x` is `dx`, the upstream gradient `dy`. The metadata maps `<op>.<case>` to its
parameters as JSON. Inputs are float32 numbers (by hashed.py), so both sides start from the very same values.
"""
import json

import numpy as np
import torch
import torch.nn.functional as F

import hashed
import mtl_net


class Fixtures:
    def __init__(self):
        self.arrays, self.metadata = {}, {}

    def case(self, name, function, inputs, constants=None, **parameters):
        """Runs function(*inputs, **constants), the gradient of (dy * output).sum(), and keeps everything.

        `inputs` get gradients, `constants` (labels, masks, running statistics) do not. `function` returns the output, or the output
        and a dict of more results to keep.
        """
        constants = constants or {}
        tensors = {k: torch.from_numpy(v.astype(np.float64)).requires_grad_() for k, v in inputs.items()}
        fixed = {k: torch.from_numpy(v.astype(np.int64 if v.dtype == np.int32 else np.float64)) for k, v in constants.items()}
        out = function(*tensors.values(), **fixed)
        y, extra = out if isinstance(out, tuple) else (out, {})
        dy = hashed.signed(name + ".dy", tuple(y.shape) or (1,)) + np.float32(0 if y.dim() else 1.5)
        (torch.from_numpy(dy.astype(np.float64)).reshape(y.shape) * y).sum().backward()
        keep = {**inputs, **constants, "y": y, "dy": dy, **extra, **{"d" + k: t.grad for k, t in tensors.items()}}
        for key, value in keep.items():
            value = value.detach().numpy() if torch.is_tensor(value) else value
            self.arrays[name + "." + key] = value.reshape(1) if value.ndim == 0 else value
        self.metadata[name] = json.dumps(parameters)


def rand(name, *shape, scale=1.0, shift=0.0):
    """float32 numbers in [shift - scale, shift + scale)."""
    return np.float32(scale) * hashed.signed(name, shape) + np.float32(shift)


def layers(f):
    def conv2d(case, x, w, bias=True, stride=(1, 1), pad=(0, 0)):
        name = "conv2d." + case
        inputs = {"x": rand(name + ".x", *x), "w": rand(name + ".w", *w, scale=0.5)}
        if bias:
            inputs["b"] = rand(name + ".b", w[0])
        f.case(name, lambda x, w, b=None: F.conv2d(x, w, b, stride, pad), inputs, stride=stride, pad=pad)

    conv2d("real_channels", (8, 3, 1, 100), (32, 3, 1, 9))
    conv2d("real_rows", (2, 1, 3, 100), (32, 1, 1, 9))
    conv2d("real_second", (2, 32, 1, 46), (64, 32, 1, 9))
    conv2d("strided_padded", (3, 2, 7, 9), (5, 2, 3, 4), stride=(2, 3), pad=(1, 2))
    conv2d("no_bias", (2, 3, 5, 5), (4, 3, 1, 1), bias=False)
    conv2d("one", (1, 1, 1, 1), (1, 1, 1, 1))
    conv2d("odd", (3, 5, 4, 31), (7, 5, 2, 3), pad=(1, 1))

    def linear(case, rows, n_in, n_out, bias=True, relu=False):
        name = "linear." + case
        inputs = {"x": rand(name + ".x", rows, n_in), "w": rand(name + ".w", n_out, n_in, scale=0.5)}
        if bias:
            inputs["b"] = rand(name + ".b", n_out)
        f.case(name, lambda x, w, b=None: F.relu(F.linear(x, w, b)) if relu else F.linear(x, w, b), inputs, relu=relu)

    linear("plain", 5, 33, 17)
    linear("relu", 31, 19, 33, relu=True)
    linear("no_bias", 3, 7, 1, bias=False)
    linear("head", 8, 512, 12)
    linear("one", 1, 1, 1)

    def batch_norm(case, shape, train, relu=False, momentum=0.1):
        name, c = "batch_norm." + case, shape[1]
        inputs = {"x": rand(name + ".x", *shape, scale=2, shift=0.5), "gamma": rand(name + ".gamma", c, scale=0.5, shift=1),
                  "beta": rand(name + ".beta", c)}
        statistics = {"running_mean": rand(name + ".running_mean", c), "running_var": rand(name + ".running_var", c, scale=0.5, shift=1)}

        def function(x, gamma, beta, running_mean, running_var):
            mean, var = running_mean.clone(), running_var.clone()
            y = F.batch_norm(x, mean, var, gamma, beta, train, momentum, 1e-5)
            return (F.relu(y) if relu else y), ({"running_mean_after": mean, "running_var_after": var} if train else {})

        f.case(name, function, inputs, statistics, train=train, relu=relu, momentum=momentum, eps=1e-5)

    batch_norm("train", (5, 7, 2, 3), True)
    batch_norm("train_relu", (4, 3, 3, 11), True, relu=True)
    batch_norm("train_two_samples", (2, 3, 1, 1), True, momentum=0.3)
    batch_norm("eval", (5, 7, 2, 3), False)
    batch_norm("eval_relu", (1, 3, 1, 5), False, relu=True)

    def max_pool(case, x, kernel, stride):
        f.case("max_pool2d." + case, lambda x: F.max_pool2d(x, kernel, stride), {"x": x}, kernel=kernel, stride=stride)

    max_pool("net", rand("pool.net", 2, 3, 3, 11), (1, 2), (2, 2))
    max_pool("overlapping", rand("pool.overlapping", 2, 3, 7, 8), (3, 3), (2, 2))
    max_pool("ties", np.floor(rand("pool.ties", 2, 2, 5, 7, scale=2)), (2, 3), (1, 2))  # few values: the first maximum wins

    def philox_dropout(case, count, p, seed, call, step):
        mask = philox_mask(count, p, seed, call, step)
        f.case("dropout." + case, lambda x, mask: x * mask, {"x": rand("dropout." + case, count)}, {"mask": mask}, p=p, seed=seed,
               call=call, step=step)

    philox_dropout("half", 203, 0.5, 42, 0, 0)
    philox_dropout("fifth", 64, 0.2, 1 << 40 | 7, 3, 5)


def philox_mask(count, p, seed, call, step):
    """The engine's dropout mask, by Philox4x32-10 written again here in plain Python integers (Salmon et al., SC 2011).

    Four 24-bit uniforms from each counter (block, block >> 32, call, step) under the key `seed`; kept when u >= p.
    """
    uniforms = []
    for block in range((count + 3) // 4):
        c = [block & 0xFFFFFFFF, block >> 32, call, step]
        k = [seed & 0xFFFFFFFF, seed >> 32]
        for _ in range(10):
            p0, p1 = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
            c = [(p1 >> 32) ^ c[1] ^ k[0], p1 & 0xFFFFFFFF, (p0 >> 32) ^ c[3] ^ k[1], p0 & 0xFFFFFFFF]
            k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
        uniforms += [(word >> 8) * 2.0**-24 for word in c]
    keep = np.array(uniforms[:count]) >= np.float32(p)
    return np.where(keep, np.float32(1) / (np.float32(1) - np.float32(p)), np.float32(0)).astype(np.float32)


def arithmetic(f):
    x = np.concatenate([rand("relu.x", 60, scale=2), np.zeros(3, np.float32)]).reshape(7, 9)
    f.case("relu.with_zeros", F.relu, {"x": x})
    f.case("exp.plain", torch.exp, {"x": rand("exp.x", 5, 13, scale=4)})
    f.case("log.plain", torch.log, {"x": rand("log.x", 5, 13, scale=1.5, shift=1.625)})
    f.case("tanh.plain", torch.tanh, {"x": rand("tanh.x", 5, 13, scale=3)})
    f.case("sigmoid.plain", torch.sigmoid, {"x": rand("sigmoid.x", 5, 13, scale=6)})
    for op, function in (("add", torch.add), ("sub", torch.sub), ("mul", torch.mul)):
        a, b, row = rand(op + ".a", 7, 11), rand(op + ".b", 7, 11), rand(op + ".row", 11)
        f.case(op + ".same", lambda a, b, g=function: g(a, b), {"a": a, "b": b})
        f.case(op + ".row", lambda a, b, g=function: g(a, b), {"a": a, "b": row})
    f.case("scale.plain", lambda x: 0.375 * x, {"x": rand("scale.x", 3, 17)}, alpha=0.375)
    f.case("sum.plain", torch.sum, {"x": rand("sum.x", 31, 33)})
    f.case("mean.plain", torch.mean, {"x": rand("mean.x", 31, 33)})
    f.case("l1_norm.with_zero", lambda x: x.abs().sum(), {"x": np.concatenate([rand("l1.x", 512), np.zeros(1, np.float32)])})
    parts = {k: rand("concat." + k, 3, n, 4) for k, n in (("a", 2), ("b", 1), ("c", 5))}
    f.case("concat.dim1", lambda a, b, c: torch.cat([a, b, c], 1), parts, dim=1)
    parts = {k: rand("concat0." + k, n, 3, 2) for k, n in (("a", 2), ("b", 1), ("c", 4))}
    f.case("concat.dim0", lambda a, b, c: torch.cat([a, b, c], 0), parts, dim=0)
    for ta in (False, True):
        for tb in (False, True):
            m, n, k = 13, 7, 17
            a, b = rand("matmul.a", *((k, m) if ta else (m, k))), rand("matmul.b", *((n, k) if tb else (k, n)))
            f.case("matmul." + "nt"[ta] + "nt"[tb], lambda a, b, ta=ta, tb=tb: torch.matmul(a.t() if ta else a, b.t() if tb else b),
                   {"a": a, "b": b}, transpose_a=ta, transpose_b=tb)
    f.case("l2_normalize.plain", lambda x: F.normalize(x, dim=1, eps=1e-12), {"x": rand("l2.x", 9, 37)})
    f.case("l2_normalize.features", lambda x: F.normalize(x, dim=1, eps=1e-12), {"x": rand("l2.features", 4, 512)})


def losses(f):
    f.case("log_softmax.plain", lambda x: F.log_softmax(x, 1), {"x": rand("log_softmax.x", 9, 12, scale=4)})
    f.case("log_softmax.large", lambda x: F.log_softmax(x, 1), {"x": rand("log_softmax.large", 5, 3, scale=300)})

    def label(name, rows, classes):
        return (hashed.words(name, rows) % np.uint32(classes)).astype(np.int32)

    for case, rows, classes, scale in (("sleep", 64, 12, 4), ("one_class", 3, 1, 1), ("large", 5, 18, 200)):
        name = "cross_entropy." + case
        f.case(name, lambda logits, labels: F.cross_entropy(logits, labels), {"logits": rand(name, rows, classes, scale=scale)},
               {"labels": label(name + ".labels", rows, classes)})
    for case, rows, classes, tau, scale in (("tau3", 64, 12, 3.0, 4), ("tau1", 31, 3, 1.0, 4), ("large", 7, 13, 2.0, 100)):
        name = "distill_kl." + case
        f.case(name, lambda student, teacher, tau=tau: mtl_net.distill_kl(student, teacher, tau),
               {"student": rand(name + ".s", rows, classes, scale=scale), "teacher": rand(name + ".t", rows, classes, scale=scale)},
               tau=tau)

    for case, rows, classes, alpha, lam, tau, taught in (("taught", 64, (12, 3), 0.5, 0.5, 3.0, True),
                                                         ("uneven", 33, (18, 2), 0.3, 2.0, 1.5, True),
                                                         ("untaught", 64, (12, 3), 0.5, 0.5, 3.0, False)):
        name = "multitask_distill_loss." + case
        draw = lambda key, t: rand("%s.%s%d" % (name, key, t), rows, classes[t - 1], scale=3)
        inputs = {"logits1": draw("logits", 1), "logits2": draw("logits", 2)}
        constants = {"labels%d" % t: label("%s.labels%d" % (name, t), rows, classes[t - 1]) for t in (1, 2)}
        if taught:
            constants.update(teacher1=draw("teacher", 1), teacher2=draw("teacher", 2))

        def function(logits1, logits2, labels1, labels2, teacher1=None, teacher2=None, alpha=alpha, lam=lam, tau=tau):
            teacher = (teacher1, teacher2) if teacher1 is not None else None
            five = mtl_net.multitask_losses((logits1, logits2), (labels1, labels2), teacher, alpha, lam, tau)
            return five[0], {"losses": torch.stack([v.detach() for v in five])}

        f.case(name, function, inputs, constants, alpha=alpha, tau=tau, **{"lambda": lam})


def make():
    """(arrays, metadata) of ops.safetensors."""
    f = Fixtures()
    layers(f)
    arithmetic(f)
    losses(f)
    return f.arrays, f.metadata
