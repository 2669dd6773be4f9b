"""Weights of the soft term, one per sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from fnkd_core.errors import require
from fnkd_core.kd.outputs import Outputs, at_least_float32

if TYPE_CHECKING:
    from torch import Tensor


class SampleWeight(Protocol):
    """What weighs the soft term of each sample."""

    def __call__(self, teacher: Outputs, t_teacher: Tensor, t_student: Tensor) -> Tensor:
        """(N,) weight of each sample. t_teacher, t_student: (N,) the two temperatures."""
        ...


@dataclass(frozen=True)
class TeacherSquared:
    """w_i = (T_i^teacher)^2, which keeps the size of the gradient independent of T (Hinton et al., 2015)."""

    def __call__(self, teacher: Outputs, t_teacher: Tensor, t_student: Tensor) -> Tensor:
        return t_teacher**2


@dataclass(frozen=True)
class BothTemperatures:
    """w_i = T_i^teacher T_i^student (DTKD, 2024)."""

    def __call__(self, teacher: Outputs, t_teacher: Tensor, t_student: Tensor) -> Tensor:
        return t_teacher * t_student


@dataclass(frozen=True)
class PowerSum:
    """w_i = sum_k p_k^gamma of the teacher: 1 where it is certain, K^(1 - gamma) where it is not (WTTM, 2024)."""

    gamma: float

    def __post_init__(self) -> None:
        require(self.gamma > 0, f"gamma must be > 0, got {self.gamma}.")

    def __call__(self, teacher: Outputs, t_teacher: Tensor, t_student: Tensor) -> Tensor:
        return (self.gamma * at_least_float32(teacher.logits).log_softmax(1)).exp().sum(1)
