"""Target rules: labels in, one distribution per sample out.

A rule is a frozen dataclass with `__call__(labels, like) -> (N, K)`, rows summing to 1.
labels: (N,) int64; like: (N, K) logits that give K, dtype and device.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from fnkd_core.errors import require
from fnkd_core.kd.outputs import at_least_float32

if TYPE_CHECKING:
    from torch import Tensor


class Target(Protocol):
    """What the hard term learns of each sample."""

    def __call__(self, labels: Tensor, like: Tensor) -> Tensor:
        """(N, K) distribution for each sample."""
        ...


@dataclass(frozen=True)
class OneHot:
    """q(k) = 1 for the label, 0 elsewhere."""

    def __call__(self, labels: Tensor, like: Tensor) -> Tensor:
        return at_least_float32(like.detach()).new_zeros(like.shape).scatter_(1, labels[:, None], 1.0)


@dataclass(frozen=True)
class Smoothed:
    """LSD: (1 - epsilon) q + epsilon u, u uniform over the K classes (Szegedy et al., 2016)."""

    epsilon: float

    def __post_init__(self) -> None:
        require(0 <= self.epsilon <= 1, f"epsilon must be in [0, 1], got {self.epsilon}.")

    def __call__(self, labels: Tensor, like: Tensor) -> Tensor:
        return (1 - self.epsilon) * OneHot()(labels, like) + self.epsilon / like.shape[1]


@dataclass(frozen=True)
class SmoothedSimilar:
    """aLSD: (1 - e1 - e2) q + e1 u + e2 rho, rho uniform over A(y) (Xu et al., ECCV 2020).

    similar: for each class y the indices of A(y), without y itself. The paper does not say what happens
    where A(y) is empty; here e2 then goes to the uniform part, which is LSD with e1 + e2.
    """

    epsilon_uniform: float
    epsilon_similar: float
    similar: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        low = min(self.epsilon_uniform, self.epsilon_similar)
        total = self.epsilon_uniform + self.epsilon_similar
        require(
            low >= 0 and total <= 1,
            f"epsilon_uniform and epsilon_similar must be >= 0 and sum to at most 1, "
            f"got {self.epsilon_uniform} and {self.epsilon_similar}.",
        )

    def __call__(self, labels: Tensor, like: Tensor) -> Tensor:
        num_classes = like.shape[1]
        require(
            len(self.similar) == num_classes,
            f"The similar classes are given for {len(self.similar)} classes, the model has {num_classes}; "
            "use groups made for this data set.",
        )
        one_hot = OneHot()(labels, like)
        rho = one_hot.new_zeros(num_classes, num_classes)
        for row, members in enumerate(self.similar):
            if members:
                rho[row, list(members)] = 1 / len(members)
            else:
                rho[row] = 1 / num_classes
        kept = 1 - self.epsilon_uniform - self.epsilon_similar
        return kept * one_hot + self.epsilon_uniform / num_classes + self.epsilon_similar * rho[labels]
