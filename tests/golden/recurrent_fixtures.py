"""Fixtures of LSTM and GRU: torch.nn.LSTM and torch.nn.GRU in float64, forward and the gradients of the input and of every parameter.

Inputs and parameters are float32 numbers by hashed.py. The small cases are stored whole. The two of the models' size (hidden 128, 100
steps, 3 axes) are too large for that: both sides make their weights by formula, and the fixture keeps the final state and checksums.
"""
import json

import numpy as np
import torch

import hashed


def make_module(kind, n_in, hidden, layers, bidirectional):
    return {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[kind](n_in, hidden, layers, bidirectional=bidirectional).double()


def fill(module, case, hidden):
    """Parameters uniform in PyTorch's default range, by formula; returns them as float32."""
    made = {}
    for name, parameter in module.named_parameters():
        made[name] = np.float32(1.0 / np.sqrt(float(hidden))) * hashed.signed("%s.%s" % (case, name), tuple(parameter.shape))
        parameter.data.copy_(torch.from_numpy(made[name].astype(np.float64)))
    return made


def run(case, kind, steps, rows, n_in, hidden, layers=2, bidirectional=False):
    """Everything of one case: inputs, parameters, y and the gradients of sum(dy * y)."""
    module = make_module(kind, n_in, hidden, layers, bidirectional)
    parameters = fill(module, case, hidden)
    x = np.float32(1.5) * hashed.signed(case + ".x", (steps, rows, n_in))
    input_ = torch.from_numpy(x.astype(np.float64)).requires_grad_()
    y, _ = module(input_)
    dy = hashed.signed(case + ".dy", tuple(y.shape))
    (torch.from_numpy(dy.astype(np.float64)) * y).sum().backward()
    gradients = {name: p.grad.numpy() for name, p in module.named_parameters()}
    about = {"cell": kind, "steps": steps, "rows": rows, "in": n_in, "hidden": hidden, "layers": layers, "bidirectional": bidirectional}
    return about, x, parameters, y.detach().numpy(), dy, input_.grad.numpy(), gradients


class Net(torch.nn.Module):
    """The recurrent nets of nn/models/{recurrent_net,anpo_net}.cpp, for windows (N, 1, 3, L)."""

    def __init__(self, form, classes=(12, 3)):
        super().__init__()
        self.front = form == "anpo-net"
        if self.front:
            self.conv, self.bn = torch.nn.Conv2d(3, 64, (1, 9)), torch.nn.BatchNorm2d(64)
        kind = torch.nn.GRU if form == "gru" else torch.nn.LSTM
        both = form == "bilstm"
        self.rnn = kind(64, 128) if self.front else kind(3, 128, 2, dropout=0.2, bidirectional=both)
        self.shared = torch.nn.Linear(256 if both else 128, 256)
        self.dropout = torch.nn.Dropout(0.2)
        self.head1, self.head2 = torch.nn.Linear(256, classes[0]), torch.nn.Linear(256, classes[1])

    def forward(self, windows):
        x = windows.squeeze(1)
        if self.front:
            x = torch.nn.functional.max_pool2d(torch.relu(self.bn(self.conv(x.unsqueeze(2)))), (1, 2)).squeeze(2)
        y, _ = self.rnn(x.permute(2, 0, 1))
        half = y.shape[2] // 2
        state = torch.cat([y[-1, :, :half], y[0, :, half:]], 1) if self.rnn.bidirectional else y[-1]
        features = self.dropout(torch.relu(self.shared(state)))
        return self.head1(features), self.head2(features)


def net(form, rows=5):
    """(logits of both tasks, gradients of their sum weighted by `dy`) of a net in evaluation mode."""
    model = Net(form).double().eval()
    for name, parameter in model.named_parameters():
        parameter.data.copy_(torch.from_numpy(hashed.parameter(name, tuple(parameter.shape), 128).astype(np.float64)))
    logits = model(torch.from_numpy(hashed.windows((12, 3), rows)[0].astype(np.float64)))
    sum((torch.from_numpy(hashed.signed("net.dy%d" % (t + 1), tuple(z.shape)).astype(np.float64)) * z).sum()
        for t, z in enumerate(logits)).backward()
    return logits, {name: p.grad.numpy() for name, p in model.named_parameters()}


def make():
    """(arrays, metadata) of recurrent.safetensors."""
    arrays, metadata = {}, {}
    for case, kind, sizes in (("lstm.one_layer", "lstm", dict(steps=7, rows=3, n_in=4, hidden=5, layers=1)),
                              ("lstm.two_layers", "lstm", dict(steps=9, rows=4, n_in=3, hidden=7)),
                              ("lstm.bidirectional", "lstm", dict(steps=6, rows=3, n_in=3, hidden=6, bidirectional=True)),
                              ("lstm.one_step", "lstm", dict(steps=1, rows=2, n_in=3, hidden=4, bidirectional=True)),
                              ("gru.one_layer", "gru", dict(steps=7, rows=3, n_in=4, hidden=5, layers=1)),
                              ("gru.two_layers", "gru", dict(steps=9, rows=4, n_in=3, hidden=7)),
                              ("gru.bidirectional", "gru", dict(steps=6, rows=3, n_in=3, hidden=6, bidirectional=True))):
        about, x, parameters, y, dy, dx, gradients = run(case, kind, **sizes)
        arrays.update({case + "." + k: v for k, v in (("x", x), ("y", y), ("dy", dy), ("dx", dx))})
        for name, value in parameters.items():
            arrays["%s.%s" % (case, name)] = value
            arrays["%s.d%s" % (case, name)] = gradients[name]
        metadata[case] = json.dumps(about)
    for case, kind, bidirectional in (("large.lstm", "lstm", False), ("large.bilstm", "lstm", True), ("large.gru", "gru", False)):
        about, _, _, y, _, dx, gradients = run(case, kind, steps=100, rows=5, n_in=3, hidden=128, bidirectional=bidirectional)
        arrays.update(hashed.checksums(case + ".", "y", y))
        arrays.update(hashed.checksums(case + ".", "dx", dx))
        arrays[case + ".y_last"] = y[-1]
        for name, value in gradients.items():
            arrays.update(hashed.checksums(case + ".", "d" + name, value))
        metadata[case] = json.dumps(about)
    for form in ("lstm", "bilstm", "gru", "anpo-net"):
        (z1, z2), gradients = net(form)
        arrays.update({"net.%s.z1" % form: z1.detach().numpy(), "net.%s.z2" % form: z2.detach().numpy()})
        for name, value in gradients.items():
            arrays.update(hashed.checksums("net.%s." % form, "d" + name, value))
    return arrays, metadata
