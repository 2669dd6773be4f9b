"""Kept epochs are what the student said as its steps learnt, each sample once, whatever interrupts the run."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fnkd_core.checkpoints.io import read_state
from fnkd_core.data import load_training
from fnkd_core.data.label_noise import few_labels, flip_labels
from fnkd_core.errors import UserError
from fnkd_core.stores.epochs import KeptEpochs, kept_epochs, num_bytes, row_type, unseen, write_epoch
from fnkd_core.training import loop
from fnkd_core.training.augmented import Batch
from fnkd_core.training.config import RunConfig
from fnkd_core.training.setup import Setup
from fnkd_core.training.state import State

# 130 samples, of which a batch of 43 leaves one over: no batch norm is of a single image.
USUAL: dict[str, Any] = {
    "method": "ce", "epochs": 3, "batch_size": 43, "per_class": 13, "label_noise": 0.1, "keep_epochs": True,
    "threads": 1, "precision": "fp32",
}  # fmt: skip


def trained(folder: Path, **changes: Any) -> KeptEpochs | None:
    for _ in loop.train(RunConfig(**(USUAL | changes)), folder):
        pass
    return kept_epochs(folder)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("kept") / "whole"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FNKD_HOME", str(folder.parent))
        trained(folder)
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "epochs").iterdir())}


def test_what_is_kept_is_what_the_student_says_of_each_batch_before_its_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: dict[int, tuple[float, float, int]] = {}
    step = loop.train_step

    def asked_first(setup: Setup, batch: Batch, *more: Any) -> Any:
        twin = copy.deepcopy(setup.student)
        with torch.no_grad():
            outputs = twin(batch.images)
        chances = torch.softmax(outputs.logits, 1)
        for i, row in enumerate(batch.rows.tolist()):
            norm = float(outputs.features[i].pow(2).sum().sqrt())
            said[row] = (norm, float(chances[i, batch.labels[i]]), int(outputs.logits[i].argmax()))
        return step(setup, batch, *more)

    monkeypatch.setattr(loop, "train_step", asked_first)
    kept = trained(tmp_path / "run", epochs=1)
    assert kept is not None and kept.numbers == (1,)
    rows = kept.read(1)
    assert len(said) == 129 and (rows["prediction"] == unseen(10)).sum() == 1
    for row, (norm, p_label, prediction) in said.items():
        assert rows["norm"][row] == pytest.approx(norm, rel=2**-10)
        assert rows["p_label"][row] == pytest.approx(p_label, rel=2**-10, abs=1e-7)
        assert rows["prediction"][row] == prediction
    (left,) = set(range(130)) - set(said)
    assert np.isnan(rows["norm"][left]) and np.isnan(rows["p_label"][left])


def test_the_rows_are_of_the_samples_as_they_are_trained_on_in_their_order(whole: Path) -> None:
    kept = kept_epochs(whole)
    assert kept is not None and kept.numbers == (1, 2, 3) and kept.num_epochs == 3
    info = loop.resolve(RunConfig(**USUAL)).info
    train = flip_labels(few_labels(load_training(info, 0.1)[0], 13, 0), 0.1, "uniform", (), 0)
    assert kept.samples["key"].tolist() == train.keys
    assert kept.samples["label"].tolist() == train.labels.tolist()
    assert kept.classes == list(info.classes) and kept.split_identity == info.identity("train")
    # 130 rows of 6 bytes behind a header, as was said before.
    sizes = [path.stat().st_size for path in (whole / "epochs").glob("*.npy")]
    assert num_bytes(3, 130, 10) == 3 * 780 and all(780 < size <= 780 + 256 for size in sizes)
    assert kept.num_bytes == sum(path.stat().st_size for path in (whole / "epochs").iterdir())


def test_a_run_that_keeps_its_epochs_is_to_the_bit_one_that_does_not(whole: Path, tmp_path: Path) -> None:
    assert trained(tmp_path / "without", keep_epochs=False) is None
    assert not (tmp_path / "without" / "epochs").exists()
    a, b = (read_state(folder / "model.safetensors") for folder in (whole, tmp_path / "without"))
    assert a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
    on, off = (RunConfig(**(USUAL | {"keep_epochs": kept})).deciding() for kept in (True, False))
    assert on == off


@pytest.mark.parametrize("after", ["within an epoch", "before it is saved"])
def test_a_run_that_was_stopped_keeps_what_one_that_was_not_keeps(
    after: str, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if after == "within an epoch":
        for event in loop.train(RunConfig(**USUAL), tmp_path / "cut"):
            if isinstance(event, loop.Progress) and (event.epoch, event.step) == (2, 2):
                break
        assert files(tmp_path / "cut").keys() == {"0001.npy", "samples.parquet"}
    else:

        def killed(self: State, line: dict[str, Any]) -> None:
            if line["epoch"] == 2:
                raise KeyboardInterrupt
            save(self, line)

        save = State.save
        monkeypatch.setattr(State, "save", killed)
        with pytest.raises(KeyboardInterrupt):
            trained(tmp_path / "cut")
        monkeypatch.setattr(State, "save", save)
        # Written, and yet the run goes on from the epoch before: it is let go and written again.
        assert "0002.npy" in files(tmp_path / "cut")
    trained(tmp_path / "cut")
    assert files(tmp_path / "cut") == files(whole)


def test_a_run_that_begins_anew_lets_go_of_the_epochs_of_its_first_life(tmp_path: Path) -> None:
    for event in loop.train(RunConfig(**USUAL), tmp_path / "run"):
        if isinstance(event, loop.Metrics) and event.epoch == 2:
            break
    (tmp_path / "run" / "state.pt").unlink()
    for event in loop.train(RunConfig(**USUAL), tmp_path / "run"):
        if isinstance(event, loop.Progress):
            break
    assert kept_epochs(tmp_path / "run") is None


def test_whatever_is_wrong_with_a_file_is_one_line_whose_remedy_works(whole: Path, tmp_path: Path) -> None:
    import shutil

    run = tmp_path / "run"
    shutil.copytree(whole, run)
    path = run / "epochs" / "0002.npy"
    good = path.read_bytes()
    impossible = np.frombuffer(good[-780:], row_type(10)).copy()
    impossible["prediction"][3] = 10
    for bad, words in (
        (good[:-7], "is cut short"),
        (b"", "is no array"),
        (good.replace(b"(130,)", b"(131,)"), "holds"),
        (good[:-780] + impossible.tobytes(), "holds what no training writes"),
    ):
        path.write_bytes(bad)
        kept = kept_epochs(run)
        assert kept is not None
        with pytest.raises(UserError, match=rf"0002.npy {words}.*; delete it to leave that epoch out\.$"):
            kept.read(2)
    path.unlink()
    kept = kept_epochs(run)
    assert kept is not None and kept.numbers == (1, 3) and len(kept.read(3)) == 130
    for ruin in (lambda p: p.write_bytes(p.read_bytes()[:-20]), lambda p: p.unlink()):
        ruin(run / "epochs" / "samples.parquet")
        with pytest.raises(UserError, match=r"samples.parquet is (damaged|missing).*train again with --keep-epochs\.$"):
            kept_epochs(run).samples  # type: ignore[union-attr]  # noqa: B018


def test_of_very_many_classes_a_prediction_has_four_bytes_and_a_norm_out_of_range_is_the_largest(
    tmp_path: Path,
) -> None:
    predictions = np.array([70_000, unseen(100_000)], np.uint32)
    write_epoch(tmp_path, 12_345, np.array([1e6, np.nan]), np.array([0.5, np.nan]), predictions)
    rows = np.load(tmp_path / "epochs" / "12345.npy")
    assert rows.dtype == row_type(100_000) and rows["prediction"].tolist() == predictions.tolist()
    assert rows["norm"][0] == 65504 and kept_epochs(tmp_path).numbers == (12_345,)  # type: ignore[union-attr]
