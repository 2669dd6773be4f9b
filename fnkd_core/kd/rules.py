"""Target rules as a look-up: what a sample's target follows from when only a few numbers of its outputs are kept.

A rule softens the logits by T_i = max(value ** power * statistic_i, floor), or gives back mass of the label. One that
is added to `RULES` appears in the temperature lab, its tables, its divergences, its searches and their tests. No torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fnkd_core.errors import require
from fnkd_core.kd.temperature import SMALLEST

Floats = NDArray[np.float64]
Columns = Mapping[str, Any]
"""Names of a store's columns -> (N,) values."""


def _joint(own: Columns, num_classes: int, peer: Columns | None) -> Any:
    """2 max v / (max v + max z), z the peer's logits; 1 without a peer."""
    a, b = (np.maximum(np.asarray(c["max_logit"], np.float64), SMALLEST) for c in (own, own if peer is None else peer))
    return 2 * a / (a + b)


STATISTICS: dict[str, Callable[[Columns, int, Columns | None], Any]] = {
    "one": lambda own, num_classes, peer: np.ones(len(own["norm"])),
    "norm": lambda own, num_classes, peer: own["norm"],
    # Columns hold the deviation with divisor K; the methods divide by K - 1.
    "std": lambda own, num_classes, peer: np.asarray(own["logit_std"]) * math.sqrt(num_classes / (num_classes - 1)),
    "max": lambda own, num_classes, peer: own["max_logit"],
    "joint": _joint,
}
"""Name -> (N,) number of each sample that a temperature is proportional to."""


@dataclass(frozen=True)
class Slider:
    """A value that is set by hand. default: None is the one at which the mean T_i is 4."""

    name: str
    symbol: str
    default: float | None = None


@dataclass(frozen=True)
class Rule:
    """statistic: a name in `STATISTICS`, empty where the target is made of the label alone. through_head: the feature
    is softened instead of the logits. uniform, similar: names of the sliders that say how much mass is given to all
    classes and to the similar ones. method, fields, fixed: the method that trains with it, which of its parameters
    are which values, and which are fixed. policy: the temperature policy that it is, where it is one.
    """

    title: str
    formula: str
    says: str
    sliders: tuple[Slider, ...] = ()
    statistic: str = ""
    power: int = 1
    floor: float = SMALLEST
    through_head: bool = False
    uniform: str = ""
    similar: str = ""
    method: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)
    policy: str = ""


RULES: dict[str, Rule] = {
    "one_hot": Rule("one-hot", "q(y) = 1", "the label and nothing else", method="ce"),
    "lsd": Rule(
        "LSD",
        "(1 − ε) q + ε u",
        "an even share to every class",
        (Slider("epsilon", "ε", 0.1),),
        uniform="epsilon",
        method="lsd",
        fields={"epsilon": "epsilon"},
    ),
    "alsd": Rule(
        "aLSD",
        "(1 − ε₁ − ε₂) q + ε₁ u + ε₂ ρ",
        "a share to every class, and one to the similar classes",
        (Slider("epsilon_uniform", "ε₁", 0.05), Slider("epsilon_similar", "ε₂", 0.05)),
        uniform="epsilon_uniform",
        similar="epsilon_similar",
        method="alsd",
        fields={"epsilon_uniform": "epsilon_uniform", "epsilon_similar": "epsilon_similar"},
    ),
    "t": Rule(
        "T",
        "softmax(v / T)",
        "one temperature for every sample",
        (Slider("t", "T", 4.0),),
        statistic="one",
        method="kd",
        fields={"T": "t"},
        fixed={"policy": "constant"},
        policy="constant",
    ),
    "fn": Rule(
        "τ/‖f‖",
        "softmax(τ v / ‖f‖)",
        "T_i = ‖f‖ / τ, as in the paper",
        (Slider("tau", "τ"),),
        statistic="norm",
        power=-1,
        method="fn",
        fields={"tau": "tau", "lambda": "lambda"},
        fixed={"variant": "paper"},
        policy="norm",
    ),
    "fn_released": Rule(
        "τ/‖f‖ released",
        "softmax(W f / T_i + b)",
        "T_i = max(1, ‖f‖ / τ), as in the released code",
        (Slider("tau", "τ"),),
        statistic="norm",
        power=-1,
        floor=1.0,
        through_head=True,
        method="fn",
        fields={"tau": "tau", "lambda": "lambda"},
        fixed={"variant": "released"},
        policy="norm_released",
    ),
    "std": Rule(
        "t·std(v)",
        "softmax(v / (t std(v)))",
        "T_i = t std(v), the spread of the logits",
        (Slider("t_std", "t", 2.0),),
        statistic="std",
        method="normkd",
        fields={"t": "t_std"},
        policy="std",
    ),
    "max_logit": Rule(
        "max(v)/μ",
        "softmax(μ v / max(v))",
        "T_i = max(v) / μ, the largest logit in the place of the norm",
        (Slider("mu", "μ"),),
        statistic="max",
        power=-1,
        method="kd",
        fields={"unit": "mu"},
        fixed={"policy": "max", "T": 1.0},
        policy="max",
    ),
    "joint": Rule(
        "DTKD",
        "softmax(v / T_i)",
        "T_i = 2T max v / (max v + max z), z the other model's logits; T without one",
        (Slider("t_joint", "T", 4.0),),
        statistic="joint",
        method="dtkd",
        fields={"T": "t_joint"},
    ),
}

T_LOW, T_HIGH, T_START = 0.25, 64.0, 4.0
"""Between which mean temperatures a slider goes, and where one begins that has no published default."""
SHARE_LOW = 0.001


def rule_named(name: str) -> Rule:
    """The rule of this name. `UserError` lists those there are."""
    require(name in RULES, f"There is no target rule {name!r}; choose one of {', '.join(RULES)}.")
    return RULES[name]


def bounds(rule: Rule, slider: Slider, mean: float) -> tuple[float, float, float]:
    """(low, high, default) of a slider. mean: of the rule's statistic over the samples."""
    if not rule.statistic:
        room = 1.0 if len(rule.sliders) == 1 else 0.5  # two shares together are at most the whole
        return SHARE_LOW, room, float(slider.default or SHARE_LOW)
    mean = max(mean, SMALLEST)
    low, high, start = T_LOW / mean, T_HIGH / mean, T_START / mean
    if rule.power < 0:
        low, high, start = mean / T_HIGH, mean / T_LOW, mean / T_START
    return low, high, slider.default if slider.default is not None else float(f"{start:.3g}")


def as_policy(rule: Rule, values: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters by which a method that has a temperature policy softens by this rule, exactly as it is drawn."""
    value = float(values[rule.sliders[0].name])
    if rule.policy == "constant":
        return {"policy": "constant", "T": value}
    return {"policy": rule.policy} | ({"T": 1.0, "unit": value} if rule.power < 0 else {"T": value, "unit": 1.0})


def scale(rule: Rule, values: Mapping[str, Any]) -> float:
    """What a statistic is multiplied with to be T_i, before the floor."""
    value: float = float(values[rule.sliders[0].name]) ** rule.power
    return value


def temperatures(rule: Rule, statistic: NDArray[Any], values: Mapping[str, Any]) -> Floats:
    """(N,) T_i of a rule that has temperatures. statistic: (N,) its column."""
    return np.maximum(scale(rule, values) * np.asarray(statistic, np.float64), max(rule.floor, SMALLEST))


def label_targets(
    rule: Rule,
    labels: NDArray[np.integer],
    num_classes: int,
    values: Mapping[str, Any],
    similar: Sequence[Sequence[int]],
) -> Floats:
    """(N, K) targets of a rule that is made of the label alone; see `fnkd_core.kd.targets`.

    similar: for each class the indices of its similar classes; where there are none, or none are known, their mass
    is shared by all.
    """
    uniform = float(values[rule.uniform]) if rule.uniform else 0.0
    given = float(values[rule.similar]) if rule.similar else 0.0
    table = np.full((num_classes, num_classes), uniform / num_classes)
    for label in range(num_classes):
        members = list(similar[label]) if similar else []
        table[label, members or slice(None)] += given / (len(members) or num_classes)
        table[label, label] += 1 - uniform - given
    return table[labels]


def log_softened(logits: NDArray[Any], temperatures: Floats, bias: NDArray[Any] | None = None) -> Floats:
    """(N, K) log softmax(v / T_i); with a bias (K,) log softmax((v - b) / T_i + b), which softens the feature."""
    z = np.asarray(logits, np.float64)
    z = z / temperatures[:, None] if bias is None else (z - bias) / temperatures[:, None] + bias
    z -= z.max(axis=1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=1, keepdims=True))
