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


@dataclass(frozen=True)
class OnLabel:
    """-q_y log p_y: the part of the cross-entropy that is on the label (NKD and WKD take it at T = 1)."""

    def __call__(self, teacher: Tensor, student: Tensor, labels: Tensor) -> Tensor:
        """(N,) nats. teacher, student: (N, K) softened logits; labels: (N,)."""
        q, p = (logits.log_softmax(1).gather(1, labels[:, None])[:, 0] for logits in (teacher, student))
        return -q.exp() * p


@dataclass(frozen=True)
class OnOthers:
    """H(q', p'), q' and p' without the label and renormalised: the other part of NKD (Yang et al., ICCV 2023)."""

    def __call__(self, teacher: Tensor, student: Tensor, labels: Tensor) -> Tensor:
        """(N,) nats. teacher, student: (N, K) softened logits; labels: (N,)."""
        return -(_split(teacher, labels)[2].exp() * _split(student, labels)[2]).sum(1)


@dataclass(frozen=True)
class Refined:
    """alpha KL(b_T || b_S) + beta KL among the classes that the teacher ranks below the label (RLD, ICCV 2025).

    b_T = (max q, rest) and b_S = (p_y, rest): the teacher says how sure it is and the label of what. Classes with a
    logit at or above the label's are left out of the second part, and what is left is renormalised; so a teacher that
    is wrong does not push the label down. Where nothing is left, that part is 0.
    """

    alpha: float
    beta: float

    def __call__(self, teacher: Tensor, student: Tensor, labels: Tensor) -> Tensor:
        """(N,) nats. teacher, student: (N, K) softened logits; labels: (N,)."""
        top = _split(teacher, teacher.argmax(1))
        label = _split(student, labels)
        sure = sum((a.exp() * (a - b) for a, b in zip(top[:2], label[:2], strict=True)), start=teacher.new_zeros(()))
        below = teacher < teacher.gather(1, labels[:, None])
        # In the place of what is left out, so that no infinity has a gradient.
        q, p = (logits.masked_fill(~below, LEAST).log_softmax(1) for logits in (teacher, student))
        among = (q.exp() * (q - p)).masked_fill(~below, 0.0).sum(1)
        return self.alpha * sure + self.beta * among


LEAST = -1e30
"""A logit whose probability is 0 beside any other's."""
