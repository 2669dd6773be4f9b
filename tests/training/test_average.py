"""The moving average of the weights is what is kept; the weights themselves are measured beside it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from fnkd_core.checkpoints.card import read_card
from fnkd_core.checkpoints.io import load_checkpoint
from fnkd_core.data import load_split
from fnkd_core.training.config import RunConfig
from fnkd_core.training.evaluate import evaluate
from fnkd_core.training.loop import Results, train
from fnkd_core.training.step import train_step
from tests.training.tools import QUICK, assert_resumes_to_the_same_bits, first_batch, metrics


def test_the_average_follows_the_weights_and_takes_few_steps_to_forget_where_they_began() -> None:
    setup, batch = first_batch(ema=0.9)
    assert setup.average is not None
    follow = {k: v.clone().double() for k, v in setup.student.state().items() if v.is_floating_point()}
    for n in range(12):
        setup.student.train()
        train_step(setup, batch, 0.1)
        decay = min(0.9, (1 + n) / (10 + n))
        for name, value in follow.items():
            value.mul_(decay).add_(setup.student.state()[name].double(), alpha=1 - decay)
    kept = setup.kept.state()
    for name, value in follow.items():
        torch.testing.assert_close(kept[name].double(), value, rtol=1e-4, atol=1e-5)
    assert kept["bn1.num_batches_tracked"] == 12 and not setup.kept.training


def test_the_average_is_what_is_kept_and_chosen_and_the_raw_weights_are_evaluated_too(tmp_path: Path) -> None:
    config = RunConfig(**(QUICK | {"epochs": 3}), ema=0.95)
    *_, found = train(config, tmp_path)
    assert isinstance(found, Results) and found.raw is not None and found.raw["epoch"] == 3
    test = load_split("digits", "test")
    card = read_card(tmp_path / "model.json")
    assert card.metrics["ema"] == 0.95 and card.metrics["weights"] == "last"
    assert card.metrics["raw"] == dict(found.raw) and card.metrics["raw"]["nll"] != card.metrics["last"]["nll"]
    for file, reached in (("model", found.last), ("best", found.best)):
        kept, _ = load_checkpoint(tmp_path / f"{file}.safetensors")
        assert reached is not None and evaluate(kept, test)["nll"] == pytest.approx(reached["nll"], rel=1e-6)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    plain = metrics(RunConfig(**(QUICK | {"epochs": 3})))
    assert [line["raw_accuracy"] for line in lines] == [line["accuracy"] for line in plain]
    assert "ema" not in read_card(begun(tmp_path / "plain") / "model.json").metrics


def begun(folder: Path) -> Path:
    """The folder of a finished run without later settings."""
    metrics(RunConfig(**QUICK), folder)
    return folder


def test_a_run_with_an_average_resumes_to_the_same_bits(tmp_path: Path) -> None:
    config = RunConfig(**(QUICK | {"epochs": 3}), ema=0.9)
    assert_resumes_to_the_same_bits(config, tmp_path, ("model", "best"))
