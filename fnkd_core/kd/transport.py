"""Distillation by optimal transport between classes: mass on a class like the teacher's costs little (WKD)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fnkd_core.errors import UserError, require

if TYPE_CHECKING:
    from torch import Tensor

LEAST = -1e30
"""A logit whose probability is 0 beside any other's."""
LEAST_MASS = 1e-30
SAME_GROUP, OTHER_GROUP = 0.5, 1.0
"""Distances of classes that are similar by their groups, and of those that are not."""


@dataclass(frozen=True, eq=False)
class Transported:
    """<P, C>, P the plan that entropic transport makes between q' and p', both without the label and renormalised
    (WKD's logit part, NeurIPS 2024).

    C_ij = 1 - exp(-sharpness d_ij), d the distances between classes (K, K), 0 on the diagonal. P is Sinkhorn's after so
    many iterations with the regulariser `reg`; the gradient goes through all of them. The label has no mass in q' and
    p', which is as if its row and column of C were not there: so the kernel exp(-C / reg) is the same for all samples,
    and the memory is that of a few (N, K) for each iteration and one (K, K), never (N, K, K).
    """

    distances: Tensor | None
    sharpness: float = 1.0
    reg: float = 0.05
    iterations: int = 10

    def __post_init__(self) -> None:
        require(self.reg > 0 and self.iterations >= 1, "Transport needs reg > 0 and at least one iteration.")

    def __call__(self, teacher: Tensor, student: Tensor, labels: Tensor) -> Tensor:
        """(N,) >= 0. teacher, student: (N, K) softened logits; labels: (N,)."""
        if self.distances is None:
            raise UserError("This method needs the distances between classes; give it the teacher's head.")
        require(
            self.distances.shape == (teacher.shape[1],) * 2,
            f"The distances are between {len(self.distances)} classes, the model has {teacher.shape[1]}; use those of "
            "this teacher.",
        )
        costs = costs_of(self.distances.to(teacher), self.sharpness)
        kernel = (-costs / self.reg).exp()
        mask = teacher.new_ones(teacher.shape).scatter_(1, labels[:, None], 0.0)
        q, p = (logits.masked_fill(mask == 0, LEAST).softmax(1) for logits in (teacher, student))
        v = mask
        for _ in range(self.iterations):
            u = q / (v @ kernel.T).clamp(min=LEAST_MASS)
            v = p / (u @ kernel).clamp(min=LEAST_MASS)
        return (u * (v @ (kernel * costs).T)).sum(1)


def costs_of(distances: Tensor, sharpness: float) -> Tensor:
    """(K, K) C = 1 - exp(-sharpness d) of moving mass between classes at distance d: 0 to itself, towards 1 afar."""
    return 1 - (-sharpness * distances).exp()


def head_distances(weight: Tensor) -> Tensor:
    """(K, K) 1 - cos of the angles between the rows of a head (K, D), in [0, 2]."""
    rows = weight.detach().float()
    rows = rows / rows.norm(dim=1, keepdim=True).clamp(min=1e-12)
    return (1 - rows @ rows.T).clamp(min=0).fill_diagonal_(0.0)


def group_distances(similar: tuple[tuple[int, ...], ...], like: Tensor) -> Tensor:
    """(K, K) 0 for a class itself, `SAME_GROUP` for those similar to it, else `OTHER_GROUP`. like: gives the device."""
    found = like.new_full((len(similar), len(similar)), OTHER_GROUP).fill_diagonal_(0.0)
    for row, members in enumerate(similar):
        if members:
            found[row, list(members)] = SAME_GROUP
    return found
