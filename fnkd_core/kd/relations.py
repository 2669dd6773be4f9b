"""Distillation of relations: the student's probabilities need be the teacher's only up to shift and scale (DIST)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

LEAST_NORM = 1e-8
"""Of what is correlated: below it there is nothing to be like, and no gradient that explodes."""


@dataclass(frozen=True)
class Correlated:
    """rows (1 - Pearson of each sample's row) + columns (1 - mean Pearson of each class's column) (Huang et al.,
    NeurIPS 2022).

    The columns run over the batch, so that their part is one number, which every sample has: it couples the batch.
    """

    rows: float
    columns: float

    def __call__(self, teacher: Tensor, student: Tensor, labels: Tensor) -> Tensor:
        """(N,). teacher, student: (N, K) softened logits; labels: unused."""
        q, p = teacher.softmax(1), student.softmax(1)
        return self.rows * (1 - pearson(q, p)) + self.columns * (1 - pearson(q.T, p.T).mean())


def pearson(a: Tensor, b: Tensor) -> Tensor:
    """(N,) correlation of each row of a with the same row of b, both (N, K); 0 where a row is constant."""
    a, b = (x - x.mean(1, keepdim=True) for x in (a, b))
    lengths = a.norm(dim=1).clamp(min=LEAST_NORM) * b.norm(dim=1).clamp(min=LEAST_NORM)
    return (a * b).sum(1) / lengths
