"""A student teaches the next, and each tells who stands above it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fnkd_core import cli
from fnkd_core.checkpoints.card import read_card
from fnkd_core.checkpoints.several import chain
from fnkd_core.training.config import RunConfig
from fnkd_core.training.loop import train
from tests.training.tools import QUICK


def taught(teacher: str, folder: Path, **changes: object) -> str:
    config = RunConfig(**(QUICK | {"method": "kd", "teacher": teacher, "epochs": 1} | changes))  # type: ignore[arg-type]
    list(train(config, folder))
    return str(folder / "model.safetensors")


def test_a_chain_reads_as_a_sentence() -> None:
    assert chain(None, {}) == ""
    assert chain("a", {"b": "c"}) == "a"
    assert chain("a", {"a": "b", "b": "c"}) == "a, which was taught by b, which was taught by c"
    assert chain("a+b+c", {"b": "d"}) == "a, b and c; b was taught by d"
    assert chain("/x/first/model.safetensors", {}) == "first"
    assert chain("/x/first/best.safetensors+/y/mine.safetensors", {}) == "first/best and y/mine"
    assert chain("a", {"a": "a"}) == "a, which was taught by a"


def test_cards_and_records_tell_the_chain_and_no_student_begins_as_its_teacher(tmp_path: Path) -> None:
    first = taught("digits-teacher", tmp_path / "first")
    second = taught(first, tmp_path / "second")
    taught(f"{second}+digits-ce", tmp_path / "third")
    card = read_card(tmp_path / "third" / "model.json")
    assert card.ancestry == {second: first, first: "digits-teacher"}
    assert [read_card(tmp_path / name / "model.json").generation for name in ("first", "second", "third")] == [1, 2, 3]
    above = "second was taught by first, which was taught by digits-teacher"
    assert chain(card.teacher, card.ancestry) == f"second and digits-ce; {above}"
    assert json.loads((tmp_path / "third" / "resolved.json").read_text())["ancestry"] == card.ancestry


def test_what_learns_from_nobody_has_no_chain(tmp_path: Path) -> None:
    first = taught("digits-teacher", tmp_path / "first")
    taught(first, tmp_path / "alone", method="ce")
    card = read_card(tmp_path / "alone" / "model.json")
    assert card.teacher is None and card.ancestry == {}


def test_a_run_outside_the_library_teaches_by_the_path_of_its_weights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = taught("digits-teacher", tmp_path / "first")
    monkeypatch.chdir(tmp_path)
    few = ["--dataset", "digits", "--method", "kd", "--epochs", "1", "--per-class", "6", "--threads", "1"]
    assert cli.main(["train", *few, "--teacher", "first/model.safetensors", "--run-dir", "second"]) == 0
    assert read_card(Path("second/model.json")).teacher == first
    assert cli.main(["runs", "show", "second"]) == 0
    assert "first, which was taught by digits-teacher\n" in capsys.readouterr().out
