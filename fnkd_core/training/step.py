"""One step of the optimiser."""

from __future__ import annotations

import torch
from torch import Tensor

from fnkd_core.errors import UserError
from fnkd_core.kd.losses import loss_terms
from fnkd_core.models.inference import autocast
from fnkd_core.training.setup import Setup


def train_step(setup: Setup, images: Tensor, labels: Tensor, lr: float) -> dict[str, Tensor]:
    """One step of the optimiser. Returns the per-sample loss terms and `correct`, each (N,), detached.

    `UserError` where the loss is no number any more.
    """
    assert setup.objective is not None
    for group in setup.optimizer.param_groups:
        group["lr"] = lr
    if setup.resolved.config.channels_last and images.shape[1] > 1:
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
