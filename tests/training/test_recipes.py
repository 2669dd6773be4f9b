"""What makes students good: the settings of a recipe do what they say, and at their defaults nothing."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from fnkd_core.data import load_split
from fnkd_core.errors import UserError
from fnkd_core.models.architecture import Architecture
from fnkd_core.models.classifier import Classifier
from fnkd_core.training.augmented import Augmented, Batch
from fnkd_core.training.config import LATER, RunConfig
from fnkd_core.training.gradients import Gradients
from fnkd_core.training.loop import Metrics, train
from fnkd_core.training.optim import learning_rate, make_optimizer
from fnkd_core.training.resolve import identity_of, resolve
from fnkd_core.training.setup import Setup, objective_of, prepare
from fnkd_core.training.step import train_step
from fnkd_core.training.teacher import LiveTeacher

QUICK: dict[str, Any] = {"epochs": 2, "per_class": 6, "batch_size": 30, "threads": 1}


def metrics(config: RunConfig, folder: Path | None = None) -> list[dict[str, Any]]:
    """The epochs' metrics, without what the clock says."""
    lines = [dataclasses.asdict(event) for event in train(config, folder) if isinstance(event, Metrics)]
    return [{k: v for k, v in line.items() if k not in ("seconds", "samples_per_s")} for line in lines]


def plain(**changes: Any) -> tuple[Setup, Batch]:
    """A setup whose student has no batch norm, and a batch of 48 digits."""
    config = RunConfig(**({"method": "kd", "teacher": "digits-teacher", "batch_size": 48} | changes))
    setup = prepare(resolve(config), 48)
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    setup.student = Classifier(network, (0.3,), (0.4,), Architecture("cifar_resnet8", 10, 1), (8, 8))
    setup.forward, setup.optimizer = setup.student, make_optimizer(config, setup.student.parameters())
    assert setup.teacher is not None
    setup.teach, setup.objective = LiveTeacher(setup.teacher, "fp32"), objective_of(setup.resolved)
    samples = load_split("digits", "train").subset(torch.arange(48))
    (batch,) = Augmented(samples, False, 0, setup.device).epoch(torch.arange(48), 48, 0, setup.group)
    return setup, batch


def gradient(setup: Setup) -> torch.Tensor:
    return torch.cat([p.grad.flatten() for p in setup.student.parameters() if p.grad is not None])


def test_the_parts_of_a_batch_make_the_step_that_the_whole_batch_makes() -> None:
    stepped = []
    for parts in (1, 3, 5):
        setup, batch = plain(accumulate=parts)
        gradients = Gradients(setup)
        terms = train_step(setup, batch, 0.1, gradients)
        stepped.append((torch.cat([p.flatten() for p in setup.student.parameters()]), terms, gradients.read()))
    whole = stepped[0]
    for weights, terms, apart in stepped[1:]:
        torch.testing.assert_close(weights, whole[0], rtol=1e-5, atol=1e-6)
        for name, values in terms.items():
            torch.testing.assert_close(values, whole[1][name], rtol=1e-4, atol=1e-5)
        assert apart == pytest.approx(whole[2], rel=1e-4)


def test_no_part_of_a_batch_has_fewer_than_two_samples() -> None:
    setup, batch = plain(accumulate=24)
    seen: list[int] = []
    asked = setup.forward
    setup.forward = lambda images: (seen.append(len(images)), asked(images))[1]
    few = dataclasses.replace(batch.parts(16)[0], size=3)
    train_step(setup, few, 0.1)
    train_step(setup, batch, 0.1)
    assert seen == [3] + [2] * 24


def test_a_gradient_is_clipped_to_its_norm_and_a_smaller_one_is_left() -> None:
    found = {}
    for limit in (0.0, 0.01, 1e6):
        setup, batch = plain(clip_norm=limit)
        train_step(setup, batch, 0.1)
        found[limit] = gradient(setup)
    assert float(found[0.01].norm()) == pytest.approx(0.01, rel=1e-3)
    torch.testing.assert_close(found[0.01] / 0.01, found[0.0] / found[0.0].norm(), rtol=1e-3, atol=1e-5)
    assert torch.equal(found[0.0], found[1e6])


def test_the_cosine_ends_at_its_least_rate() -> None:
    config = RunConfig(epochs=10, lr=0.1, min_lr=0.01)
    rates = [learning_rate(config, step, 5) for step in range(51)]
    assert rates[0] == 0.1 and rates[-1] == pytest.approx(0.01) and rates == sorted(rates, reverse=True)


OLD = {
    "ce": ({"method": "ce"}, "d2574824fd2900ca"),
    "fn": ({"method": "fn", "teacher": "digits-teacher"}, "44f823d6f58d38c6"),
    "adamw": ({"method": "ce", "optimizer": "adamw", "decay_norm_and_bias": False}, "ac9c2ed44cbb12a8"),
}
"""Settings, and the identity of their run before there were the later ones."""


@pytest.mark.parametrize("name", OLD)
def test_a_run_without_the_later_settings_is_the_run_that_it_was_before_there_were_any(name: str) -> None:
    settings, before = OLD[name]
    config = RunConfig(**({"epochs": 3, "per_class": 12, "threads": 1, "batch_size": 32} | settings))
    assert identity_of(config) == before
    assert not set(LATER) & set(config.deciding())


CHANGES: dict[str, Any] = {"min_lr": 0.001, "clip_norm": 1.0, "accumulate": 2}
"""A value for each of the later settings, and what it needs beside it."""


@pytest.mark.parametrize("name", LATER)
def test_each_of_the_later_settings_makes_another_run(name: str) -> None:
    usual = RunConfig(**QUICK)
    assert identity_of(dataclasses.replace(usual, **{name: CHANGES[name]})) not in (None, identity_of(usual))


def test_a_run_of_before_is_not_continued_with_a_later_setting(tmp_path: Path) -> None:
    for event in train(RunConfig(**QUICK), tmp_path):
        if isinstance(event, Metrics):
            break
    path = tmp_path / "resolved.json"
    record = json.loads(path.read_text())
    record["config"] = {k: v for k, v in record["config"].items() if k not in LATER}
    path.write_text(json.dumps(record))
    with pytest.raises(UserError, match=r"began with another clip_norm \(0.0, now 1.0\)"):
        metrics(RunConfig(**QUICK, clip_norm=1.0), tmp_path)
    assert [line["epoch"] for line in metrics(RunConfig(**QUICK), tmp_path)] == [2]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"min_lr": 0.05}, "min_lr must be below lr"),
        ({"min_lr": 0.01, "schedule": "constant"}, "min_lr 0.01 would be ignored: the schedule constant"),
        ({"clip_norm": -1.0}, "clip_norm must be >= 0, got -1.0"),
        ({"accumulate": 0}, "accumulate must be >= 1"),
        ({"accumulate": 65}, "accumulate must be >= 1 and leave 2 samples to each part .* got 65 with batch_size 128"),
    ],
)
def test_a_wrong_setting_of_a_recipe_is_one_line(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        RunConfig(**changes)
