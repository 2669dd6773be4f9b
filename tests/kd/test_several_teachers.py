"""The mean of several teachers' softened probabilities as the soft target, against a plain implementation of it."""

from __future__ import annotations

import cmath
import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from fnkd_core.errors import UserError
from fnkd_core.kd import objective as by_name
from fnkd_core.kd.losses import Objective, loss_terms
from fnkd_core.kd.methods import METHODS
from fnkd_core.kd.outputs import Outputs
from tests.kd.plain import (
    LABELS,
    D,
    K,
    N,
    make_outputs,
    objective_of,
    plain_h,
    plain_norm,
    plain_softmax,
    plain_std,
    student_of,
)

TEACHERS = [make_outputs(2, 3.0), make_outputs(5, 1.0), make_outputs(6, 2.0)]
Softened = Callable[[list[complex], list[complex], list[complex], float], list[complex]]


def fn_paper(f: list[complex], v: list[complex], b: list[complex], tau: float) -> list[complex]:
    return [tau * x / plain_norm(f) for x in v]


def fn_released(f: list[complex], v: list[complex], b: list[complex], tau: float) -> list[complex]:
    t = max(complex(plain_norm(f) / tau), 1 + 0j, key=lambda x: x.real)
    return [(x - c) / t + c for x, c in zip(v, b, strict=True)]


def by_std(share: float, correction: int = 1) -> Softened:
    return lambda f, v, b, own: [x / (share * own * plain_std(v, correction)) for x in v]


def mean_loss(
    soften: Softened, own: list[float], weights: tuple[float, float], kl: bool, scaled: float,
    at: tuple[int, Any, Any, Any],
) -> complex:  # fmt: skip
    """hard H(label, v_S) + soft H or KL(mean_k s(soften(teacher k)), s(soften(student))).

    scaled: the hard term's logits are divided by this times their deviation, where it is not 0. own: a number of each
    teacher, and the student's. at: the sample, and the student's features, logits and bias.
    """
    i, f, v, b = at
    each = [
        plain_softmax(soften(t.features[i].tolist(), t.logits[i].tolist(), t.bias.tolist(), k))  # type: ignore[union-attr]
        for t, k in zip(TEACHERS, own, strict=False)
    ]
    q = [sum(parts) / len(each) for parts in zip(*each, strict=True)]
    soft = plain_h(q, soften(f, v, b, own[-1])) + (sum(x * cmath.log(x) for x in q) if kl else 0)
    hard_logits = [x / (scaled * plain_std(v, 0)) for x in v] if scaled else v
    return weights[0] * plain_h([float(k == LABELS[i]) for k in range(K)], hard_logits) + weights[1] * soft


def each_own(name: str, own: list[dict[str, float]], **shared: Any) -> Objective:
    """The objective whose rules are each teacher's own; of the last, the student's."""
    made = [by_name.objective(name, shared | one) for one in own]
    rules = tuple(one.soft[0].temperature for one in made[:-1])
    return dataclasses.replace(made[-1], soft=(dataclasses.replace(made[-1].soft[0], of_each=rules),))


TAUS = [2.0, 0.7, 3.0, 1.5]
ONES = [1.0] * 4
PARTS: dict[str, tuple[Objective, Any]] = {
    "kd": (
        by_name.objective("kd", {"T": 2.5, "alpha": 0.7}),
        (lambda f, v, b, own: [x / 2.5 for x in v], ONES, (0.3, 0.7 * 2.5**2), False, 0.0),
    ),
    "fn": (
        each_own("fn", [{"tau": tau} for tau in TAUS]),
        (fn_paper, TAUS, (1.0, 9.0), False, 0.0),
    ),
    "fn, released": (
        each_own("fn", [{"tau": tau} for tau in TAUS], variant="released"),
        (fn_released, TAUS, (1.0, 9.0), False, 0.0),
    ),
    "lskd": (
        by_name.objective("lskd", {"T": 2.0, "hard": 0.2, "soft": 3.0}),
        (by_std(2.0), ONES, (0.2, 3.0 * 4), True, 0.0),
    ),
    "skd": (
        by_name.objective("skd", {"T": 4.0, "multiplier": 2.0, "alpha": 0.4}),
        (by_std(2.0, 0), ONES, (0.6, 0.4 * 16), True, 0.5),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PARTS)
def test_value_and_gradient_equal_the_plain_mean_of_the_teachers_probabilities(name: str) -> None:
    objective, arguments = PARTS[name]
    g = torch.Generator().manual_seed(3)
    weight, bias = (torch.randn(*size, generator=g, dtype=torch.float64) for size in ((K, D), (K,)))
    features = (torch.randn(N, D, generator=g, dtype=torch.float64).abs() * 2).requires_grad_()
    loss = loss_terms(objective, student_of(weight, bias, features), LABELS, TEACHERS)["loss"]
    loss.sum().backward()
    assert features.grad is not None

    def plain(i: int, f: np.ndarray) -> complex:
        v = weight.numpy() @ f + bias.numpy()
        return mean_loss(*arguments, at=(i, f.tolist(), v.tolist(), bias.tolist()))

    for i in range(N):
        f = features.detach()[i].numpy().astype(complex)
        assert float(loss[i].detach()) == pytest.approx(plain(i, f).real, rel=1e-12)
        for d in range(D):
            moved = f + 1e-30j * (np.arange(D) == d)
            size = float(features.grad[i].abs().max())
            assert float(features.grad[i, d]) == pytest.approx(plain(i, moved).imag / 1e-30, rel=1e-9, abs=1e-10 * size)


SEVERAL = [name for name, method in METHODS.items() if method.needs_teacher and not method.one_teacher]
OPEN = {"fn": {"tau": 2.0}}


@pytest.mark.parametrize("name", SEVERAL)
def test_one_teacher_twice_is_that_teacher_once(name: str) -> None:
    objective, student = objective_of(name, OPEN.get(name, {})), make_outputs(1, 2.0)
    once = loss_terms(objective, student, LABELS, TEACHERS[0])
    twice = loss_terms(objective, student, LABELS, [TEACHERS[0]] * 2)
    for key in once:
        torch.testing.assert_close(twice[key], once[key], rtol=1e-12, atol=1e-12)


def test_a_list_of_one_teacher_is_that_teacher_to_the_bit() -> None:
    for name in SEVERAL:
        objective, student = objective_of(name, OPEN.get(name, {})), make_outputs(1, 2.0)
        a, b = (loss_terms(objective, student, LABELS, said) for said in (TEACHERS[0], TEACHERS[:1]))
        assert all(torch.equal(a[key], b[key]) for key in a), name


@pytest.mark.parametrize("name", ["kd", "dkd", "rld", "dist"])
def test_several_teachers_are_one_whose_probabilities_are_their_mean(name: str) -> None:
    """What is proven of a method with one teacher holds of several: the methods read nothing but the target."""
    objective, student = objective_of(name, {"T": 2.0}), make_outputs(1, 2.0)
    mean = torch.stack([(t.logits / 2).softmax(1) for t in TEACHERS]).mean(0)
    as_one = Outputs(TEACHERS[0].features, 2 * mean.log(), None)
    one, several = (loss_terms(objective, student, LABELS, said)["loss"] for said in (as_one, TEACHERS))
    torch.testing.assert_close(several, one, rtol=1e-11, atol=1e-12)


def test_of_two_parts_each_has_its_own_mean() -> None:
    """nkd reads the label's probability at T = 1 and the others' at T."""
    objective, student = by_name.objective("nkd", {"T": 3.0, "beta": 0.5}), make_outputs(1, 2.0)
    parts = []
    for t in (1.0, 3.0):
        mean = torch.stack([(o.logits / t).softmax(1) for o in TEACHERS]).mean(0)
        term = objective.soft[1 if t == 1.0 else 0]
        one = dataclasses.replace(objective, soft=(term,))
        parts.append(loss_terms(one, student, LABELS, Outputs(TEACHERS[0].features, t * mean.log()))["soft"])
    soft = loss_terms(objective, student, LABELS, TEACHERS)["soft"]
    torch.testing.assert_close(soft, parts[0] + parts[1], rtol=1e-11, atol=1e-12)


def test_with_cross_entropy_and_one_temperature_it_is_the_mean_of_the_losses() -> None:
    for name, values in (("kd", {"T": 3.0}), ("fn", {"tau": 2.0}), ("fn", {"tau": 0.5, "variant": "released"})):
        objective, student = by_name.objective(name, values), make_outputs(1, 2.0)
        alone = torch.stack([loss_terms(objective, student, LABELS, t)["loss"] for t in TEACHERS]).mean(0)
        torch.testing.assert_close(loss_terms(objective, student, LABELS, TEACHERS)["loss"], alone, rtol=1e-12, atol=0)


def test_the_order_of_the_teachers_changes_nothing_but_rounding() -> None:
    objective, student = by_name.objective("normkd", {}), make_outputs(1, 2.0)
    a, b = (loss_terms(objective, student, LABELS, said)["loss"] for said in (TEACHERS, TEACHERS[::-1]))
    torch.testing.assert_close(a, b, rtol=1e-12, atol=0)


def test_the_weight_and_the_temperature_are_the_means_of_the_teachers() -> None:
    student = make_outputs(1, 2.0)
    terms = loss_terms(by_name.objective("normkd", {"t": 2.0, "alpha": 1.0}), student, LABELS, TEACHERS)
    each = torch.stack([2 * t.logits.std(1) for t in TEACHERS])
    torch.testing.assert_close(terms["temperature"], each.mean(0), rtol=1e-12, atol=0)
    q = torch.stack([(t.logits / r[:, None]).softmax(1) for t, r in zip(TEACHERS, each, strict=True)]).mean(0)
    log_p = (student.logits / (2 * student.logits.std(1))[:, None]).log_softmax(1)
    expected = (each**2).mean(0) * (q * (q.log() - log_p)).sum(1)
    torch.testing.assert_close(terms["soft"], expected, rtol=1e-10, atol=1e-12)


def test_the_temperature_of_the_teachers_is_their_mean_for_the_student() -> None:
    objective, student = by_name.objective("fn", {"tau": 2.0, "student_norm": "teacher"}), make_outputs(1, 2.0)
    t = torch.stack([o.norms / 2 for o in TEACHERS])
    q = torch.stack([(o.logits / r[:, None]).softmax(1) for o, r in zip(TEACHERS, t, strict=True)]).mean(0)
    expected = -(q * (student.logits / t.mean(0)[:, None]).log_softmax(1)).sum(1)
    torch.testing.assert_close(loss_terms(objective, student, LABELS, TEACHERS)["soft"], expected, rtol=1e-12, atol=0)


def test_what_reads_a_teachers_features_refuses_several() -> None:
    with pytest.raises(UserError, match="one teacher, got 3 teachers; give one"):
        loss_terms(objective_of("nd", {}), make_outputs(1, 2.0), LABELS, TEACHERS)
