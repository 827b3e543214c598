"""Writes PyTorch's values and gradients of what students learn from teachers to the path given: test/golden/distillation.json.

DKD and RKD are written here as their papers' formulas say, with PyTorch's functions.
"""
import json
import sys
import torch
from torch.nn import functional as F

torch.manual_seed(3)


def numbers(t):
    return [float(f"{v:.8g}") for v in t.detach().double().flatten().tolist()]


def case(compute, student, teacher, **given):
    x = student.double().clone().requires_grad_()
    value = compute(x, teacher.double())
    value.backward()
    return {
        "student": numbers(student), "studentShape": list(student.shape), "teacher": numbers(teacher), "teacherShape": list(teacher.shape),
        "loss": float(f"{value.item():.9g}"), "gradient": numbers(x.grad), **given,
    }


s, t = torch.randn(6, 5) * 2, torch.randn(6, 5) * 3
y = torch.tensor([1, 0, 4, 2, 2, 3])


def dkd(s, t, labels, alpha=1.0, beta=8.0, T=4.0):
    own = F.one_hot(labels, s.shape[1]).bool()
    p, q = F.softmax(t / T, 1), F.softmax(s / T, 1)
    two = lambda p: torch.stack([p[own], 1 - p[own]], 1)
    rest = lambda x: x[~own].view(x.shape[0], -1)
    tckd = F.kl_div(two(q).log(), two(p), reduction="batchmean")
    nckd = F.kl_div(F.log_softmax(rest(s) / T, 1), F.softmax(rest(t) / T, 1), reduction="batchmean")
    return T * T * (alpha * tckd + beta * nckd)


def attention(a, b):
    at = lambda x: F.normalize(x.pow(2).sum(1).flatten(1))
    return (at(a) - at(b)).pow(2).sum(1).mean() / 2


def rkd(s, t):
    def distances(x):
        d = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist")
        return d / d[~torch.eye(len(x), dtype=bool)].mean()

    def angles(x):
        e = F.normalize(x[None] - x[:, None], dim=2)
        return torch.einsum("ijd,ikd->ijk", e, e)

    return 25 * F.smooth_l1_loss(distances(s), distances(t)) + 50 * F.smooth_l1_loss(angles(s), angles(t))


def contrast(s, t):
    return F.cross_entropy(F.normalize(s) @ F.normalize(t).T / 0.1, torch.arange(len(s)))


def relation(v):
    return F.log_softmax(v @ v.transpose(-1, -2) / v.shape[-1] ** 0.5, -1)


def kl(log_q, log_p):
    return F.kl_div(log_q, log_p, log_target=True, reduction="none").sum(-1).mean()


maps = torch.randn(3, 4, 4, 4), torch.randn(3, 6, 4, 4)
hidden = torch.randn(2, 3, 5), torch.randn(2, 3, 5)
attn = torch.softmax(torch.randn(2, 4, 3, 3), -1), torch.softmax(torch.randn(2, 4, 3, 3), -1)
values = torch.randn(2, 2, 3, 4), torch.randn(2, 2, 3, 6)

cases = {
    "softTargets": case(lambda s, t: F.kl_div(F.log_softmax(s / 3, 1), F.softmax(t / 3, 1), reduction="batchmean") * 9, s, t),
    "decoupled": case(lambda s, t: dkd(s, t, y), s, t, labels=y.tolist()),
    "decoupledUnlabelled": case(lambda s, t: dkd(s, t, t.argmax(1)), s, t),
    "scoresSquared": case(F.mse_loss, s, t),
    "scoresCosine": case(lambda s, t: 1 - F.cosine_similarity(s, t).mean(), s, t),
    "hints": case(lambda a, b: F.mse_loss(a, b) / 2, maps[0], maps[0] + torch.randn(3, 4, 4, 4)),
    "hintsPooled": case(lambda a, b: F.mse_loss(F.avg_pool2d(a, 2), b) / 2, maps[0], torch.randn(3, 4, 2, 2)),
    "attentionTransfer": case(attention, *maps),
    "hiddenCosine": case(lambda a, b: 1 - F.cosine_similarity(a, b, dim=2).mean(), *hidden),
    "relational": case(rkd, s, torch.randn(6, 7)),
    "contrastive": case(contrast, s, t),
    "attentionSquared": case(F.mse_loss, *attn),
    "attentionHeads": case(lambda a, b: F.mse_loss(a.mean(1), b.mean(1)), attn[0], attn[1][:, :2]),
    "hiddenSquared": case(F.mse_loss, *hidden),
    "attentionDivergence": case(lambda a, b: kl(a.log(), b.log()), *attn),
    "valueRelation": case(lambda a, b: kl(relation(a), relation(b)), *values),
}
with open(sys.argv[1], "w") as file:
    json.dump(cases, file, separators=(",", ":"))
    file.write("\n")
