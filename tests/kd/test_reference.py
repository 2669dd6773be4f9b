"""Every method's loss and gradient against a plain implementation written from the papers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from fnkd_core.kd import objective as by_name
from fnkd_core.kd import policies
from fnkd_core.kd.losses import loss_terms
from fnkd_core.kd.methods import METHODS
from tests.kd.plain import LABELS, POLICIES, D, K, N, make_outputs, objective_of, plain_loss, student_of

BY_POLICY: dict[str, dict[str, Any]] = {
    "kd": {"T": 2.5, "alpha": 0.4, "t_squared": True},
    "dkd": {"T": 2.5, "alpha": 0.5, "beta": 2.0, "warmup": 0.5},
    "nkd": {"T": 2.5, "beta": 0.4},
    "rld": {"T": 2.5, "alpha": 0.3, "beta": 2.0, "warmup": 0.5},
}
CASES = [
    ("ce", {}),
    ("lsd", {"epsilon": 0.2}),
    ("alsd", {"epsilon_uniform": 0.1, "epsilon_similar": 0.15}),
    ("kd", {"T": 4.0, "alpha": 0.9, "t_squared": True}),
    ("kd", {"T": 2.5, "alpha": 0.4, "t_squared": False}),
    ("kd", {"T": 4.0, "alpha": 0.9, "t_squared": True, "student_T": 2.3}),
    ("kd", {"T": 4.0, "alpha": 0.9, "t_squared": False, "student_T": 1.5, "policy": "norm", "unit": 6.0}),
    ("kd", {"T": 4.0, "alpha": 0.9, "t_squared": True, "student_T": 1.5, "standardize": True}),
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
    ("nkd", {"T": 1.0, "beta": 1.5}),
    ("nkd", {"T": 3.0, "beta": 0.4}),
    ("rld", {"T": 4.0, "alpha": 1.0, "beta": 8.0, "warmup": 0.0}),
    ("rld", {"T": 1.5, "alpha": 0.3, "beta": 2.0, "warmup": 0.5}),
    ("nd", {"T": 4.0, "alpha": 1.0, "beta": 2.0, "warmup": 0.0}),
    ("nd", {"T": 2.0, "alpha": 0.5, "beta": 8.0, "warmup": 0.5}),
    ("wkd", {"T": 8.0, "weight": 600.0, "costs": "head", "sharpness": 1.0, "reg": 0.05}),
    ("wkd", {"T": 2.0, "weight": 3.0, "costs": "head", "sharpness": 2.0, "reg": 0.2}),
    ("wkd", {"T": 1.0, "weight": 10.0, "costs": "similar", "sharpness": 1.0, "reg": 0.1}),
    ("he", {"scale": 16.0, "margin": 0.0}),
    ("he", {"scale": 8.0, "margin": 0.2}),
    *[(name, parameters | policy) for name, parameters in BY_POLICY.items() for policy in POLICIES],
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


def test_every_method_has_a_plain_implementation_and_every_temperature_policy_is_among_the_cases() -> None:
    assert {name for name, _ in CASES} == set(METHODS) - {"dist"}  # which couples the batch: see test_recent.py
    with_policy = {name for name in METHODS if "policy" in {one.name for one in by_name.parameters(name)}}
    assert set(BY_POLICY) == with_policy - {"dist"}
    assert {policy["policy"] for policy in POLICIES if "policy" in policy} == set(policies.POLICIES) - {"norm_released"}
