"""A parameter of a method: its kind, default, range and help, as forms and the command line need it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from fnkd_core.errors import UserError, require
from fnkd_core.wording import items


@dataclass(frozen=True)
class Range:
    """Bounds, step and help of a number. `open_low`: the lower bound itself is not allowed.

    mean_norm_share: where the parameter is left open, it is this share of the teacher's mean ||f|| on
    the training set. mean_by: the parameter by whose value an open one is another mean of the teacher's there.
    later: at its default, a run is what it was before there was this parameter.
    """

    help: str
    low: float | None = None
    high: float | None = None
    step: float | None = None
    open_low: bool = False
    mean_norm_share: float | None = None
    mean_by: str = ""
    later: bool = False


@dataclass(frozen=True)
class Help:
    """What a choice, a switch or a list does. later: as of a `Range`."""

    help: str
    later: bool = False


@dataclass(frozen=True)
class Parameter:
    """One parameter of a method, as forms and the command line need it."""

    name: str
    kind: Literal["float", "bool", "choice", "list"]
    default: Any
    help: str
    choices: tuple[str, ...] = ()
    range: Range | None = None
    later: bool = False

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
        if self.kind == "list":
            return written([self._number(item) for item in numbers(self.name, value)])
        return self._number(value)

    def _number(self, value: Any) -> float:
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


def numbers(name: str, value: Any) -> list[Any]:
    """The items of a list of numbers, given as one, or as text such as `2+3+4` (or with commas or spaces).

    `UserError` for what is neither.
    """
    if isinstance(value, list | tuple):
        return list(value)
    require(isinstance(value, str), f"{name} must be a list of numbers such as 2+3+4, got {value!r}.")
    try:
        return [float(item) for item in items(value.replace("+", " "))]
    except ValueError:
        raise UserError(f"{name} must be a list of numbers such as 2+3+4, got {value!r}.") from None


def written(values: Sequence[float]) -> str:
    """A list of numbers as one text without a comma, so that it is one value of a grid, an address or a record."""
    return "+".join(f"{value:.12g}" for value in values)
