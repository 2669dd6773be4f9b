"""Properties of the rules: distributions, invariances, shares."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fnkd_core.kd.losses import cross_entropy, kl_divergence
from fnkd_core.kd.outputs import Outputs
from fnkd_core.kd.targets import SmoothedSimilar
from fnkd_core.kd.temperature import Constant, FeatureNorm, LogitStd, Temperature, soften
from tests.kd.plain import LABELS, SIMILAR, D, K, N, make_outputs

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
