"""What depends on how far training has come: ramps, and a temperature learnt against the student (CTKD, AAAI 2023)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fnkd_core.errors import require
from fnkd_core.kd.outputs import Outputs, at_least_float32

if TYPE_CHECKING:
    from torch import Tensor

START = 1.0
"""theta before training."""


@dataclass(frozen=True)
class Learnt:
    """T = low + span * sigmoid(theta), one for all samples, whose theta climbs the loss that the student descends.

    theta: a scalar parameter that the optimiser steps like any other, or None for its value before training.
    strength: its gradient is multiplied by -strength, which rises from 0 to 1 (the curriculum).
    """

    low: float
    span: float
    theta: Tensor | None = None
    strength: float = 1.0

    def __post_init__(self) -> None:
        require(self.low > 0, f"low must be > 0, got {self.low}.")
        require(self.span >= 0, f"span must be >= 0, got {self.span}.")

    def __call__(self, outputs: Outputs, peer: Outputs | None = None) -> Tensor:
        zeros = at_least_float32(outputs.logits.detach()[:, 0]) * 0
        theta = zeros + START if self.theta is None else zeros + self.theta
        # The value of theta, with -strength times its gradient.
        turned = theta.detach() * (1 + self.strength) - self.strength * theta
        return self.low + self.span * turned.sigmoid()


def ramp_up(progress: float, share: float) -> float:
    """How far something has ramp_up, in [0, 1], that takes this share of the epochs to rise linearly to 1."""
    return min(progress / share, 1.0) if share else 1.0
