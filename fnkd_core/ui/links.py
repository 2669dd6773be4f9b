"""What a link says: the names that stand in an address, whose they are and how they are spelt, in one table."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode

from fnkd_core.kd.rules import RULES

Span = tuple[float, float]
SIDEBAR = ("dataset", "labels", "split", "students", "teacher", "student")
"""What every page has: a link always names it, so that it means the same where other models are the usual ones."""
ALL = "all"


def span(text: str) -> Span:
    """A range of a column, from "low~high". `ValueError` where it is none."""
    low, _, high = text.partition("~")
    ends = (float(low), float(high))
    if not ends[0] <= ends[1]:  # a NaN is not either
        raise ValueError(text)
    return ends


def spelt_span(ends: Span) -> str:
    """The range as `span` reads it, exactly."""
    return "~".join(f"{end:.6g}" if float(f"{end:.6g}") == end else repr(float(end)) for end in ends)


def positive(text: str) -> float:
    """A number above 0. `ValueError` for any other."""
    number = float(text)
    if not 0 < number < math.inf:
        raise ValueError(text)
    return number


def between(low: float, high: float, kind: type[float] = float) -> Callable[[str], float]:
    """A reader of the numbers of this kind from one to the other; its `ValueError` is for any other."""

    def read(text: str) -> float:
        if not low <= (number := kind(text)) <= high:
            raise ValueError(text)
        return number

    return read


count, place = between(1, math.inf, int), between(0, math.inf, int)
"""Readers of the whole numbers from 1 on, and from 0 on."""


def flag(text: str) -> bool:
    """A switch that is on. `ValueError` for anything but "yes"."""
    if text != "yes":
        raise ValueError(text)
    return True


def names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def rules(text: str) -> list[str]:
    """Names of target rules. `ValueError` where one is none."""
    if not (found := names(text)) or not set(found) <= set(RULES):
        raise ValueError(text)
    return found


def several(text: str) -> list[str]:
    """Names of others, in which anything can stand. `ValueError` where it is no list of them."""
    if not isinstance(found := json.loads(text), list) or not all(isinstance(name, str) for name in found):
        raise ValueError(text)
    return found


def spelt_several(names: Sequence[str]) -> str:
    return json.dumps(list(names), ensure_ascii=False, separators=(",", ":"))


def settings(text: str) -> dict[str, Any]:
    """A record. `ValueError` where it is none."""
    if not isinstance(record := json.loads(text), dict):
        raise ValueError(text)
    return record


def spelt_settings(record: Mapping[str, Any]) -> str:
    return json.dumps(record, separators=(",", ":"))


def spelt_number(number: float) -> str:
    return repr(float(number)).removesuffix(".0")


@dataclass(frozen=True)
class Parameter:
    """A name in the address, which is also the key by which the session has its value.

    pages: whose it is; of all where there are none. default: what stands in no address; without one any value does.
    parse, spell: from the address and to it; `ValueError` for what cannot be read. title: of its widget, where that is
    another word.
    """

    pages: tuple[str, ...] = ()
    default: Any = None
    parse: Callable[[str], Any] = str
    spell: Callable[[Any], str] = str
    title: str = ""


COLUMNS = ("norm", "confidence", "margin", "entropy", "nll", "p_label", "max_logit", "logit_std")
"""Columns of the samples by which they can be sorted and filtered."""
DIVERGENCE = "divergence"
"""Another such column, which follows from the lab's values."""
CHOICES = ("cls", "predicted", "outcome", "other")
"""The Gallery's filters that are pickers."""
AMONG = "among"
"""Whether a selection is shown alone."""
NO_FILTER: dict[str, Any] = {**dict.fromkeys((*COLUMNS, DIVERGENCE)), **dict.fromkeys(CHOICES, ALL), AMONG: False}
"""Name -> value of each of the Gallery's filters where it leaves nothing out."""
AT = "at"
"""The place in the Gallery's order with which what is in sight begins, from 1 on."""
MOST_IN_COMMON = 5000
"""Of how many samples can be asked what they have in common."""
RANK = "rank"
"""Which sample the lab shows: its place by norm, 0 = lowest."""
LAB = ("soft_targets",)
LAB_VALUES = ("soft_targets", "gallery")
"""The Gallery sorts by how far the lab's two rules lie apart."""
OF_SAMPLE = "the sample's"
"""The class of the sample that the lab shows."""
PARAMETERS: dict[str, Parameter] = {
    **{name: Parameter() for name in SIDEBAR},
    "model": Parameter(("norms", "gallery", "map")),
    "layout": Parameter(("map",), "pca"),
    "colour": Parameter(("map",), "norm"),
    "coloured": Parameter(("map",), None, several, spelt_several),
    "by": Parameter(("norms",), "model", title="Split by"),
    "of": Parameter(("norms",), ALL, title="Class"),
    "form": Parameter(("norms",), "histogram", title="Draw as"),
    "angles": Parameter(("norms",), "centred"),
    "geometry": Parameter(("norms",), False, flag, lambda _: "yes"),
    "against": Parameter(("norms",), "confidence"),
    "when": Parameter(("norms",), "split", title="When"),
    "points": Parameter(("norms",), "forgotten", title="Colour"),
    "those": Parameter(("norms",), "forgotten", title="Samples"),
    "show": Parameter(("gallery",), "ends", title="Show"),
    "size": Parameter(("gallery",), 64, count),
    "density": Parameter(("gallery",), "comfortable"),
    "sample": Parameter(("gallery",), None, place, str),
    "cls": Parameter(("data", "gallery"), ALL, title="Label"),
    "predicted": Parameter(("gallery",), ALL, title="Prediction"),
    "outcome": Parameter(("gallery",), ALL),
    "other": Parameter(("gallery",), ALL, title="Other model"),
    **{column: Parameter(("gallery",), None, span, spelt_span) for column in (*COLUMNS, DIVERGENCE)},
    "norm": Parameter(("norms", "gallery"), None, span, spelt_span),
    AMONG: Parameter(("gallery",), False, flag, lambda _: "yes"),
    "selection": Parameter(("gallery",)),
    "common": Parameter(("gallery",), False, flag, lambda _: "yes"),
    "common_of": Parameter(("gallery",), 500, between(2, MOST_IN_COMMON, int), str, title="Of the first"),
    "sort": Parameter(("gallery",), "norm", title="Sort by"),
    "order": Parameter(("gallery",), "lowest first"),
    AT: Parameter(("gallery",), 1, count),
    "page": Parameter(("data", "runs"), 1, count),
    "T": Parameter(LAB_VALUES, None, positive, spelt_number),
    "tau": Parameter(LAB_VALUES, None, positive, spelt_number),
    "lambda": Parameter(LAB_VALUES, None, positive, spelt_number),
    "variant": Parameter(LAB_VALUES, None),
    **{
        s.name: Parameter(LAB_VALUES, None, positive, spelt_number)
        for r in RULES.values()
        for s in r.sliders
        if s.name not in ("t", "tau")
    },
    "rules": Parameter(LAB_VALUES, None, rules, ",".join),
    "pair": Parameter(LAB_VALUES, None, rules, ",".join),
    "whose": Parameter(LAB, None, title="Where do they differ?"),
    RANK: Parameter(LAB, 0, place, str),
    "look": Parameter(LAB, "numbers", title="All samples"),
    "look_at": Parameter(LAB, None, title="Model"),
    "mean_of": Parameter(LAB, OF_SAMPLE, title="Class"),
    "under": Parameter(LAB, "first"),
    "example": Parameter(("classes",), None, title="Class"),
    "epsilon_1": Parameter(("classes",), None, between(0, 0.5), spelt_number, title="ε₁"),
    "epsilon_2": Parameter(("classes",), None, between(0, 0.5), spelt_number, title="ε₂"),
    "sharpness": Parameter(("classes",), None, between(0.01, 1e6), spelt_number, title="Sharpness κ"),
    "what": Parameter(("compare",), "models", title="What to compare"),
    "a": Parameter(("compare",)),
    "b": Parameter(("compare",)),
    "comparison": Parameter(("compare",)),
    "new": Parameter(("compare",), None, settings, spelt_settings, title="New comparison"),
    "best": Parameter(("compare",), None, title="Each row"),
    "along": Parameter(("compare",), None, title="Along"),
    "over": Parameter(("compare",), None, title="Show"),
    "settings": Parameter(("distill",), None, settings, spelt_settings),
    "find": Parameter(("runs",), ""),
    **{
        f"of {field}": Parameter(("runs",), ALL, title=field.capitalize())
        for field in ("state", "method", "dataset", "student")
    },
    "by_seeds": Parameter(("runs",), False, flag, lambda _: "yes"),
    "curve": Parameter(("runs",), "accuracy"),
    "runs": Parameter(("runs",), None, names, ",".join),
    "within": Parameter(("runs",), None, names, ",".join),
}


def title_of(name: str) -> str:
    """What a page calls what this name says, in quotes where it is a widget's title."""
    title = PARAMETERS[name].title
    return f"“{title}”" if title else name.replace("_", " ")


def of_page(page: str) -> list[str]:
    """The names that are a page's."""
    return [name for name, one in PARAMETERS.items() if not one.pages or page in one.pages]


def query_of(page: str, state: Mapping[str, Any]) -> str:
    """The query of the address of a page in this state."""
    pairs = []
    for name in of_page(page):
        one, value = PARAMETERS[name], state.get(name)
        # A default that there is not is None, as is a value that was not chosen.
        if value is not None and value != one.default and (text := one.spell(value)):
            pairs.append((name, text))
    return urlencode(pairs)


def state_of(page: str, query: str) -> tuple[dict[str, Any], dict[str, str]]:
    """What a query says of a page: values, and those texts that cannot be read."""
    values: dict[str, Any] = {}
    unread: dict[str, str] = {}
    given = dict(parse_qsl(query, keep_blank_values=True))
    for name in of_page(page):
        if name in given:
            try:
                values[name] = PARAMETERS[name].parse(given[name])
            except (ValueError, RecursionError):  # the latter of JSON that is nested a thousand times
                unread[name] = given[name]
    return values, unread
