"""What the tests of recipes share."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fnkd_core.checkpoints.io import read_state
from fnkd_core.data import load_split
from fnkd_core.kd.objective import complete
from fnkd_core.models.architecture import Architecture
from fnkd_core.models.classifier import Classifier
from fnkd_core.training.augmented import Augmented, Batch
from fnkd_core.training.config import RunConfig
from fnkd_core.training.loop import Metrics, train
from fnkd_core.training.optim import make_optimizer
from fnkd_core.training.resolve import resolve
from fnkd_core.training.setup import Setup, objective_of, prepare
from fnkd_core.training.teacher import LiveTeacher

KD = {"method": "kd", "teacher": "digits-teacher"}
QUICK: dict[str, Any] = {"epochs": 2, "per_class": 6, "batch_size": 30, "threads": 1}


def metrics(config: RunConfig, folder: Path | None = None) -> list[dict[str, Any]]:
    """The epochs' metrics, without what the clock says."""
    lines = [dataclasses.asdict(event) for event in train(config, folder) if isinstance(event, Metrics)]
    return [{k: v for k, v in line.items() if k not in ("seconds", "samples_per_s")} for line in lines]


def stopped(config: RunConfig, folder: Path) -> None:
    """Train until the first epoch is done."""
    for _ in itertools.takewhile(lambda event: not isinstance(event, Metrics), train(config, folder)):
        pass


def assert_resumes_to_the_same_bits(config: RunConfig, tmp_path: Path, files: tuple[str, ...] = ("model",)) -> None:
    """A run that stops after its first epoch and goes on ends as one that does not stop: epochs and weights."""
    whole = metrics(config, tmp_path / "whole")
    stopped(config, tmp_path / "cut")
    assert metrics(config, tmp_path / "cut") == whole[1:]
    for file in files:
        a, b = (read_state(tmp_path / name / f"{file}.safetensors") for name in ("whole", "cut"))
        assert all(torch.equal(a[k], b[k]) for k in a)


def plain(**changes: Any) -> tuple[Setup, Batch]:
    """A setup whose student has no batch norm, and a batch of 48 digits."""
    config = RunConfig(**({"method": "kd", "teacher": "digits-teacher", "batch_size": 48} | changes))
    setup = prepare(resolve(config), 48)
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    setup.student = Classifier(network, (0.3,), (0.4,), Architecture("cifar_resnet8", 10, 1), (8, 8))
    setup.forward, setup.optimizer = setup.student, make_optimizer(config, setup.student)
    assert setup.teacher is not None
    setup.teach, setup.objective = LiveTeacher(setup.teacher, "fp32"), objective_of(setup.resolved)
    samples = load_split("digits", "train").subset(torch.arange(48))
    (batch,) = Augmented(samples, False, 0, setup.device).epoch(torch.arange(48), 48, 0, setup.group)
    return setup, batch


def gradient(setup: Setup) -> torch.Tensor:
    return torch.cat([p.grad.flatten() for p in setup.student.parameters() if p.grad is not None])


def first_batch(**changes: Any) -> tuple[Setup, Batch]:
    """A setup, and the first batch of its first epoch on 60 digits."""
    config = RunConfig(**({"batch_size": 60} | changes))
    setup = prepare(resolve(config), 60)
    setup.objective = objective_of(setup.resolved, complete(config.method, config.parameters, {"norm": 4.0}))
    samples = load_split("digits", "train").subset(torch.arange(60))
    images = Augmented(samples, True, 0, setup.device, config.augmentation)
    (batch,) = images.epoch(torch.randperm(60, generator=torch.Generator().manual_seed(1)), 60, 0, setup.group)
    return setup, batch
