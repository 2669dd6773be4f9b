"""The moving average of a student's weights, which is evaluated and kept in their place."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from fnkd_core.models.classifier import Classifier


class Average:
    """A network whose weights and batch norm's statistics follow a student's: w <- d w + (1 - d) w_student.

    d is min(decay, (1 + n) / (10 + n)) at step n, so that short runs do not keep where they began. steps: n so far.
    """

    def __init__(self, student: Classifier, decay: float) -> None:
        self.network = copy.deepcopy(student).eval().requires_grad_(False)
        self.decay, self.steps = decay, 0
        pairs: list[tuple[Tensor, Tensor]] = [*zip(self.network.parameters(), student.parameters(), strict=True)]
        pairs += [*zip(self.network.buffers(), student.buffers(), strict=True)]
        self._followed = [(mine, theirs.detach()) for mine, theirs in pairs if mine.is_floating_point()]
        self._copied = [(mine, theirs) for mine, theirs in pairs if not mine.is_floating_point()]

    @torch.no_grad()
    def update(self) -> None:
        """Follow the student's step."""
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        mine, theirs = zip(*self._followed, strict=True)
        torch._foreach_lerp_(mine, theirs, 1 - decay)
        for number, now in self._copied:
            number.copy_(now)
        self.steps += 1
