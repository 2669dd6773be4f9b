"""The methods of the years since: what couples a batch against a plain implementation, limits and traps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from fnkd_core.errors import UserError
from fnkd_core.kd import objective as by_name
from fnkd_core.kd.decoupled import Decoupled, OnLabel, OnOthers, Refined
from fnkd_core.kd.directions import NormAndDirection
from fnkd_core.kd.losses import cross_entropy, kl_divergence, loss_terms
from fnkd_core.kd.methods import METHODS
from fnkd_core.kd.outputs import Outputs
from fnkd_core.kd.relations import Correlated, pearson
from fnkd_core.kd.transport import Transported, group_distances, head_distances
from fnkd_core.training.config import RunConfig
from tests.kd.plain import DISTANCES, LABELS, POLICIES, D, K, N, make_outputs, objective_of, plain_dist, student_of


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


def test_a_method_that_couples_the_batch_is_refused_where_batches_would_be_taken_apart() -> None:
    message = (
        "accumulate must be 1 with method 'dist', whose loss is of a whole batch and not of its samples, got 2; leave "
        "accumulate out, or choose another method."
    )
    with pytest.raises(UserError) as caught:
        RunConfig(method="dist", teacher="digits-teacher", accumulate=2)
    assert str(caught.value) == message
    RunConfig(method="dist", teacher="digits-teacher", devices=2)  # which join it


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


@pytest.mark.parametrize(
    "values",
    [
        {"T": 1.0, "rows": 1.0, "columns": 1.0},
        {"T": 4.0, "rows": 0.5, "columns": 2.0},
        *[{"T": 2.5, "rows": 0.5, "columns": 2.0} | policy for policy in POLICIES],
    ],
)
def test_dist_s_mean_loss_and_gradient_equal_the_plain_implementation(values: dict[str, Any]) -> None:
    teacher, g = make_outputs(2, 3.0), torch.Generator().manual_seed(3)
    weight = torch.randn(K, D, generator=g, dtype=torch.float64)
    bias = torch.randn(K, generator=g, dtype=torch.float64) + 1  # so that the largest logit, a temperature, is positive
    features = (torch.randn(N, D, generator=g, dtype=torch.float64).abs() * 2).requires_grad_()
    loss = loss_terms(by_name.objective("dist", values), student_of(weight, bias, features), LABELS, teacher)["loss"]
    loss.mean().backward()
    point = features.detach().numpy()

    def plain(f: np.ndarray) -> complex:
        v = f @ weight.numpy().T + bias.numpy()
        # A detached norm is a constant: that of the point at which the gradient is taken.
        held = point if values.get("student_norm") == "detached" else f
        of_teacher = (teacher.features.tolist(), teacher.logits.tolist())
        return plain_dist(values, LABELS.tolist(), held.tolist(), v.tolist(), *of_teacher)

    assert float(loss.mean().detach()) == pytest.approx(complex(plain(point)).real, rel=1e-11)
    assert features.grad is not None
    for i in range(N):
        for d in range(D):
            moved = point.astype(complex)
            moved[i, d] += 1e-30j
            slope = plain(moved).imag / 1e-30
            assert float(features.grad[i, d]) == pytest.approx(slope, rel=1e-9, abs=1e-12)


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


# --- nd -----------------------------------------------------------------------------------------------------------


def radial(norm: float, along: float) -> float:
    """Slope of nd's own term along f for a student of this norm and cosine to its class; the teacher's norm is 2."""
    means, teacher = torch.tensor([[3.0, 0.0]]), Outputs.of_norms(torch.tensor([2.0]), torch.zeros(1, 2))
    features = norm * torch.tensor([[along, (1 - along**2) ** 0.5]])
    features.requires_grad_()
    NormAndDirection(2.0, means)(Outputs(features, torch.zeros(1, 2)), teacher, torch.tensor([0])).sum().backward()
    assert features.grad is not None
    return float((features.grad * features.detach()).sum() / norm)


def test_nd_pulls_a_norm_below_the_teacher_s_up_and_never_down() -> None:
    assert radial(1.0, 0.6) == pytest.approx(-2 * 0.6 / 2, rel=1e-5)
    assert radial(5.0, 0.6) == pytest.approx(0, abs=1e-6)


def test_nd_is_0_for_a_feature_along_its_class_that_is_no_shorter_than_the_teacher_s() -> None:
    means = torch.tensor([[0.5, 0.0, 0.0], [0.0, 3.0, 4.0]])
    teacher = Outputs.of_norms(torch.tensor([1.0, 1.0, 4.0]), torch.zeros(3, 2))
    student = Outputs(torch.tensor([[1.0, 0, 0], [0, 6.0, 8.0], [0, 0.6, 0.8]]), torch.zeros(3, 2))
    found = NormAndDirection(1.0, means)(student, teacher, torch.tensor([0, 1, 1]))
    torch.testing.assert_close(found, torch.tensor([0.0, 0.0, 0.75]))


def test_nd_is_finite_at_a_feature_of_zero_and_for_a_class_without_a_mean() -> None:
    features = torch.zeros(2, 3, requires_grad=True)
    teacher = Outputs.of_norms(torch.zeros(2), torch.zeros(2, 2))
    means = torch.tensor([[0.0, 0, 0], [0, 1.0, 0]])
    loss = NormAndDirection(1.0, means)(Outputs(features, torch.zeros(2, 2)), teacher, torch.tensor([0, 1]))
    loss.sum().backward()
    assert features.grad is not None and bool(torch.isfinite(features.grad).all() and torch.isfinite(loss).all())


def test_nd_refuses_features_of_another_width_and_takes_projected_ones() -> None:
    student, teacher = make_outputs(1), Outputs.of_norms(torch.ones(N), make_outputs(2).logits)
    means = torch.rand(K, 3, dtype=torch.float64)
    with pytest.raises(UserError, match="6 features, the teacher 3; project them first"):
        NormAndDirection(1.0, means)(student, teacher, LABELS)
    projected = NormAndDirection(1.0, means, lambda f: f[:, :3])(student, teacher, LABELS)
    cut = Outputs(student.features[:, :3], student.logits)
    close(projected, NormAndDirection(1.0, means)(cut, teacher, LABELS))
    with pytest.raises(UserError, match="mean features of the classes"):
        loss_terms(by_name.objective("nd", {}), student, LABELS, teacher)


# --- wkd ----------------------------------------------------------------------------------------------------------


def test_transport_to_the_teacher_itself_costs_next_to_nothing_and_more_the_farther_the_mass_is() -> None:
    distances = torch.tensor([[0.0, 0.2, 1.5, 1.5], [0.2, 0.0, 1.5, 1.5], [1.5, 1.5, 0.0, 0.2], [1.5, 1.5, 0.2, 0.0]])
    one = Transported(distances.double(), reg=0.02, iterations=200)
    sure = torch.tensor([[9.0, 0.0, 0.0, 0.0]], dtype=torch.float64)
    labels = torch.tensor([3])
    same, near, far = (float(one(sure, sure.roll(k, 1), labels)) for k in range(3))
    assert 0 <= same < 0.02 * near < near < far
    # All the mass goes over one edge, so that the plan costs what the edge does.
    assert near == pytest.approx(1 - np.exp(-0.2), rel=0.02)


def test_with_equal_costs_transport_is_the_total_variation() -> None:
    teacher, student = make_outputs(2, 3.0).logits, make_outputs(1, 2.0).logits
    equal = 50.0 * (1 - torch.eye(K, dtype=torch.float64))
    found = Transported(equal, reg=0.02, iterations=3000)(teacher, student, LABELS)
    mask = torch.nn.functional.one_hot(LABELS, K).bool()
    q, p = (v.masked_fill(mask, -torch.inf).softmax(1) for v in (teacher, student))
    torch.testing.assert_close(found, (q - p).abs().sum(1) / 2, rtol=0, atol=1e-3)


def test_the_label_s_logits_and_its_row_of_costs_are_nothing_to_transport() -> None:
    teacher, student = make_outputs(2, 3.0).logits, make_outputs(1, 2.0).logits
    labels = torch.zeros(N, dtype=torch.int64)
    before = Transported(DISTANCES)(teacher, student, labels)
    moved, other = teacher.clone(), DISTANCES.clone()
    moved[:, 0] += 5
    other[0, 1:] = other[1:, 0] = 0.01
    close(Transported(other)(moved, student, labels), before)


@pytest.mark.parametrize("classes", [2, 300])
def test_transport_in_float32_stays_finite_and_near_float64_at_the_edges(classes: int) -> None:
    generator = torch.Generator().manual_seed(0)
    distances = head_distances(torch.randn(classes, 16, generator=generator))
    logits = [torch.randn(6, classes, generator=generator) * scale for scale in (80.0, 1.0)]
    labels = torch.arange(6) % classes
    student = logits[1].clone().requires_grad_()
    loss = Transported(distances, reg=0.02)(logits[0], student, labels)
    loss.sum().backward()
    assert student.grad is not None and bool(torch.isfinite(student.grad).all())
    exact = Transported(distances.double(), reg=0.02)(logits[0].double(), logits[1].double(), labels)
    torch.testing.assert_close(loss.detach().double(), exact, rtol=1e-3, atol=1e-5)


def test_distances_of_heads_and_groups() -> None:
    weight = torch.tensor([[2.0, 0.0], [0.0, 5.0], [-1.0, 0.0], [3.0, 3.0]])
    half = 1 - 2**-0.5
    expected = torch.tensor([[0, 1, 2, half], [1, 0, 1, half], [2, 1, 0, 2 - half], [half, half, 2 - half, 0]])
    torch.testing.assert_close(head_distances(weight), expected)
    assert group_distances(((1,), (0,), ()), torch.zeros(0)).tolist() == [[0, 0.5, 1], [0.5, 0, 1], [1, 1, 0]]
    with pytest.raises(UserError, match="needs groups of similar classes"):
        by_name.objective("wkd", {"costs": "similar"})
    with pytest.raises(UserError, match="distances are between 3 classes, the model has 5"):
        Transported(torch.zeros(3, 3))(make_outputs(1).logits, make_outputs(2).logits, LABELS)
