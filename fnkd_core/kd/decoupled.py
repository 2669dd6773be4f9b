"""Decoupled distillation: the KL divergence split into its part on the label and its part on the other classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Decoupled:
    """alpha * TCKD + beta * NCKD (Zhao et al., CVPR 2022).

    TCKD is the divergence of (label, not label); NCKD that of the other classes among themselves. KL is TCKD +
    (1 - q_label) NCKD, so KD gives what a teacher knows of the other classes the less weight, the surer it is.
    """

    alpha: float
    beta: float

    def __call__(self, teacher: Tensor, student: Tensor, labels: Tensor) -> Tensor:
        """(N,) nats. teacher, student: (N, K) softened logits; labels: (N,)."""
        q_label, q_rest, q_others = _split(teacher, labels)
        p_label, p_rest, p_others = _split(student, labels)
        on_label = q_label.exp() * (q_label - p_label) + q_rest.exp() * (q_rest - p_rest)
        on_others = (q_others.exp() * (q_others - p_others)).sum(1)
        return self.alpha * on_label + self.beta * on_others


def _split(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """log p_label (N,), log(1 - p_label) (N,) and the log-probabilities of the others among themselves (N, K-1)."""
    n, num_classes = logits.shape
    mask = logits.new_ones(n, num_classes).scatter_(1, labels[:, None], 0.0).bool()
    others = logits[mask].view(n, num_classes - 1)
    total, rest = logits.logsumexp(1), others.logsumexp(1)
    label = logits.gather(1, labels[:, None])[:, 0]
    return label - total, rest - total, others - rest[:, None]
