"""A comparison asks a teacher once for all runs that see the same views, unless somebody says otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fnkd_core.experiments import sharing
from fnkd_core.experiments.plan import plan
from fnkd_core.experiments.sharing import asking_once, to_be_asked

BASE: dict[str, Any] = {"dataset": "digits", "teacher": "digits-teacher", "epochs": 3}


def outputs(*args: Any, **kwargs: Any) -> list[str]:
    return [cell.config.teacher_outputs for cell in asking_once(plan(*args, **kwargs))]


def test_seeds_and_methods_share_what_the_teacher_says_and_those_without_one_are_left_alone(home: Path) -> None:
    assert outputs(BASE, ["ce", "kd", "fn"], range(2)) == ["live"] * 2 + ["cached"] * 4
    assert outputs(BASE, ["kd"], range(1), {"T": [2.0, 4.0]}) == ["cached"] * 2


def test_a_single_run_few_labels_of_each_seed_and_varied_views_gain_nothing_and_stay_live(home: Path) -> None:
    assert outputs(BASE, ["kd"], range(1)) == ["live"]
    assert outputs(BASE | {"per_class": 5}, ["kd"], range(3)) == ["live"] * 3  # each seed draws images of its own
    assert outputs(BASE | {"per_class": 5}, ["kd", "fn"], range(1)) == ["cached"] * 2
    varied = plan(BASE, ["kd"], range(2), {"teacher_outputs": ["live", "cached"]})
    assert [c.config.teacher_outputs for c in asking_once(varied)] == ["live"] * 2 + ["cached"] * 2


def test_a_teacher_that_is_trained_first_is_asked_as_before(home: Path) -> None:
    cells = plan(BASE | {"teacher": None}, ["kd"], range(2), teachers=["cifar_resnet8"])
    assert {c.config.teacher_outputs for c in asking_once(cells)} == {"live"}


def test_what_would_fill_the_disk_is_not_kept_unasked(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "MOST_BYTES", 10**4)
    assert outputs(BASE, ["kd"], range(2)) == ["live"] * 2
    # Over all teachers, views and selections of the comparison together, not for each.
    once = to_be_asked(plan(BASE | {"teacher_outputs": "cached"}, ["kd"], [0]))
    assert once is not None
    monkeypatch.setattr(sharing, "MOST_BYTES", int(1.5 * once.num_bytes))
    assert outputs(BASE, ["kd", "fn"], range(1), {"view_seed": [0, 1]}) == ["cached", "live"] * 2


def test_what_is_asked_of_is_said_once_for_all_runs_that_share_it(home: Path) -> None:
    cells = asking_once(plan(BASE, ["ce", "kd", "fn"], range(2)))
    asking, of_one = to_be_asked(cells), to_be_asked(cells[2:3])
    assert asking == of_one and asking is not None and (asking.views, asking.teachers) == (3, 1)
    assert asking.images == 3 * 1293 and asking.num_bytes == 3 * 1293 * (2 * 10 + 4)
    assert str(asking).startswith("First the teacher is asked of 3 of 3 views, 3,879 images, which takes 93 kB")
    assert to_be_asked(plan(BASE, ["kd"], [0])) is None


def test_nothing_but_the_asking_is_changed(home: Path) -> None:
    before = plan(BASE, ["ce", "kd"], range(2))
    for old, new in zip(before, asking_once(before), strict=True):
        assert (old.row, old.seed, old.varied) == (new.row, new.seed, new.varied)
        changed = {k for k, v in old.config.to_dict().items() if new.config.to_dict()[k] != v}
        assert changed <= {"teacher_outputs"}
