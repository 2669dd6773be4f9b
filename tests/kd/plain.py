"""A plain implementation of every method: one sample, lists of complex numbers, written from the papers."""

from __future__ import annotations

import cmath
from typing import Any

import torch

from fnkd_core.kd import objective as by_name
from fnkd_core.kd.losses import Objective
from fnkd_core.kd.outputs import Outputs

N, D, K = 7, 6, 5

SIMILAR = ((1,), (0,), (), (4,), (3,))

TEACHER_WEIGHT = torch.randn(K, D, generator=torch.Generator().manual_seed(9), dtype=torch.float64)


def make_outputs(seed: int, scale: float = 1.0, with_bias: bool = True) -> Outputs:
    g = torch.Generator().manual_seed(seed)
    features = torch.randn(N, D, generator=g, dtype=torch.float64).abs() * scale
    weight = torch.randn(K, D, generator=g, dtype=torch.float64)
    bias = torch.randn(K, generator=g, dtype=torch.float64) if with_bias else None
    return Outputs(features, features @ weight.T + (bias if bias is not None else 0), bias)


def student_of(weight: torch.Tensor, bias: torch.Tensor | None, features: torch.Tensor) -> Outputs:
    return Outputs(features, features @ weight.T + (bias if bias is not None else 0), bias)


LABELS = torch.tensor([0, 1, 2, 3, 4, 0, 2])

PROGRESS, THETA = 0.3, -0.7

CLASS_MEANS = torch.randn(K, D, generator=torch.Generator().manual_seed(11), dtype=torch.float64).abs()

DISTANCES = (
    torch.rand(K, K, generator=torch.Generator().manual_seed(12), dtype=torch.float64).triu(1)
    + torch.rand(K, K, generator=torch.Generator().manual_seed(12), dtype=torch.float64).triu(1).T
)


POLICIES: tuple[dict[str, Any], ...] = (
    {"policy": "norm", "unit": 6.0, "student_norm": "own"},
    {"policy": "norm", "unit": 6.0, "student_norm": "detached"},
    {"policy": "norm", "unit": 6.0, "student_norm": "teacher"},
    {"policy": "std", "unit": 3.0, "student_norm": "own"},
    {"policy": "std", "unit": 3.0, "student_norm": "teacher"},
    {"policy": "max", "unit": 5.0, "student_norm": "own"},
    {"standardize": True},
)
"""Settings of what a method that takes a temperature policy softens by."""


def objective_of(name: str, parameters: dict[str, Any], theta: torch.Tensor | None = None) -> Objective:
    theta = torch.tensor(THETA, dtype=torch.float64) if theta is None else theta
    context = {"similar": SIMILAR, "progress": PROGRESS, "learnt": theta}
    return by_name.objective(name, parameters, **context, class_means=CLASS_MEANS, distances=DISTANCES)


def largest(v: list[complex]) -> complex:
    return max(v, key=lambda x: x.real)


def smallest(*v: complex) -> complex:
    return min(v, key=lambda x: complex(x).real)


def plain_softmax(v: list[complex]) -> list[complex]:
    top = largest(v)
    e = [cmath.exp(x - top) for x in v]
    return [x / sum(e) for x in e]


def plain_h(q: list[complex], v: list[complex]) -> complex:
    p = plain_softmax(v)
    return -sum(a * cmath.log(b) for a, b in zip(q, p, strict=True) if a)


def plain_norm(f: list[complex]) -> complex:
    return cmath.sqrt(sum(x * x for x in f))


def plain_log_softmax(v: list[complex]) -> list[complex]:
    return [cmath.log(p) for p in plain_softmax(v)]


def plain_std(v: list[complex], correction: int = 1) -> complex:
    mean = sum(v) / len(v)
    return cmath.sqrt(sum((x - mean) ** 2 for x in v) / (len(v) - correction))


def plain_kl(q: list[complex], v: list[complex]) -> complex:
    return plain_h(q, v) + sum(a * cmath.log(a) for a in q)


def one_hot(y: int) -> list[complex]:
    return [1.0 if k == y else 0.0 for k in range(K)]


def plain_ce(p: dict[str, Any], y: int, fs, vs, bs, ft, vt, bt) -> complex:
    q = one_hot(y)
    return plain_h(q, vs)


def plain_lsd(p: dict[str, Any], y: int, fs, vs, bs, ft, vt, bt) -> complex:
    q = one_hot(y)
    return plain_h([(1 - p["epsilon"]) * a + p["epsilon"] / K for a in q], vs)


def plain_alsd(p: dict[str, Any], y: int, fs, vs, bs, ft, vt, bt) -> complex:
    q = one_hot(y)
    e1, e2 = p["epsilon_uniform"], p["epsilon_similar"]
    members = SIMILAR[y]
    rho = [1 / len(members) if k in members else 0.0 for k in range(K)] if members else [1 / K] * K
    return plain_h([(1 - e1 - e2) * a + e1 / K + e2 * r for a, r in zip(q, rho, strict=True)], vs)


def plain_temperatures(p: dict[str, Any], fs, vs, ft, vt) -> tuple[complex, complex, complex]:
    """The teacher's temperature, the student's, and what the soft term is multiplied by where T² is wanted."""
    t, policy = p["T"], p.get("policy", "constant")
    own = p.get("student_T", t)
    if p.get("standardize"):
        return t * plain_std(vt), own * plain_std(vs), t**2
    if policy == "constant":
        return t, own, t**2
    read = {"norm": (plain_norm, ft, fs), "std": (plain_std, vt, vs), "max": (largest, vt, vs)}
    statistic, theirs, its = read[policy]
    of_teacher = t * statistic(theirs) / p["unit"]
    of_student = own * statistic(theirs if p.get("student_norm") == "teacher" else its) / p["unit"]
    return of_teacher, of_student, of_teacher**2


def plain_kd(p: dict[str, Any], y: int, fs, vs, bs, ft, vt, bt) -> complex:
    q = one_hot(y)
    a, (tt, ts, squared) = p["alpha"], plain_temperatures(p, fs, vs, ft, vt)
    soft = plain_h(plain_softmax([x / tt for x in vt]), [x / ts for x in vs])
    return (1 - a) * plain_h(q, vs) + a * (squared if p["t_squared"] else 1) * soft


def plain_fn(p: dict[str, Any], y: int, fs, vs, bs, ft, vt, bt) -> complex:
    q = one_hot(y)
    tau, lam = p["tau"], p["lambda"]
    nt = plain_norm(ft)
    ns = nt if p["student_norm"] == "teacher" else plain_norm(fs)
    if p["variant"] == "paper":
        soft = plain_h(plain_softmax([tau * x / nt for x in vt]), [tau * x / ns for x in vs])
    else:
        ct, cs = smallest(1.0, tau / nt), smallest(1.0, tau / ns)
        soft = plain_h(
            plain_softmax([(x - b) * ct + b for x, b in zip(vt, bt, strict=True)]),
            [(x - b) * cs + b for x, b in zip(vs, bs, strict=True)],
        )
    return plain_h(q, vs) + lam**2 * soft


def plain_normkd(p: dict[str, Any], y: int, fs, vs, bs, ft, vt, bt) -> complex:
    q = one_hot(y)
    tt, ts = (p["t"] * plain_std(v) for v in (vt, vs))
    qt = plain_softmax([x / tt for x in vt])
    return (1 - p["alpha"]) * plain_h(q, vs) + p["alpha"] * tt**2 * plain_kl(qt, [x / ts for x in vs])


def plain_lskd(p: dict[str, Any], y: int, fs, vs, bs, ft, vt, bt) -> complex:
    q = one_hot(y)
    zt, zs = ([(x - sum(v) / K) / plain_std(v) / p["T"] for x in v] for v in (vt, vs))
    return p["hard"] * plain_h(q, vs) + p["soft"] * p["T"] ** 2 * plain_kl(plain_softmax(zt), zs)


def plain_dkd(p: dict[str, Any], y: int, fs, vs, bs, ft, vt, bt) -> complex:
    q = one_hot(y)
    tt, ts, squared = plain_temperatures(p, fs, vs, ft, vt)
    qt, ps = ([cmath.exp(x) for x in plain_log_softmax([x / t for x in v])] for v, t in ((vt, tt), (vs, ts)))
    on_label = sum(a * cmath.log(a / b) for a, b in ((qt[y], ps[y]), (1 - qt[y], 1 - ps[y])))
    others = [k for k in range(K) if k != y]
    on_others = sum(qt[k] / (1 - qt[y]) * cmath.log(qt[k] / (1 - qt[y]) / (ps[k] / (1 - ps[y]))) for k in others)
    rise = min(PROGRESS / p["warmup"], 1) if p["warmup"] else 1
    return plain_h(q, vs) + rise * squared * (p["alpha"] * on_label + p["beta"] * on_others)


def plain_skd(p: dict[str, Any], y: int, fs, vs, bs, ft, vt, bt) -> complex:
    q = one_hot(y)
    zt, zs = ([p["multiplier"] * x / plain_std(v, 0) for x in v] for v in (vt, vs))
    soft = plain_kl(plain_softmax([x / p["T"] for x in zt]), [x / p["T"] for x in zs])
    return (1 - p["alpha"]) * plain_h(q, zs) + p["alpha"] * p["T"] ** 2 * soft


def plain_dtkd(p: dict[str, Any], y: int, fs, vs, bs, ft, vt, bt) -> complex:
    q = one_hot(y)
    top_t, top_s = largest(vt), largest(vs)
    tt, ts = (2 * p["T"] * top / (top_t + top_s) for top in (top_t, top_s))
    joint = tt * ts * plain_kl(plain_softmax([x / tt for x in vt]), [x / ts for x in vs])
    plain = p["T"] ** 2 * plain_kl(plain_softmax([x / p["T"] for x in vt]), [x / p["T"] for x in vs])
    rise = min(PROGRESS / p["warmup"], 1) if p["warmup"] else 1
    return plain_h(q, vs) + rise * (p["alpha"] * joint + p["beta"] * plain)


def plain_wttm(p: dict[str, Any], y: int, fs, vs, bs, ft, vt, bt) -> complex:
    q = one_hot(y)
    powers = [x ** (1 / p["T"]) for x in plain_softmax(vt)]
    return plain_h(q, vs) + p["beta"] * sum(powers) * plain_kl([x / sum(powers) for x in powers], vs)


def plain_ctkd(p: dict[str, Any], y: int, fs, vs, bs, ft, vt, bt) -> complex:
    q = one_hot(y)
    t = p["low"] + p["span"] / (1 + cmath.exp(-THETA))
    soft = plain_kl(plain_softmax([x / t for x in vt]), [x / t for x in vs])
    return (1 - p["alpha"]) * plain_h(q, vs) + p["alpha"] * t**2 * soft


def plain_nkd(p: dict[str, Any], y: int, fs, vs, bs, ft, vt, bt) -> complex:
    q, (tt, ts, squared) = one_hot(y), plain_temperatures(p, fs, vs, ft, vt)
    others = [k for k in range(K) if k != y]
    p_label, s_label = plain_softmax(vt)[y], plain_softmax(vs)[y]
    p_others = plain_softmax([vt[k] / tt for k in others])
    on_others = plain_h(p_others, [vs[k] / ts for k in others])
    return plain_h(q, vs) - p_label * cmath.log(s_label) + p["beta"] * squared * on_others


def plain_rld(p: dict[str, Any], y: int, fs, vs, bs, ft, vt, bt) -> complex:
    q, (tt, ts, squared) = one_hot(y), plain_temperatures(p, fs, vs, ft, vt)
    sure, s_label = largest(plain_softmax([v / tt for v in vt])), plain_softmax([v / ts for v in vs])[y]
    soft = p["alpha"] * (sure * cmath.log(sure / s_label) + (1 - sure) * cmath.log((1 - sure) / (1 - s_label)))
    below = [k for k in range(K) if vt[k] < vt[y]]
    if below:
        soft += p["beta"] * plain_kl(plain_softmax([vt[k] / tt for k in below]), [vs[k] / ts for k in below])
    rise = min(PROGRESS / p["warmup"], 1) if p["warmup"] else 1
    return plain_h(q, vs) + rise * squared * soft


def plain_pearson(a: list[complex], b: list[complex]) -> complex:
    mean_a, mean_b = sum(a) / len(a), sum(b) / len(b)
    up = sum((x - mean_a) * (y - mean_b) for x, y in zip(a, b, strict=True))
    return up / cmath.sqrt(sum((x - mean_a) ** 2 for x in a)) / cmath.sqrt(sum((y - mean_b) ** 2 for y in b))


def plain_dist(p: dict[str, Any], labels: list[int], fs, vs, ft, vt) -> complex:
    """The mean loss of a batch, from its features and logits."""
    n = range(len(labels))
    tt, ts, squared = zip(*(plain_temperatures(p, fs[i], vs[i], ft[i], vt[i]) for i in n), strict=True)
    qt, ps = ([plain_softmax([x / t[i] for x in v[i]]) for i in n] for t, v in ((tt, vt), (ts, vs)))
    columns = sum(1 - plain_pearson([q[k] for q in qt], [p[k] for p in ps]) for k in range(K)) / K
    each = [p["rows"] * (1 - plain_pearson(qt[i], ps[i])) + p["columns"] * columns for i in n]
    return sum(plain_h(one_hot(labels[i]), vs[i]) + squared[i] * each[i] for i in n) / len(labels)


def plain_nd(p: dict[str, Any], y: int, fs, vs, bs, ft, vt, bt) -> complex:
    q, t = one_hot(y), p["T"]
    e = [x / plain_norm(CLASS_MEANS[y].tolist()) for x in CLASS_MEANS[y].tolist()]
    ns, nt = plain_norm(fs), plain_norm(ft)
    along = sum(a * b for a, b in zip(fs, e, strict=True)) / (ns if complex(ns).real > complex(nt).real else nt)
    rise = min(PROGRESS / p["warmup"], 1) if p["warmup"] else 1
    soft = plain_h(plain_softmax([x / t for x in vt]), [x / t for x in vs])
    return plain_h(q, vs) + rise * p["alpha"] * t**2 * soft + p["beta"] * (1 - along)


def plain_wkd(p: dict[str, Any], y: int, fs, vs, bs, ft, vt, bt) -> complex:
    q, t = one_hot(y), p["T"]
    others = [k for k in range(K) if k != y]
    distances = DISTANCES.tolist()
    if p["costs"] == "similar":
        distances = [[0.0 if i == j else 0.5 if j in SIMILAR[i] else 1.0 for j in range(K)] for i in range(K)]
    cost = [[1 - cmath.exp(-p["sharpness"] * distances[i][j]) for j in others] for i in others]
    a, b = (plain_softmax([v[k] / t for k in others]) for v in (vt, vs))
    n = range(len(others))
    u, v = [1.0 + 0j for _ in n], [1.0 + 0j for _ in n]
    for _ in range(10):
        u = [a[i] / sum(cmath.exp(-cost[i][j] / p["reg"]) * v[j] for j in n) for i in n]
        v = [b[j] / sum(cmath.exp(-cost[i][j] / p["reg"]) * u[i] for i in n) for j in n]
    moved = sum(u[i] * cmath.exp(-cost[i][j] / p["reg"]) * v[j] * cost[i][j] for i in n for j in n)
    return plain_h(q, vs) - plain_softmax(vt)[y] * cmath.log(plain_softmax(vs)[y]) + p["weight"] * moved


def plain_he(p: dict[str, Any], y: int, fs, vs, bs, ft, vt, bt) -> complex:
    # The logits of a cosine head are s*cos already.
    q = one_hot(y)
    return plain_h(q, [v - p["scale"] * p["margin"] * a for v, a in zip(vs, q, strict=True)])


PLAIN = {
    "ce": plain_ce,
    "lsd": plain_lsd,
    "alsd": plain_alsd,
    "kd": plain_kd,
    "fn": plain_fn,
    "normkd": plain_normkd,
    "lskd": plain_lskd,
    "dkd": plain_dkd,
    "skd": plain_skd,
    "dtkd": plain_dtkd,
    "wttm": plain_wttm,
    "ctkd": plain_ctkd,
    "he": plain_he,
    "nd": plain_nd,
    "wkd": plain_wkd,
    "nkd": plain_nkd,
    "rld": plain_rld,
}


def plain_loss(name: str, *arguments: Any) -> complex:
    assert name in PLAIN, f"write a plain implementation of {name}"
    return PLAIN[name](*arguments)
