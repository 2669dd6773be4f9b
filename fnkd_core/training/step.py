"""One step of the optimiser."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fnkd_core.kd.losses import Objective, loss_terms, weighted
from fnkd_core.kd.methods import METHODS
from fnkd_core.kd.outputs import Outputs, at_least_float32
from fnkd_core.models.inference import autocast, has_float64
from fnkd_core.training.augmented import Batch
from fnkd_core.training.distributed import Group
from fnkd_core.training.gradients import Gradients
from fnkd_core.training.recorder import Recorder
from fnkd_core.training.setup import Setup

NEVER = 2**62


def train_step(
    setup: Setup, batch: Batch, lr: float, gradients: Gradients | None = None, recorder: Recorder | None = None
) -> dict[str, Tensor]:
    """One step of the optimiser. Returns the per-sample loss terms and `correct`, each (n,), detached.

    gradients: takes this step's apart; recorder: keeps what the student says of the batch. Neither changes anything
    about the step. Nothing here waits for the device; whether the loss is still a number is for who reads it.
    """
    config = setup.resolved.config
    for group in setup.optimizer.param_groups:
        group["lr"] = lr * group.get("share", 1.0)
    setup.optimizer.zero_grad(set_to_none=True)
    # The same number in every process, and two samples in each part: batch norm needs them.
    count = max(1, min(config.accumulate, batch.size // (2 * setup.group.size)))
    *parts, last = batch.parts(count)
    with setup.unshared():
        terms = [_backward(setup, part, gradients, recorder) for part in parts]
    terms.append(_backward(setup, last, gradients, recorder))
    if setup.group.size > 1:
        for parameter in setup.beside:
            if parameter.grad is not None:
                setup.group.total(parameter.grad).div_(setup.group.size)
    if gradients is not None:
        gradients.take_whole()
    if config.clip_norm:
        setup.scaler.unscale_(setup.optimizer)
        torch.nn.utils.clip_grad_norm_(setup.student.parameters(), config.clip_norm)
    setup.scaler.step(setup.optimizer)
    setup.scaler.update()
    if setup.average is not None:
        setup.average.update()
    return terms[0] if count == 1 else {name: torch.cat([part[name] for part in terms]) for name in terms[0]}


def _backward(setup: Setup, batch: Batch, gradients: Gradients | None, recorder: Recorder | None) -> dict[str, Tensor]:
    """Add the gradient of a batch, or of a part of one, to what is there. Its terms and `correct`, detached.

    Of mixed images every term is that of both labels, each with its share and its own sample's weight, in the soft term
    too where that reads one.
    """
    assert setup.objective is not None
    images = batch.images
    if setup.resolved.config.channels_last and images.shape[1] > 1:
        images = images.contiguous(memory_format=torch.channels_last)
    teacher = setup.teach(batch) if setup.teach is not None and setup.objective.soft else None
    with autocast(setup.device, setup.resolved.precision):
        student = setup.forward(images)
    if recorder is not None:
        recorder.add(batch, student)
    said, own = Said(setup.objective, student, teacher), slice(None)
    whole = setup.group.size > 1 and METHODS[setup.resolved.config.method].couples_batch
    if whole:
        said, own = said.of_all(setup.group, batch.size), setup.group.place(batch.size)

    def terms_of(labels: Tensor, weights: Tensor | None) -> dict[str, Tensor]:
        of_all = setup.group.whole(labels, batch.size) if whole else labels
        terms = {name: values[own] for name, values in said.terms(of_all).items()}
        return terms if weights is None else weighted(terms, weights)

    terms = terms_of(batch.labels, batch.weights)
    if batch.others is not None and batch.share is not None:
        beside = terms_of(batch.others, batch.other_weights)
        terms = {name: batch.share * own + (1 - batch.share) * beside[name] for name, own in terms.items()}
    # The gradient of the mean over the whole batch: the processes' gradients are averaged.
    share = batch.size / setup.group.size
    loss = terms["loss"].sum() / share
    if gradients is not None:
        gradients.take_soft(setup.objective.soft_weight * terms["soft"].sum() / share)
    setup.scaler.scale(loss).backward()
    return {k: v.detach() for k, v in terms.items()}


@dataclass(frozen=True)
class Said:
    """What student and teachers say of a batch, or of a process's part of one."""

    objective: Objective
    student: Outputs
    teacher: Outputs | Sequence[Outputs] | None

    def terms(self, labels: Tensor) -> dict[str, Tensor]:
        """The terms of the loss and `correct`, each (n,)."""
        terms = loss_terms(self.objective, self.student, labels, self.teacher)
        return terms | {"correct": self.student.logits.argmax(1) == labels}

    def of_all(self, group: Group, count: int) -> Said:
        """What is said of all processes' parts of a batch of so many, for losses of a whole batch.

        Each process then takes its own samples' terms of it: through the others' outputs that these read, the gradient
        goes back to where they were computed.
        """
        teacher = self.teacher
        if teacher is not None:
            each = [teacher] if isinstance(teacher, Outputs) else teacher
            teacher = [_of_all(group, outputs, count) for outputs in each]
        return Said(self.objective, _of_all(group, self.student, count), teacher)


def _of_all(group: Group, outputs: Outputs, count: int) -> Outputs:
    """Norms stand for the features, of which what couples a batch reads no more."""
    rows = group.whole(torch.cat([at_least_float32(outputs.logits), outputs.norms[:, None]], 1), count)
    return Outputs.of_norms(rows[:, -1], rows[:, :-1], outputs.bias)


class Sums:
    """Sums over the samples of an epoch, which stay on the device until they are read."""

    def __init__(self, setup: Setup) -> None:
        self._group, self._device = setup.group, setup.device
        self._dtype = torch.float64 if has_float64(setup.device) else torch.float32
        self._names: list[str] = []
        self._values = torch.zeros(0)
        self._first_bad = torch.full((), -1, dtype=torch.int64, device=setup.device)

    def add(self, terms: dict[str, Tensor], step: int) -> None:
        """Add the terms of a step, each (n,)."""
        now = torch.stack([values.sum(dtype=self._dtype) for values in terms.values()])
        if not self._names:
            self._names, self._values = list(terms), torch.zeros_like(now)
        self._values += now
        bad = ~torch.isfinite(now[self._names.index("loss")]) & (self._first_bad < 0)
        self._first_bad = torch.where(bad, step, self._first_bad)

    def read(self) -> tuple[dict[str, float], int | None]:
        """The sums over all processes, and the first step whose loss was no number, None where all were."""
        sums = self._group.total(self._values.clone()).tolist()
        first = int(self._group.least(torch.where(self._first_bad < 0, NEVER, self._first_bad)))
        return dict(zip(self._names, sums, strict=True)), None if first == NEVER else first
