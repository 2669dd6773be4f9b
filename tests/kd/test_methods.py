"""Every method against a plain implementation in NumPy loops, then its limits and its traps."""

from __future__ import annotations

import cmath
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fnkd_core.errors import UserError
from fnkd_core.kd import methods
from fnkd_core.kd.decoupled import Decoupled
from fnkd_core.kd.losses import Objective, cross_entropy, kl_divergence, loss_terms
from fnkd_core.kd.outputs import Outputs
from fnkd_core.kd.targets import OneHot, Smoothed, SmoothedSimilar
from fnkd_core.kd.temperature import Constant, FeatureNorm, JointMax, LogitStd, Temperature, soften
from fnkd_core.kd.weights import PowerSum

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


def objective_of(name: str, parameters: dict[str, Any], theta: torch.Tensor | None = None) -> Objective:
    theta = torch.tensor(THETA, dtype=torch.float64) if theta is None else theta
    return methods.objective(name, parameters, similar=SIMILAR, progress=PROGRESS, learnt=theta)


# --- the plain implementation: one sample, one class at a time -------------------------------------------
# In complex numbers, so that its derivative is Im f(x + ih) / h to the last digit, with nothing cancelled.


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


def plain_loss(name: str, p: dict[str, Any], y: int, fs, vs, bs, ft, vt, bt) -> complex:
    q = one_hot(y)
    if name == "ce":
        return plain_h(q, vs)
    if name == "lsd":
        return plain_h([(1 - p["epsilon"]) * a + p["epsilon"] / K for a in q], vs)
    if name == "alsd":
        e1, e2 = p["epsilon_uniform"], p["epsilon_similar"]
        members = SIMILAR[y]
        rho = [1 / len(members) if k in members else 0.0 for k in range(K)] if members else [1 / K] * K
        return plain_h([(1 - e1 - e2) * a + e1 / K + e2 * r for a, r in zip(q, rho, strict=True)], vs)
    if name == "kd":
        t, a = p["T"], p["alpha"]
        soft = plain_h(plain_softmax([x / t for x in vt]), [x / t for x in vs])
        return (1 - a) * plain_h(q, vs) + a * (t * t if p["t_squared"] else 1) * soft
    if name == "fn":
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
    if name == "normkd":
        tt, ts = (p["t"] * plain_std(v) for v in (vt, vs))
        qt = plain_softmax([x / tt for x in vt])
        return (1 - p["alpha"]) * plain_h(q, vs) + p["alpha"] * tt**2 * plain_kl(qt, [x / ts for x in vs])
    if name == "lskd":
        zt, zs = ([(x - sum(v) / K) / plain_std(v) / p["T"] for x in v] for v in (vt, vs))
        return p["hard"] * plain_h(q, vs) + p["soft"] * p["T"] ** 2 * plain_kl(plain_softmax(zt), zs)
    if name == "dkd":
        qt, ps = ([cmath.exp(x) for x in plain_log_softmax([x / p["T"] for x in v])] for v in (vt, vs))
        on_label = sum(a * cmath.log(a / b) for a, b in ((qt[y], ps[y]), (1 - qt[y], 1 - ps[y])))
        others = [k for k in range(K) if k != y]
        on_others = sum(qt[k] / (1 - qt[y]) * cmath.log(qt[k] / (1 - qt[y]) / (ps[k] / (1 - ps[y]))) for k in others)
        rise = min(PROGRESS / p["warmup"], 1) if p["warmup"] else 1
        return plain_h(q, vs) + rise * p["T"] ** 2 * (p["alpha"] * on_label + p["beta"] * on_others)
    if name == "skd":
        zt, zs = ([p["multiplier"] * x / plain_std(v, 0) for x in v] for v in (vt, vs))
        soft = plain_kl(plain_softmax([x / p["T"] for x in zt]), [x / p["T"] for x in zs])
        return (1 - p["alpha"]) * plain_h(q, zs) + p["alpha"] * p["T"] ** 2 * soft
    if name == "dtkd":
        top_t, top_s = largest(vt), largest(vs)
        tt, ts = (2 * p["T"] * top / (top_t + top_s) for top in (top_t, top_s))
        joint = tt * ts * plain_kl(plain_softmax([x / tt for x in vt]), [x / ts for x in vs])
        plain = p["T"] ** 2 * plain_kl(plain_softmax([x / p["T"] for x in vt]), [x / p["T"] for x in vs])
        rise = min(PROGRESS / p["warmup"], 1) if p["warmup"] else 1
        return plain_h(q, vs) + rise * (p["alpha"] * joint + p["beta"] * plain)
    if name == "wttm":
        powers = [x ** (1 / p["T"]) for x in plain_softmax(vt)]
        return plain_h(q, vs) + p["beta"] * sum(powers) * plain_kl([x / sum(powers) for x in powers], vs)
    if name == "ctkd":
        t = p["low"] + p["span"] / (1 + cmath.exp(-THETA))
        soft = plain_kl(plain_softmax([x / t for x in vt]), [x / t for x in vs])
        return (1 - p["alpha"]) * plain_h(q, vs) + p["alpha"] * t**2 * soft
    if name == "he":  # the logits of a cosine head are s*cos already
        return plain_h(q, [v - p["scale"] * p["margin"] * a for v, a in zip(vs, q, strict=True)])
    raise AssertionError(f"write a plain implementation of {name}")


CASES = [
    ("ce", {}),
    ("lsd", {"epsilon": 0.2}),
    ("alsd", {"epsilon_uniform": 0.1, "epsilon_similar": 0.15}),
    ("kd", {"T": 4.0, "alpha": 0.9, "t_squared": True}),
    ("kd", {"T": 2.5, "alpha": 0.4, "t_squared": False}),
    *[
        ("fn", {"tau": tau, "lambda": 3.0, "variant": variant, "student_norm": norm})
        for tau in (0.7, 2.0, 50.0)
        for variant in ("paper", "released")
        for norm in ("own", "teacher", "detached")
    ],
    ("normkd", {"t": 2.0, "alpha": 0.9}),
    ("normkd", {"t": 0.7, "alpha": 0.3}),
    ("lskd", {"T": 2.0, "hard": 0.1, "soft": 9.0}),
    ("lskd", {"T": 4.0, "hard": 1.0, "soft": 2.0}),
    ("dkd", {"T": 4.0, "alpha": 1.0, "beta": 8.0, "warmup": 0.0}),
    ("dkd", {"T": 1.5, "alpha": 0.5, "beta": 2.0, "warmup": 0.5}),
    ("skd", {"T": 4.0, "multiplier": 2.0, "alpha": 0.9}),
    ("skd", {"T": 1.0, "multiplier": 3.0, "alpha": 0.2}),
    ("dtkd", {"T": 4.0, "alpha": 3.0, "beta": 1.0, "warmup": 0.0}),
    ("dtkd", {"T": 2.0, "alpha": 1.0, "beta": 0.5, "warmup": 0.4}),
    ("wttm", {"T": 5.0, "beta": 4.0}),
    ("wttm", {"T": 1.5, "beta": 1.0}),
    ("ctkd", {"low": 1.0, "span": 20.0, "alpha": 0.9, "ramp": 0.5}),
    ("ctkd", {"low": 0.5, "span": 3.0, "alpha": 0.3, "ramp": 0.0}),
    ("he", {"scale": 16.0, "margin": 0.0}),
    ("he", {"scale": 8.0, "margin": 0.2}),
]
IDS = [f"{name}-{'-'.join(str(v) for v in p.values())}" for name, p in CASES]


@pytest.mark.parametrize(("name", "parameters"), CASES, ids=IDS)
def test_the_loss_of_each_sample_equals_the_plain_implementation(name: str, parameters: dict[str, Any]) -> None:
    student, teacher = make_outputs(1, 2.0), make_outputs(2, 3.0)
    terms = loss_terms(objective_of(name, parameters), student, LABELS, teacher)
    for i in range(N):
        expected = plain_loss(
            name,
            parameters,
            int(LABELS[i]),
            *(x.tolist() for x in (student.features[i], student.logits[i], student.bias)),
            *(x.tolist() for x in (teacher.features[i], teacher.logits[i], teacher.bias)),
        )
        assert float(terms["loss"][i]) == pytest.approx(expected.real, rel=1e-12)


@pytest.mark.parametrize(("name", "parameters"), CASES, ids=IDS)
def test_the_gradient_equals_the_complex_step_derivative_of_the_plain_implementation(
    name: str, parameters: dict[str, Any]
) -> None:
    teacher = make_outputs(2, 3.0)
    g = torch.Generator().manual_seed(3)
    weight = torch.randn(K, D, generator=g, dtype=torch.float64)
    # Moved by 1 so that each sample has a positive logit, for which dtkd's formula is made.
    bias = torch.randn(K, generator=g, dtype=torch.float64) + 1
    features = (torch.randn(N, D, generator=g, dtype=torch.float64).abs() * 2).requires_grad_()
    objective = objective_of(name, parameters)
    loss_terms(objective, student_of(weight, bias, features), LABELS, teacher)["loss"].sum().backward()
    detached = parameters.get("student_norm") == "detached"

    def plain(i: int, f: np.ndarray) -> complex:
        v = weight.numpy() @ f + bias.numpy()
        # A detached norm is a constant: that of the point at which the gradient is taken.
        held = f.real if detached else f
        return plain_loss(
            name, parameters, int(LABELS[i]), held.tolist(), v.tolist(), bias.tolist(),
            *(x.tolist() for x in (teacher.features[i], teacher.logits[i], teacher.bias)),
        )  # fmt: skip

    assert features.grad is not None
    for i in range(N):
        size = float(features.grad[i].abs().max())
        for d in range(D):
            f = features.detach()[i].numpy().astype(complex)
            f[d] += 1e-30j
            derivative = plain(i, f).imag / 1e-30
            assert float(features.grad[i, d]) == pytest.approx(derivative, rel=1e-10, abs=1e-10 * size)


# --- special cases ----------------------------------------------------------------------------------------


def test_equal_norms_make_fn_equal_kd_at_t_c_over_tau() -> None:
    c, tau = 6.0, 1.5
    student, teacher = make_outputs(1), make_outputs(2)

    def unit(o: Outputs) -> Outputs:
        return Outputs(o.features / o.norms[:, None] * c, o.logits, o.bias)

    student, teacher = unit(student), unit(teacher)
    fn = loss_terms(methods.objective("fn", {"tau": tau, "lambda": 1.0}), student, LABELS, teacher)
    kd = loss_terms(methods.objective("kd", {"T": c / tau, "alpha": 0.5, "t_squared": False}), student, LABELS, teacher)
    torch.testing.assert_close(fn["soft"], kd["soft"], rtol=1e-12, atol=0)
    torch.testing.assert_close(fn["loss"], 2 * kd["loss"], rtol=1e-12, atol=0)


def test_kd_at_t_1_is_cross_entropy_against_the_mixed_target() -> None:
    student, teacher = make_outputs(1), make_outputs(2)
    mixed = 0.3 * OneHot()(LABELS, student.logits) + 0.7 * teacher.logits.softmax(1)
    kd = loss_terms(methods.objective("kd", {"T": 1.0, "alpha": 0.7}), student, LABELS, teacher)
    torch.testing.assert_close(kd["loss"], cross_entropy(mixed, student.logits), rtol=1e-12, atol=0)


def test_at_high_temperature_kd_has_the_gradient_of_logit_matching() -> None:
    teacher, student = make_outputs(2), make_outputs(1)
    logits = student.logits.clone().requires_grad_()
    objective = methods.objective("kd", {"T": 1e5, "alpha": 1.0})
    loss_terms(objective, Outputs(student.features, logits, student.bias), LABELS, teacher)["loss"].sum().backward()
    z, v = logits.detach(), teacher.logits
    matching = (z - z.mean(1, keepdim=True) - v + v.mean(1, keepdim=True)) / K
    torch.testing.assert_close(logits.grad, matching, rtol=1e-3, atol=1e-6)


def test_the_released_soft_term_moves_only_the_direction_of_a_feature_longer_than_tau() -> None:
    g = torch.Generator().manual_seed(5)
    weight = torch.randn(K, D, generator=g, dtype=torch.float64)
    bias = torch.randn(K, generator=g, dtype=torch.float64)
    features = (torch.randn(N, D, generator=g, dtype=torch.float64).abs() * 5).requires_grad_()
    objective = methods.objective("fn", {"tau": 1.0, "variant": "released"})
    assert (features.detach().norm(dim=1) > 1).all()
    loss_terms(objective, student_of(weight, bias, features), LABELS, make_outputs(2, 3.0))["soft"].sum().backward()
    assert features.grad is not None
    radial = (features.grad * features.detach()).sum(1) / features.detach().norm(dim=1)
    assert float(features.grad.norm()) > 1e-3
    torch.testing.assert_close(radial, torch.zeros_like(radial), rtol=0, atol=1e-14)


def test_the_released_variant_never_sharpens_and_the_paper_may() -> None:
    teacher = make_outputs(2, 0.1)
    assert (FeatureNorm(50.0, floor=1.0)(teacher) == 1).all()
    assert (FeatureNorm(50.0)(teacher) < 1).all()


@pytest.mark.parametrize("name", ["normkd", "lskd"])
def test_a_shift_of_all_logits_and_for_lskd_any_scale_changes_no_soft_term(name: str) -> None:
    student, teacher = make_outputs(1, 2.0), make_outputs(2, 3.0)
    objective = methods.objective(name, {})
    before = loss_terms(objective, student, LABELS, teacher)["soft"]
    scale = 3.0 if name == "lskd" else 1.0
    moved = Outputs(student.features, student.logits * scale + 5.0)
    torch.testing.assert_close(loss_terms(objective, moved, LABELS, teacher)["soft"], before, rtol=1e-9, atol=1e-12)


def test_kl_is_its_two_decoupled_parts_with_the_teachers_doubt_as_weight() -> None:
    student, teacher = make_outputs(1, 2.0).logits, make_outputs(2, 3.0).logits
    q = teacher.softmax(1)
    doubt = 1 - q.gather(1, LABELS[:, None])[:, 0]
    on_label = Decoupled(1.0, 0.0)(teacher, student, LABELS)
    on_others = Decoupled(0.0, 1.0)(teacher, student, LABELS)
    torch.testing.assert_close(on_label + doubt * on_others, kl_divergence(teacher, student), rtol=1e-10, atol=1e-12)


def test_decoupled_parts_are_finite_where_the_teacher_is_certain() -> None:
    teacher = torch.tensor([[200.0, 0.0, 1.0], [0.0, 300.0, 0.0]])
    student = torch.tensor([[-100.0, 0.0, 80.0], [0.0, 0.0, 0.0]], requires_grad=True)
    loss = Decoupled(1.0, 8.0)(teacher, student, torch.tensor([0, 1]))
    loss.sum().backward()
    assert bool(torch.isfinite(loss).all())
    assert student.grad is not None and bool(torch.isfinite(student.grad).all())


def test_a_learnt_temperature_has_the_reversed_gradient_times_its_strength() -> None:
    student, teacher = make_outputs(1, 2.0), make_outputs(2, 3.0)

    def gradient(progress: float) -> float:
        theta = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
        objective = methods.objective("ctkd", {"ramp": 0.5}, progress=progress, learnt=theta)
        loss_terms(objective, student, LABELS, teacher)["loss"].sum().backward()
        assert theta.grad is not None
        return float(theta.grad)

    def loss(theta: float) -> float:
        at = methods.objective("ctkd", {}, learnt=torch.tensor(theta, dtype=torch.float64))
        return float(loss_terms(at, student, LABELS, teacher)["loss"].sum())

    slope = (loss(0.4 + 1e-5) - loss(0.4 - 1e-5)) / 2e-5
    # Half of the cosine ramp of half the epochs, then all of it.
    assert gradient(0.25) == pytest.approx(-0.5 * slope, rel=1e-6)
    assert gradient(0.5) == gradient(1.0) == pytest.approx(-slope, rel=1e-6)


def test_joint_temperatures_have_t_as_their_mean_and_make_both_maxima_equal() -> None:
    student, teacher = make_outputs(1, 2.0), make_outputs(2, 3.0)
    t_teacher, t_student = JointMax(4.0)(teacher, student), JointMax(4.0)(student, teacher)
    torch.testing.assert_close((t_teacher + t_student) / 2, torch.full_like(t_teacher, 4.0))
    tops = [soften(o, t).amax(1) for o, t in ((teacher, t_teacher), (student, t_student))]
    torch.testing.assert_close(tops[0], tops[1])


def test_joint_temperatures_stay_positive_where_no_logit_is() -> None:
    outputs = Outputs(torch.zeros(3, D), torch.tensor([[-1.0, -2.0], [0.0, 0.0], [3.0, 1.0]]).requires_grad_())
    peer = Outputs(torch.zeros(3, D), torch.tensor([[-5.0, -2.0], [0.0, -1.0], [-3.0, -4.0]]))
    for a, b in ((outputs, peer), (peer, outputs)):
        assert bool((JointMax(4.0)(a, b) > 0).all())
    terms = loss_terms(methods.objective("dtkd", {}), outputs, torch.tensor([0, 1, 0]), peer)
    terms["loss"].sum().backward()
    assert bool(torch.isfinite(terms["loss"]).all())
    assert outputs.logits.grad is not None and bool(torch.isfinite(outputs.logits.grad).all())


def test_wttm_at_t_1_is_kd_at_t_1_and_doubtful_samples_weigh_more_below() -> None:
    student, teacher = make_outputs(1, 2.0), make_outputs(2, 3.0)
    wttm = loss_terms(methods.objective("wttm", {"T": 1.0}), student, LABELS, teacher)["soft"]
    torch.testing.assert_close(wttm, kl_divergence(teacher.logits, student.logits))
    certain = Outputs(torch.zeros(2, D), torch.tensor([[90.0, 0.0, 0.0], [0.0, 0.0, 0.0]]))
    weights = PowerSum(0.2)(certain, *[torch.ones(2)] * 2)
    torch.testing.assert_close(weights, torch.tensor([1.0, 3**0.8]))


def test_skd_does_not_see_the_scale_of_either_models_logits() -> None:
    student, teacher = make_outputs(1, 2.0), make_outputs(2, 3.0)
    objective = methods.objective("skd", {})
    before = loss_terms(objective, student, LABELS, teacher)["loss"]
    bigger = [Outputs(o.features, 7 * o.logits + 3) for o in (student, teacher)]
    torch.testing.assert_close(loss_terms(objective, bigger[0], LABELS, bigger[1])["loss"], before)


def test_the_norm_is_of_each_row_and_not_of_the_batch() -> None:
    student, teacher = make_outputs(1), make_outputs(2)
    objective = methods.objective("fn", {"tau": 2.0})
    whole = loss_terms(objective, student, LABELS, teacher)["loss"]
    for i in range(N):
        row = slice(i, i + 1)
        one = loss_terms(
            objective,
            Outputs(student.features[row], student.logits[row], student.bias),
            LABELS[row],
            Outputs(teacher.features[row], teacher.logits[row], teacher.bias),
        )["loss"]
        torch.testing.assert_close(one[0], whole[i], rtol=1e-12, atol=0)


@pytest.mark.parametrize("variant", ["paper", "released"])
def test_a_zero_feature_gives_finite_loss_and_gradient(variant: str) -> None:
    features = torch.zeros(N, D, requires_grad=True)
    weight = torch.randn(K, D, generator=torch.Generator().manual_seed(0))
    student = Outputs(features, features @ weight.T, torch.zeros(K))
    teacher = Outputs(torch.zeros(N, D), torch.zeros(N, K), torch.zeros(K))
    loss = loss_terms(methods.objective("fn", {"tau": 2.0, "variant": variant}), student, LABELS, teacher)["loss"]
    loss.sum().backward()
    assert torch.isfinite(loss).all()
    assert features.grad is not None
    assert torch.isfinite(features.grad).all()


def test_norms_are_float32_under_autocast() -> None:
    linear = torch.nn.Linear(64, K)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        features = linear.weight.new_full((2, 64), 1.003).bfloat16()
        outputs = Outputs(features, linear(features), linear.bias)
        assert outputs.logits.dtype == torch.bfloat16
        assert outputs.norms.dtype == torch.float32
        terms = loss_terms(methods.objective("fn", {"tau": 2.0}), outputs, torch.tensor([0, 1]), outputs)
    assert terms["loss"].dtype == torch.float32
    torch.testing.assert_close(outputs.norms, features.float().norm(dim=1))


def test_the_three_student_norms_are_three_methods() -> None:
    losses, gradients = {}, {}
    weight = torch.randn(K, D, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    base = make_outputs(1, 2.0).features
    for norm in ("own", "detached", "teacher"):
        features = base.clone().requires_grad_()
        objective = methods.objective("fn", {"tau": 2.0, "student_norm": norm})
        losses[norm] = loss_terms(objective, student_of(weight, None, features), LABELS, make_outputs(2, 3.0))["loss"]
        losses[norm].sum().backward()
        gradients[norm] = features.grad
    torch.testing.assert_close(losses["own"], losses["detached"])
    assert not torch.allclose(losses["own"], losses["teacher"])
    assert gradients["own"] is not None
    assert gradients["detached"] is not None
    assert not torch.allclose(gradients["own"], gradients["detached"])


def test_no_gradient_reaches_the_teacher() -> None:
    logits = torch.randn(N, K, requires_grad=True)
    features = torch.randn(N, D, requires_grad=True)
    for name, values in (("kd", {}), ("fn", {"tau": 1.0, "student_norm": "teacher"})):
        student = torch.randn(N, K, requires_grad=True)
        outputs = Outputs(torch.randn(N, D), student)
        loss_terms(methods.objective(name, values), outputs, LABELS, Outputs(features, logits))["loss"].sum().backward()
        assert logits.grad is None
        assert features.grad is None


def test_alsd_without_similar_classes_is_lsd_with_both_epsilons() -> None:
    student = make_outputs(1)
    empty: tuple[tuple[int, ...], ...] = ((),) * K
    alsd = SmoothedSimilar(0.1, 0.15, empty)(LABELS, student.logits)
    torch.testing.assert_close(alsd, Smoothed(0.25)(LABELS, student.logits), rtol=1e-12, atol=0)


def test_an_open_tau_is_a_quarter_of_the_teachers_mean_norm() -> None:
    assert methods.complete("fn", {}, mean_norm=8.0)["tau"] == 2.0
    assert methods.complete("fn", {"tau": 5.0}, mean_norm=8.0)["tau"] == 5.0
    assert methods.complete("fn", {})["tau"] is None


def test_kl_is_cross_entropy_less_the_entropy_of_the_target() -> None:
    teacher, v = make_outputs(1).logits, make_outputs(2).logits
    q = teacher.softmax(1)
    torch.testing.assert_close(kl_divergence(teacher, v), cross_entropy(q, v) - cross_entropy(q, q.log()))
    torch.testing.assert_close(
        kl_divergence(teacher, v), torch.nn.functional.kl_div(v.log_softmax(1), q, reduction="none").sum(1)
    )
    assert float(kl_divergence(teacher, teacher + 3).abs().max()) < 1e-12
    certain = torch.tensor([[1e4, 0.0, -1e4]], dtype=torch.float64, requires_grad=True)
    loss = kl_divergence(certain, torch.zeros(1, 3, dtype=torch.float64))
    loss.sum().backward()
    assert float(loss.detach()) == pytest.approx(math.log(3))
    assert certain.grad is not None and bool(torch.isfinite(certain.grad).all())


# --- properties -------------------------------------------------------------------------------------------

floats = st.floats(-30, 30)


def softened(outputs: Outputs, rule: Temperature) -> torch.Tensor:
    return soften(outputs, rule(outputs)).softmax(1)


@settings(max_examples=50)
@given(st.lists(st.lists(floats, min_size=K, max_size=K), min_size=1, max_size=4), st.floats(0.05, 50))
def test_softened_targets_are_distributions_that_keep_the_order_of_the_logits(rows: list, t: float) -> None:
    teacher = Outputs(torch.ones(len(rows), D, dtype=torch.float64), torch.tensor(rows, dtype=torch.float64))
    q = softened(teacher, Constant(t))
    torch.testing.assert_close(q.sum(1), torch.ones(len(rows), dtype=torch.float64))
    order = teacher.logits.argsort(dim=1, stable=True)
    assert (q.gather(1, order).diff(dim=1) >= -1e-15).all()


@settings(max_examples=50)
@given(st.floats(0.01, 100), st.floats(0.01, 100))
def test_scaling_the_feature_and_tau_alike_changes_no_target(scale: float, tau: float) -> None:
    teacher = make_outputs(4, with_bias=False)
    scaled = Outputs(teacher.features * scale, teacher.logits * scale)
    q = softened(teacher, FeatureNorm(tau))
    torch.testing.assert_close(q, softened(scaled, FeatureNorm(tau)), rtol=1e-9, atol=1e-12)


@settings(max_examples=50)
@given(st.floats(0, 0.5), st.floats(0, 0.5))
def test_every_smoothed_target_sums_to_one_and_gives_each_class_its_share(e1: float, e2: float) -> None:
    q = SmoothedSimilar(e1, e2, SIMILAR)(LABELS, make_outputs(1).logits)
    torch.testing.assert_close(q.sum(1), torch.ones(N, dtype=torch.float64))
    assert (q >= e1 / K - 1e-12).all()


@settings(max_examples=30)
@given(st.floats(0.1, 10))
def test_logit_std_makes_targets_free_of_the_logits_scale(scale: float) -> None:
    teacher = make_outputs(4)
    scaled = Outputs(teacher.features, teacher.logits * scale)
    rule = LogitStd(2.0)
    torch.testing.assert_close(soften(teacher, rule(teacher)), soften(scaled, rule(scaled)), rtol=1e-9, atol=1e-12)


# --- what users can get wrong -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        (
            "kdd",
            {},
            "Unknown method 'kdd'. Available: alsd, ce, ctkd, dkd, dtkd, fn, he, kd, lsd, lskd, normkd, skd, wttm.",
        ),
        ("kd", {"T": 0.0}, "T must be > 0, got 0.0."),
        ("kd", {"alpha": 1.5}, "alpha must be <= 1, got 1.5."),
        ("kd", {"tau": 1.0}, "Unknown parameter of method 'kd' 'tau'. Available: T, alpha, t_squared."),
        ("kd", {"T": "4"}, "T must be a number, got '4'."),
        ("kd", {"T": float("nan")}, "T must be a number, got nan."),
        ("kd", {"t_squared": 1}, "t_squared must be true or false, got 1."),
        ("fn", {"tau": -1.0}, "tau must be > 0, got -1.0."),
        ("fn", {"variant": "mine"}, "variant must be one of paper, released, got 'mine'."),
        ("lsd", {"epsilon": -0.1}, "epsilon must be >= 0, got -0.1."),
    ],
)
def test_wrong_parameters_are_one_line_with_value_and_constraint(name: str, values: dict, message: str) -> None:
    with pytest.raises(UserError) as caught:
        methods.objective(name, values, similar=SIMILAR)
    assert str(caught.value) == message


def test_a_missing_teacher_and_other_classes_are_refused() -> None:
    student = make_outputs(1)
    with pytest.raises(UserError, match="learns from a teacher"):
        loss_terms(methods.objective("kd", {}), student, LABELS)
    other = Outputs(torch.randn(N, D), torch.randn(N, K + 1))
    with pytest.raises(UserError, match="6 outputs, the student 5"):
        loss_terms(methods.objective("kd", {}), student, LABELS, other)
    with pytest.raises(UserError, match="3 classes, the model has 5"):
        SmoothedSimilar(0.1, 0.1, ((), (), ()))(LABELS, student.logits)
    with pytest.raises(UserError, match="tau is open"):
        methods.objective("fn", {})


@pytest.mark.parametrize("name", sorted(methods.METHODS))
def test_every_method_documents_itself_and_every_parameter(name: str) -> None:
    entry = methods.METHODS[name]
    assert entry.title
    assert entry.formula
    assert entry.source
    assert entry.summary.endswith(".") or "." in entry.summary
    for parameter in methods.parameters(name):
        assert len(parameter.help) > 10
    values = methods.complete(name, {}, mean_norm=8.0)
    assert isinstance(methods.objective(name, values, similar=SIMILAR), Objective)
