"""The methods of the years since, each a short function from its parameters to an `Objective`, as in `classic`."""

from __future__ import annotations

from typing import Annotated

from fnkd_core.kd.classic import OneT, WarmUp
from fnkd_core.kd.decoupled import OnLabel, OnOthers, Refined
from fnkd_core.kd.learnt import ramp_up
from fnkd_core.kd.losses import Objective, SoftTerm
from fnkd_core.kd.parameters import Range
from fnkd_core.kd.policies import Policy, Standardize, Unit, Whose, softened
from fnkd_core.kd.relations import Correlated
from fnkd_core.kd.sample_weights import TeacherSquared
from fnkd_core.kd.temperature import Constant


def nkd(
    T: OneT = 1.0,
    gamma: Annotated[float, Range("Weight of the part on the other classes, before T².", 0, step=0.5)] = 1.5,
    policy: Policy = "constant",
    unit: Unit = None,
    standardize: Standardize = False,
    student_norm: Whose = "own",
) -> Objective:
    """Normalized distillation: the label as sure as the teacher is, the other classes renormalised without it."""
    others = softened(
        T, policy, unit, standardize, student_norm,
        weight=gamma, sample_weight=TeacherSquared(), divergence=OnOthers(),
    )  # fmt: skip
    return Objective(soft=(others, SoftTerm(Constant(1.0), divergence=OnLabel())), soft_weight=1.0)


def rld(
    T: OneT = 4.0,
    alpha: Annotated[float, Range("Weight of the part on how sure the teacher is.", 0, step=0.5)] = 1.0,
    beta: Annotated[float, Range("Weight of the part on the classes below the label.", 0, step=0.5)] = 8.0,
    warmup: WarmUp = 0.08,
    policy: Policy = "constant",
    unit: Unit = None,
    standardize: Standardize = False,
    student_norm: Whose = "own",
    *,
    progress: float = 1.0,
) -> Objective:
    """Refined logits: what the teacher says against the label is left out, what it says below the label is learnt."""
    term = softened(
        T, policy, unit, standardize, student_norm,
        sample_weight=TeacherSquared(), divergence=Refined(alpha, beta),
    )  # fmt: skip
    return Objective(soft=(term,), soft_weight=ramp_up(progress, warmup))


def dist(
    T: OneT = 1.0,
    beta: Annotated[float, Range("Weight of the correlation over the classes of each sample.", 0, step=0.5)] = 1.0,
    gamma: Annotated[float, Range("Weight of the correlation over the samples of a batch.", 0, step=0.5)] = 1.0,
    policy: Policy = "constant",
    unit: Unit = None,
    standardize: Standardize = False,
    student_norm: Whose = "own",
) -> Objective:
    """Relations: probabilities that correlate with the teacher's, over each sample's classes and over the batch."""
    term = softened(
        T, policy, unit, standardize, student_norm,
        sample_weight=TeacherSquared(), divergence=Correlated(beta, gamma),
    )  # fmt: skip
    return Objective(soft=(term,), soft_weight=1.0)
