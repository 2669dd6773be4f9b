"""A grid of images as one element, with a panel for one of them: lazy, crisp, clickable, with keys."""

from __future__ import annotations

import base64
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from fnkd_core.stores.store import Store

_HERE = Path(__file__).parent
_component = st.components.v2.component(
    "fnkd_gallery",
    html='<div class="frame"></div>',
    css="\n".join((_HERE / name).read_text() for name in ("gallery.css", "sample.css")),
    js="\n".join((_HERE / name).read_text() for name in ("sample.js", "rows.js", "gallery.js")),
)
DENSITIES = ("comfortable", "compact", "pictures")
"""Room around a picture and words below it; less of both; no words."""
KINDS = {b"\xff\xd8\xff": "jpeg", b"\x89PNG": "png", b"RIFF": "webp", b"GIF8": "gif", b"BM": "bmp"}
"""How the file of a picture begins -> its kind."""


def uri(picture: bytes) -> str:
    """An image file as a data URI; nothing of it is served to others."""
    kind = next((kind for start, kind in KINDS.items() if picture.startswith(start)), "webp")
    return f"data:image/{kind};base64," + base64.b64encode(picture).decode()


def image_uri(store: Store, sample: int) -> str:
    """A sample's picture as a data URI."""
    return uri(store.thumbnail(sample))


def panel(
    title: str, note: str, rows: pd.DataFrame, store: Store, column: str = "norm", known: range = range(0)
) -> dict[str, Any]:
    """A titled grid of samples. rows: of the store's table, in the order to show. column: told beside the norm.

    known: which of the rows, by their place here, the browser has the pictures of: they are not sent again.
    """
    classes = store.classes
    told = [] if column in ("norm", "id", "label", "prediction", "correct") else [column]
    return {
        "title": title,
        "note": note,
        "items": [
            {
                "id": int(row.id),
                "src": None if i in known else image_uri(store, int(row.id)),
                "norm": f"{row.norm:.2f}",
                "more": [f"{name} {getattr(row, name):.3g}" for name in told],
                "label": classes[row.label],
                "predicted": None if row.correct else classes[row.prediction],
            }
            for i, row in enumerate(rows.itertuples())
        ],
    }


def gallery(
    panels: Sequence[dict[str, Any]],
    size: int,
    *,
    key: str,
    density: str = "comfortable",
    sample: Mapping[str, Any] | None = None,
    chips: Sequence[Mapping[str, str]] = (),
    tagged: Collection[int] | None = None,
    alone: bool = False,
    rows: Mapping[str, Any] | None = None,
    heard: int = 0,
    on_told: Callable[[], None],
) -> None:
    """Draw panels side by side, and one sample in full beside them.

    size: pixels a side of a picture. sample: what `fnkd_core.ui.sample` says of the open one. chips: key and text of
    what can be taken away. tagged: the numbers of tagged samples, None where nothing can be tagged. alone: the sample
    without a grid.

    rows: of an order that is scrolled through, which of its cells the panels have: first, last (one after), length (all
    of them), at and go (see `fnkd_core.ui.shown`). A cell is an item at the same place of each panel, or a panel with a
    split. Above it stand the place that is in sight and the list of keys.

    on_told: called when the element's `told` has something new: n, name and value of each thing that is numbered above
    `heard`, rising. opened (a sample's number, None for none), removed (a chip's key), tag (a number), metric (a
    distance), asked (a number, for neighbours), scrolled (first, last, at, went, goes, known: the cells that are
    wanted, the place in sight, from 1 on, the number of the last `go` that was met, whether the place was asked for by
    number, and of which cells the pictures are there).
    """
    data = {
        "heard": heard,
        "panels": list(panels),
        "size": size,
        "density": density,
        "sample": sample,
        "chips": list(chips),
        "tagged": None if tagged is None else sorted(tagged),
        "alone": alone,
        "rows": rows,
    }
    _component(key=key, data=data, on_told_change=on_told)
