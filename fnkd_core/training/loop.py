"""Training a student: a generator of progress and metrics. Cancelling is to stop iterating."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fnkd_core.checkpoints.card import Card
from fnkd_core.checkpoints.io import load_checkpoint, write_checkpoint
from fnkd_core.checkpoints.library import find_checkpoint
from fnkd_core.data import DatasetInfo, Samples, dataset_info, load_split
from fnkd_core.data.augment import augment
from fnkd_core.data.pictures import batches, random_crops
from fnkd_core.data.scarce import few_labels, flip_labels
from fnkd_core.data.similar import similar_classes
from fnkd_core.errors import UserError, require
from fnkd_core.files import replacing, write_text
from fnkd_core.kd import methods
from fnkd_core.kd.learnt import START
from fnkd_core.kd.losses import Objective, loss_terms
from fnkd_core.kd.statistics import expected_calibration_error, sample_statistics
from fnkd_core.models.architecture import Architecture
from fnkd_core.models.classifier import Classifier
from fnkd_core.models.inference import autocast, bfloat16_pays, predict
from fnkd_core.models.zoo import build
from fnkd_core.training.config import FREE, RunConfig
from fnkd_core.training.optim import learning_rate, make_optimizer

EVALUATED = 512
"""Images at a time where nothing is learnt from them."""


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


@dataclass
class Setup:
    """What a run works on once names have become things.

    learnt: the scalar that a method with a learnt temperature steps with the student, else None.
    """

    config: RunConfig
    info: DatasetInfo
    student: Classifier
    teacher: Classifier | None
    optimizer: torch.optim.Optimizer
    device: torch.device
    bfloat16: bool
    steps_per_epoch: int
    learnt: torch.nn.Parameter | None = None
    objective: Objective | None = None
    parameters: dict[str, Any] = dataclasses.field(default_factory=dict)


def prepare(config: RunConfig, info: DatasetInfo, num_train: int) -> Setup:
    """Student, teacher and optimiser of a run, with every check that can be made before the first step.

    `UserError` where the teacher's label space, channels or image size do not fit the data.
    """
    if config.threads:
        torch.set_num_threads(config.threads)
    has_gpu = torch.cuda.is_available()
    require(config.device != "cuda" or has_gpu, "device is 'cuda' but torch sees no GPU here; use 'cpu' or 'auto'.")
    device = torch.device("cuda" if has_gpu and config.device != "cpu" else "cpu")
    size = info.image[1:]
    bfloat16 = config.precision == "bf16" or (config.precision == "auto" and bfloat16_pays(device, size))

    teacher = None
    if config.teacher is not None:
        teacher, card = load_checkpoint(config.teacher)
        check_fits(card, info, config.method)
        teacher = teacher.to(device).eval().requires_grad_(False)

    # The head does not depend on tau; an open one is set to what a norm of 4 would give.
    scale = objective_of(config, info, methods.complete(config.method, config.parameters, 4.0)).cosine_scale
    architecture = Architecture(
        config.student,
        num_classes=len(info.classes),
        in_channels=info.image[0],
        head="cosine" if scale else "linear",
        scale=scale,
    )
    torch.manual_seed(config.seed)
    student = build(architecture, info.mean, info.std, image_size=size).to(device)
    if config.channels_last and info.image[0] > 1:
        student = student.to(memory_format=torch.channels_last)
        teacher = teacher.to(memory_format=torch.channels_last) if teacher is not None else None
    steps = -(-num_train // config.batch_size) - (num_train % config.batch_size == 1)
    require(steps >= 1, f"{info.name} has {num_train} training sample(s); at least 2 are needed to train.")
    learnt = None
    if "learnt" in methods.context_of(config.method):
        learnt = torch.nn.Parameter(torch.tensor(START, device=device))
    optimizer = make_optimizer(config, [*student.network.parameters(), *([learnt] if learnt is not None else [])])
    return Setup(config, info, student, teacher, optimizer, device, bfloat16, steps, learnt)


def data_seen(config: RunConfig, info: DatasetInfo) -> DatasetInfo:
    """The data as the run reads them: images in files as the teacher does, unless the run names an image size."""
    if config.teacher is None or config.image_size is not None:
        return info
    card = find_checkpoint(config.teacher).card
    return card.sees(info) if card is not None else info


def check_fits(card: Card, info: DatasetInfo, method: str | None = None) -> None:
    """`UserError` unless a checkpoint can teach on this data: classes, their order, channels, image size."""
    name, data = card.name, f"{info.name} ({info.label_space})"
    if len(card.classes) != len(info.classes):
        raise UserError(
            f"Teacher {name!r} knows {len(card.classes)} classes ({card.label_space}), {data} has "
            f"{len(info.classes)}; choose the label space the teacher was trained on."
        )
    if list(card.classes) != list(info.classes):
        k = next(k for k, pair in enumerate(zip(card.classes, info.classes, strict=True)) if pair[0] != pair[1])
        raise UserError(
            f"Teacher {name!r} has class {k} = {card.classes[k]!r}, {data} has {info.classes[k]!r}; "
            "classes must have the same names in the same order."
        )
    channels = card.architecture.get("in_channels", 3)
    if channels != info.image[0]:
        raise UserError(
            f"Teacher {name!r} takes {channels}-channel images, {data} has {info.image[0]}; choose another teacher."
        )
    if tuple(card.image_size) != tuple(info.image[1:]):
        wanted, have = "x".join(map(str, card.image_size)), "x".join(map(str, info.image[1:]))
        raise UserError(f"Teacher {name!r} was trained on {wanted} images, {data} has {have}; set the image size.")
    if method == "fn" and card.architecture.get("head", "linear") != "linear":
        raise UserError(
            f"Teacher {name!r} has a cosine head: its logits do not grow with ||f||, so fn has nothing to correct. "
            "Choose a teacher with a linear head, or method kd."
        )


def set_objective(setup: Setup, train_images: Tensor | Iterable[Tensor]) -> None:
    """Fill in the method's open parameters (tau from the teacher's mean ||f||) and make its objective at full rise."""
    config, info = setup.config, setup.info
    mean_norm = None
    if setup.teacher is not None and None in config.parameters.values():
        total, count = 0.0, 0
        for outputs in predict(setup.teacher, train_images, bfloat16=setup.bfloat16):
            total += float(outputs.norms.double().sum())
            count += len(outputs)
        mean_norm = total / count
    setup.parameters = methods.complete(config.method, config.parameters, mean_norm)
    setup.objective = objective_of(config, info, setup.parameters, learnt=setup.learnt)


def objective_of(
    config: RunConfig,
    info: DatasetInfo,
    parameters: Mapping[str, Any],
    progress: float = 1.0,
    learnt: Tensor | None = None,
) -> Objective:
    """The run's objective with these parameters, and what else its method wants (see `methods.objective`)."""
    context: dict[str, Any] = {"progress": progress, "learnt": learnt}
    if "similar" in methods.context_of(config.method):
        context["similar"] = similar_classes(info, config.similar)
    return methods.objective(config.method, parameters, **context)


def train_step(setup: Setup, images: Tensor, labels: Tensor, lr: float) -> dict[str, Tensor]:
    """One step of the optimiser. Returns the per-sample loss terms and `correct`, each (N,), detached."""
    assert setup.objective is not None
    for group in setup.optimizer.param_groups:
        group["lr"] = lr
    if setup.config.channels_last and images.shape[1] > 1:
        images = images.contiguous(memory_format=torch.channels_last)
    with autocast(setup.device, setup.bfloat16):
        teacher = None
        if setup.teacher is not None and setup.objective.soft:
            with torch.no_grad():
                teacher = setup.teacher(images)
        student = setup.student(images)
    terms = loss_terms(setup.objective, student, labels, teacher)
    loss = terms["loss"].mean()
    if not torch.isfinite(loss):
        raise UserError(
            f"The loss became {loss.item()} at a learning rate of {lr:.3g}; lower lr, or the weight of the soft term."
        )
    setup.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    setup.optimizer.step()
    return {k: v.detach() for k, v in terms.items()} | {"correct": student.logits.argmax(1) == labels}


def evaluate(
    classifier: Classifier, samples: Samples, bfloat16: bool = False, teacher: Tensor | None = None
) -> dict[str, float]:
    """accuracy, nll (nats), ece and norm (mean ||f||) of a classifier on a split.

    teacher: (N,) another model's predictions; with them also agreement, the share of equal predictions.
    """
    columns: dict[str, list[Tensor]] = {"correct": [], "nll": [], "confidence": [], "norm": [], "prediction": []}
    start = 0
    for outputs in predict(classifier, batches(samples.images, EVALUATED), bfloat16=bfloat16):
        labels = samples.labels[start : start + len(outputs)].to(outputs.logits.device)
        statistics = sample_statistics(outputs, labels)
        for name, parts in columns.items():
            parts.append(statistics[name].cpu())
        start += len(outputs)
    joined = {name: torch.cat(parts) for name, parts in columns.items()}
    found = {
        "accuracy": float(joined["correct"].double().mean()),
        "nll": float(joined["nll"].double().mean()),
        "ece": expected_calibration_error(joined["confidence"], joined["correct"]),
        "norm": float(joined["norm"].double().mean()),
    }
    if teacher is not None:
        found["agreement"] = float((joined["prediction"] == teacher).double().mean())
    return found


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


def _card(setup: Setup, history: list[dict[str, Any]], name: str, weights: str) -> Card:
    best = max(history, key=lambda line: line["test_accuracy"])
    config, info = setup.config, setup.info
    short = {"accuracy": "test_accuracy", "nll": "test_nll", "ece": "test_ece", "norm": "test_norm", "epoch": "epoch"}
    return Card(
        name=name,
        architecture=setup.student.architecture.to_dict(),
        dataset=info.name,
        label_space=info.label_space,
        classes=list(info.classes),
        mean=list(info.mean),
        std=list(info.std),
        image_size=list(info.image[1:]),
        crop_pct=info.crop_pct,
        interpolation=info.interpolation,
        method=config.method,
        parameters=dict(setup.parameters),
        metrics={
            "last": {short_name: history[-1][key] for short_name, key in short.items()},
            "best": {short_name: best[key] for short_name, key in short.items()},
            "weights": weights,
        },
        teacher=config.teacher if methods.method(config.method).needs_teacher else None,
        seed=config.seed,
        epochs=config.epochs,
        source="trained with FNKD Lab",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _write_model(setup: Setup, history: list[dict[str, Any]], path: Path, weights: str = "last") -> None:
    state = {k: v.detach().cpu().contiguous() for k, v in setup.student.network.state_dict().items()}
    name = setup.config.name or path.parent.name
    write_checkpoint(path, state, _card(setup, history, name, weights))


def _save(setup: Setup, history: list[dict[str, Any]], folder: Path) -> None:
    """Best model if this epoch is it, then the state, then the line that shows it."""
    folder.mkdir(parents=True, exist_ok=True)
    accuracies = [line["test_accuracy"] for line in history]
    if accuracies[-1] > max(accuracies[:-1], default=-1.0):
        _write_model(setup, history, folder / "best.safetensors", weights="best")
    state = {
        "config": setup.config.to_dict(),
        "network": setup.student.network.state_dict(),
        "learnt": setup.learnt,
        "optimizer": setup.optimizer.state_dict(),
        "history": history,
    }
    with replacing(folder / "state.pt") as temporary:
        torch.save(state, temporary)
    with (folder / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(history[-1]) + "\n")
        file.flush()
        os.fsync(file.fileno())


def _resume(setup: Setup, folder: Path) -> list[dict[str, Any]]:
    """The epochs already done in this folder, with student and optimiser as they were after the last."""
    path = folder / "state.pt"
    if not path.exists():
        (folder / "metrics.jsonl").unlink(missing_ok=True)
        return []
    try:
        state = torch.load(path, weights_only=True, map_location=setup.device)
    except Exception as error:
        raise UserError(f"{path} cannot be read ({type(error).__name__}); delete it to start again.") from None
    now = setup.config.to_dict()
    changed = [key for key, value in state["config"].items() if key not in FREE and now.get(key) != value]
    require(
        not changed,
        f"{folder} holds a run with another {', '.join(changed)}; resume it unchanged, or use a new folder.",
    )
    setup.student.network.load_state_dict(state["network"])
    if setup.learnt is not None:
        setup.learnt.data.copy_(state["learnt"])
    setup.optimizer.load_state_dict(state["optimizer"])
    history: list[dict[str, Any]] = state["history"]
    # A run killed between the state and its line has the line here only.
    write_text(folder / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in history))
    return history
