"""A grid of images as one element: lazy, crisp, clickable, with keys."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from fnkd_core.stores.store import Store

_HERE = Path(__file__).parent
_component = st.components.v2.component(
    "fnkd_gallery",
    html='<div class="gallery"></div>',
    css=(_HERE / "gallery.css").read_text(),
    js=(_HERE / "gallery.js").read_text(),
)


def image_uri(store: Store, sample: int) -> str:
    """A sample's picture as a data URI; nothing of it is served to others."""
    return "data:image/webp;base64," + base64.b64encode(store.thumbnail(sample)).decode()


def panel(title: str, note: str, rows: pd.DataFrame, store: Store) -> dict[str, Any]:
    """A titled grid of samples. rows: of the store's table, in the order to show."""
    classes = store.classes
    return {
        "title": title,
        "note": note,
        "items": [
            {
                "id": int(row.id),
                "src": image_uri(store, int(row.id)),
                "norm": f"{row.norm:.2f}",
                "label": classes[row.label],
                "predicted": None if row.correct else classes[row.prediction],
            }
            for row in rows.itertuples()
        ],
    }


def gallery(panels: Sequence[dict[str, Any]], size: int, *, key: str) -> Any:
    """Draw panels side by side. size: pixels a side. The result's `opened` is a sample's id just after a click."""
    return _component(
        key=key,
        data={"panels": list(panels), "size": size},
        on_opened_change=lambda: None,
    )
