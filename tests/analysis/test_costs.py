"""The costs that people see are those that wkd pays."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fnkd_core.analysis.costs import group_costs, head_costs, nearest
from fnkd_core.checkpoints.io import load_checkpoint
from fnkd_core.checkpoints.library import find_checkpoint
from fnkd_core.kd.transport import Transported, group_distances


def test_costs_of_a_head_follow_from_the_angles_of_its_rows() -> None:
    entry = find_checkpoint("digits-teacher")
    weight = load_checkpoint(entry.path)[0].head.weight.detach().double().numpy()
    rows = weight / np.linalg.norm(weight, axis=1, keepdims=True)
    expected = 1 - np.exp(-2.0 * (1 - rows @ rows.T))
    np.fill_diagonal(expected, 0.0)
    np.testing.assert_allclose(head_costs(entry, 2.0), expected, atol=1e-6)


def test_costs_of_groups_are_half_way_within_one() -> None:
    costs = group_costs([[1], [0], []], 1.0)
    assert costs[0, 0] == 0 and costs[0, 1] == pytest.approx(1 - np.exp(-0.5))
    assert costs[0, 2] == costs[2, 1] == pytest.approx(1 - np.exp(-1.0))
    assert nearest(costs, 0, 5) == [1, 2] and nearest(costs, 2, 1) == [0]


def test_moving_mass_as_these_costs_say_is_what_wkd_pays() -> None:
    # All of the teacher's mass on class 1, all of the student's on class 2: the plan has one way to go.
    costs = group_costs([[1], [0], [3], [2]], 1.0)
    teacher, student = torch.tensor([[0.0, 80.0, 0.0, 0.0]]), torch.tensor([[0.0, 0.0, 80.0, 0.0]])
    distances = group_distances(((1,), (0,), (3,), (2,)), torch.zeros(1, dtype=torch.float64))
    paid = Transported(distances)(teacher.double(), student.double(), torch.tensor([0]))
    assert float(paid) == pytest.approx(costs[1, 2], abs=1e-6)
