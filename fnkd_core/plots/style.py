"""Colours and frame that every figure shares.

The colours are the theme's categorical slots as Streamlit's Plotly theme names them; it puts in the light
or dark value when it draws, so one figure serves both. Teacher and student never change colour or dash.
"""

from __future__ import annotations

import html
import tomllib
from collections.abc import Iterable, Sequence

import plotly.graph_objects as go

from fnkd_core.errors import one_line
from fnkd_core.paths import project_dir

SLOTS = tuple(f"#{slot:06d}" for slot in range(1, 11))
TEACHER, STUDENT, NEUTRAL, RIGHT, ACCENT, WRONG = SLOTS[:6]
ROLE_COLOURS = (TEACHER, STUDENT)
ROLE_DASHES = ("solid", "dash")
ROLE_SYMBOLS = ("circle", "diamond")
MOST_NAMED = 34
"""So many names have room along an axis."""
PERCENT = ".3~%"
"""Format of an axis of shares: with the decimals that its ticks need, so that no two are written alike."""
SHORT = 3
"""Names of no more characters stand level below one."""
GRID = "rgba(128,138,152,0.22)"
_INERT = str.maketrans({character: f"&#{ord(character)};" for character in "<>&%$"})


def literal(text: object) -> str:
    """The text as Plotly shows it wherever it stands: names, ticks, titles, hover texts and their templates.

    Plotly reads <b>, <a href> and <br> in all of them, %{...} in templates, and $...$ where a page has MathJax. What
    comes from files of others (classes, checkpoints, runs, settings) goes through this, categories of axes included.
    """
    return one_line(text).translate(_INERT)


def literals(texts: Iterable[object]) -> list[str]:
    """Each of the texts as `literal`."""
    return [literal(text) for text in texts]


def framed(figure: go.Figure, *, x: str, y: str, says: str, height: int = 320) -> go.Figure:
    """The figure with axis titles, our margins and a legend above the plot.

    says: what it shows, in a sentence made of the same data, for those who do not see it; see `summary_of`.
    """
    figure.update_layout(
        meta={"summary": says},
        height=height,
        margin={"l": 8, "r": 8, "t": 34, "b": 8},
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "title": None},
        bargap=0.06,
        hoverlabel={"namelength": -1},
        modebar={"remove": ["lasso2d", "autoScale2d", "zoomIn2d", "zoomOut2d"]},
    )
    figure.update_xaxes(title={"text": x, "standoff": 8}, showgrid=False, automargin=True, zeroline=False)
    figure.update_yaxes(title={"text": y, "standoff": 8}, gridcolor=GRID, automargin=True, zeroline=False)
    for letter, update in (("x", figure.update_xaxes), ("y", figure.update_yaxes)):
        along = [values for trace in figure.data if (values := getattr(trace, letter, None)) is not None]
        if any(isinstance(value, str) for values in along for value in values[:1]):
            update(type="category")  # classes named 9 and 10 would else be numbers, in the order of numbers
    for axis in (*figure.select_xaxes(), *figure.select_yaxes()):
        if (axis.tickformat or "").endswith("%") and axis.range is None and axis.minallowed is None:
            # A single value would have room for less than none around it.
            axis.update(minallowed=-0.02, maxallowed=1.02)
    if x == "epoch" and max((max(trace.x, default=0) for trace in figure.data), default=0) <= 10:
        figure.update_xaxes(dtick=1)  # an epoch has no halves
    return figure


def summary_of(figure: go.Figure) -> str:
    """What the figure shows, as plain text: names in it are as their owners wrote them."""
    return html.unescape(figure.layout.meta["summary"])


def turn(names: Sequence[str]) -> int:
    """By how many degrees the names below an axis are turned: not at all where they are short."""
    return -60 if max(map(len, names), default=0) > SHORT else 0


def standalone(figure: go.Figure) -> str:
    """The figure as one HTML page that needs nothing else, in the light theme's own colours."""
    theme = tomllib.loads((project_dir() / ".streamlit" / "config.toml").read_text())["theme"]["light"]
    page: str = figure.to_html(include_plotlyjs=True, config={"displayModeBar": False})
    for slot, colour in zip(SLOTS, theme["chartCategoricalColors"], strict=False):
        page = page.replace(f'"{slot}"', f'"{colour}"')
    return page
