"""The one way to show a figure: the chart, and what it shows in a sentence; a test holds every page to it."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go
import streamlit as st

from fnkd_core.plots.style import summary_of
from fnkd_core.ui.components.in_words import in_words

PLAIN = {"displayModeBar": False}


class _Sent(go.Figure):  # type: ignore[misc]
    """A figure as it is sent, which Streamlit asks for at each run of a page. whole: of the figure's `to_dict`."""

    def __init__(self, whole: dict[str, Any]) -> None:
        self._whole = whole

    def to_dict(self) -> dict[str, Any]:
        # Whose own dictionaries the caller may change, which it does of traces.
        return self._whole | {"data": [dict(trace) for trace in self._whole["data"]]}


def sent(figure: go.Figure) -> go.Figure:
    """The figure, of which what is sent is made once: to copy 50,000 points takes longer than the rest of a page.

    Nobody may change a figure that has been drawn.
    """
    kept: go.Figure | None = figure.__dict__.get("_sent")
    if kept is None:
        kept = figure._sent = _Sent(figure.to_dict())
    return kept


def chart(figure: go.Figure, key: str, *, bar: bool = True, **selecting: Any) -> Any:
    """Draw the figure here; what `st.plotly_chart` returns. The sentence is the chart's name and opens below it.

    bar: whether it has Plotly's buttons. selecting: `on_select` and `selection_mode` of `st.plotly_chart`. In no
    container of its own: the browser knows an element by its key, and a block by its place among the others, so that
    whatever comes to stand above a block has all that is in it drawn anew. What a user's choice puts above columns or
    containers with charts gets a container that is always there, see `selection.offer`.
    """
    says = summary_of(figure)
    event = st.plotly_chart(sent(figure), key=key, alt=says, config=None if bar else PLAIN, **selecting)
    in_words(says, key=f"{key} in words")
    return event
