"""Losses of one sample each; the mean over a batch is the caller's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from fnkd_core.errors import UserError
from fnkd_core.kd.decoupled import Decoupled
from fnkd_core.kd.outputs import Outputs, at_least_float32
from fnkd_core.kd.targets import OneHot, Softened, Target
from fnkd_core.kd.temperature import Temperature, soften

if TYPE_CHECKING:
    from torch import Tensor

StudentNorm = Literal["own", "detached", "teacher"]


def cross_entropy(targets: Tensor, logits: Tensor) -> Tensor:
    """(N,) H(q, softmax(v)) = -sum_k q_k log softmax(v)_k, in nats. targets, logits: (N, K)."""
    return -(targets * at_least_float32(logits).log_softmax(1)).sum(1)


def kl_divergence(targets: Tensor, logits: Tensor) -> Tensor:
    """(N,) KL(q || softmax(v)) = H(q, softmax(v)) - H(q), in nats. Zero entries of q count nothing."""
    return targets.xlogy(targets).sum(1) + cross_entropy(targets, logits)


@dataclass(frozen=True)
class Objective:
    """What a student is trained towards: hard_weight * H(targets, s(v)) + soft_weight * w_i * soft_i.

    targets: the hard term's distribution. soft: the teacher's softened distribution, or None.
    temperature: the student's rule in the soft term. student_norm: whose outputs that rule reads, the
    student's `own` (gradient flows through it), the same `detached`, or the `teacher`'s.
    t_squared: w_i = (T_i^teacher)^2 instead of 1 (T^2 for a constant), which keeps the size of the gradient
    independent of T. divergence: `cross_entropy` as in the papers, `kl`, or `Decoupled`; the first two differ by
    the teacher's entropy, which has no gradient.
    cosine_scale: the student's head is s * cos(f, W_k) instead of W f + b, with this s.
    margin: subtracted from the label's cosine in the hard term.
    """

    targets: Target = OneHot()
    hard_weight: float = 1.0
    soft: Softened | None = None
    soft_weight: float = 0.0
    temperature: Temperature | None = None
    student_norm: StudentNorm = "own"
    t_squared: bool = False
    divergence: Literal["cross_entropy", "kl"] | Decoupled = "cross_entropy"
    cosine_scale: float | None = None
    margin: float = 0.0


def loss_terms(
    objective: Objective, student: Outputs, labels: Tensor, teacher: Outputs | None = None
) -> dict[str, Tensor]:
    """{"loss", "hard", "soft"}, each (N,): the weighted sum, and its two terms before their weights.

    `soft` includes T^2 where the objective asks for it, so loss = hard_weight*hard + soft_weight*soft.
    Raises `UserError` where the objective needs a teacher and none is given, or K differs.
    """
    logits = at_least_float32(student.logits)
    hard_logits = logits
    if objective.margin and objective.cosine_scale:
        hard_logits = logits - objective.margin * objective.cosine_scale * OneHot()(labels, logits)
    hard = cross_entropy(objective.targets(labels, logits, teacher), hard_logits)
    if objective.soft is None or objective.temperature is None:
        return {"loss": objective.hard_weight * hard, "hard": hard, "soft": logits.new_zeros(len(labels))}

    if teacher is not None and teacher.logits.shape != logits.shape:
        raise UserError(
            f"The teacher has {teacher.logits.shape[1]} outputs, the student {logits.shape[1]}; "
            "they must share one label space."
        )
    q = objective.soft(labels, logits, teacher)
    assert teacher is not None  # `Softened` has refused a missing teacher
    read = teacher.detach() if objective.student_norm == "teacher" else student
    t_student = objective.temperature(read)
    if objective.student_norm == "detached":
        t_student = t_student.detach()
    v = soften(student, t_student, through_head=objective.soft.through_head)
    if isinstance(objective.divergence, Decoupled):
        softened = soften(teacher.detach(), objective.soft.temperature(teacher.detach()))
        soft = objective.divergence(softened, v, labels)
    else:
        soft = (kl_divergence if objective.divergence == "kl" else cross_entropy)(q, v)
    if objective.t_squared:
        soft = soft * objective.soft.temperature(teacher.detach()) ** 2
    return {"loss": objective.hard_weight * hard + objective.soft_weight * soft, "hard": hard, "soft": soft}
