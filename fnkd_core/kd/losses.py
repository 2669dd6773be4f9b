"""Losses of one sample each; the mean over a batch is the caller's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from fnkd_core.errors import UserError
from fnkd_core.kd.directions import NormAndDirection
from fnkd_core.kd.outputs import Outputs, at_least_float32
from fnkd_core.kd.sample_weights import SampleWeight
from fnkd_core.kd.targets import OneHot, Target
from fnkd_core.kd.temperature import LogitStd, Temperature, soften

if TYPE_CHECKING:
    from torch import Tensor

StudentNorm = Literal["own", "detached", "teacher"]
Z_SCORE = LogitStd(1.0)
"""What standardized logits are divided by; softmax does not see that their mean is left in them."""


def cross_entropy(targets: Tensor, logits: Tensor) -> Tensor:
    """(N,) H(q, softmax(v)) = -sum_k q_k log softmax(v)_k, in nats. targets, logits: (N, K)."""
    return -(targets * at_least_float32(logits).log_softmax(1)).sum(1)


def kl_divergence(teacher: Tensor, logits: Tensor) -> Tensor:
    """(N,) KL(softmax(v_T) || softmax(v)), in nats. teacher, logits: (N, K) logits.

    From logits, not from probabilities: the gradient of q log q is finite only while q is not rounded to 0.
    """
    log_q = at_least_float32(teacher).log_softmax(1)
    return cross_entropy(log_q.exp(), logits) + (log_q.exp() * log_q).sum(1)


class Divergence(Protocol):
    """How far a student is from its teacher, beside the two that have a name."""

    def __call__(self, teacher: Tensor, student: Tensor, labels: Tensor) -> Tensor:
        """(N,). teacher, student: (N, K) softened logits; labels: (N,)."""
        ...


@dataclass(frozen=True)
class SoftTerm:
    """weight * w_i * divergence(s(v_T / T_i^T), s(v_S / T_i^S)): one way to learn from a teacher.

    temperature: the teacher's rule, and the student's where `student_temperature` is None. student_norm: whose
    outputs the student's rule reads, its `own` (gradient flows through it), the same `detached`, or the `teacher`'s.
    sample_weight: w_i, 1 where None. divergence: `cross_entropy` as in the papers, `kl`, or one of its own; the first
    two differ by the teacher's entropy, which has a gradient only where its temperature has one.
    through_head: the feature is softened instead of the logits (see `soften`). standardize: both sides' logits are
    divided by their own standard deviation over the classes (divisor K - 1) before T_i, of which w_i knows nothing.
    of_each: of several teachers, the rule of each where they differ, in place of `temperature`, which stays the
    student's.
    """

    temperature: Temperature
    student_temperature: Temperature | None = None
    weight: float = 1.0
    sample_weight: SampleWeight | None = None
    divergence: Literal["cross_entropy", "kl"] | Divergence = "cross_entropy"
    student_norm: StudentNorm = "own"
    through_head: bool = False
    standardize: bool = False
    of_each: tuple[Temperature, ...] = ()


@dataclass(frozen=True)
class Objective:
    """What a student is trained towards: hard_weight * H(targets, s(v)) + soft_weight * (sum of the soft terms).

    targets: the hard term's distribution. hard_temperature: a rule that divides the logits in the hard term too.
    cosine_scale: the student's head is s * cos(f, W_k) instead of W f + b, with this s.
    margin: subtracted from the label's cosine in the hard term. features: soft terms that are of features.
    """

    targets: Target = OneHot()
    hard_weight: float = 1.0
    hard_temperature: Temperature | None = None
    soft: tuple[SoftTerm, ...] = ()
    features: tuple[NormAndDirection, ...] = ()
    soft_weight: float = 0.0
    cosine_scale: float | None = None
    margin: float = 0.0


def loss_terms(
    objective: Objective, student: Outputs, labels: Tensor, teacher: Outputs | Sequence[Outputs] | None = None
) -> dict[str, Tensor]:
    """{"loss", "hard", "soft"}, each (N,): hard_weight * hard + soft_weight * soft, and its two terms.

    With soft terms also "temperature", (N,): the teacher's T_i in the first of them, without gradient.

    teacher: what one teacher says, or several, of the same samples. Of several the soft target is the mean of their
    softened probabilities, mean_k s(v_k / T_k) (Hinton et al., 2015; You et al., KDD 2017), each with its own T_k;
    w_i and "temperature" are the means of theirs.
    Raises `UserError` where the objective needs a teacher and none is given, or K differs, or it reads one's features.
    """
    logits = at_least_float32(student.logits)
    hard_logits = logits
    teachers = [] if teacher is None else [t.detach() for t in ([teacher] if isinstance(teacher, Outputs) else teacher)]
    if objective.hard_temperature is not None:
        hard_logits = soften(student, objective.hard_temperature(student, teachers[0] if teachers else None))
    if objective.margin and objective.cosine_scale:
        hard_logits = hard_logits - objective.margin * objective.cosine_scale * OneHot()(labels, logits)
    hard = cross_entropy(objective.targets(labels, logits), hard_logits)
    terms = {"loss": objective.hard_weight * hard, "hard": hard, "soft": logits.new_zeros(len(labels))}
    if not objective.soft:
        return terms

    if not teachers:
        raise UserError("This method learns from a teacher; none is given. Choose a teacher checkpoint.")
    for one in teachers:
        if one.logits.shape != logits.shape:
            raise UserError(
                f"The teacher has {one.logits.shape[1]} outputs, the student {logits.shape[1]}; "
                "they must share one label space."
            )
    if objective.features and len(teachers) > 1:
        raise UserError(f"This method reads the features of one teacher, got {len(teachers)} teachers; give one.")
    for i, term in enumerate(objective.soft):
        soft, t_teacher = _soft_term(term, student, teachers, labels)
        terms["soft"] = terms["soft"] + term.weight * soft
        if i == 0:
            terms["temperature"] = t_teacher.detach()
    for of_features in objective.features:
        terms["soft"] = terms["soft"] + of_features(student, teachers[0], labels)
    terms["loss"] = terms["loss"] + objective.soft_weight * terms["soft"]
    return terms


def weighted(terms: dict[str, Tensor], weights: Tensor) -> dict[str, Tensor]:
    """The terms of `loss_terms`, each sample's loss and both its parts times the sample's weight. weights: (N,)."""
    return {k: values * weights if k in ("loss", "hard", "soft") else values for k, values in terms.items()}


def _soft_term(term: SoftTerm, student: Outputs, teachers: Sequence[Outputs], labels: Tensor) -> tuple[Tensor, Tensor]:
    """(N,) w_i * divergence, and (N,) what the teachers' logits are divided by, in the mean."""
    rules = term.of_each or (term.temperature,) * len(teachers)
    t_teachers = [rule(teacher, student) for rule, teacher in zip(rules, teachers, strict=True)]
    t_student = _student_temperature(term, rules, student, teachers)
    by_teachers, by_student = t_teachers, t_student
    if term.standardize:
        by_teachers = [t * Z_SCORE(teacher) for t, teacher in zip(t_teachers, teachers, strict=True)]
        by_student = t_student * Z_SCORE(student)
    v_teacher = _mean_target(
        [soften(o, t, through_head=term.through_head) for o, t in zip(teachers, by_teachers, strict=True)]
    )
    v_student = soften(student, by_student, through_head=term.through_head)
    if term.divergence == "kl":
        soft = kl_divergence(v_teacher, v_student)
    elif term.divergence == "cross_entropy":
        soft = cross_entropy(v_teacher.softmax(1), v_student)
    else:
        soft = term.divergence(v_teacher, v_student, labels)
    if term.sample_weight is not None:
        weigh = term.sample_weight
        soft = soft * _mean([weigh(o, t, t_student) for o, t in zip(teachers, t_teachers, strict=True)])
    return soft, _mean(by_teachers)


def _student_temperature(
    term: SoftTerm, rules: Sequence[Temperature], student: Outputs, teachers: Sequence[Outputs]
) -> Tensor:
    """(N,) T_i of the student: by its own outputs, or the mean of what its teachers' give."""
    if term.student_norm == "teacher":
        own = [term.student_temperature or rule for rule in rules]
        return _mean([rule(teacher, teacher) for rule, teacher in zip(own, teachers, strict=True)])
    t_student = (term.student_temperature or term.temperature)(student, teachers[0])
    return t_student.detach() if term.student_norm == "detached" else t_student


def _mean(each: Sequence[Tensor]) -> Tensor:
    """The mean of what there is of each teacher; of one, that to the bit."""
    return each[0] if len(each) == 1 else sum(each[1:], start=each[0]) / len(each)


def _mean_target(softened: Sequence[Tensor]) -> Tensor:
    """(N, K) logits whose softmax is the mean of these logits' softmaxes; of one, those to the bit."""
    if len(softened) == 1:
        return softened[0]
    total = softened[0].log_softmax(1)
    for logits in softened[1:]:
        total = total.logaddexp(logits.log_softmax(1))
    return total - math.log(len(softened))
