"""The address in the browser, kept as that of the view without an entry in the history. It draws nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import streamlit as st

_component = st.components.v2.component(
    "fnkd_address", html="<span></span>", js=(Path(__file__).parent / "address.js").read_text()
)


def address(
    path: str,
    query: str,
    names: Iterable[str],
    *,
    asked: str | None,
    session: str,
    order: int,
    key: str,
    on_differs: Callable[[], None] | None,
) -> None:
    """Make `query` the address's while the browser is at `path`.

    names: the parameters that are ours; others stay. asked: in a session's first run, the query that it was begun
    with: the browser says in `differs` where it has another, as after a restart of the server. order: rises; of two
    that meet the later one counts.
    """
    _component(
        key=key,
        data={
            "path": path,
            "query": query,
            "names": sorted(names),
            "asked": asked,
            "session": session,
            "order": order,
        },
        on_differs_change=on_differs or (lambda: None),
    )
