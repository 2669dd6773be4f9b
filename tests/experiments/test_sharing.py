"""A comparison asks a teacher once for all runs that see the same views, unless somebody says otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fnkd_core.experiments import sharing
from fnkd_core.experiments.plan import plan
from fnkd_core.experiments.sharing import asking_once

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


def test_nothing_but_the_asking_is_changed(home: Path) -> None:
    before = plan(BASE, ["ce", "kd"], range(2))
    for old, new in zip(before, asking_once(before), strict=True):
        assert (old.row, old.seed, old.varied) == (new.row, new.seed, new.varied)
        changed = {k for k, v in old.config.to_dict().items() if new.config.to_dict()[k] != v}
        assert changed <= {"teacher_outputs"}
