"""Sample statistics against scikit-learn and NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss

from fnkd_core.kd.outputs import Outputs
from fnkd_core.kd.statistics import expected_calibration_error, sample_statistics


def test_the_columns_agree_with_numpy_and_scikit_learn() -> None:
    g = torch.Generator().manual_seed(0)
    outputs = Outputs(torch.randn(50, 8, generator=g), torch.randn(50, 4, generator=g) * 3)
    labels = torch.randint(0, 4, (50,), generator=g)
    columns = {name: values.numpy() for name, values in sample_statistics(outputs, labels).items()}
    v = outputs.logits.double().numpy()
    p = np.exp(v) / np.exp(v).sum(1, keepdims=True)
    ordered = np.sort(p, axis=1)
    np.testing.assert_allclose(columns["norm"], np.sqrt((outputs.features.numpy() ** 2).sum(1)), rtol=1e-6)
    np.testing.assert_array_equal(columns["prediction"], v.argmax(1))
    np.testing.assert_array_equal(columns["correct"], v.argmax(1) == labels.numpy())
    np.testing.assert_allclose(columns["confidence"], ordered[:, -1], rtol=1e-5)
    np.testing.assert_allclose(columns["margin"], ordered[:, -1] - ordered[:, -2], atol=1e-6)
    np.testing.assert_allclose(columns["entropy"], -(p * np.log(p)).sum(1), rtol=1e-4)
    np.testing.assert_allclose(columns["logit_std"], v.std(1), rtol=1e-5)
    assert columns["nll"].mean() == pytest.approx(log_loss(labels.numpy(), p, labels=range(4)), rel=1e-5)


def test_entropy_is_zero_and_finite_where_one_class_has_all() -> None:
    outputs = Outputs(torch.ones(1, 2), torch.tensor([[1e4, 0.0, -1e4]]))
    columns = sample_statistics(outputs, torch.tensor([0]))
    assert float(columns["entropy"][0]) == 0.0
    assert float(columns["nll"][0]) == 0.0


def test_ece_is_zero_where_confidence_is_accuracy_and_the_gap_where_it_is_not() -> None:
    confidence = torch.full((100,), 0.8)
    correct = torch.arange(100) < 80
    assert expected_calibration_error(confidence, correct) == pytest.approx(0.0, abs=1e-7)
    assert expected_calibration_error(torch.full((100,), 1.0), correct) == pytest.approx(0.2)


def test_ece_equals_a_loop_over_the_bins() -> None:
    g = torch.Generator().manual_seed(1)
    confidence = torch.rand(500, generator=g)
    correct = torch.rand(500, generator=g) < confidence**2
    expected = 0.0
    for i in range(15):
        inside = (confidence > i / 15) & (confidence <= (i + 1) / 15)
        if inside.any():
            gap = abs(float(correct[inside].double().mean()) - float(confidence[inside].double().mean()))
            expected += float(inside.double().mean()) * gap
    assert expected_calibration_error(confidence, correct) == pytest.approx(expected, rel=1e-9)
