"""Training a student: a generator of progress and metrics. Cancelling is to stop iterating."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from fnkd_core.data import Samples, dataset_info, load_split
from fnkd_core.data.augment import augment
from fnkd_core.data.batches import batches, random_crops
from fnkd_core.data.label_noise import few_labels, flip_labels
from fnkd_core.data.similar import similar_classes
from fnkd_core.models.inference import predict
from fnkd_core.training.config import RunConfig
from fnkd_core.training.evaluate import EVALUATED, evaluate
from fnkd_core.training.optim import learning_rate
from fnkd_core.training.prepare import Setup, data_seen, objective_of, prepare, set_objective
from fnkd_core.training.state import _resume, _save, _write_model
from fnkd_core.training.step import train_step


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

    loss, hard, soft: means over the training samples as they were seen. *_accuracy: fractions.
    temperature: mean T_i of the teacher's soft targets, None without a teacher. test_nll: nats. test_ece: 15
    bins. test_norm: mean ||f|| of the student on the test split. test_agreement: share of the test split on which
    student and teacher predict the same, None without a teacher.
    """

    epoch: int
    lr: float
    loss: float
    hard: float
    soft: float
    train_accuracy: float
    test_accuracy: float
    test_nll: float
    test_ece: float
    test_norm: float
    seconds: float
    samples_per_s: float
    temperature: float | None = None
    test_agreement: float | None = None


def train(config: RunConfig, folder: Path | None = None) -> Iterator[Progress | Metrics]:
    """Train; yields `Progress` within epochs and `Metrics` after each, once it is saved.

    With a folder, the state is saved after every epoch and a later call with the same folder goes on from
    there to the same result: order, augmentation and dropout are functions of (seed, epoch) alone. It ends
    with `model.safetensors` (last epoch) and `best.safetensors` (best test accuracy) there.
    """
    info = dataset_info(config.dataset, root=config.data_root, labels=config.labels, image_size=config.image_size)
    info = data_seen(config, info)
    train_split, test_split = (load_split(info, split) for split in ("train", "test"))
    if config.per_class is not None:
        train_split = few_labels(train_split, config.per_class, config.seed)
    if config.label_noise:
        similar = similar_classes(info, config.similar)
        train_split = flip_labels(train_split, config.label_noise, config.noise_kind, similar, config.seed)
    setup = prepare(config, info, len(train_split.labels))
    set_objective(setup, batches(train_split.images, EVALUATED))
    teacher = None
    if setup.teacher is not None:
        outputs = predict(setup.teacher, batches(test_split.images, EVALUATED), bfloat16=setup.bfloat16)
        teacher = torch.cat([o.logits.argmax(1).cpu() for o in outputs])
    history = _resume(setup, folder) if folder else []
    # The work left is timed, not the work done: a resumed run has its own pace.
    begun, first = time.monotonic(), len(history)
    for epoch in range(first, config.epochs):
        epoch_begun = time.monotonic()
        progress = (epoch + 1) / config.epochs
        setup.objective = objective_of(config, info, setup.parameters, progress, setup.learnt)
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
        test = evaluate(setup.student, test_split, setup.bfloat16, teacher)
        metrics = Metrics(
            epoch=epoch + 1,
            lr=lr,
            loss=sums["loss"] / seen,
            hard=sums["hard"] / seen,
            soft=sums["soft"] / seen,
            temperature=sums["temperature"] / seen if "temperature" in sums else None,
            train_accuracy=sums["correct"] / seen,
            **{f"test_{name}": value for name, value in test.items()},
            seconds=time.monotonic() - epoch_begun,
            samples_per_s=rate,
        )
        history.append(dataclasses.asdict(metrics))
        if folder:
            _save(setup, history, folder)
        yield metrics
    if folder:
        _write_model(setup, history, folder / "model.safetensors")


def _batches(setup: Setup, samples: Samples, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
    config, info = setup.config, setup.info
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
