"""The methods of the years since, each a short function from its parameters to an `Objective`, as in `classic`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fnkd_core.errors import require
from fnkd_core.kd.classic import OneT, SimilarClasses, WarmUp
from fnkd_core.kd.decoupled import OnLabel, OnOthers, Refined
from fnkd_core.kd.directions import NormAndDirection
from fnkd_core.kd.learnt import ramp_up
from fnkd_core.kd.losses import Objective, SoftTerm
from fnkd_core.kd.parameters import Help, Range
from fnkd_core.kd.policies import Policy, Standardize, Unit, Whose, softened
from fnkd_core.kd.relations import Correlated
from fnkd_core.kd.sample_weights import TeacherSquared
from fnkd_core.kd.temperature import Constant
from fnkd_core.kd.transport import Transported, group_distances


def nkd(
    T: OneT = 1.0,
    beta: Annotated[float, Range("Weight of the part on the other classes, before T².", 0, step=0.5)] = 1.5,
    policy: Policy = "constant",
    unit: Unit = None,
    standardize: Standardize = False,
    student_norm: Whose = "own",
) -> Objective:
    """Normalized distillation: the label as sure as the teacher is, the other classes renormalised without it."""
    others = softened(
        T, policy, unit, standardize, student_norm,
        weight=beta, sample_weight=TeacherSquared(), divergence=OnOthers(),
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
    rows: Annotated[float, Range("Weight of the correlation over the classes of each sample.", 0, step=0.5)] = 1.0,
    columns: Annotated[float, Range("Weight of the correlation over the samples of a batch.", 0, step=0.5)] = 1.0,
    policy: Policy = "constant",
    unit: Unit = None,
    standardize: Standardize = False,
    student_norm: Whose = "own",
) -> Objective:
    """Relations: probabilities that correlate with the teacher's, over each sample's classes and over the batch."""
    term = softened(
        T, policy, unit, standardize, student_norm,
        sample_weight=TeacherSquared(), divergence=Correlated(rows, columns),
    )  # fmt: skip
    return Objective(soft=(term,), soft_weight=1.0)


def nd(
    T: OneT = 4.0,
    alpha: Annotated[float, Range("Weight of the term that is kd's, before T².", 0, step=0.5)] = 1.0,
    beta: Annotated[float, Range("Weight of the term on the feature's norm and direction.", 0, step=0.5)] = 2.0,
    warmup: WarmUp = 0.08,
    *,
    progress: float = 1.0,
    class_means: Any = None,
    project: Any = None,
) -> Objective:
    """Norm and direction: features turn to the teacher's mean of their class, and grow as long as the teacher's."""
    term = SoftTerm(Constant(T), weight=alpha * ramp_up(progress, warmup), sample_weight=TeacherSquared())
    return Objective(soft=(term,), features=(NormAndDirection(beta, class_means, project),), soft_weight=1.0)


def wkd(
    T: OneT = 8.0,
    weight: Annotated[float, Range("Weight of the transport between the other classes.", 0, step=50)] = 600.0,
    costs: Annotated[
        Literal["head", "similar"],
        Help("How far classes lie apart: by the angles of the teacher's head, or by the groups of Similar classes."),
    ] = "head",
    sharpness: Annotated[
        float, Range("κ in the cost 1 − exp(−κd) of classes at distance d.", 0, step=0.5, open_low=True)
    ] = 1.0,
    reg: Annotated[float, Range("Entropic regulariser of the transport.", 0.02, step=0.01)] = 0.05,
    *,
    similar: SimilarClasses = (),
    distances: Any = None,
) -> Objective:
    """Transport between classes: mass on a class like the teacher's costs little. The label apart, as in nkd."""
    if costs == "similar":
        require(bool(similar), "costs 'similar' needs groups of similar classes; give some, or use costs head.")
        distances = None if distances is None else group_distances(similar, distances)
    others = SoftTerm(Constant(T), weight=weight, divergence=Transported(distances, sharpness, reg))
    return Objective(soft=(others, SoftTerm(Constant(1.0), divergence=OnLabel())), soft_weight=1.0)
