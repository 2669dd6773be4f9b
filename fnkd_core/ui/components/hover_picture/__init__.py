"""The picture of the point that the mouse rests on, beside it, over a Plotly chart of the page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import streamlit as st

_HERE = Path(__file__).parent
_component = st.components.v2.component(
    "fnkd_hover_picture",
    html='<div class="hover" hidden><i></i><figure><img alt=""><figcaption></figcaption></figure></div>',
    css=(_HERE / "hover.css").read_text(),
    js=(_HERE / "hover.js").read_text(),
)


def hover_picture(
    chart: str, shown: int | None, picture: str, lines: Sequence[str], *, key: str, on_hovered: Callable[[], None]
) -> Any:
    """Watch a chart. The result's `hovered` is the sample whose point the mouse rests on.

    chart: its key; a point's custom value is its sample. shown: the sample whose picture (a data URI) this is, lines
    what stands under it.
    """
    data = {"chart": chart, "shown": shown, "picture": picture, "lines": list(lines)}
    return _component(key=key, data=data, on_hovered_change=on_hovered)
