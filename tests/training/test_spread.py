"""Which augmentation suits a teacher: the spread is that of the definition, and who asks may leave."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fnkd_core import cli
from fnkd_core.checkpoints.io import load_checkpoint
from fnkd_core.checkpoints.library import find_checkpoint, identities
from fnkd_core.data import dataset_info, load_split
from fnkd_core.errors import UserError
from fnkd_core.jobs.tasks import spread_of, start_spread
from fnkd_core.kd.outputs import Outputs
from fnkd_core.models.inference import predict
from fnkd_core.paths import spreads_dir
from fnkd_core.plots.augmentations import spreads
from fnkd_core.stores.upkeep import holdings
from fnkd_core.training import spread
from fnkd_core.training.augmented import Augmented, order_of
from tests.waiting import until


def measured(monkeypatch: pytest.MonkeyPatch, draws: int = 5) -> spread.Found:
    monkeypatch.setattr(spread, "DRAWN", 40)
    entry, info = find_checkpoint("digits-ce"), dataset_info("digits")
    seen = [*spread.measure(entry, info, draws)]
    assert seen[-1] == (draws * 40 * 7, draws * 40 * 7)
    found = spread.found(entry, info, draws)
    assert found is not None
    return found


def test_the_spread_is_the_standard_deviation_of_the_mean_probability_over_draws(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = measured(monkeypatch)
    rows = {row["name"]: row for row in found["rows"]}
    assert set(rows) == set(spread.AUGMENTATIONS) and rows["shift and flip"]["ratio"] == 1
    teacher, train = load_checkpoint("digits-ce")[0].eval(), load_split("digits", "train")
    for name in ("mixup", "shift and flip"):
        means = []
        for draw in range(5):
            places = order_of(len(train), 0, 0)[draw * 40 : (draw + 1) * 40]
            views = [
                Augmented(train, True, seed, torch.device("cpu"), how)
                for seed, how in ((0, spread.AUGMENTATIONS["shift and flip"]), (1, spread.AUGMENTATIONS[name]))
            ]
            with torch.no_grad():
                p = [teacher(next(view.views(places, 40, 0))).logits.softmax(1) for view in views]
            means.append(torch.cat(p).mean(0).numpy())
        assert rows[name]["spread"] == pytest.approx(np.std(means, axis=0, ddof=1).mean(), rel=1e-4)
    assert [row["spread"] for row in found["rows"]] == sorted(row["spread"] for row in found["rows"])
    assert all(row["low"] <= row["ratio"] * 1.2 and row["high"] >= row["ratio"] * 0.8 for row in found["rows"])
    assert rows["mixup"]["entropy"] > rows["shift and flip"]["entropy"]
    assert len(spreads(found["rows"]).data[0].x) == 6


def row(name: str, ratio: float, low: float, high: float) -> spread.Row:
    return {"name": name, "spread": ratio, "ratio": ratio, "low": low, "high": high, "entropy": 0.1, "norm": 3.0}


def test_what_cannot_be_told_apart_is_said_so() -> None:
    usual = row("shift and flip", 1, 1, 1)
    clear: spread.Found = {"draws": 9, "images": 9, "rows": [row("cutmix", 0.7, 0.6, 0.8), usual]}
    assert spread.verdict(clear).startswith("cutmix has the lowest spread, 0.70 [0.60, 0.80] of that of shift and flip")
    both = clear | {"rows": [row("cutmix", 0.7, 0.6, 0.8), row("mixup", 0.75, 0.65, 0.9), usual]}
    assert "mixup cannot be told from it" in spread.verdict(both)  # type: ignore[arg-type]
    neither = clear | {"rows": [row("cutmix", 0.9, 0.8, 1.1), usual]}
    assert spread.verdict(neither).startswith("None lowers the spread for certain")  # type: ignore[arg-type]


def test_the_command_measures_once_and_says_what_follows(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setattr(spread, "DRAWN", 40)
    words = ["augmentations", "digits-ce", "--draws", "3", "--out", str(tmp_path / "chart.html"), "--json"]
    assert cli.main(words) == 0
    first = json.loads(capsys.readouterr().out)
    assert first["augmentations"]["draws"] == 3 and first["verdict"]
    monkeypatch.setattr(spread, "measure", lambda *_: pytest.fail("it was measured again"))
    assert cli.main(words) == 0
    assert json.loads(capsys.readouterr().out) == first
    assert (tmp_path / "chart.html").stat().st_size > 1000


def test_a_spread_needs_two_draws_and_a_teacher_of_these_data() -> None:
    entry = find_checkpoint("digits-ce")
    with pytest.raises(UserError, match="draws must be >= 2"):
        next(spread.measure(entry, dataset_info("digits"), 1))


def test_it_outlives_who_asked_and_leaves_the_answer_and_no_folder() -> None:
    entry, info = find_checkpoint("digits-ce"), dataset_info("digits")
    task = start_spread(entry, info, draws=4)
    until(lambda: task.state not in ("running", "cancelling"))
    assert task.state == "gone", task.end
    found = spread.found(entry, info, draws=4)
    assert found is not None and found["draws"] == 4 and spread_of(entry, info, 4).state == "gone"
    assert spread.found(entry, info) is None


def test_a_teacher_that_says_what_is_no_number_is_a_sentence_each_time_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(spread, "DRAWN", 40)
    entry, info = find_checkpoint("digits-ce"), dataset_info("digits")

    def overflowing(*given: Any, **named: Any) -> Any:
        for said in predict(*given, **named):
            yield Outputs(said.features, said.logits * float("inf"))

    monkeypatch.setattr("fnkd_core.models.inference.predict", overflowing)
    for _ in range(2):
        with pytest.raises(UserError, match="digits-ce says what is no number of some augmented images; measure an"):
            list(spread.measure(entry, info, 2))
        assert not [*spreads_dir().iterdir()]


def test_what_was_killed_goes_on_from_its_last_draw_and_finds_the_same(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    whole = measured(monkeypatch)
    monkeypatch.setenv("FNKD_HOME", str(tmp_path))
    entry, info = find_checkpoint("digits-ce"), dataset_info("digits")
    lines = spread.measure(entry, info, 5)
    seen = [next(lines) for _ in range(2 * 7 + 3)]  # in the middle of the third draw
    lines.close()  # type: ignore[attr-defined]
    assert seen[-1] == (17 * 40, 35 * 40) and spread.found(entry, info, 5) is None
    assert [path.suffix for path in holdings(identities()).leftovers] == [".parts"]
    gone_on = [done for done, _ in spread.measure(entry, info, 5)]
    assert gone_on == [k * 40 for k in range(2 * 7 + 1, 36)]
    assert spread.found(entry, info, 5) == whole
    spread.path_of(entry, info, 5).unlink()  # as its file says, to measure again
    assert len([*spread.measure(entry, info, 5)]) == 35 and spread.found(entry, info, 5) == whole
