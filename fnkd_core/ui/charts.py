"""The one way to show a figure: the chart, and what it shows in a sentence; a test holds every page to it."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go
import streamlit as st

from fnkd_core.plots.style import summary_of
from fnkd_core.ui.components.in_words import in_words

PLAIN = {"displayModeBar": False}


def chart(figure: go.Figure, key: str, *, bar: bool = True, **selecting: Any) -> Any:
    """Draw the figure here; what `st.plotly_chart` returns. The sentence is the chart's name and opens below it.

    bar: whether it has Plotly's buttons. selecting: `on_select` and `selection_mode` of `st.plotly_chart`.
    """
    says = summary_of(figure)
    with st.container(gap=None):
        event = st.plotly_chart(figure, key=key, alt=says, config=None if bar else PLAIN, **selecting)
        in_words(says, key=f"{key} in words")
    return event
