"""Training from files: the same bits as from memory, resumable, and at any size the teacher has."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
from pathlib import Path

import pytest
import torch

from fnkd_core.checkpoints.card import card_path, read_card, write_card
from fnkd_core.checkpoints.fits import misfit
from fnkd_core.checkpoints.io import load_checkpoint
from fnkd_core.checkpoints.library import find_checkpoint
from fnkd_core.data import add_folder, batches, dataset_info, load_split, loader
from fnkd_core.errors import UserError
from fnkd_core.stores.extract import extract, extracted
from fnkd_core.stores.store import open_store
from fnkd_core.stores.upkeep import delete_store, list_stores
from fnkd_core.training.config import RunConfig
from fnkd_core.training.evaluate import evaluate
from fnkd_core.training.loop import Metrics, train
from tests.pictures import write_folder


@pytest.fixture
def root(tmp_path: Path) -> str:
    return str(write_folder(tmp_path / "set", count=16))


def config(root: str, **changes: object) -> RunConfig:
    settings = {"dataset": "folder", "data_root": root, "image_size": 24, "epochs": 2, "batch_size": 8, "lr": 0.05}
    return RunConfig(**(settings | {"threads": 1} | changes))  # type: ignore[arg-type]


def lines(run: RunConfig, folder: Path | None = None) -> list[dict[str, float]]:
    events = [dataclasses.asdict(event) for event in train(run, folder) if isinstance(event, Metrics)]
    return [{k: v for k, v in line.items() if k not in ("seconds", "samples_per_s")} for line in events]


def stream(monkeypatch: pytest.MonkeyPatch, workers: int) -> None:
    monkeypatch.setattr(batches, "RESIDENT_BYTES", 0)
    monkeypatch.setattr(loader, "num_workers", lambda *_: workers)


def test_training_from_files_is_training_from_memory_to_the_bit(
    root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = lines(config(root), tmp_path / "memory")
    stream(monkeypatch, 2)
    assert lines(config(root), tmp_path / "files") == memory
    weights = [load_checkpoint(tmp_path / run / "model.safetensors")[0].state_dict() for run in ("memory", "files")]
    assert all(torch.equal(weights[0][k], weights[1][k]) for k in weights[0])


def test_at_96_pixels_the_result_does_not_depend_on_workers_and_a_stopped_run_resumes_to_it(
    root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = config(root, image_size=96, per_class=8)
    stream(monkeypatch, 0)
    whole = lines(run, tmp_path / "whole")
    stream(monkeypatch, 2)
    for event in train(run, tmp_path / "stopped"):
        if isinstance(event, Metrics):
            break
    assert lines(run, tmp_path / "stopped") == whole[1:]
    written = (tmp_path / "stopped" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["loss"] for line in written] == [line["loss"] for line in whole]


def test_one_set_of_processes_as_large_as_was_asked_for_reads_for_a_whole_run_and_ends_with_it(
    root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "RESIDENT_BYTES", 0)
    run = config(root, epochs=3, workers=2)
    met = set()
    for event in train(run, tmp_path / "whole"):
        met |= {process.pid for process in multiprocessing.active_children()}
        assert met or not isinstance(event, Metrics)
    assert len(met) == 2 and multiprocessing.active_children() == []
    stopped = train(run, tmp_path / "stopped")
    next(event for event in stopped if isinstance(event, Metrics))
    assert len(multiprocessing.active_children()) == 2
    stopped.close()  # type: ignore[attr-defined]
    assert multiprocessing.active_children() == []


def test_augmentation_changes_what_large_images_are_trained_on(root: str) -> None:
    plain, again = (lines(config(root, image_size=96, epochs=1, augment=a))[0]["loss"] for a in (False, True))
    assert plain != again


@pytest.fixture
def teacher(root: str, tmp_path: Path) -> str:
    """A checkpoint of 40 pixels that evaluates on three quarters of the shorter side."""
    lines(config(root, image_size=40, epochs=1, name="forty"), tmp_path / "teacher")
    path = tmp_path / "teacher" / "model.safetensors"
    card = read_card(card_path(path))
    write_card(card_path(path), dataclasses.replace(card, crop_pct=0.75, interpolation="bicubic"))
    return str(path)


def test_the_card_tells_how_its_images_are_read(root: str, tmp_path: Path) -> None:
    lines(config(root, image_size=160, epochs=1, per_class=2, batch_size=4), tmp_path / "run")
    card = read_card(tmp_path / "run" / "model.json")
    assert (card.image_size, card.crop_pct, card.interpolation) == ([160, 160], 0.875, "bilinear")
    older = {k: v for k, v in card.to_dict().items() if k not in ("crop_pct", "interpolation")}
    (tmp_path / "older.json").write_text(json.dumps(older))
    assert read_card(tmp_path / "older.json").crop_pct == 1.0
    with pytest.raises(UserError, match="crop_pct must be a share"):
        dataclasses.replace(card, crop_pct=0.0)
    with pytest.raises(UserError, match="Unknown interpolation 'sinc'"):
        dataclasses.replace(card, interpolation="sinc")


def test_a_checkpoint_of_another_size_is_evaluated_at_its_own(root: str, teacher: str) -> None:
    info, entry = dataset_info("folder", root=root), find_checkpoint(teacher)
    assert entry.card is not None and info.image == (3, 64, 64)
    assert misfit(entry.card, entry.card.read_as(info)) is None
    store = extracted(entry, info, "test")
    found = open_store(entry, info, "test")
    assert found is not None and found.path == store.path
    classifier, card = load_checkpoint(teacher)
    assert card.read_as(info).image == (3, 40, 40)
    expected = evaluate(classifier, load_split(card.read_as(info), "test"))
    assert store.manifest["norm"]["mean"] == pytest.approx(expected["norm"], rel=1e-5)
    other = evaluate(classifier, load_split("folder", "test", root=root, image_size=40))
    assert expected["norm"] != pytest.approx(other["norm"], rel=1e-5)
    assert card.read_as(dataset_info("digits")) == dataset_info("digits")


def test_extraction_from_files_is_extraction_from_memory(
    root: str, teacher: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    info, entry = dataset_info("folder", root=root), find_checkpoint(teacher)
    memory = extracted(entry, info, "train")
    norms, first, created = memory.samples["norm"].tolist(), memory.thumbnail(5), memory.manifest["created"]
    stream(monkeypatch, 2)
    delete_store(memory)
    again = extracted(entry, info, "train")
    assert again.manifest["created"] > created and again.path == memory.path
    assert again.samples["norm"].tolist() == norms and again.thumbnail(5) == first


def test_no_store_is_made_of_images_that_have_changed_since_they_were_listed(root: str, teacher: str) -> None:
    info, entry = dataset_info("folder", root=root), find_checkpoint(teacher)
    image = Path(root) / "train" / "ape" / "000.jpg"
    before = image.read_bytes()
    image.write_bytes(before + bytes(8))
    with pytest.raises(UserError, match="The train images of set have changed since they were listed; extract them"):
        extracted(entry, info, "train")
    steps = extract(entry, dataset_info("folder", root=root), "train", size=8)
    next(steps)
    image.write_bytes(before)  # while they are read
    with pytest.raises(UserError, match="have changed"):
        list(steps)
    assert list_stores() == []
    assert len(extracted(entry, dataset_info("folder", root=root), "train").samples) == 32


def test_a_student_sees_what_its_teacher_sees_unless_the_run_names_a_size(
    root: str, teacher: str, tmp_path: Path
) -> None:
    add_folder("mine", root)
    run = RunConfig(dataset="mine", method="fn", teacher=teacher, epochs=1, batch_size=8, threads=1)
    lines(run, tmp_path / "student")
    card = read_card(tmp_path / "student" / "model.json")
    assert (card.image_size, card.crop_pct, card.interpolation) == ([40, 40], 0.75, "bicubic")
    lines(dataclasses.replace(run, image_size=24), tmp_path / "smaller")
    assert read_card(tmp_path / "smaller" / "model.json").image_size == [24, 24]
