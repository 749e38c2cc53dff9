"""MTL-net in PyTorch, its losses and its training step: the reference for the fixtures, and the peer that the benchmark times.

Three forms (what differs is in the table of docs and of MtlNet below):
    mtl-net            the three axes are input channels, batch norm
    mtl-net-paper      the three axes are rows, batch norm
    mtl-net-released   the three axes are rows, no batch norm
Works with PyTorch 1.13 and newer.
"""
import torch
import torch.nn.functional as F
from torch import nn

FORMS = ("mtl-net", "mtl-net-paper", "mtl-net-released")
LOSSES = ("total", "ce1", "ce2", "kl1", "kl2")


class MtlNet(nn.Module):
    """(N, 1, 3, 100) -> shared features (N, 512), logits of task 1, logits of task 2."""

    def __init__(self, form="mtl-net", classes=(12, 3)):
        super().__init__()
        if form not in FORMS:
            raise ValueError("form is one of " + ", ".join(FORMS))
        self.axes_are_channels = form == "mtl-net"
        self.batch_norm = form != "mtl-net-released"
        self.conv1 = nn.Conv2d(3 if self.axes_are_channels else 1, 32, (1, 9))
        if self.batch_norm:
            self.bn1 = nn.BatchNorm2d(32)
        self.conv2 = nn.Conv2d(32, 64, (1, 9))
        if self.batch_norm:
            self.bn2 = nn.BatchNorm2d(64)
        self.fc1 = nn.Linear(1216, 1024)
        self.fc2 = nn.Linear(1024, 512)
        self.head1 = nn.Linear(512, classes[0])
        self.head2 = nn.Linear(512, classes[1])

    def features(self, x):
        if self.axes_are_channels:
            x = x.reshape(x.shape[0], 3, 1, x.shape[3])
        x = self.conv1(x)
        x = F.relu(self.bn1(x) if self.batch_norm else x)
        x = F.max_pool2d(x, (1, 2), 2)
        x = self.conv2(x)
        x = F.relu(self.bn2(x) if self.batch_norm else x)
        x = F.max_pool2d(x, (1, 2), 2).flatten(1)
        return F.relu(self.fc2(F.relu(self.fc1(x))))

    def forward(self, x):
        f = self.features(x)
        return f, self.head1(f), self.head2(f)


def distill_kl(student, teacher, tau):
    """tau^2 / N * sum over n, k of pT (log pT - log pS); gradients flow into both sides."""
    log_s, log_t = F.log_softmax(student / tau, 1), F.log_softmax(teacher / tau, 1)
    return tau * tau * (log_t.exp() * (log_t - log_s)).sum() / student.shape[0]


def multitask_losses(logits, targets, teacher=None, alpha=0.5, lam=0.5, tau=3.0):
    """The five numbers of LOSSES: paper eq. 5, or eq. 1 without a teacher."""
    ce = [F.cross_entropy(z, y) for z, y in zip(logits, targets)]
    zero = ce[0].new_zeros(())
    kl = [distill_kl(z, t, tau) for z, t in zip(logits, teacher)] if teacher is not None else [zero, zero]
    total = alpha * (ce[0] + lam * kl[0]) + (1 - alpha) * (ce[1] + lam * kl[1])
    return total, ce[0], ce[1], kl[0], kl[1]


def sd_dropout_losses(features, head1, head2, targets, masks, alpha=0.5, lam=1.0, tau=2.0):
    """total, ce1, ce2, and per task the sum of both KLs between two dropped-out views; masks: four of the features' shape."""
    ce, kl = [], []
    for t, head in enumerate((head1, head2)):
        ce.append(F.cross_entropy(head(features), targets[t]))
        a, b = head(features * masks[2 * t]), head(features * masks[2 * t + 1])
        kl.append(distill_kl(b, a, tau) + distill_kl(a, b, tau))
    total = alpha * (ce[0] + lam * kl[0]) + (1 - alpha) * (ce[1] + lam * kl[1])
    return total, ce[0], ce[1], kl[0], kl[1]


@torch.no_grad()
def ema_update(teacher, student, beta, buffers="average"):
    """theta_T = beta theta_T + (1 - beta) theta_S (paper eq. 4); running statistics are averaged likewise or copied."""
    for t, s in zip(teacher.parameters(), student.parameters()):
        t.mul_(beta).add_(s, alpha=1 - beta)
    for t, s in zip(teacher.buffers(), student.buffers()):
        if t.is_floating_point() and buffers == "average":
            t.mul_(beta).add_(s, alpha=1 - beta)
        else:
            t.copy_(s)


def smooth_distill_step(student, teacher, optimizer, x, targets, alpha=0.5, lam=0.5, tau=3.0, beta=0.999, buffers="average"):
    """One step of the method; returns the losses before the update."""
    _, *logits = student(x)
    with torch.no_grad():
        _, *soft = teacher(x)
    losses = multitask_losses(logits, targets, soft, alpha, lam, tau)
    optimizer.zero_grad(set_to_none=True)
    losses[0].backward()
    optimizer.step()
    ema_update(teacher, student, beta, buffers)
    return losses
