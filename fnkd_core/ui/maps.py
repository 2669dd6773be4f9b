"""The parts of the Map page."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st
from numpy.typing import NDArray

from fnkd_core.analysis.divergence import IN_COLUMN, between_models
from fnkd_core.analysis.targets import Source
from fnkd_core.jobs.tasks import map_of, start_map
from fnkd_core.plots.maps import IN_LEGEND, feature_map, most_frequent
from fnkd_core.stores.maps import MOST, Map, drawn_ids, pca_map, tsne_map
from fnkd_core.stores.store import Store
from fnkd_core.ui import address, charts, guard, inputs, tagging, tasks
from fnkd_core.ui.components.gallery import image_uri, panel
from fnkd_core.ui.components.hover_picture import hover_picture
from fnkd_core.ui.markdown import literal
from fnkd_core.ui.sample import show_sample
from fnkd_core.ui.selection import model_choice
from fnkd_core.ui.stores import kept
from fnkd_core.ui.tiles import tiles
from fnkd_core.ui.view import View
from fnkd_core.wording import counted

LAYOUTS = {"pca": "PCA", "tsne": "t-SNE"}
READING = {
    "pca": "Two directions of many: what lies together here can be far apart in the others.",
    "tsne": "A t-SNE keeps neighbours together: how far groups lie apart, and how large they are, means nothing.",
}
COLOURS = {
    "norm": "‖f‖",
    "class": "class",
    "outcome": "right / wrong",
    "confidence": "confidence",
    "entropy": "entropy, nats",
    "difference": "‖f‖ student − teacher, in standard deviations",
    "divergence": "divergence of student and teacher, nats",
}
OF_BOTH = ("difference", "divergence")
PREVIEW = 24
CHART = "map"


def controls(stores: dict[str, Store]) -> tuple[Store, str, str]:
    """(store, layout, colour)."""
    row = st.container(horizontal=True, vertical_alignment="bottom", gap="medium")
    role = model_choice(stores, row)
    layout = inputs.on(row).segmented_control(
        "Layout",
        list(LAYOUTS),
        key=address.key("layout", list(LAYOUTS)),
        required=True,
        format_func=LAYOUTS.__getitem__,
    )
    colours = [name for name in COLOURS if name not in OF_BOTH or len(stores) > 1]
    if len(drawn_ids(stores[role])) * len(stores[role].classes) > IN_COLUMN and "divergence" in colours:
        colours.remove("divergence")  # too many logits to read for a look
    colour = inputs.on(row).selectbox(
        "Colour", colours, key=address.key("colour", colours), format_func=COLOURS.__getitem__, width=320
    )
    return stores[role], layout or "pca", colour


def layout_of(store: Store, layout: str) -> Map:
    """The layout. Ends the page, with a button or with its progress, where it is not made yet."""
    if layout == "pca":
        return kept("pca", lambda: pca_map(store), store)
    made = tsne_map(store)
    if made is not None:
        return made
    task = map_of(store)
    if task.state == "gone":
        count = len(drawn_ids(store))
        st.info(
            f"t-SNE places {count:,} samples so that those whose features are alike lie together. It takes about "
            f"{_minutes(count)} on this machine, in the background, once.",
            icon=":material/scatter_plot:",
        )
        if not guard.read_only():
            st.button("Make the map", type="primary", on_click=guard.callback(start_map, store))
        raise guard.Enough
    guard.fragment(_making, run_every="1s" if task.state in tasks.ALIVE else None)(store)
    raise guard.Enough


def _minutes(count: int) -> str:
    return "half a minute" if count < 2000 else f"{max(1, round(count / 5000))} min"


def _making(store: Store) -> None:
    task = map_of(store)
    if task.state == "gone":
        st.rerun(scope="app")
    done, total = task.progress.get("done"), task.progress.get("total")
    share = done / total if isinstance(done, int) and isinstance(total, int) and total else 0.0
    at = f"iteration {done:,} of {total:,}{tasks.left(task)}" if share else "looking for neighbours"
    tasks.show(task, "the map", f"t-SNE of {store.name}: {at}", share)


def values_of(stores: dict[str, Store], store: Store, ids: NDArray[np.int64], colour: str) -> NDArray[Any] | None:
    """(n,) numbers to colour by, or None for classes and outcomes."""
    if colour in ("class", "outcome"):
        return None
    if colour == "divergence":
        teacher, student = (Source(stores[role]) for role in ("teacher", "student"))
        return between_models(teacher, student, "t", {"t": 1.0}, ids)
    if colour != "difference":
        values: NDArray[Any] = store.samples[colour].to_numpy(np.float64)[ids]
        return values
    own, other = (stores[role].samples["norm"].to_numpy(np.float64) for role in ("student", "teacher"))
    difference: NDArray[Any] = ((own - own.mean()) / own.std() - (other - other.mean()) / other.std())[ids]
    return difference


def coloured_classes(store: Store) -> tuple[str, ...]:
    """The classes with a colour of their own: all where they are few, else those that were chosen."""
    usual = most_frequent(store.samples["label"].to_numpy(), store.classes)
    if len(store.classes) <= IN_LEGEND:
        return tuple(usual)
    state = st.session_state
    name = address.key("coloured")
    asked = [one for one in state[name] or usual if one in store.classes]
    state[name] = asked[:IN_LEGEND] or usual
    text = "The others are grey."
    return tuple(
        inputs.on().multiselect("Coloured classes", store.classes, key=name, max_selections=IN_LEGEND, help=text)
        or usual
    )


def draw(stores: dict[str, Store], store: Store, layout: str, colour: str, placed: Map) -> Any:
    """The chart; what is selected in it."""
    rows = store.samples.iloc[placed.ids] if len(placed.ids) < len(store.samples) else store.samples
    coloured = coloured_classes(store) if colour == "class" else ()

    def figure() -> go.Figure:
        axes = ("t-SNE 1", "t-SNE 2")
        if placed.explained:
            axes = tuple(f"PCA {i + 1}, {share:.0%} of the variance" for i, share in enumerate(placed.explained))  # type: ignore[assignment]
        values = values_of(stores, store, placed.ids, colour)
        title = colour if values is None else COLOURS[colour].partition(" student")[0].partition(" of ")[0]
        return feature_map(rows, placed.places, title, store.classes, axes, values, coloured)

    drawn = kept("map", figure, *stores.values(), store, layout, colour, *coloured)
    return charts.chart(drawn, key=CHART, on_select="rerun", selection_mode=("points", "box", "lasso"))


@guard.fragment
def pictures(store: Store) -> None:
    """The picture of the point on which the mouse rests, and what it was taken for."""
    shown = st.session_state.get("hovered sample")
    if not isinstance(shown, int) or not 0 <= shown < len(store.samples):
        shown = None

    def hovered() -> None:
        st.session_state["hovered sample"] = st.session_state["hover"].get("hovered")

    picture, lines = "", list[str]()
    if shown is not None:
        row = store.samples.iloc[shown]
        picture = image_uri(store, shown)
        lines = [f"{store.classes[row['label']]} → {store.classes[row['prediction']]}", f"‖f‖ {row['norm']:.2f}"]
    hover_picture(CHART, shown, picture, lines, key="hover", on_hovered=guard.callback(hovered, writes=False))


def chosen(event: Any, samples: pd.DataFrame) -> pd.DataFrame:
    """The samples of the points that are selected."""
    ids = {int(point["customdata"]) for point in event.selection.get("points", []) if "customdata" in point}
    return samples.iloc[sorted(i for i in ids if 0 <= i < len(samples))]


def selected(rows: pd.DataFrame, store: Store, stores: dict[str, Store], view: View, layout: str) -> None:
    """What lies in the lasso: its classes, how many are right, its lowest norms as pictures."""
    if rows.empty:
        return
    counts = rows["label"].value_counts()
    whole = store.samples["label"].value_counts()
    share = ", ".join(
        f"{store.classes[label]} {count:,} of {whole[label]:,}" for label, count in counts.head(5).items()
    )
    more = f" and {len(counts) - 5} more classes" if len(counts) > 5 else ""
    st.markdown(
        f"**{counted(len(rows), 'sample')}** selected, {rows['correct'].mean():.1%} right (all: "
        f"{store.samples['correct'].mean():.1%}), mean ‖f‖ {rows['norm'].mean():.2f} (all: "
        f"{store.samples['norm'].mean():.2f}). {literal(share)}{more}."
    )
    if not guard.read_only() and st.button("Open in the gallery", type="primary", icon=":material/grid_view:"):
        name = f"map-{view.info.name}-{view.split}"[:64]
        tagging.to_gallery(view, rows["key"].tolist(), name, f"drawn round on the map by {LAYOUTS[layout]}")
    lowest = rows.sort_values(["norm", "id"]).head(PREVIEW)
    note = f"The {PREVIEW} lowest norms of {len(rows):,}." if len(rows) > PREVIEW else ""
    opened = tiles([panel("Selected samples", note, lowest, store)], 64, key="of the map")
    if opened is not None:
        show_sample(stores, opened)


def of_legend(colour: str) -> str:
    """What the legend can do, where this colouring has one."""
    return "In the legend a click hides, a double-click shows alone. " if colour in ("class", "outcome") else ""


def drawn_words(store: Store) -> str:
    """How many of the samples are on the map."""
    count = len(store.samples)
    return f"All {count:,} samples." if count <= MOST else f"{MOST:,} of {count:,} samples, drawn by a fixed seed."
