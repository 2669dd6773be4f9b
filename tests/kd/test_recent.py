"""The methods of the years since: what couples a batch against a plain implementation, limits and traps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from fnkd_core.errors import UserError
from fnkd_core.kd import objective as by_name
from fnkd_core.kd.decoupled import Decoupled, OnLabel, OnOthers, Refined
from fnkd_core.kd.losses import cross_entropy, kl_divergence, loss_terms
from fnkd_core.kd.methods import METHODS
from fnkd_core.kd.outputs import Outputs
from fnkd_core.kd.relations import Correlated, pearson
from fnkd_core.training.config import RunConfig, require_whole_batches
from tests.kd.plain import LABELS, K, N, make_outputs, objective_of, plain_dist


def close(a: torch.Tensor, b: torch.Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


# --- what a batch is to a method --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", METHODS)
def test_a_sample_s_loss_is_its_own_unless_the_method_says_that_it_couples_the_batch(name: str) -> None:
    student, teacher = make_outputs(1, 2.0), make_outputs(2, 3.0)
    objective = objective_of(name, by_name.complete(name, {}, by_name.ANY))
    whole = loss_terms(objective, student, LABELS, teacher)["loss"]
    alone = []
    for i in range(N):
        row = slice(i, i + 1)
        s, t = (Outputs(o.features[row], o.logits[row], o.bias) for o in (student, teacher))
        alone.append(loss_terms(objective, s, LABELS[row], t)["loss"])
    equal = torch.allclose(torch.cat(alone), whole, rtol=1e-11, atol=0)
    assert equal != METHODS[name].couples_batch


def test_a_method_that_couples_the_batch_is_refused_where_several_processes_would_share_it() -> None:
    message = (
        "devices must be 1 with method 'dist', whose loss is of a whole batch and not of its samples, got 2; leave "
        "devices out, or choose another method."
    )
    with pytest.raises(UserError) as caught:
        RunConfig(method="dist", teacher="digits-teacher", devices=2)
    assert str(caught.value) == message
    with pytest.raises(UserError, match="devices must be 1 with method 'dist'"):
        require_whole_batches("dist", 4)
    require_whole_batches("dkd", 4)


# --- nkd ----------------------------------------------------------------------------------------------------------


def test_nkd_s_two_parts_at_t_1_are_the_cross_entropy_with_the_others_renormalised() -> None:
    student, teacher = make_outputs(1, 2.0).logits, make_outputs(2, 3.0).logits
    q, p = teacher.softmax(1), student.softmax(1)
    q_label, p_label = (x.gather(1, LABELS[:, None])[:, 0] for x in (q, p))
    on_label, on_others = OnLabel()(teacher, student, LABELS), OnOthers()(teacher, student, LABELS)
    rest = (1 - q_label) * (on_others - torch.log(1 - p_label))
    close(on_label + rest, cross_entropy(q, student))


def test_nkd_s_other_part_has_dkd_s_gradient() -> None:
    teacher, gradients = make_outputs(2, 3.0).logits, []
    for divergence in (OnOthers(), Decoupled(0.0, 1.0)):
        student = make_outputs(1, 2.0).logits.clone().requires_grad_()
        divergence(teacher, student, LABELS).sum().backward()
        gradients.append(student.grad)
    assert gradients[0] is not None and gradients[1] is not None
    close(gradients[0], gradients[1])


# --- rld ----------------------------------------------------------------------------------------------------------


def test_rld_does_not_push_the_label_down_where_the_teacher_is_wrong() -> None:
    teacher = torch.tensor([[5.0, 1.0, 0.0, -1.0]]).repeat(2, 1)
    labels, slopes = torch.tensor([1, 3]), {}
    # The last of these is dkd, for comparison: it follows the teacher.
    for name, divergence in (("rld", Refined(1.0, 8.0)), ("dkd", Decoupled(1.0, 0.0))):
        student = torch.zeros(2, 4).requires_grad_()
        divergence(teacher, student, labels).sum().backward()
        assert student.grad is not None
        slopes[name] = student.grad.gather(1, labels[:, None])[:, 0]
    assert bool((slopes["rld"] < 0).all())  # descending raises the label's logit
    assert float(slopes["dkd"][1]) > 0


def test_rld_leaves_out_every_class_at_or_above_the_label_and_renormalises_the_rest() -> None:
    teacher = torch.tensor([[3.0, 2.0, 2.0, 0.0, 1.0]], dtype=torch.float64)
    student = torch.tensor([[0.0, 1.0, -1.0, 2.0, 0.5]], dtype=torch.float64)
    found = Refined(0.0, 1.0)(teacher, student, torch.tensor([1]))
    close(found, kl_divergence(teacher[:, 3:], student[:, 3:]))
    moved = student + torch.tensor([[7.0, -7.0, 7.0, 0.0, 0.0]])
    close(Refined(0.0, 1.0)(teacher, moved, torch.tensor([1])), found)


def test_rld_is_dkd_where_the_teacher_is_right() -> None:
    teacher, student = make_outputs(2, 3.0).logits, make_outputs(1, 2.0).logits
    labels = teacher.argmax(1)
    close(Refined(0.7, 2.0)(teacher, student, labels), Decoupled(0.7, 2.0)(teacher, student, labels))


def test_rld_is_finite_where_nothing_lies_below_the_label_and_where_the_teacher_is_certain() -> None:
    teacher = torch.tensor([[0.0, 200.0, 1.0], [0.0, 0.0, 0.0], [300.0, 0.0, 1.0]])
    student = torch.tensor([[-100.0, 0.0, 80.0], [5.0, 0.0, 0.0], [0.0, 90.0, 0.0]], requires_grad=True)
    loss = Refined(1.0, 8.0)(teacher, student, torch.tensor([0, 1, 0]))
    loss.sum().backward()
    assert student.grad is not None
    assert bool(torch.isfinite(loss).all()) and bool(torch.isfinite(student.grad).all())
    close(Refined(0.0, 8.0)(teacher[:2], student[:2], torch.tensor([0, 1])), torch.zeros(2))


# --- dist ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("values", [{"T": 1.0, "beta": 1.0, "gamma": 1.0}, {"T": 4.0, "beta": 0.5, "gamma": 2.0}])
def test_dist_s_mean_loss_and_gradient_equal_the_plain_implementation(values: dict[str, Any]) -> None:
    student, teacher = make_outputs(1, 2.0), make_outputs(2, 3.0)
    logits = student.logits.clone().requires_grad_()
    objective = by_name.objective("dist", values)
    loss = loss_terms(objective, Outputs(student.features, logits), LABELS, teacher)["loss"].mean()
    loss.backward()
    v, labels = logits.detach().numpy(), LABELS.tolist()
    assert float(loss.detach()) == pytest.approx(
        plain_dist(values, labels, v.tolist(), teacher.logits.tolist()).real, rel=1e-11
    )
    assert logits.grad is not None
    for i in range(N):
        for k in range(K):
            moved = v.astype(complex)
            moved[i, k] += 1e-30j
            slope = plain_dist(values, labels, moved.tolist(), teacher.logits.tolist()).imag / 1e-30
            assert float(logits.grad[i, k]) == pytest.approx(slope, rel=1e-9, abs=1e-13)


def test_dist_is_0_for_the_teacher_itself_and_its_sign_is_that_of_the_correlation() -> None:
    teacher = make_outputs(2, 3.0).logits
    close(Correlated(1.0, 1.0)(teacher, teacher, LABELS), torch.zeros(N, dtype=torch.float64))
    q = teacher.softmax(1)
    close(pearson(q, 3 * q + 1), torch.ones(N, dtype=torch.float64))
    close(pearson(q, -q), -torch.ones(N, dtype=torch.float64))
    # Descending either part raises its own correlation: one toolkit's has the wrong sign.
    for beta, gamma in ((1.0, 0.0), (0.0, 1.0)):
        student = make_outputs(1, 2.0).logits.clone().requires_grad_()
        before = Correlated(beta, gamma)(teacher, student, LABELS).mean()
        (slope,) = torch.autograd.grad(before, student)
        p = (student - 0.05 * slope / slope.norm()).detach().softmax(1)
        rows, columns = (pearson(a, b).mean() for a, b in ((q, p), (q.T, p.T)))
        assert float(beta * (1 - rows) + gamma * (1 - columns)) < float(before.detach())


def test_dist_is_finite_for_one_sample_and_for_a_teacher_that_says_nothing() -> None:
    for n, scale in ((1, 1.0), (4, 0.0)):
        teacher = torch.randn(n, K, generator=torch.Generator().manual_seed(0)) * scale
        student = torch.zeros(n, K, requires_grad=True)
        loss = Correlated(1.0, 1.0)(teacher, student, torch.zeros(n, dtype=torch.int64))
        loss.sum().backward()
        assert student.grad is not None
        assert bool(torch.isfinite(loss).all()) and bool(torch.isfinite(student.grad).all())


def test_a_released_temperature_reaches_the_methods_too() -> None:
    """FN-DKD and its kin: the feature is scaled, the bias is not."""
    teacher, student = make_outputs(2, 3.0), make_outputs(1, 2.0)
    for name in ("dkd", "nkd", "rld", "dist"):
        both = [
            loss_terms(by_name.objective(name, {"policy": policy, "unit": 2.0}), student, LABELS, teacher)["soft"]
            for policy in ("norm", "norm_released")
        ]
        assert not np.allclose(*(x.numpy() for x in both))
