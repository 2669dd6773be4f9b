"""Training a student: a generator of progress, metrics and, at the end, results. Cancelling is to stop iterating."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from fnkd_core.data import Samples
from fnkd_core.data.augment import augment
from fnkd_core.data.batches import batches, random_crops
from fnkd_core.training.config import RunConfig
from fnkd_core.training.evaluate import evaluate, predictions
from fnkd_core.training.optim import learning_rate
from fnkd_core.training.resolve import record, recorded, resolve, resumed
from fnkd_core.training.setup import Setup, completed, load_data, objective_of, prepare
from fnkd_core.training.state import Results, State, finish, results_in
from fnkd_core.training.step import train_step

__all__ = ["Metrics", "Progress", "Results", "train"]


@dataclass(frozen=True)
class Progress:
    """Where a run is, several times an epoch. epoch counts from 1; step and steps are within the epoch."""

    epoch: int
    epochs: int
    step: int
    steps: int
    elapsed_s: float
    eta_s: float
    samples_per_s: float


@dataclass(frozen=True)
class Metrics:
    """One epoch, saved before it is reported.

    loss, hard, soft: means over the training samples as they were seen. train_accuracy, accuracy: fractions.
    evaluated_on: the split of accuracy, nll (nats), ece (15 bins), norm (mean ||f|| of the student) and agreement
    (share on which student and teacher predict the same, None without a teacher): `validation`, or `test` where
    nothing is held out and so nothing chosen. temperature: mean T_i of the teacher's soft targets, None without a
    teacher.
    """

    epoch: int
    lr: float
    loss: float
    hard: float
    soft: float
    train_accuracy: float
    evaluated_on: str
    accuracy: float
    nll: float
    ece: float
    norm: float
    seconds: float
    samples_per_s: float
    agreement: float | None = None
    temperature: float | None = None


def train(config: RunConfig, folder: Path | None = None) -> Iterator[Progress | Metrics | Results]:
    """Train; yields `Progress` within epochs, `Metrics` after each, once it is saved, and `Results` last.

    With a folder, what the run works on is recorded there before the first step, the state is saved after every epoch,
    and a later call with the same folder goes on from there to the same result: order, augmentation and dropout are
    functions of (seed, epoch) alone. It ends with `model.safetensors` (last epoch), `best.safetensors` (best on
    validation, where something is held out) and `results.json` (both on the test split, which nothing looks at before).
    `UserError` where the folder's run was made from something else.
    """
    resolved = resolve(config)
    before = recorded(folder) if folder else None
    if before is not None and folder is not None:
        resolved = resumed(resolved, before, folder)
        if (done := results_in(folder)) is not None:
            yield done
            return
    data = load_data(resolved)
    setup = prepare(resolved, len(data.train))
    setup.resolved = completed(setup, data.train)
    if folder and before is None:
        record(setup.resolved, folder)
    held_out = data.validation if data.validation is not None else data.test
    teacher = predictions(setup.teacher, held_out) if setup.teacher is not None else None
    state = State(setup, folder)
    yield from _epochs(setup, state, data.train, held_out, teacher)
    yield finish(setup, state, data.test)


def _epochs(
    setup: Setup, state: State, train_split: Samples, held_out: Samples, teacher: Tensor | None
) -> Iterator[Progress | Metrics]:
    config, first = setup.resolved.config, len(state.history)
    # The work left is timed, not the work done: a resumed run has its own pace.
    begun = time.monotonic()
    for epoch in range(first, config.epochs):
        epoch_begun = time.monotonic()
        setup.objective = objective_of(setup.resolved, progress=(epoch + 1) / config.epochs, learnt=setup.learnt)
        sums: dict[str, float] = {}
        seen = 0
        for step, (images, labels) in enumerate(_batches(setup, train_split, epoch)):
            lr = learning_rate(config, epoch * setup.steps_per_epoch + step, setup.steps_per_epoch)
            for name, values in train_step(setup, images, labels, lr).items():
                sums[name] = sums.get(name, 0.0) + float(values.double().sum())
            seen += len(labels)
            share = (epoch - first) + (step + 1) / setup.steps_per_epoch
            elapsed = time.monotonic() - begun
            yield Progress(
                epoch + 1,
                config.epochs,
                step + 1,
                setup.steps_per_epoch,
                elapsed,
                elapsed * (config.epochs - first - share) / share,
                seen / (time.monotonic() - epoch_begun),
            )
        rate = seen / (time.monotonic() - epoch_begun)
        metrics = Metrics(
            epoch=epoch + 1,
            lr=lr,
            loss=sums["loss"] / seen,
            hard=sums["hard"] / seen,
            soft=sums["soft"] / seen,
            temperature=sums["temperature"] / seen if "temperature" in sums else None,
            train_accuracy=sums["correct"] / seen,
            evaluated_on=held_out.split,
            **evaluate(setup.student, held_out, teacher),  # type: ignore[arg-type]
            seconds=time.monotonic() - epoch_begun,
            samples_per_s=rate,
        )
        state.save(dataclasses.asdict(metrics))
        yield metrics


def _batches(setup: Setup, samples: Samples, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
    config, info = setup.resolved.config, setup.resolved.info
    seed = config.seed * 1_000_003 + epoch
    torch.manual_seed(seed)  # dropout and its kind
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(samples.labels), generator=generator)
    order = order[: setup.steps_per_epoch * config.batch_size]
    crops = random_crops(info, seed) if config.augment else None
    ordered = batches(samples.images, config.batch_size, order, crops)
    for index, images in zip(order.split(config.batch_size), ordered, strict=True):
        if config.augment and crops is None:
            images = augment(images, info.pad, info.flip, generator)
        yield images.to(setup.device), samples.labels[index].to(setup.device)
