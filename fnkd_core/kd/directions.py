"""Distillation of features: towards the teacher's mean direction of the label's class, and as long as the teacher's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fnkd_core.errors import UserError, require
from fnkd_core.kd.outputs import Outputs, at_least_float32
from fnkd_core.kd.temperature import SMALLEST

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class NormAndDirection:
    """weight * (1 - <f_S, e_y> / max(||f_S||, ||f_T||)) (KD++, ECCV 2024).

    means: (K, D) the teacher's mean feature of each class, whose directions e are. project: from the student's features
    to the teacher's width, where that is another. A feature shorter than the teacher's is pulled to be longer, the
    opposite of what FN does; a longer one is only turned.
    """

    weight: float
    means: Tensor | None = None
    project: Callable[[Tensor], Tensor] | None = None

    def __call__(self, student: Outputs, teacher: Outputs, labels: Tensor) -> Tensor:
        """(N,) in [0, 2 weight]."""
        if self.means is None:
            raise UserError("This method needs the teacher's mean features of the classes; make them first.")
        features = at_least_float32(student.features if self.project is None else self.project(student.features))
        require(
            features.shape[1] == self.means.shape[1],
            f"The student has {features.shape[1]} features, the teacher {self.means.shape[1]}; project them first.",
        )
        means = self.means.to(features)
        directions = means / means.norm(dim=1, keepdim=True).clamp(min=SMALLEST)
        lengths = features.norm(dim=1).maximum(teacher.norms.to(features)).clamp(min=SMALLEST)
        return self.weight * (1 - (features * directions[labels]).sum(1) / lengths)
