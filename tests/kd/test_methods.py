"""Every method against a plain implementation in NumPy loops, then its limits and its traps."""

from __future__ import annotations

import pytest
import torch

from fnkd_core.errors import UserError
from fnkd_core.kd import objective as by_name
from fnkd_core.kd.decoupled import Decoupled
from fnkd_core.kd.losses import Objective, cross_entropy, kl_divergence, loss_terms
from fnkd_core.kd.methods import METHODS
from fnkd_core.kd.outputs import Outputs
from fnkd_core.kd.sample_weights import PowerSum
from fnkd_core.kd.targets import OneHot, Smoothed, SmoothedSimilar
from fnkd_core.kd.temperature import FeatureNorm, JointMax, soften
from tests.kd.plain import LABELS, SIMILAR, D, K, N, make_outputs, student_of

# --- the plain implementation: one sample, one class at a time -------------------------------------------
# In complex numbers, so that its derivative is Im f(x + ih) / h to the last digit, with nothing cancelled.


# --- special cases ----------------------------------------------------------------------------------------


def test_equal_norms_make_fn_equal_kd_at_t_c_over_tau() -> None:
    c, tau = 6.0, 1.5
    student, teacher = make_outputs(1), make_outputs(2)

    def unit(o: Outputs) -> Outputs:
        return Outputs(o.features / o.norms[:, None] * c, o.logits, o.bias)

    student, teacher = unit(student), unit(teacher)
    fn = loss_terms(by_name.objective("fn", {"tau": tau, "lambda": 1.0}), student, LABELS, teacher)
    kd = loss_terms(by_name.objective("kd", {"T": c / tau, "alpha": 0.5, "t_squared": False}), student, LABELS, teacher)
    torch.testing.assert_close(fn["soft"], kd["soft"], rtol=1e-12, atol=0)
    torch.testing.assert_close(fn["loss"], 2 * kd["loss"], rtol=1e-12, atol=0)


def test_kd_at_t_1_is_cross_entropy_against_the_mixed_target() -> None:
    student, teacher = make_outputs(1), make_outputs(2)
    mixed = 0.3 * OneHot()(LABELS, student.logits) + 0.7 * teacher.logits.softmax(1)
    kd = loss_terms(by_name.objective("kd", {"T": 1.0, "alpha": 0.7}), student, LABELS, teacher)
    torch.testing.assert_close(kd["loss"], cross_entropy(mixed, student.logits), rtol=1e-12, atol=0)


def test_at_high_temperature_kd_has_the_gradient_of_logit_matching() -> None:
    teacher, student = make_outputs(2), make_outputs(1)
    logits = student.logits.clone().requires_grad_()
    objective = by_name.objective("kd", {"T": 1e5, "alpha": 1.0})
    loss_terms(objective, Outputs(student.features, logits, student.bias), LABELS, teacher)["loss"].sum().backward()
    z, v = logits.detach(), teacher.logits
    matching = (z - z.mean(1, keepdim=True) - v + v.mean(1, keepdim=True)) / K
    torch.testing.assert_close(logits.grad, matching, rtol=1e-3, atol=1e-6)


def test_the_released_soft_term_moves_only_the_direction_of_a_feature_longer_than_tau() -> None:
    g = torch.Generator().manual_seed(5)
    weight = torch.randn(K, D, generator=g, dtype=torch.float64)
    bias = torch.randn(K, generator=g, dtype=torch.float64)
    features = (torch.randn(N, D, generator=g, dtype=torch.float64).abs() * 5).requires_grad_()
    objective = by_name.objective("fn", {"tau": 1.0, "variant": "released"})
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
    objective = by_name.objective(name, {})
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
        objective = by_name.objective("ctkd", {"ramp": 0.5}, progress=progress, learnt=theta)
        loss_terms(objective, student, LABELS, teacher)["loss"].sum().backward()
        assert theta.grad is not None
        return float(theta.grad)

    def loss(theta: float) -> float:
        at = by_name.objective("ctkd", {}, learnt=torch.tensor(theta, dtype=torch.float64))
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
    terms = loss_terms(by_name.objective("dtkd", {}), outputs, torch.tensor([0, 1, 0]), peer)
    terms["loss"].sum().backward()
    assert bool(torch.isfinite(terms["loss"]).all())
    assert outputs.logits.grad is not None and bool(torch.isfinite(outputs.logits.grad).all())


def test_wttm_at_t_1_is_kd_at_t_1_and_doubtful_samples_weigh_more_below() -> None:
    student, teacher = make_outputs(1, 2.0), make_outputs(2, 3.0)
    wttm = loss_terms(by_name.objective("wttm", {"T": 1.0}), student, LABELS, teacher)["soft"]
    torch.testing.assert_close(wttm, kl_divergence(teacher.logits, student.logits))
    certain = Outputs(torch.zeros(2, D), torch.tensor([[90.0, 0.0, 0.0], [0.0, 0.0, 0.0]]))
    weights = PowerSum(0.2)(certain, *[torch.ones(2)] * 2)
    torch.testing.assert_close(weights, torch.tensor([1.0, 3**0.8]))


def test_skd_does_not_see_the_scale_of_either_models_logits() -> None:
    student, teacher = make_outputs(1, 2.0), make_outputs(2, 3.0)
    objective = by_name.objective("skd", {})
    before = loss_terms(objective, student, LABELS, teacher)["loss"]
    bigger = [Outputs(o.features, 7 * o.logits + 3) for o in (student, teacher)]
    torch.testing.assert_close(loss_terms(objective, bigger[0], LABELS, bigger[1])["loss"], before)


def test_the_norm_is_of_each_row_and_not_of_the_batch() -> None:
    student, teacher = make_outputs(1), make_outputs(2)
    objective = by_name.objective("fn", {"tau": 2.0})
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
    loss = loss_terms(by_name.objective("fn", {"tau": 2.0, "variant": variant}), student, LABELS, teacher)["loss"]
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
        terms = loss_terms(by_name.objective("fn", {"tau": 2.0}), outputs, torch.tensor([0, 1]), outputs)
    assert terms["loss"].dtype == torch.float32
    torch.testing.assert_close(outputs.norms, features.float().norm(dim=1))


def test_the_three_student_norms_are_three_methods() -> None:
    losses, gradients = {}, {}
    weight = torch.randn(K, D, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    base = make_outputs(1, 2.0).features
    for norm in ("own", "detached", "teacher"):
        features = base.clone().requires_grad_()
        objective = by_name.objective("fn", {"tau": 2.0, "student_norm": norm})
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
        loss_terms(by_name.objective(name, values), outputs, LABELS, Outputs(features, logits))["loss"].sum().backward()
        assert logits.grad is None
        assert features.grad is None


def test_alsd_without_similar_classes_is_lsd_with_both_epsilons() -> None:
    student = make_outputs(1)
    empty: tuple[tuple[int, ...], ...] = ((),) * K
    alsd = SmoothedSimilar(0.1, 0.15, empty)(LABELS, student.logits)
    torch.testing.assert_close(alsd, Smoothed(0.25)(LABELS, student.logits), rtol=1e-12, atol=0)


def test_an_open_tau_is_a_quarter_of_the_teachers_mean_norm() -> None:
    assert by_name.complete("fn", {}, means={"norm": 8.0})["tau"] == 2.0
    assert by_name.complete("fn", {"tau": 5.0}, means={"norm": 8.0})["tau"] == 5.0
    assert by_name.complete("fn", {})["tau"] is None


# --- properties -------------------------------------------------------------------------------------------


# --- what users can get wrong -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        (
            "kdd",
            {},
            f"Unknown method 'kdd'. Nearest of {len(METHODS)}: kd, dkd, nkd; `fnkd methods` lists all.",
        ),
        ("kd", {"T": 0.0}, "T must be > 0, got 0.0."),
        ("kd", {"alpha": 1.5}, "alpha must be <= 1, got 1.5."),
        ("lskd", {"tau": 1.0}, "Unknown parameter of method 'lskd' 'tau'. Available: T, hard, soft."),
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
        by_name.objective(name, values, similar=SIMILAR)
    assert str(caught.value) == message


def test_a_missing_teacher_and_other_classes_are_refused() -> None:
    student = make_outputs(1)
    with pytest.raises(UserError, match="learns from a teacher"):
        loss_terms(by_name.objective("kd", {}), student, LABELS)
    other = Outputs(torch.randn(N, D), torch.randn(N, K + 1))
    with pytest.raises(UserError, match="6 outputs, the student 5"):
        loss_terms(by_name.objective("kd", {}), student, LABELS, other)
    with pytest.raises(UserError, match="3 classes, the model has 5"):
        SmoothedSimilar(0.1, 0.1, ((), (), ()))(LABELS, student.logits)
    with pytest.raises(UserError, match="tau is open"):
        by_name.objective("fn", {})


@pytest.mark.parametrize("name", sorted(METHODS))
def test_every_method_documents_itself_and_every_parameter(name: str) -> None:
    entry = METHODS[name]
    assert entry.title
    assert entry.formula
    assert entry.source
    assert entry.summary.endswith(".") or "." in entry.summary
    for parameter in by_name.parameters(name):
        assert len(parameter.help) > 10
    values = by_name.complete(name, {}, means={"norm": 8.0})
    assert isinstance(by_name.objective(name, values, similar=SIMILAR), Objective)
