"""Inputs begin, in the browser too, with what the session has for them.

A value that code gives a keyed input is told to the browser by the run of the script in which it is given, and by no
later one. Where the script runs again before the browser has drawn the input, whose code it fetches when it first
needs it, the input would begin with its default instead and send that back as if somebody had chosen it: another
model, say, than the one that the page is of. So its default is what the session has. A test holds every page to it.
"""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Callable
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, cast

import streamlit as st

from fnkd_core.ui.markdown import JOINER

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

BEGINS = {
    "selectbox": "index", "segmented_control": "default", "multiselect": "default", "pagination": "default",
    "toggle": "value", "slider": "value", "select_slider": "value", "number_input": "value", "text_input": "value",
    "text_area": "value",
}  # fmt: skip
"""Name of an input -> of its argument that says what it begins with."""


class _Inputs:
    def __init__(self, where: Any) -> None:
        self._where = where

    def __getattr__(self, kind: str) -> Callable[..., Any]:
        if kind not in BEGINS:
            raise AttributeError(f"{kind} is none of the inputs: {', '.join(BEGINS)}")
        return functools.partial(_drawn, kind, getattr(self._where, kind))


def on(where: Any = st) -> DeltaGenerator:
    """The page, or this part of it, to draw inputs on."""
    return cast("DeltaGenerator", _Inputs(where))


def _drawn(kind: str, draw: Callable[..., Any], *args: Any, **options: Any) -> Any:
    given = _signature(kind).bind(*args, **options).arguments
    if kind == "selectbox":
        given |= _typed_whole(given)
    key = options.get("key")
    if key is None or key not in st.session_state:
        return draw(**given)
    return draw(**given | _beginning(kind, st.session_state[key], given))


def _typed_whole(given: dict[str, Any]) -> dict[str, Any]:
    """The argument by which the name of every option can be typed.

    While the browser has one chosen, who types its name and goes on, to that of a longer one, begins anew at the next
    key, and takes another one at the end. So a name with which another one begins has a sign that nobody types.
    """
    called = given.get("format_func", str)
    names = sorted({str(called(option)) for option in given["options"]})
    begins = {name for name, after in itertools.pairwise(names) if after.startswith(name)}
    if not begins or given.get("accept_new_options"):
        return {}
    return {"format_func": lambda option: f"{name}{JOINER}" if (name := str(called(option))) in begins else name}


@functools.cache
def _signature(kind: str) -> inspect.Signature:
    return inspect.signature(getattr(st, kind))


def _beginning(kind: str, value: Any, given: dict[str, Any]) -> dict[str, Any]:
    """The argument that makes an input with these arguments begin with a value; none where it cannot have it."""
    if kind == "number_input":
        beside = [given[name] for name in ("min_value", "max_value", "value", "step") if given.get(name) is not None]
        whole = bool(beside) and all(isinstance(one, Integral) for one in beside)
        if value is not None and not isinstance(value, Integral if whole else Real):
            return {}  # Streamlit takes no mixture, which a link may well be
        value = value if value is None or whole else float(value)
        fits = value is None or _in_bounds(value, given)
    elif kind == "slider":
        fits = all(_in_bounds(end, given) for end in (value if isinstance(value, tuple) else [value]))
    elif kind == "selectbox":
        options = list(given["options"])
        if value is not None and value not in options and given.get("accept_new_options"):
            options.append(value)
            return {"options": options, "index": len(options) - 1}
        fits = value is None or value in options
        value = options.index(value) if value in options else None
    elif kind == "multiselect":
        value, fits = [one for one in value or () if one in given["options"]], True
    else:
        fits = "options" not in given or value in given["options"]
    return {BEGINS[kind]: value} if fits else {}


def _in_bounds(value: Any, given: dict[str, Any]) -> bool:
    low, high = given.get("min_value"), given.get("max_value")
    return (low is None or value >= low) and (high is None or value <= high)
