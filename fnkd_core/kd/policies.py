"""Temperature policies: one number T, and what each sample's own temperature is in proportion to.

    T_i = T s_i / unit

s is 1, ||f||, std(v) or max v, read of each model's own outputs; unit is the teacher's mean of s over the training
images where it is left open, so that T is the teacher's mean temperature under every policy and settings that differ
in the policy alone are comparable. FN's tau is unit / T, NormKD's t is T / unit: with unit 1 a policy stands in the
units of its source.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fnkd_core.errors import UserError, require
from fnkd_core.kd.losses import SoftTerm, StudentNorm
from fnkd_core.kd.parameters import Help, Range
from fnkd_core.kd.temperature import Constant, FeatureNorm, LogitStd, MaxLogit, Temperature


@dataclass(frozen=True)
class OfSamples:
    """A policy under which every sample has a temperature of its own.

    statistic: of a model's outputs, to which it is in proportion, by its name in `means` of a method's completion.
    said: how an error calls that. rule: from T and the unit. released: as the authors' code, the bias not softened.
    """

    statistic: str
    said: str
    rule: Callable[[float, float], Temperature]
    released: bool = False


POLICIES: dict[str, OfSamples] = {
    "norm": OfSamples("norm", "‖f‖", lambda T, unit: FeatureNorm(unit / T)),
    "norm_released": OfSamples("norm", "‖f‖", lambda T, unit: FeatureNorm(unit / T, floor=1.0), released=True),
    "std": OfSamples("std", "std(v)", lambda T, unit: LogitStd(T / unit)),
    "max": OfSamples("max", "max v", lambda T, unit: MaxLogit(unit / T)),
}
"""Name -> the policy, besides `constant`. A new one is an entry here."""
PolicyName = Literal[("constant", *POLICIES)]  # type: ignore[valid-type]

Policy = Annotated[
    PolicyName,
    Help(
        "What a sample's temperature is in proportion to: nothing, ‖f‖ (as in the paper, or as released: never below 1 "
        "and the bias unscaled), the spread of its logits, or the largest of them.",
        later=True,
    ),
]
Unit = Annotated[
    float | None,
    Range(
        "T_i = T·s_i/unit, s what the policy reads. Left empty: the teacher's mean of s over the training images, so "
        "that T is its mean temperature. 1: as NormKD and LSKD count.",
        0,
        step=0.1,
        open_low=True,
        mean_by="policy",
        later=True,
    ),
]
Standardize = Annotated[
    bool,
    Help("Learn from z-scores: both sides' logits are divided by their spread over the classes first.", later=True),
]
Whose = Annotated[
    StudentNorm,
    Help(
        "Whose statistic softens the student: its own (gradient flows), the same detached, or the teacher's.",
        later=True,
    ),
]


PLAIN = {"policy": "constant", "standardize": False, "student_norm": "own", "temperatures": ""}
"""One constant temperature, which needs no words."""


def rule_of(policy: str, T: float, unit: float | None = None) -> Temperature:
    """The temperature rule of a policy. `UserError` where it has a unit that is left open still."""
    if policy == "constant":
        return Constant(T)
    found = POLICIES[policy]
    if unit is None:
        raise UserError(
            f"unit is open; policy {policy!r} needs the teacher's mean {found.said}. Give unit a value, or 1."
        )
    require(T > 0 and unit > 0, f"T and unit must be > 0, got {T} and {unit}.")
    return found.rule(T, unit)


def softened(
    T: float,
    policy: str,
    unit: float | None,
    standardize: bool,
    student_norm: StudentNorm,
    student_T: float | None = None,
    **term: Any,
) -> SoftTerm:
    """The soft term with this temperature. student_T: the student's T, None where it is the same. term: what else it
    has, see `SoftTerm`. `UserError` for what does not go together."""
    released = policy in POLICIES and POLICIES[policy].released
    require(
        not (standardize and released),
        f"standardize divides logits and policy {policy!r} features; use policy norm, or leave standardize out.",
    )
    return SoftTerm(
        rule_of(policy, T, unit),
        None if student_T is None else rule_of(policy, student_T, unit),
        student_norm=student_norm,
        through_head=released,
        standardize=standardize,
        **term,
    )


def several(T: float, temperatures: Sequence[float]) -> tuple[float, ...]:
    """The values of T whose terms a method takes the mean of: those given, else T alone."""
    return tuple(temperatures) or (T,)
