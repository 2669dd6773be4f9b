"""What each of the two terms of the loss asks of the student's weights, measured in a step beside its own work."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch._utils import _flatten_dense_tensors, _unflatten_dense_tensors

from fnkd_core.training.setup import Setup

STEPS_BETWEEN = 64
"""The gradients are taken apart once an epoch, but of so many steps no more than once: it costs half a step."""


def is_measured(epoch: int, steps: int) -> bool:
    """Whether an epoch (from 0) of so many steps takes the gradients apart: a function of these two alone."""
    return epoch == 0 or epoch * steps // STEPS_BETWEEN > (epoch - 1) * steps // STEPS_BETWEEN


class Gradients:
    """The gradients of one step, of the loss's two terms apart, each with its weight in the loss.

    The soft term's is computed on the step's own graph, before the step's own backward pass, and left out of every
    `.grad`; the hard term's is what the step's own gradient has beyond it. So neither batch norm's statistics nor a
    random generator nor the step's own bits change. In half precision the hard term's carries the rounding of both.
    """

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._weights = [p for p in setup.student.parameters() if p.requires_grad]
        self._soft: list[Tensor] = []
        self._found: Tensor | None = None

    def take_soft(self, soft: Tensor) -> None:
        """soft: the soft term of the step's mean loss, weighted; before the backward pass. Those of a batch's parts
        add up."""
        if not soft.requires_grad:
            return
        scaled = self._setup.scaler.scale(soft)
        found = torch.autograd.grad(scaled, self._weights, retain_graph=True, allow_unused=True)
        now = [torch.zeros_like(p) if g is None else g for p, g in zip(self._weights, found, strict=True)]
        group = self._setup.group
        if group.size > 1:
            # Processes that share a run average the step's own gradients by hooks, which do not see these.
            flat = group.total(_flatten_dense_tensors(now)).div_(group.size)
            now = list(_unflatten_dense_tensors(flat, now))
        self._soft = list(torch._foreach_add(self._soft, now)) if self._soft else now

    def take_whole(self) -> None:
        """After the step's backward pass, before its optimiser steps. Nothing here waits for the device."""
        whole = [torch.zeros_like(p) if p.grad is None else p.grad for p in self._weights]
        if self._soft:
            hard = list(torch._foreach_sub(whole, self._soft))
            soft = _norm(self._soft)
            product = torch.stack([x.sum() for x in torch._foreach_mul(hard, self._soft)]).sum()
        else:
            hard, soft, product = whole, whole[0].new_zeros(()), whole[0].new_zeros(())
        unit = self._setup.scaler.scale(torch.ones((), device=product.device))
        self._found = torch.stack([_norm(hard) / unit, soft / unit, product / unit / unit])
        self._soft = []

    def read(self) -> dict[str, float | None]:
        """`gradient_hard` and `gradient_soft`, norms over all weights; `gradient_cosine` between the two, and
        `soft_share`, of the soft norm in the sum of both.

        None for what was not measured, is not finite (an overflow of float16, which that step skips too) or has no
        meaning: of a method without soft term its norm, of a gradient that is zero its direction.
        """
        names = ("gradient_hard", "gradient_soft", "gradient_cosine", "soft_share")
        if self._found is None:
            return dict.fromkeys(names)
        hard, soft, product = self._found.tolist()
        if not all(map(math.isfinite, (hard, soft, product))):
            return dict.fromkeys(names)
        assert self._setup.objective is not None
        if not self._setup.objective.soft:
            return dict.fromkeys(names) | {"gradient_hard": hard}
        cosine = max(-1.0, min(1.0, product / hard / soft)) if hard and soft else None
        share = soft / (hard + soft) if hard + soft else None
        return dict(zip(names, (hard, soft, cosine, share), strict=True))


def _norm(parts: list[Tensor]) -> Tensor:
    """The norm of all of them together."""
    return torch.stack([*torch._foreach_norm(parts)]).norm()
