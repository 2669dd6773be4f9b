"""The methods, in one literal dict. A method added here appears in the command line, the form and the docs.

A method is a short function from its parameters to an `Objective`. The signature is the only place where
a parameter's default, range and help are written. What is keyword-only comes not from the user but from the data
(`similar`) or from training (`progress`, the share of the epochs begun; `learnt`, a scalar the optimiser steps).
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fnkd_core.errors import UserError
from fnkd_core.kd.decoupled import Decoupled
from fnkd_core.kd.learnt import Learnt, ramp_up
from fnkd_core.kd.losses import Objective, SoftTerm, StudentNorm
from fnkd_core.kd.parameters import Help, Range
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
) -> Objective:
    """Knowledge distillation: learns the shares from a teacher softened by one temperature."""
    term = SoftTerm(Constant(T), sample_weight=TeacherSquared() if t_squared else None)
    return Objective(hard_weight=1 - alpha, soft=(term,), soft_weight=alpha)


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
    *,
    progress: float = 1.0,
) -> Objective:
    """Decoupled distillation: what the teacher says of the other classes counts the same however sure it is."""
    term = SoftTerm(Constant(T), sample_weight=TeacherSquared(), divergence=Decoupled(alpha, beta))
    return Objective(soft=(term,), soft_weight=ramp_up(progress, warmup))


def he(
    scale: Annotated[float, Range("s in s·cos θ; what ‖f‖‖W‖ is for other heads.", 0, step=1, open_low=True)] = 16.0,
    margin: Annotated[float, Range("Subtracted from the label's cosine while training.", 0, 1, 0.05)] = 0.0,
) -> Objective:
    """Hypersphere embedding: f and W both normalised, so that only angles count. No teacher."""
    return Objective(cosine_scale=scale, margin=margin)


@dataclass(frozen=True)
class Method:
    """A method's function and what people read about it. `formula` is LaTeX."""

    build: Callable[..., Objective]
    title: str
    formula: str
    source: str
    needs_teacher: bool = False

    @property
    def summary(self) -> str:
        """The first line of its function's docstring."""
        return (inspect.getdoc(self.build) or "").splitlines()[0]


METHODS: dict[str, Method] = {
    "ce": Method(ce, "Cross-entropy", r"H(q,\, s(v_S))", "one-hot baseline"),
    "lsd": Method(
        lsd,
        "Label smoothing",
        r"H\left((1-\varepsilon)\,q + \varepsilon u,\; s(v_S)\right)",
        "Szegedy et al., CVPR 2016",
    ),
    "alsd": Method(
        alsd,
        "Anisotropic label smoothing",
        r"H\left((1-\varepsilon_1-\varepsilon_2)\,q + \varepsilon_1 u + \varepsilon_2 \rho,\; s(v_S)\right)",
        "Xu et al., ECCV 2020",
    ),
    "kd": Method(
        kd,
        "Knowledge distillation",
        r"(1-\alpha)\,H(q,\, s(v_S)) + \alpha T^2\, H\left(s(v_T/T),\; s(v_S/T)\right)",
        "Hinton et al., 2015",
        needs_teacher=True,
    ),
    "fn": Method(
        fn,
        "Feature normalized distillation",
        r"H(q,\, s(v_S)) + \lambda^2 H\left(s(\tau v_T/\lVert f_T\rVert),\; s(\tau v_S/\lVert f_S\rVert)\right)",
        "Xu et al., ECCV 2020",
        needs_teacher=True,
    ),
    "normkd": Method(
        normkd,
        "Normalized logit distillation",
        r"(1-\alpha)\,H(q,\, s(v_S)) + \alpha T_i^2\, \mathrm{KL}\left(s(v_T/T_i),\; s(v_S/T_i^S)\right),"
        r"\; T_i = t\,\mathrm{std}(v)",
        "Chi et al., 2023",
        needs_teacher=True,
    ),
    "lskd": Method(
        lskd,
        "Logit standardization distillation",
        r"w_h H(q,\, s(v_S)) + w_s T^2\, \mathrm{KL}\left(s(z(v_T)/T),\; s(z(v_S)/T)\right),"
        r"\; z(v) = (v - \bar v)/\mathrm{std}(v)",
        "Sun et al., CVPR 2024",
        needs_teacher=True,
    ),
    "skd": Method(
        skd,
        "Spherical distillation",
        r"(1-\alpha)\,H(q,\, s(\hat v_S)) + \alpha T^2\, \mathrm{KL}\left(s(\hat v_T/T),\; s(\hat v_S/T)\right),"
        r"\; \hat v = m\,(v - \bar v)/\mathrm{std}(v)",
        "Guo et al., 2020",
        needs_teacher=True,
    ),
    "dtkd": Method(
        dtkd,
        "Dynamic temperature distillation",
        r"H(q,\, s(v_S)) + \alpha T_i^T T_i^S\, \mathrm{KL}\left(s(v_T/T_i^T),\; s(v_S/T_i^S)\right)"
        r" + \beta T^2\, \mathrm{KL}(T),\; T_i^T = \frac{2T\max v_T}{\max v_T + \max v_S}",
        "Wei and Bai, 2024",
        needs_teacher=True,
    ),
    "wttm": Method(
        wttm,
        "Weighted transformed teacher matching",
        r"H(q,\, s(v_S)) + \beta \left(\textstyle\sum_k s_k(v_T)^{1/T}\right)"
        r" \mathrm{KL}\left(s(v_T/T),\; s(v_S)\right)",
        "Zheng and Yang, ICLR 2024",
        needs_teacher=True,
    ),
    "ctkd": Method(
        ctkd,
        "Curriculum temperature distillation",
        r"(1-\alpha)\,H(q,\, s(v_S)) + \alpha T^2\, \mathrm{KL}\left(s(v_T/T),\; s(v_S/T)\right),"
        r"\; T = T_0 + r\,\sigma(\theta)",
        "Li et al., AAAI 2023",
        needs_teacher=True,
    ),
    "dkd": Method(
        dkd,
        "Decoupled distillation",
        r"H(q,\, s(v_S)) + T^2 \left(\alpha\,\mathrm{TCKD} + \beta\,\mathrm{NCKD}\right)",
        "Zhao et al., CVPR 2022",
        needs_teacher=True,
    ),
    "he": Method(
        he,
        "Hypersphere embedding",
        r"H(q,\, s(s\cos\theta - s\,m\,q))",
        "Pang et al., NeurIPS 2020; Wang et al., CVPR 2018",
    ),
}
