"""The costs that people see are those that wkd pays."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from fnkd_core.analysis.costs import group_costs, head_costs, head_rows, nearest
from fnkd_core.checkpoints.io import load_checkpoint
from fnkd_core.checkpoints.library import find_checkpoint
from fnkd_core.errors import UserError
from fnkd_core.kd.transport import Transported, costs_of, group_distances, head_distances
from fnkd_core.paths import project_dir


def test_costs_of_a_head_are_a_row_of_those_that_wkd_goes_by() -> None:
    entry = find_checkpoint("digits-teacher")
    whole = costs_of(head_distances(load_checkpoint(entry.path)[0].head.weight), 2.0).numpy()
    rows = head_rows(entry)
    for label in range(10):
        np.testing.assert_allclose(head_costs(rows, label, 2.0), whole[label], atol=1e-6)
    with pytest.raises(UserError, match="label must be 0 to 9, got 10"):
        head_costs(rows, 10, 2.0)


def test_what_a_head_costs_is_read_from_its_file_without_torch() -> None:
    code = (
        "import sys; from fnkd_core.analysis.costs import head_rows\n"
        "from fnkd_core.checkpoints.library import find_checkpoint\n"
        "assert head_rows(find_checkpoint('digits-teacher')).shape[0] == 10; print('torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=project_dir(), check=True)
    assert done.stdout == "False\n"


def test_costs_of_groups_are_a_row_of_those_that_wkd_goes_by() -> None:
    similar = ((1,), (0,), ())
    whole = costs_of(group_distances(similar, torch.zeros(1, dtype=torch.float64)), 1.0).numpy()
    for label, members in enumerate(similar):
        np.testing.assert_allclose(group_costs(members, label, 3, 1.0), whole[label])
    assert nearest(group_costs((1,), 0, 3, 1.0), 0, 5) == [1, 2] and nearest(group_costs((), 2, 3, 1.0), 2, 1) == [0]


def test_moving_mass_as_these_costs_say_is_what_wkd_pays() -> None:
    # All of the teacher's mass on class 1, all of the student's on class 2: the plan has one way to go.
    costs = group_costs((0,), 1, 4, 1.0)
    teacher, student = torch.tensor([[0.0, 80.0, 0.0, 0.0]]), torch.tensor([[0.0, 0.0, 80.0, 0.0]])
    distances = group_distances(((1,), (0,), (3,), (2,)), torch.zeros(1, dtype=torch.float64))
    paid = Transported(distances)(teacher.double(), student.double(), torch.tensor([0]))
    assert float(paid) == pytest.approx(costs[2], abs=1e-6)
