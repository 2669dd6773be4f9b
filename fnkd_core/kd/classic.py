"""The methods up to 2024, each a short function from its parameters to an `Objective`.

The signature is the only place where a parameter's default, range and help are written. What is keyword-only comes not
from the user but from the data (`similar`) or from training (`progress`, the share of the epochs begun; `learnt`, a
scalar the optimiser steps).
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from fnkd_core.errors import UserError, require
from fnkd_core.kd.decoupled import Decoupled
from fnkd_core.kd.learnt import Learnt, ramp_up
from fnkd_core.kd.losses import Objective, SoftTerm, StudentNorm
from fnkd_core.kd.parameters import Help, Range
from fnkd_core.kd.policies import Policy, Standardize, Unit, Whose, several, softened
from fnkd_core.kd.sample_weights import BothTemperatures, PowerSum, TeacherSquared
from fnkd_core.kd.targets import Smoothed, SmoothedSimilar
from fnkd_core.kd.temperature import Constant, FeatureNorm, JointMax, LogitStd

SimilarClasses = tuple[tuple[int, ...], ...]


Weight = Annotated[float, Range("Share of the soft term; the hard term has the rest.", 0, 1, 0.05)]
OneT = Annotated[float, Range("Temperature, the same for every sample.", 0, step=0.5, open_low=True)]
WarmUp = Annotated[
    float, Range("Share of the epochs over which the soft term rises; published as 20 of 240.", 0, 1, 0.01)
]


def ce() -> Objective:
    """Cross-entropy with one-hot labels: the student alone."""
    return Objective()


def lsd(
    epsilon: Annotated[float, Range("Mass given evenly to all classes.", 0, 1, 0.01)] = 0.1,
) -> Objective:
    """Label smoothing: gives back an even share to every class. No teacher."""
    return Objective(targets=Smoothed(epsilon))


def alsd(
    epsilon_uniform: Annotated[float, Range("Mass given evenly to all classes.", 0, 1, 0.01)] = 0.05,
    epsilon_similar: Annotated[float, Range("Mass given to the classes similar to the label.", 0, 1, 0.01)] = 0.05,
    *,
    similar: SimilarClasses,
) -> Objective:
    """Anisotropic label smoothing: gives back more to classes with similar names. No teacher."""
    return Objective(targets=SmoothedSimilar(epsilon_uniform, epsilon_similar, similar))


def kd(
    T: OneT = 4.0,
    alpha: Weight = 0.9,
    t_squared: Annotated[bool, Help("Multiply the soft term by T², as the field's code does.")] = True,
    policy: Policy = "constant",
    unit: Unit = None,
    standardize: Standardize = False,
    student_norm: Whose = "own",
    hard: Annotated[float | None, Range("Weight of the hard term. Left empty: 1 − α.", 0, step=0.1, later=True)] = None,
    soft: Annotated[
        float | None, Range("Weight of the soft term, before T². Left empty: α.", 0, step=0.1, later=True)
    ] = None,
    temperatures: Annotated[
        tuple[float, ...],
        Range(
            "Several T, such as 2+3+4+5+6: the soft term is the mean of theirs. Left empty: T alone.",
            0,
            open_low=True,
            later=True,
        ),
    ] = (),
    student_T: Annotated[
        float | None,
        Range(
            "The student's T where it is another than the teacher's. Left empty: T.",
            0,
            step=0.5,
            open_low=True,
            later=True,
        ),
    ] = None,
) -> Objective:
    """Knowledge distillation: learns the shares from a teacher softened by one temperature, or by a policy's."""
    every = several(T, temperatures)
    require(
        student_T is None or len(every) == 1,
        f"student_T is one number and temperatures are {len(every)}; leave one of the two out.",
    )
    terms = tuple(
        softened(
            t,
            policy,
            unit,
            standardize,
            student_norm,
            student_T,
            weight=1 / len(every),
            sample_weight=TeacherSquared() if t_squared else None,
        )
        for t in every
    )
    hard_weight, soft_weight = 1 - alpha if hard is None else hard, alpha if soft is None else soft
    return Objective(hard_weight=hard_weight, soft=terms, soft_weight=soft_weight)


def fn(
    tau: Annotated[
        float | None,
        Range(
            "Sets T_i = ‖f_i‖/τ. Left empty: a quarter of the teacher's mean ‖f‖, comparable to T = 4.",
            0,
            step=0.1,
            open_low=True,
            mean_norm_share=0.25,
        ),
    ] = None,
    lambda_: Annotated[
        float, Range("The soft term has weight λ². λ²τ²/mean‖f‖² near 1 is the rule.", 0, step=0.5)
    ] = 3.0,
    variant: Annotated[
        Literal["paper", "released"],
        Help("paper: softmax(τv/‖f‖). released: T_i = max(1, ‖f‖/τ), the feature is scaled and the bias is not."),
    ] = "paper",
    student_norm: Annotated[
        StudentNorm,
        Help("Whose ‖f‖ softens the student: its own (gradient flows), the same detached, or the teacher's."),
    ] = "own",
) -> Objective:
    """Feature normalized distillation: a temperature for each sample, set by its feature norm."""
    if tau is None:
        raise UserError("tau is open; it needs the teacher's mean feature norm. Give tau a value.")
    released = variant == "released"
    rule = FeatureNorm(tau, floor=1.0 if released else 0.0)
    term = SoftTerm(rule, student_norm=student_norm, through_head=released)
    return Objective(soft=(term,), soft_weight=lambda_**2)


def normkd(
    t: Annotated[float, Range("Sets T_i = t·std(v_i), over the classes.", 0, step=0.5, open_low=True)] = 2.0,
    alpha: Weight = 0.9,
) -> Objective:
    """Normalized logits: each side's temperature is its own logits' spread, weighted by the teacher's squared."""
    term = SoftTerm(LogitStd(t), sample_weight=TeacherSquared(), divergence="kl")
    return Objective(hard_weight=1 - alpha, soft=(term,), soft_weight=alpha)


def lskd(
    T: Annotated[float, Range("Temperature of the standardized logits.", 0, step=0.5, open_low=True)] = 2.0,
    hard: Annotated[float, Range("Weight of the hard term.", 0, step=0.1)] = 0.1,
    soft: Annotated[float, Range("Weight of the soft term, before T².", 0, step=1)] = 9.0,
) -> Objective:
    """Logit standardization: both sides' logits as z-scores, so that only their order and ratios are learnt."""
    term = SoftTerm(LogitStd(T), divergence="kl")
    return Objective(hard_weight=hard, soft=(term,), soft_weight=soft * T**2)


def skd(
    T: OneT = 4.0,
    multiplier: Annotated[
        float, Range("Both sides' logits are layer-normalised and scaled by it.", 0, step=0.5, open_low=True)
    ] = 2.0,
    alpha: Weight = 0.9,
) -> Objective:
    """Spherical distillation: layer-normalised logits on both sides, in the hard term too."""
    term = SoftTerm(LogitStd(T / multiplier, correction=0), divergence="kl")
    hard = LogitStd(1 / multiplier, correction=0)
    return Objective(hard_weight=1 - alpha, hard_temperature=hard, soft=(term,), soft_weight=alpha * T**2)


def dtkd(
    T: Annotated[float, Range("Mean of the two models' temperatures.", 0, step=0.5, open_low=True)] = 4.0,
    alpha: Annotated[float, Range("Weight of the term with joint temperatures.", 0, step=0.5)] = 3.0,
    beta: Annotated[float, Range("Weight of the term with T on both sides.", 0, step=0.5)] = 1.0,
    warmup: WarmUp = 0.08,
    *,
    progress: float = 1.0,
) -> Objective:
    """Dynamic temperature: whichever model is surer of a sample is softened more, so that they meet in the middle."""
    joint = SoftTerm(JointMax(T), weight=alpha, sample_weight=BothTemperatures(), divergence="kl")
    plain = SoftTerm(Constant(T), weight=beta, sample_weight=TeacherSquared(), divergence="kl")
    return Objective(soft=(joint, plain), soft_weight=ramp_up(progress, warmup))


def wttm(
    T: Annotated[float, Range("Temperature of the teacher; the paper's γ is 1/T.", 0, step=0.5, open_low=True)] = 5.0,
    beta: Annotated[float, Range("Weight of the soft term.", 0, step=0.5)] = 4.0,
) -> Objective:
    """Weighted transformed teacher matching: softens the teacher alone; samples it is unsure of weigh more."""
    term = SoftTerm(Constant(T), Constant(1.0), sample_weight=PowerSum(1 / T), divergence="kl")
    return Objective(soft=(term,), soft_weight=beta)


def ctkd(
    low: Annotated[float, Range("Smallest T.", 0, step=0.5, open_low=True)] = 1.0,
    span: Annotated[float, Range("T lies between low and low + span.", 0, step=1)] = 20.0,
    alpha: Weight = 0.9,
    ramp: Annotated[
        float, Range("Share of the epochs over which T's learning sets in; published as 10 of 240.", 0, 1, 0.01)
    ] = 0.04,
    *,
    progress: float = 1.0,
    learnt: Any = None,
) -> Objective:
    """Curriculum temperature: one T for all, learnt during training to make the student's task harder."""
    strength = (1 - math.cos(math.pi * ramp_up(progress, ramp))) / 2
    term = SoftTerm(Learnt(low, span, learnt, strength), sample_weight=TeacherSquared(), divergence="kl")
    return Objective(hard_weight=1 - alpha, soft=(term,), soft_weight=alpha)


def dkd(
    T: OneT = 4.0,
    alpha: Annotated[float, Range("Weight of the part on the label.", 0, step=0.5)] = 1.0,
    beta: Annotated[float, Range("Weight of the part on the other classes.", 0, step=0.5)] = 2.0,
    warmup: WarmUp = 0.08,
    policy: Policy = "constant",
    unit: Unit = None,
    standardize: Standardize = False,
    student_norm: Whose = "own",
    *,
    progress: float = 1.0,
) -> Objective:
    """Decoupled distillation: what the teacher says of the other classes counts the same however sure it is."""
    divergence = Decoupled(alpha, beta)
    term = softened(T, policy, unit, standardize, student_norm, sample_weight=TeacherSquared(), divergence=divergence)
    return Objective(soft=(term,), soft_weight=ramp_up(progress, warmup))


def he(
    scale: Annotated[float, Range("s in s·cos θ; what ‖f‖‖W‖ is for other heads.", 0, step=1, open_low=True)] = 16.0,
    margin: Annotated[float, Range("Subtracted from the label's cosine while training.", 0, 1, 0.05)] = 0.0,
) -> Objective:
    """Hypersphere embedding: f and W both normalised, so that only angles count. No teacher."""
    return Objective(cosine_scale=scale, margin=margin)
