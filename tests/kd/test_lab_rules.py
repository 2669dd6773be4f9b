"""The lab's rules are the methods' rules: what a slider shows is what a training learns."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fnkd_core.errors import UserError
from fnkd_core.kd.methods import METHODS
from fnkd_core.kd.objective import objective, parameters, with_policy
from fnkd_core.kd.outputs import Outputs
from fnkd_core.kd.rules import (
    RULES,
    STATISTICS,
    T_HIGH,
    T_LOW,
    as_policy,
    bounds,
    label_targets,
    log_softened,
    rule_named,
    temperatures,
)
from fnkd_core.kd.statistics import sample_statistics
from fnkd_core.kd.temperature import soften

N, K = 40, 7
SIMILAR = ((1, 2), (0,), (0,), (), (5,), (4,), ())
VALUES = {
    "t": 3.0, "tau": 2.5, "epsilon": 0.2, "epsilon_uniform": 0.1, "epsilon_similar": 0.15, "t_std": 1.5, "mu": 2.0,
    "t_joint": 5.0, "lambda": 2.0,
}  # fmt: skip
TRAINED = [name for name, rule in RULES.items() if rule.method]


def outputs(seed: int) -> Outputs:
    generator = torch.Generator().manual_seed(seed)
    head = torch.randn(K, 5, generator=generator, dtype=torch.float64)
    features = torch.randn(N, 5, generator=generator, dtype=torch.float64).abs() * 3
    bias = torch.randn(K, generator=generator, dtype=torch.float64)
    return Outputs(features, features @ head.T + bias, bias)


def columns(of: Outputs) -> dict[str, np.ndarray]:
    labels = torch.zeros(N, dtype=torch.int64)
    return {name: values.numpy() for name, values in sample_statistics(of, labels).items()}


@pytest.mark.parametrize("name", TRAINED)
def test_a_rule_makes_the_targets_that_its_method_trains_with(name: str) -> None:
    rule, teacher, student = RULES[name], outputs(0), outputs(1)
    labels = torch.arange(N) % K
    asked = {field: VALUES[value] for field, value in rule.fields.items()} | dict(rule.fixed)
    trained = objective(rule.method, asked, similar=SIMILAR)
    if not rule.statistic:
        ours = label_targets(rule, labels.numpy(), K, VALUES, SIMILAR)
        assert ours == pytest.approx(trained.targets(labels, teacher.logits).numpy(), abs=1e-12)
        assert ours.sum(axis=1) == pytest.approx(np.ones(N))
        return
    term = trained.soft[0]
    t = term.temperature(teacher, student)
    statistic = STATISTICS[rule.statistic](columns(teacher), K, columns(student))
    ours = temperatures(rule, statistic, VALUES)
    assert ours == pytest.approx(t.numpy(), rel=1e-6)
    assert rule.through_head == term.through_head
    bias = teacher.bias.numpy() if rule.through_head and teacher.bias is not None else None
    softened = log_softened(teacher.logits.numpy(), t.double().numpy(), bias)
    expected = soften(teacher, t, through_head=term.through_head).log_softmax(1)
    assert softened == pytest.approx(expected.numpy(), abs=1e-6)


@pytest.mark.parametrize("method", with_policy())
@pytest.mark.parametrize("name", [name for name, rule in RULES.items() if rule.policy])
def test_a_rule_is_the_policy_of_every_method_that_has_one(name: str, method: str) -> None:
    rule, teacher = RULES[name], outputs(0)
    term = objective(method, as_policy(rule, VALUES)).soft[0]
    ours = temperatures(rule, STATISTICS[rule.statistic](columns(teacher), K, None), VALUES)
    assert ours == pytest.approx(term.temperature(teacher).numpy(), rel=1e-6)
    assert rule.through_head == term.through_head


def test_every_policy_is_a_rule_of_the_lab() -> None:
    (policy,) = [p for p in parameters("dkd") if p.name == "policy"]
    assert {rule.policy for rule in RULES.values() if rule.policy} == set(policy.choices)


@pytest.mark.parametrize("name", TRAINED)
def test_a_rule_s_fields_are_parameters_of_its_method(name: str) -> None:
    rule = RULES[name]
    assert rule.method in METHODS
    assert {*rule.fields, *rule.fixed} <= {p.name for p in parameters(rule.method)}
    assert {s.name for s in rule.sliders} | {"lambda"} >= set(rule.fields.values())


@pytest.mark.parametrize("name", RULES)
def test_a_slider_covers_the_mean_temperatures_of_the_axis(name: str) -> None:
    rule, statistic = RULES[name], np.array([2.0, 4.0, 9.0])
    for slider in rule.sliders:
        low, high, default = bounds(rule, slider, statistic.mean())
        assert 0 < low < default < high
        if rule.statistic:
            ends = sorted(temperatures(rule, statistic, {slider.name: x}).mean() for x in (low, high))
            assert ends[1] == pytest.approx(T_HIGH)
            assert ends[0] == pytest.approx(max(T_LOW, rule.floor), rel=0.01)
        if rule.statistic and slider.default is None:
            assert temperatures(rule, statistic, {slider.name: default}).mean() == pytest.approx(4, rel=0.01)
    assert sum(bounds(rule, s, 1.0)[1] for s in rule.sliders if not rule.statistic) <= 1


def test_a_feature_of_zero_has_a_temperature() -> None:
    assert temperatures(RULES["fn"], np.zeros(1), VALUES)[0] > 0
    assert temperatures(RULES["fn_released"], np.zeros(1), VALUES)[0] == 1


def test_without_similar_classes_alsd_is_lsd_with_both_shares() -> None:
    labels = np.arange(K)
    both = label_targets(RULES["lsd"], labels, K, {"epsilon": 0.25}, ())
    for similar in ((), ((),) * K):
        assert label_targets(RULES["alsd"], labels, K, VALUES, similar) == pytest.approx(both)


def test_a_rule_that_there_is_not_is_one_line() -> None:
    with pytest.raises(UserError, match="one_hot"):
        rule_named("unheard of")
