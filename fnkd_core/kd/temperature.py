"""Temperature rules: outputs in, one temperature per sample out.

A rule is a frozen dataclass with `__call__(outputs) -> (N,)`, all values > 0. Constant T, ||f||/tau and
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
    def __call__(self, outputs: Outputs) -> Tensor:
        """(N,) temperature of each sample, > 0."""
        ...


@dataclass(frozen=True)
class Constant:
    """T_i = t for every sample (Hinton et al., 2015)."""

    t: float = 1.0

    def __post_init__(self) -> None:
        require(self.t > 0, f"T must be > 0, got {self.t}.")

    def __call__(self, outputs: Outputs) -> Tensor:
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

    def __call__(self, outputs: Outputs) -> Tensor:
        return (outputs.norms / self.tau).clamp(min=max(self.floor, SMALLEST))


@dataclass(frozen=True)
class LogitStd:
    """T_i = t * std(v_i), the standard deviation over the K classes (Sun et al., CVPR 2024; NormKD, 2023).

    The unbiased deviation (divided by K - 1), as both released codes take it; at least two classes.
    """

    t: float = 2.0

    def __post_init__(self) -> None:
        require(self.t > 0, f"t must be > 0, got {self.t}.")

    def __call__(self, outputs: Outputs) -> Tensor:
        std = at_least_float32(outputs.logits).std(dim=1)
        return (self.t * std).clamp(min=SMALLEST)


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
