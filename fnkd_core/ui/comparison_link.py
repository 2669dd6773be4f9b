"""The form of a new comparison in the link: what is not as usual in it, while it is open."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import streamlit as st

from fnkd_core.experiments.presets import PRESETS, USUAL_METHODS, Preset
from fnkd_core.kd.methods import METHODS
from fnkd_core.training.recipes import RECIPES
from fnkd_core.ui import address
from fnkd_core.ui.pickers import OF_ALL

OPEN = "new comparison"
"""The key of what the form lies in."""
OWN = "my own choice"
"""The question that is none of the presets."""
QUESTION, RECIPE = "preset", "matrix recipe"
"""The keys of their pickers."""
BROUGHT = "recipe of a question"
"""Where the session keeps which recipe a question has brought, if nobody had it chosen already."""


@dataclass(frozen=True)
class Field:
    """key: of its widget; "{}" stands for the question, for what each question has its own of. usual: what stands in no
    link, by the question. fits: whether a link may have it.
    """

    key: str
    usual: Callable[[Preset | None], Any]
    fits: Callable[[Any], bool]

    def key_of(self, question: str) -> str:
        return self.key.format(question)


def _always(value: Any) -> Callable[[Preset | None], Any]:
    return lambda _: value


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _one_of(names: Any) -> Callable[[Any], bool]:
    return lambda value: _text(value) and value in names


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_text, value)) and len({*value}) == len(value)


def _whole(low: int, high: int) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and low <= value <= high


def _rate(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value < 1e6


FIELDS: dict[str, Field] = {
    "question": Field(QUESTION, _always(OWN), _one_of(PRESETS)),
    "methods": Field(
        "methods {}",
        lambda preset: list(preset.methods if preset else USUAL_METHODS),
        lambda value: _texts(value) and set(value) <= set(METHODS),
    ),
    "rows": Field("rows {}", lambda preset: "\n".join(preset.rows) if preset else "", _text),
    "recipe": Field(RECIPE, _always(next(iter(RECIPES))), _one_of(RECIPES)),
    "student": Field("matrix student", _always(None), _text),
    "epochs": Field("matrix epochs", _always(20), _whole(1, 10_000)),
    "batch_size": Field("matrix batch", _always(128), _whole(2, 8192)),
    "lr": Field("matrix lr", _always(None), _rate),
    "init": Field("matrix init", _always(""), _text),
    "seeds": Field("seeds", _always(5), _whole(1, 100)),
    "per_class": Field("matrix few", _always(None), _whole(1, 10**6)),
    "teachers": Field(OF_ALL, _always([]), _texts),
    "grid": Field("grid {}", _always(""), _text),
    "name": Field("matrix name", _always(""), _text),
}
"""Name in the link -> field of the form."""


def from_link() -> None:
    """Fill the form with what the link names, once, and open it; what cannot be is said and left out."""
    record = address.linked("new")
    if record is None:
        return
    state = st.session_state
    wrong = [name for name in record if name not in FIELDS or not FIELDS[name].fits(record[name])]
    for name in wrong:
        address.tell(f"This link has {record[name]!r} for {name} of a new comparison, which cannot be. It is left out.")
    given = {name: value for name, value in record.items() if name not in wrong}
    question = given.get("question", OWN)
    now = usual(question) | given
    now["lr"] = None if now["lr"] is None else float(now["lr"])
    state.update({key: now[name] for name, key in keys(question).items() if name != "student"})
    state.pop(FIELDS["student"].key, None)
    if "student" in given:  # else the first of those that the data allow
        state[FIELDS["student"].key] = given["student"]
    preset = PRESETS.get(question)
    state[BROUGHT] = preset.recipe if preset and preset.recipe == now["recipe"] else None
    state[OPEN] = True


def keys(question: str) -> dict[str, str]:
    """Name in the link -> key of the widget, while this is the question."""
    return {name: field.key_of(question) for name, field in FIELDS.items()}


def usual(question: str) -> dict[str, Any]:
    """Name in the link -> what it is at first, while this is the question."""
    return {name: field.usual(PRESETS.get(question)) for name, field in FIELDS.items()}


def to_link(question: str) -> None:
    """Let the address say what the form has that is not as usual."""
    first = usual(question)
    now = {name: st.session_state.get(key) for name, key in keys(question).items()}
    st.session_state["new"] = {k: value for k, value in now.items() if value is not None and value != first[k]}


def begin_open(usual: bool) -> None:
    """Have the form open where the page is come to and the address has it, or where it usually is."""
    st.session_state.setdefault(OPEN, usual or st.session_state.get("new") is not None)


def leave_out() -> None:
    """Let the address say nothing of it."""
    st.session_state["new"] = None
