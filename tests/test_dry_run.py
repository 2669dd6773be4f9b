"""`--dry-run`: what a command would do and how long that takes is said before anything is made or asked."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from fnkd_core import cli
from fnkd_core.training.config import RunConfig
from fnkd_core.training.estimate import Cost
from fnkd_core.wording import duration

STEP_S, IMAGE_S, ASKED_S = 0.5, 0.001, 0.01
SETTINGS = ["--dataset", "digits", "--teacher", "digits-teacher", "--validation", "0"]
CACHED = ["--teacher-outputs", "cached", "--views", "2"]
NUM_TRAIN, NUM_TEST = 1437, 360
RUN_S = 4 * (math.ceil(NUM_TRAIN / 32) * STEP_S) + 4 * NUM_TEST * IMAGE_S + 2 * NUM_TEST * IMAGE_S


@pytest.fixture
def dry(home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """What a command that is run dry says, and its JSON. Steps cost what stands above; nothing is left behind."""
    timed: list[RunConfig] = []

    def cost_of(config: RunConfig) -> Cost:
        timed.append(config)
        return Cost(STEP_S, IMAGE_S, ASKED_S)

    monkeypatch.setattr("fnkd_core.training.estimate.cost_of", cost_of)

    def run(*arguments: str) -> tuple[str, dict[str, Any]]:
        timed.clear()
        assert cli.main([*arguments, *SETTINGS, "--epochs", "4", "--batch-size", "32", "--dry-run", "--json"]) == 0
        out, said = capsys.readouterr()
        assert len(timed) <= 1 and not any((home / name).exists() for name in ("runs", "comparisons", "stores"))
        return said, json.loads(out)

    return run


def test_of_a_run_whose_teacher_is_asked_once_size_and_time_of_that_are_told(dry: Any) -> None:
    said, found = dry("train", "--method", "kd", *CACHED)
    asked_s = 2 * NUM_TRAIN * ASKED_S
    assert "First the teacher is asked of 2 of 2 views, 2,874 images, which takes" in said
    assert found == {"seconds": pytest.approx(asked_s + RUN_S), "asking_seconds": pytest.approx(asked_s)}
    assert f"About {duration(asked_s + RUN_S)}, of which the teacher is asked for {duration(asked_s)}." in said
    said, found = dry("train", "--method", "ce")
    assert found == {"seconds": pytest.approx(RUN_S), "asking_seconds": 0} and "asked" not in said.splitlines()[0]
    assert "device" not in said
    said, _ = dry("train", "--method", "ce", "--devices", "2")
    assert f"About {duration(RUN_S)}. That is on one device; what 2 save is not measured." in said


def test_of_a_comparison_the_runs_are_counted_and_the_teacher_once(dry: Any) -> None:
    said, found = dry("compare", "--methods", "kd,dkd", "--seeds", "3", *CACHED)
    asked_s = 2 * NUM_TRAIN * ASKED_S
    assert ": 6 runs, 0 of them done" in said and "At most about " in said
    assert found["seconds"] == pytest.approx(asked_s + 6 * RUN_S) and found["asking_seconds"] == pytest.approx(asked_s)
    assert (found["runs"], found["done"]) == (6, 0)


def test_one_that_learns_from_the_teacher_stands_for_all_in_whatever_order_they_come(dry: Any) -> None:
    said, found = dry("compare", "--methods", "kd,ce", "--seeds", "1", *CACHED)
    asked_s = 2 * NUM_TRAIN * ASKED_S
    assert found["seconds"] == pytest.approx(asked_s + 2 * RUN_S) and "At most about " in said
    said, found = dry("compare", "--methods", "ce", "--seeds", "1", "--grid", "optimizer=sgd,adamw")
    assert found["asking_seconds"] == 0 and "\nAbout " in said


def test_of_runs_that_wait_for_their_teacher_no_time_is_told(dry: Any) -> None:
    said, found = dry("compare", "--preset", "self-distillation", "--seeds", "1")
    assert "some runs wait for a teacher" in said and found["seconds"] is None and found["runs"] == 5


def test_what_would_be_refused_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for wrong, message in (
        (["train", "--method", "kd", "--student", "nothing"], "nothing"),
        (["train", "--method", "kd", "--nodes", "2"], "need a place to meet"),
        (["compare", "--methods", "kd", "--address", "x"], "--address would be ignored"),
    ):
        assert cli.main([*wrong, *SETTINGS, "--dry-run"]) == 2 and message in capsys.readouterr().err
