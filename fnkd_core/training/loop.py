"""Training a student: a generator of progress, metrics and, at the end, results. Cancelling is to stop iterating."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fnkd_core.checkpoints.library import Entry
from fnkd_core.data import Samples
from fnkd_core.data.loader import Loader
from fnkd_core.errors import UserError, require
from fnkd_core.files import append_json
from fnkd_core.machine import processor
from fnkd_core.training.augmented import Augmented, Batch, order_of
from fnkd_core.training.config import RunConfig
from fnkd_core.training.distributed import Group, joined_group
from fnkd_core.training.evaluate import evaluate, evaluate_with_norms
from fnkd_core.training.gradients import Gradients, is_measured
from fnkd_core.training.optim import learning_rate
from fnkd_core.training.pace import Pace
from fnkd_core.training.planned import store_of
from fnkd_core.training.recorded import record, recorded, resumed
from fnkd_core.training.recorder import Recorder
from fnkd_core.training.resolve import Resolved, resolve
from fnkd_core.training.setup import (
    Data,
    Setup,
    begin_epoch,
    completed,
    load_data,
    load_read_by,
    objective_at,
    prepare,
    teach,
    weights_of,
)
from fnkd_core.training.state import Results, State, finish, results_in
from fnkd_core.training.step import Sums, train_step
from fnkd_core.training.teacher import Preparing, make_plain, predicted
from fnkd_core.training.telemetry import Telemetry
from fnkd_core.wording import counted

__all__ = ["Metrics", "Preparing", "Progress", "Results", "train"]


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

    loss, hard, soft: means over the training samples as they were seen, each with its weight. train_accuracy, accuracy:
    fractions. evaluated_on: the split of accuracy, nll (nats), ece (15 bins), norm (mean ||f|| of the student) and
    agreement (share on which student and teacher predict the same, over several teachers the mean of it; None without):
    `validation`, or `test` where nothing is held out and so nothing chosen. temperature: mean T_i of the teacher's soft
    targets, None without a teacher. raw_accuracy: of the student's own weights where all the others are of their
    average, else None.
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
    gradient_hard: float | None = None
    gradient_soft: float | None = None
    gradient_cosine: float | None = None
    soft_share: float | None = None
    raw_accuracy: float | None = None


def train(
    config: RunConfig, folder: Path | None = None, cancelled: Callable[[], bool] = lambda: False
) -> Iterator[Preparing | Progress | Metrics | Results]:
    """Train; yields `Preparing` before the first step, `Progress` within epochs, `Metrics` after each, once it is
    saved, and `Results` last.

    With a folder, what the run works on is recorded there before the first step, the state is saved after every epoch,
    and a later call with the same folder goes on from there to the same result: order, augmentation and dropout are
    functions of (seed, epoch) alone. It ends with `model.safetensors` (last epoch), `best.safetensors` (best on
    validation, where something is held out) and `results.json` (both on the test split, which nothing looks at before).
    Several processes train together where the environment says so (see `distributed`); the first of them writes.
    cancelled: when it says so, the training ends without `Results`. Between steps the first process is asked for all of
    them; before the first step each is asked itself.
    `UserError` where the folder's run was made from something else.
    """
    with joined_group() as group, Loader(config.workers or None) as loader:
        resolved = dataclasses.replace(resolve(_placed(config, group)), world_size=group.size)
        resolved = dataclasses.replace(resolved, precision=group.agreed(resolved.precision))
        before, done = group.agreed((recorded(folder), results_in(folder)) if folder else (None, None))
        if before is not None and folder is not None:
            resolved = resumed(resolved, before, folder)
            if done is not None:
                yield done
                return
        yield from _train(resolved, group, folder, before is None, loader, cancelled)


def _placed(config: RunConfig, group: Group) -> RunConfig:
    """The configuration with this process's own device: of those on its machine, the one of its number."""
    if group.size == 1 or config.device in ("cpu", "mps") or not torch.cuda.is_available():
        return config
    of = "--device cpu, or as many devices as there are"
    require(
        config.device in ("auto", "cuda"),
        f"device {config.device} is one, and {group.size} processes share this run; give --device cuda, or {of}.",
    )
    there = torch.cuda.device_count()
    require(
        there >= group.local_size,
        f"{group.local_size} processes of this run are on a machine with {counted(there, 'GPU')} for them; give {of}.",
    )
    return dataclasses.replace(config, device=f"cuda:{group.local_rank}")


def _train(
    resolved: Resolved,
    group: Group,
    folder: Path | None,
    is_new: bool,
    loader: Loader,
    cancelled: Callable[[], bool],
) -> Iterator[Preparing | Progress | Metrics | Results]:
    ready = Ready(loader)
    for event in prepare_run(resolved, group, ready, folder, is_new):
        yield event
        if cancelled():
            return
    state = State(ready.setup, folder)
    try:
        yield from epochs_of(ready, state, cancelled)
    except Cancelled:
        return
    yield finish(ready.setup, state, ready.data.test, ready.predictions.get("test"))


class Ready:
    """What a run has before its first step. predictions: the teachers', of a split by its name.

    loader: who decodes its images in files, for as long as it lasts.
    """

    def __init__(self, loader: Loader) -> None:
        self.loader = loader

    data: Data
    setup: Setup
    images: Augmented
    predictions: dict[str, Tensor]

    @property
    def held_out(self) -> Samples:
        """What each epoch is evaluated on."""
        return self.data.validation if self.data.validation is not None else self.data.test


def prepare_run(
    resolved: Resolved, group: Group, ready: Ready, folder: Path | None = None, is_new: bool = True
) -> Iterator[Preparing]:
    """Fill in what the run needs, asking the teacher for what is not kept yet.

    folder: where it is recorded what a new run works on, and on what each time that one is worked on.
    """
    started = datetime.now(UTC).isoformat(timespec="seconds")
    ready.data = data = load_data(resolved).read_by(ready.loader)
    ready.setup = setup = prepare(resolved, len(data.train), group)
    read: dict[str, Data] = {}

    def read_by(entry: Entry) -> Data:
        if entry.identity not in read:
            read[entry.identity] = load_read_by(resolved, data, entry).read_by(ready.loader)
        return read[entry.identity]

    yield from completed(setup, data.train, lambda entry: read_by(entry).train)
    if folder and group.leads:
        if is_new:
            record(setup.resolved, folder)
        append_json(folder / "sessions.jsonl", _session(setup, started))
    ready.images = Augmented(
        data.train, resolved.config.augment, resolved.view_seed, setup.device, resolved.config.augmentation,
        weights_of(setup, data.train),
    )  # fmt: skip
    ready.predictions = {}
    if not setup.teachers:
        return
    yield from teach(setup, ready.images)
    for samples in {ready.held_out.split: ready.held_out, data.test.split: data.test}.values():
        stores = [store_of(resolved, samples.split, len(samples), entry) for entry in resolved.teachers]
        for entry, teacher, store in zip(resolved.teachers, setup.teachers, stores, strict=True):
            seen = read_by(entry)
            held = seen.test if samples.split == data.test.split else seen.validation
            assert held is not None
            yield from make_plain(teacher, store, held)
        ready.predictions[samples.split] = predicted(stores)


def _session(setup: Setup, started: str) -> dict[str, Any]:
    """On what the run is worked on this time: threads, and the kind of processor, decide bits."""
    device = setup.device
    return {
        "started": started,
        "device": str(device),
        "processor": torch.cuda.get_device_name(device) if device.type == "cuda" else processor(),
        "precision": setup.resolved.precision,
        "threads": torch.get_num_threads(),
        "processes": setup.group.size,
        "torch": torch.__version__,
    }


class Cancelled(Exception):
    """Somebody asked the run to stop."""


def epochs_of(
    ready: Ready, state: State, cancelled: Callable[[], bool] = lambda: False
) -> Iterator[Progress | Metrics]:
    """The epochs that are left, each saved when it is done. `Cancelled` where that was asked for."""
    setup, held_out = ready.setup, ready.held_out
    config, first, steps = setup.resolved.config, len(state.history), setup.steps_per_epoch
    pace = _pace(setup, config.epochs - first, held_out, ready.data.test)
    recorder = Recorder(setup, ready.data.train, state.folder, first)
    with Telemetry(setup, state.folder, first) as telemetry:
        for epoch in range(first, config.epochs):
            pace.begin_epoch()
            telemetry.begin_epoch(epoch)
            setup.objective = objective_at(setup, (epoch + 1) / config.epochs)
            begin_epoch(setup, epoch)
            sums, gradients, seen = Sums(setup), Gradients(setup), 0
            measured = steps // 2 if is_measured(epoch, steps) else None
            for step, batch in enumerate(_batches(setup, ready.images, epoch)):
                if step == 0:
                    pace.begin_steps()
                lr = learning_rate(config, epoch * steps + step, steps)
                sums.add(train_step(setup, batch, lr, gradients if step == measured else None, recorder), step)
                seen += batch.size
                is_read = (step + 1) % setup.read_every == 0 or step + 1 == steps
                # What a session does first takes longer, and is timed apart.
                if not is_read and (epoch, step) != (first, 0):
                    continue
                totals = _checked(sums, epoch, lr)
                if setup.group.agreed(cancelled()):
                    raise Cancelled
                pace.stepped(step + 1)
                if is_read:
                    telemetry.stepped(step + 1, totals, seen, lr)
                yield Progress(epoch + 1, config.epochs, step + 1, steps, pace.elapsed, pace.left, seen / pace.in_epoch)
            rate = seen / pace.in_epoch
            setup.group.same_buffers(*dict.fromkeys([setup.student, setup.kept]))
            found, norms = evaluate_with_norms(setup.kept, held_out, ready.predictions.get(held_out.split), setup.group)
            if setup.average is not None:
                found["raw_accuracy"] = evaluate(setup.student, held_out, group=setup.group)["accuracy"]
            pace.evaluated()
            metrics = Metrics(
                epoch=epoch + 1,
                lr=lr,
                loss=totals["loss"] / seen,
                hard=totals["hard"] / seen,
                soft=totals["soft"] / seen,
                temperature=totals["temperature"] / seen if "temperature" in totals else None,
                train_accuracy=totals["correct"] / seen,
                evaluated_on=held_out.split,
                **found,  # type: ignore[arg-type]
                **gradients.read(),  # type: ignore[arg-type]
                seconds=pace.in_epoch,
                samples_per_s=rate,
            )
            line = dataclasses.asdict(metrics)
            telemetry.end_epoch(line, norms)
            recorder.end_epoch(epoch + 1)
            state.save(line)
            pace.end_epoch()
            yield metrics


def _pace(setup: Setup, epochs: int, held_out: Samples, test: Samples) -> Pace:
    """The pace of so many epochs. An image that is evaluated costs about a third of one that is learnt from."""
    # At the end the last epoch is measured on the test split, and the best where one is chosen.
    measured = 2 if held_out.split == "validation" else 1
    return Pace(
        epochs,
        setup.steps_per_epoch,
        evaluation_steps=len(held_out) / setup.resolved.config.batch_size / 3,
        closing=measured * len(test) / max(len(held_out), 1),
    )


def _checked(sums: Sums, epoch: int, lr: float) -> dict[str, float]:
    """The sums so far. `UserError` where the loss is no number any more: the last finished epoch is the last state."""
    totals, bad = sums.read()
    if bad is not None:
        raise UserError(
            f"The loss is no finite number any more, from step {bad + 1} of epoch {epoch + 1} on, at a learning rate "
            f"of {lr:.3g}; lower lr, or the weight of the soft term."
        )
    return totals


def _batches(setup: Setup, images: Augmented, epoch: int) -> Iterator[Batch]:
    config, number = setup.resolved.config, epoch % setup.resolved.views
    # Dropout and its kind; every process draws its own.
    torch.manual_seed((config.seed * 1_000_003 + epoch) * setup.group.size + setup.group.rank)
    if setup.teach is not None:
        setup.teach.begin(number)
    order = order_of(len(images.samples), config.seed, epoch)[: setup.steps_per_epoch * config.batch_size]
    return images.epoch(order, config.batch_size, number, setup.group)
