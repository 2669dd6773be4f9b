"""Temperature rules: outputs in, one temperature per sample out.

A rule is a frozen dataclass with `__call__(outputs, peer) -> (N,)`, all values > 0. Constant T, ||f||/tau and
t*std(v) are one kind of thing, so a method is a choice of rule.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from fnkd_core.errors import require
from fnkd_core.kd.outputs import Outputs, at_least_float32

if TYPE_CHECKING:
    from torch import Tensor

SMALLEST = 1e-6
"""Below this a temperature is held: f = 0 then gives W f / T = 0, not 0/0."""


class Temperature(Protocol):
    """What sets the temperature of each sample."""

    def __call__(self, outputs: Outputs, peer: Outputs | None = None) -> Tensor:
        """(N,) temperature of each sample, > 0. peer: what the other model says of the same samples."""
        ...


@dataclass(frozen=True)
class Constant:
    """T_i = t for every sample (Hinton et al., 2015)."""

    t: float = 1.0

    def __post_init__(self) -> None:
        require(self.t > 0, f"T must be > 0, got {self.t}.")

    def __call__(self, outputs: Outputs, peer: Outputs | None = None) -> Tensor:
        return at_least_float32(outputs.logits[:, 0]).new_full((len(outputs),), self.t)


@dataclass(frozen=True)
class FeatureNorm:
    """T_i = max(||f_i|| / tau, floor) (Xu et al., ECCV 2020, section 3.3).

    floor = 0 is the paper's formula; floor = 1 is the released code, which never sharpens.
    """

    tau: float
    floor: float = 0.0

    def __post_init__(self) -> None:
        require(self.tau > 0, f"tau must be > 0, got {self.tau}.")
        require(self.floor >= 0, f"floor must be >= 0, got {self.floor}.")

    def __call__(self, outputs: Outputs, peer: Outputs | None = None) -> Tensor:
        return (outputs.norms / self.tau).clamp(min=max(self.floor, SMALLEST))


@dataclass(frozen=True)
class LogitStd:
    """T_i = t * std(v_i), the standard deviation over the K classes (Sun et al., CVPR 2024; NormKD, 2023).

    correction: 1 divides by K - 1, as both released codes do; 0 by K, as a layer norm does. At least two classes.
    """

    t: float = 2.0
    correction: int = 1

    def __post_init__(self) -> None:
        require(self.t > 0, f"t must be > 0, got {self.t}.")

    def __call__(self, outputs: Outputs, peer: Outputs | None = None) -> Tensor:
        std = at_least_float32(outputs.logits).std(dim=1, correction=self.correction)
        return (self.t * std).clamp(min=SMALLEST)


@dataclass(frozen=True)
class MaxLogit:
    """T_i = max(v_i) / mu: the largest logit in the place of FN's norm. Made for positive maxima; others are held just
    above 0.
    """

    mu: float

    def __post_init__(self) -> None:
        require(self.mu > 0, f"mu must be > 0, got {self.mu}.")

    def __call__(self, outputs: Outputs, peer: Outputs | None = None) -> Tensor:
        return (at_least_float32(outputs.logits).amax(1) / self.mu).clamp(min=SMALLEST)


@dataclass(frozen=True)
class JointMax:
    """T_i = 2t max(v_i) / (max(v_i) + max(z_i)), v this model's logits and z its peer's (DTKD, 2024).

    The two models' temperatures have t as their mean; the surer one is softened more. Without a peer it is t. The
    formula holds for positive maxima, which a network that has learnt anything has; others are held just above 0.
    """

    t: float = 4.0

    def __post_init__(self) -> None:
        require(self.t > 0, f"T must be > 0, got {self.t}.")

    def __call__(self, outputs: Outputs, peer: Outputs | None = None) -> Tensor:
        own, other = (
            at_least_float32(o.logits).amax(1).clamp(min=SMALLEST) for o in (outputs, peer if peer else outputs)
        )
        return (2 * self.t * own / (own + other)).clamp(min=SMALLEST)


def soften(outputs: Outputs, temperatures: Tensor, *, through_head: bool = False) -> Tensor:
    """(N, K) logits divided by each sample's temperature: v / T.

    temperatures: (N,). With `through_head` the feature is divided instead and passed through the head
    again, as the released code does: head(f / T) = (v - b) / T + b. The bias is then not scaled, and
    the largest class can change.
    """
    logits = at_least_float32(outputs.logits)
    t = temperatures[:, None]
    if through_head and outputs.bias is not None:
        bias = at_least_float32(outputs.bias)
        return (logits - bias) / t + bias
    return logits / t
