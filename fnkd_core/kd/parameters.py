"""A parameter of a method: its kind, default, range and help, as forms and the command line need it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from fnkd_core.errors import require


@dataclass(frozen=True)
class Range:
    """Bounds, step and help of a number. `open_low`: the lower bound itself is not allowed.

    mean_norm_share: where the parameter is left open, it is this share of the teacher's mean ||f|| on
    the training set.
    """

    help: str
    low: float | None = None
    high: float | None = None
    step: float | None = None
    open_low: bool = False
    mean_norm_share: float | None = None


@dataclass(frozen=True)
class Help:
    """What a choice or a switch does."""

    help: str


@dataclass(frozen=True)
class Parameter:
    """One parameter of a method, as forms and the command line need it."""

    name: str
    kind: Literal["float", "bool", "choice"]
    default: Any
    help: str
    choices: tuple[str, ...] = ()
    range: Range | None = None

    def check(self, value: Any) -> Any:
        """`value` as this parameter's type. `UserError` names value, constraint and remedy."""
        if value is None and self.default is None:
            return None
        if self.kind == "bool":
            require(isinstance(value, bool), f"{self.name} must be true or false, got {value!r}.")
            return value
        if self.kind == "choice":
            require(value in self.choices, f"{self.name} must be one of {', '.join(self.choices)}, got {value!r}.")
            return value
        require(
            isinstance(value, int | float) and not isinstance(value, bool) and value == value,
            f"{self.name} must be a number, got {value!r}.",
        )
        bounds = self.range
        if bounds is not None and bounds.low is not None:
            fits = value > bounds.low if bounds.open_low else value >= bounds.low
            require(fits, f"{self.name} must be {'>' if bounds.open_low else '>='} {bounds.low:g}, got {value}.")
        if bounds is not None and bounds.high is not None:
            require(value <= bounds.high, f"{self.name} must be <= {bounds.high:g}, got {value}.")
        return float(value)
