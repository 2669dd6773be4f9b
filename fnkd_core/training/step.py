"""One step of the optimiser."""

from __future__ import annotations

import torch
from torch import Tensor

from fnkd_core.kd.losses import loss_terms
from fnkd_core.models.inference import autocast
from fnkd_core.training.augmented import Batch
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
    assert setup.objective is not None
    for group in setup.optimizer.param_groups:
        group["lr"] = lr
    images = batch.images
    if setup.resolved.config.channels_last and images.shape[1] > 1:
        images = images.contiguous(memory_format=torch.channels_last)
    teacher = setup.teach(batch) if setup.teach is not None and setup.objective.soft else None
    with autocast(setup.device, setup.resolved.precision):
        student = setup.forward(images)
    if recorder is not None:
        recorder.add(batch, student)
    terms = loss_terms(setup.objective, student, batch.labels, teacher)
    # The gradient of the mean over the whole batch: the processes' gradients are averaged.
    share = batch.size / setup.group.size
    loss = terms["loss"].sum() / share
    if gradients is not None:
        gradients.take_soft(setup.objective.soft_weight * terms["soft"].sum() / share)
    setup.optimizer.zero_grad(set_to_none=True)
    setup.scaler.scale(loss).backward()
    if setup.group.size > 1:
        for parameter in setup.beside:
            if parameter.grad is not None:
                setup.group.total(parameter.grad).div_(setup.group.size)
    if gradients is not None:
        gradients.take_whole()
    setup.scaler.step(setup.optimizer)
    setup.scaler.update()
    return {k: v.detach() for k, v in terms.items()} | {"correct": student.logits.argmax(1) == batch.labels}


class Sums:
    """Sums over the samples of an epoch, which stay on the device until they are read."""

    def __init__(self, setup: Setup) -> None:
        self._group, self._device = setup.group, setup.device
        # MPS has no float64.
        self._dtype = torch.float32 if setup.device.type == "mps" else torch.float64
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
