"""The values of the temperature lab: where they begin, how they stand in the URL, and how others see them."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, TypeVar

import streamlit as st

from fnkd_core.analysis.targets import Source
from fnkd_core.kd.rules import RULES

T = TypeVar("T")
DRAWN = ("one_hot", "t", "fn")
"""The rules that are drawn to begin with."""
MOST_DRAWN = 4
URL_NAMES = {"t": "T"}
"""Value -> its name in the URL where that is another."""


@st.cache_resource(max_entries=24, show_spinner=False)
def _kept(what: str, of: tuple[Hashable, ...], _make: Callable[[], Any]) -> Any:
    return _make()


def kept_at(what: str, make: Callable[[], T], sources: Iterable[Source], values: Mapping[str, Any], *of: Hashable) -> T:
    """What `make` gives at these values, kept for a few of them: a drag must not put out what other pages keep."""
    stores = tuple(f"{s.store.path} {s.store.manifest['created']} {s.store.name} {s.similar}" for s in sources)
    numbers = tuple(sorted((name, float(v)) for name, v in values.items() if isinstance(v, float | int)))
    found: T = _kept(what, (stores, numbers, *of), make)
    return found


def begun(sources: Mapping[str, Source]) -> dict[str, Any]:
    """The values to begin with: the URL's, else those of this session, else each slider's default.

    Of a link what cannot be, or names rules that there are not, is left out.
    """
    reference = sources.get("teacher") or next(iter(sources.values()))
    spans, url = reference.bounds(), st.query_params
    values: dict[str, Any] = reference.defaults() | dict(st.session_state.get("temperatures") or {})
    for name in (*spans, "lambda"):
        try:
            asked = float(url.get(URL_NAMES.get(name, name), ""))
        except ValueError:
            continue
        low, high, _ = spans.get(name, (0.0, math.inf, 0.0))
        if 0 < asked < math.inf:
            values[name] = min(max(asked, low), high)
    drawn = list(values.get("rules") or DRAWN)
    if url.get("variant") in ("paper", "released"):
        wanted = "fn_released" if url["variant"] == "released" else "fn"
        drawn = [wanted if name in ("fn", "fn_released") else name for name in drawn]
    drawn = [name for name in url["rules"].split(",") if name in RULES] if "rules" in url else drawn
    values["rules"] = [name for name in RULES if name in drawn][:MOST_DRAWN] or list(DRAWN)
    pair = [name for name in url.get("pair", "").split(",") if name in values["rules"]]
    soft = [name for name in values["rules"] if RULES[name].statistic] or values["rules"]
    values["pair"] = pair if len(pair) == 2 else [soft[0], soft[1 % len(soft)]]
    roles = [*sources, "models"]
    values["of"] = url["of"] if url.get("of") in roles else next(iter(roles))
    return with_variant(values)


def with_variant(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values with FN's variant, which is that of the rule that is drawn: the released one where it alone is."""
    released = "fn_released" in values["rules"] and "fn" not in values["rules"]
    return {**values, "variant": "released" if released else "paper"}


def to_url(values: Mapping[str, Any]) -> None:
    """Write them into the address: T, tau, lambda and variant always, else what is drawn."""
    shown = {"t", "tau", "lambda"} | {s.name for name in values["rules"] for s in RULES[name].sliders}
    for name in {s.name for rule in RULES.values() for s in rule.sliders} - shown:
        st.query_params.pop(name, None)
    numbers = {URL_NAMES.get(name, name): f"{values[name]:.3g}" for name in sorted(shown)}
    st.query_params.update(
        numbers
        | {
            "variant": values["variant"],
            "rules": ",".join(values["rules"]),
            "pair": ",".join(values["pair"]),
            "of": values["of"],
        }
    )
