"""The values of the temperature lab: where they begin, how they stand in the address, and how others see them."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, TypeVar

import streamlit as st

from fnkd_core.analysis.targets import Source
from fnkd_core.kd.rules import RULES
from fnkd_core.ui import address, links

T = TypeVar("T")
DRAWN = ("one_hot", "t", "fn")
"""The rules that are drawn to begin with."""
MOST_DRAWN = 4
NAMED = {"t": "T"}
"""Value -> its name in the address where that is another."""
NUMBERS = {NAMED.get(name, name): name for name in (*(s.name for r in RULES.values() for s in r.sliders), "lambda")}
"""Name in the address -> value."""
VARIANTS = ("paper", "released")


@st.cache_resource(max_entries=24, show_spinner=False)
def _kept(what: str, of: tuple[Hashable, ...], _make: Callable[[], Any]) -> Any:
    return _make()


def kept_at(what: str, make: Callable[[], T], sources: Iterable[Source], values: Mapping[str, Any], *of: Hashable) -> T:
    """What `make` gives at these values, kept for a few of them: a drag must not put out what other pages keep."""
    identities = tuple(source.identity for source in sources)
    numbers = tuple(sorted((name, float(v)) for name, v in values.items() if isinstance(v, float | int)))
    found: T = _kept(what, (identities, numbers, *of), make)
    return found


def begun(sources: Mapping[str, Source]) -> dict[str, Any]:
    """The values to begin with: the address's, else those of this session, else each slider's default.

    Numbers outside of a slider are its nearer end, which is said of those of a link.
    """
    reference = sources.get("teacher") or next(iter(sources.values()))
    spans, state = reference.bounds(), st.session_state
    values: dict[str, Any] = reference.defaults() | dict(state.get("temperatures") or {})
    for shown, name in NUMBERS.items():
        low, high, _ = spans.get(name, (0.0, math.inf, 0.0))
        if asked := state.get(shown):
            state[shown] = values[name] = min(max(asked, low), high)
            if address.linked(shown) is not None and values[name] != asked:
                end = f"{values[name]:.3g}, where its slider ends"
                address.tell(f"This link has {asked:.6g} for {links.title_of(shown)}; shown is {end}.")
    drawn = list(state.get("rules") or values.get("rules") or DRAWN)
    variant = state[address.key("variant", VARIANTS, values.get("variant"))]
    if ("fn" in drawn) != ("fn_released" in drawn):
        wanted = "fn_released" if variant == "released" else "fn"
        drawn = [wanted if name in ("fn", "fn_released") else name for name in drawn]
    values["rules"] = [name for name in RULES if name in drawn][:MOST_DRAWN] or list(DRAWN)
    pair = [name for name in state.get("pair") or () if name in values["rules"]]
    soft = [name for name in values["rules"] if RULES[name].statistic] or values["rules"]
    values["pair"] = pair if len(pair) == 2 else [soft[0], soft[1 % len(soft)]]
    values["of"] = state[address.key("whose", [*sources, "models"], next(iter(sources)))]
    values = with_variant(values)
    # Both variants can be drawn: what stands in the address is then the paper's.
    state.update(variant=values["variant"], whose=values["of"])
    for name in (*NUMBERS, "rules", "pair"):
        address.linked(name)
    return values


def linked(values: Mapping[str, Any]) -> bool:
    """Whether a link has just said other values than these."""
    state = st.session_state
    if [name for name in (*NUMBERS, "rules", "pair") if address.linked(name) is not None]:
        return True
    return (state.get("variant"), state.get("whose")) != (values["variant"], values["of"])


def with_variant(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values with FN's variant, which is that of the rule that is drawn: the released one where it alone is."""
    released = "fn_released" in values["rules"] and "fn" not in values["rules"]
    return {**values, "variant": "released" if released else "paper"}


def to_address(values: Mapping[str, Any]) -> None:
    """Make them the session's, as they stand in the address: T, tau, lambda and variant always, else what is drawn."""
    shown = {"t", "tau", "lambda"} | {s.name for name in values["rules"] for s in RULES[name].sliders}
    st.session_state.update({key: values[name] if name in shown else None for key, name in NUMBERS.items()})
    st.session_state.update({name: values[name] for name in ("variant", "rules", "pair")} | {"whose": values["of"]})
