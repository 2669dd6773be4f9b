"""Checkpoints: what is written is read back; what is broken is one clear line."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fnkd_core.checkpoints.card import Card, read_card
from fnkd_core.checkpoints.fits import require_teacher
from fnkd_core.checkpoints.io import load_checkpoint, read_state, write_checkpoint
from fnkd_core.checkpoints.library import find_checkpoint, list_checkpoints
from fnkd_core.data import dataset_info, load_split
from fnkd_core.errors import UserError
from fnkd_core.identity import content_of
from fnkd_core.models.architecture import Architecture
from fnkd_core.models.zoo import build
from fnkd_core.paths import project_dir
from fnkd_core.training.evaluate import evaluate
from tests.tools import copy_checkpoint

SHIPPED = project_dir() / "checkpoints"


def make(folder: Path, name: str = "mine") -> Path:
    """A checkpoint with random weights."""
    architecture = Architecture("cifar_resnet8", 10, 1)
    classifier = build(architecture, (0.3,), (0.4,), (8, 8))
    card = Card(
        name=name,
        architecture=architecture.to_dict(),
        dataset="digits",
        label_space="digits",
        classes=list("0123456789"),
        mean=[0.3],
        std=[0.4],
        image_size=[8, 8],
    )
    path = folder / f"{name}.safetensors"
    write_checkpoint(path, classifier.state(), card)
    return path


def test_what_is_written_is_read_back_bit_for_bit(tmp_path: Path) -> None:
    path = make(tmp_path)
    classifier, card = load_checkpoint(path)
    state = read_state(path)
    assert all(torch.equal(v, state[k]) for k, v in classifier.state().items())
    assert (card.mean, card.std) == ([0.3], [0.4]) and float(classifier.mean) == pytest.approx(0.3)
    assert not classifier.training
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("name", ["digits-teacher", "digits-ce", "digits-kd", "digits-fn"])
def test_a_shipped_checkpoint_is_as_accurate_as_its_card_says(name: str) -> None:
    classifier, card = load_checkpoint(name)
    found = evaluate(classifier, load_split("digits", "test"))
    assert found["accuracy"] == pytest.approx(card.metrics["last"]["accuracy"], abs=0.006)
    assert found["norm"] == pytest.approx(card.metrics["last"]["norm"], rel=1e-3)
    assert found["accuracy"] >= (0.975 if name == "digits-teacher" else 0.95)


def test_the_shipped_checkpoints_are_small() -> None:
    assert sum(p.stat().st_size for p in SHIPPED.glob("digits-*")) < 5e6


def test_weights_that_are_not_those_of_the_card_are_noticed(tmp_path: Path) -> None:
    path = make(tmp_path)
    make(tmp_path, "other")
    shutil.copy(tmp_path / "other.safetensors", path)
    with pytest.raises(UserError, match="sha256 differs"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architecture": {"name": "cifar_resnet20", "num_classes": 10, "in_channels": 1}}, "does not fit"),
        ({"architecture": {"name": "resnet_x", "num_classes": 10}}, "Unknown architecture"),
        ({"mean": [0.1, 0.2]}, "mean must be 1"),
        ({"std": [0.0]}, "std must be 1"),
        ({"classes": ["a"]}, "1 class names for 10"),
        ({"format": 9}, "format must be 1"),
        ({"extra": 1}, "unknown keys extra"),
        ({"classes": None}, "classes must be a list"),
        ({"image_size": [8]}, "image_size"),
    ],
)
def test_a_card_that_does_not_fit_says_why(tmp_path: Path, change: dict[str, object], message: str) -> None:
    path = make(tmp_path)
    card = json.loads((tmp_path / "mine.json").read_text())
    (tmp_path / "mine.json").write_text(json.dumps(card | change))
    with pytest.raises(UserError, match=message) as error:
        load_checkpoint(path)
    assert "\n" not in str(error.value)


@given(data=st.data())
def test_a_mutated_file_is_one_line_or_the_same_weights(tmp_path: Path, data: st.DataObject) -> None:
    good = (SHIPPED / "digits-ce.safetensors").read_bytes()
    cut = data.draw(st.integers(0, len(good)))
    at, byte = data.draw(st.integers(0, min(len(good) - 1, 9000))), data.draw(st.integers(0, 255))
    mutated = bytearray(good[:cut] if data.draw(st.booleans()) else good)
    if at < len(mutated):
        mutated[at] = byte
    (tmp_path / "m.safetensors").write_bytes(mutated)
    shutil.copy(SHIPPED / "digits-ce.json", tmp_path / "m.json")
    if bytes(mutated) == good:
        return
    with pytest.raises(UserError, match="sha256 differs") as error:
        load_checkpoint(tmp_path / "m.safetensors")
    assert "\n" not in str(error.value)


def test_values_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    path = make(tmp_path)
    state = read_state(path)
    state["fc.weight"][0, 0] = float("nan")
    write_checkpoint(path, state, read_card(tmp_path / "mine.json"))
    with pytest.raises(UserError, match="not finite in fc.weight"):
        load_checkpoint(path)


def test_the_library_lists_everything_and_never_raises(home: Path) -> None:
    folder = home / "checkpoints"
    folder.mkdir()
    make(folder, "good")
    (folder / "alone.safetensors").write_bytes(b"x")
    (folder / "lonely.json").write_text("{}")
    (folder / "torn.safetensors").write_bytes(b"x")
    (folder / "torn.json").write_text("[1")
    entries = {e.name: e for e in list_checkpoints()}
    assert entries["good"].problem is None
    for name, message in (("alone", "has no card"), ("lonely", "without weights"), ("torn", "is not JSON")):
        assert message in str(entries[name].problem)
        with pytest.raises(UserError, match=message):
            find_checkpoint(name)
    assert "digits-teacher" in entries
    with pytest.raises(UserError, match="Unknown checkpoint 'nobody'. Nearest of 8: good, "):
        find_checkpoint("nobody")
    with pytest.raises(UserError, match="does not exist"):
        find_checkpoint(folder / "nobody.safetensors")


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".th", ".bin"])
def test_a_file_of_others_is_in_the_library_only_once_it_is_imported(home: Path, suffix: str) -> None:
    folder = home / "checkpoints"
    folder.mkdir()
    make(folder, "mine")
    for name in ("mine", "theirs", "digits-ce"):
        torch.save({"weight": torch.zeros(1)}, folder / f"{name}{suffix}")
    (folder / "theirs.json").write_text((folder / "mine.json").read_text())
    for ref in ("theirs", folder / f"theirs{suffix}"):
        with pytest.raises(UserError) as error:
            load_checkpoint(ref)
        remedy = f"import it with `fnkd checkpoints import {folder / 'theirs'}{suffix}`."
        assert str(error.value) == f"theirs{suffix} is not in the library yet; {remedy}"
    for name in ("mine", "digits-ce"):
        assert find_checkpoint(name).path.suffix == ".safetensors"


def test_a_teacher_of_another_label_space_is_refused_before_the_first_step() -> None:
    card = find_checkpoint("digits-teacher").card
    assert card is not None
    require_teacher(card, dataset_info("digits"), "kd")
    with pytest.raises(UserError, match="takes 1-channel images, cifar100 .* has 3"):
        require_teacher(card, dataset_info("cifar100"), "kd")
    with pytest.raises(UserError, match="takes 1-channel images, cifar10 .* has 3"):
        require_teacher(card, dataset_info("cifar10"), "kd")


def test_a_run_s_students_are_listed_anew_whenever_a_file_that_decides_them_changes(tmp_path: Path, home: Path) -> None:
    run = home / "runs" / "20260101-000000-ce-abcd"
    run.mkdir(parents=True)

    def listed() -> list[str]:
        return [entry.name for entry in list_checkpoints() if entry.path.parent == run]

    assert listed() == []
    for suffix in (".safetensors", ".json"):
        shutil.copy(SHIPPED / f"digits-ce{suffix}", run / f"model{suffix}")
    assert listed() == []
    (run / "end.json").write_text('{"status": "failed"}')
    assert listed() == []
    (run / "end.json").write_text('{"status": "finished"}')
    assert listed() == ["digits-ce-abcd"] == listed()
    card = json.loads((run / "model.json").read_text())
    (run / "model.json").write_text(json.dumps(card | {"name": "renamed"}))
    assert listed() == ["renamed-abcd"]
    (run / "model.json").write_text("{")
    (broken,) = (entry for entry in list_checkpoints() if entry.path.parent == run)
    assert broken.card is None and "model.json" in str(broken.problem)
    (run / "model.safetensors").unlink()
    assert listed() == []


def test_weights_that_are_read_are_summed_anew_whatever_the_file_s_time_says(home: Path) -> None:
    copy_checkpoint(home, "digits-ce", "mine")
    path = home / "checkpoints" / "mine.safetensors"
    load_checkpoint(path)
    content_of(path)
    stat, data = path.stat(), bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    with pytest.raises(UserError, match="is not the file its card describes"):
        load_checkpoint(path)
