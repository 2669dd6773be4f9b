"""Stores for the pages: opened once, extracted on the spot where they are missing."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import streamlit as st

from fnkd_core.analysis.store import Store, open_store, store_path
from fnkd_core.checkpoints.library import Entry
from fnkd_core.data import DatasetInfo
from fnkd_core.data.download import PUBLISHED, data_root, fetch, fetched_bytes, megabytes, to_fetch
from fnkd_core.errors import UserError
from fnkd_core.ui.frame import View, page_path


@st.cache_resource(max_entries=12, show_spinner=False)
def _opened(path: str, created: str) -> Store:
    return Store(Path(path))


@st.cache_data(max_entries=8, show_spinner=False)
def _side_by_side(a: str, b: str, created: tuple[str, str]) -> pd.DataFrame:
    from fnkd_core.analysis.tables import side_by_side

    return side_by_side(_opened(a, created[0]), _opened(b, created[1]))


def side_by_side(a: Store, b: Store) -> pd.DataFrame:
    """The two stores' samples side by side; see `fnkd_core.analysis.tables`."""
    return _side_by_side(str(a.path), str(b.path), (a.manifest["created"], b.manifest["created"]))


def load_store(entry: Entry, info: DatasetInfo, split: str) -> Store:
    """The store of a checkpoint on a split; extracted first, with a progress bar, where it is missing.

    Stops the page with one line where that cannot be done, and with a button where it means a download.
    """
    if open_store(entry, info, split) is None:
        if info.download:
            offer_download(info.name, info.title, info.root, info.note)
            st.stop()
        _extract(entry, info, split)
    path = store_path(entry, info, split)
    store = Store(path)
    return _opened(str(path), str(store.manifest["created"]))


def offer_download(name: str, title: str, root: str | None = None, otherwise: str = "") -> None:
    """Say that the data are not here, with a button that fetches them where they are published, else with where
    they go, or with `otherwise`. The script is run again after a download."""
    published, problem = PUBLISHED.get(name), f"download problem {name}"
    if published is None or published.by_hand:
        text = published.by_hand.format(root=data_root(root)) if published else otherwise
        st.info(f"{title} is not on this machine yet. {text}", icon=":material/download:")
        return
    st.info(f"{title} is not on this machine yet.", icon=":material/download:")
    if said := st.session_state.pop(problem, None):
        st.error(said, icon=":material/error:")
    here, size = fetched_bytes(name, root), to_fetch(name, root)
    label = f"Download {title} ({size})"
    if here:
        label = f"Resume download of {title} ({megabytes(here)} of {size} are here)"
    asked = f"download {name}"
    set_asked = st.session_state.__setitem__
    st.button(label, type="primary", icon=":material/download:", on_click=set_asked, args=(asked, True))
    if not st.session_state.pop(asked, False):
        return
    bar, shown = st.progress(0.0, "Connecting"), -1
    try:
        for done, total in fetch(name, root):
            if (percent := 100 * done // total) > shown:
                shown = percent
                text = f"Downloading {title}: {done / 1e6:,.0f} of {total / 1e6:,.0f} MB"
                bar.progress(done / total, text if done < total else f"Verifying and unpacking {title}")
    except UserError as error:
        st.session_state[problem] = str(error)
    st.rerun()


def _extract(entry: Entry, info: DatasetInfo, split: str) -> None:
    bar = st.progress(0.0, f"Loading {entry.name} and {info.title}, {split} split")
    # torch is loaded here and not before: most visits find their stores made.
    from fnkd_core.analysis.extract import extract

    try:
        for done, total in extract(entry, info, split):
            text = f"Extracting the outputs of {entry.name} on {info.name} {split}: {done:,} of {total:,} images"
            bar.progress(done / total, text)
    except UserError as error:
        st.error(str(error), icon=":material/error:")
        st.stop()
    finally:
        bar.empty()


def load_stores(view: View) -> dict[str, Store]:
    """Role -> store of the chosen models. Stops the page, saying what to do, where none is chosen."""
    if not view.models:
        if view.fitting:
            st.info("No model is chosen. Pick a teacher or a student in the sidebar.", icon=":material/info:")
        else:
            st.info(
                f"No checkpoint fits {view.info.title}. Train one here first; it is then in the pickers.",
                icon=":material/info:",
            )
            st.page_link(page_path("distill"), label="Train a model on this data", icon=":material/science:")
        st.stop()
    return {role: load_store(entry, view.info, view.split) for role, entry in view.models.items()}


def labelled(role: str, store: Store) -> str:
    """How a model is named in legends: "Teacher: digits-teacher"."""
    return f"{role.capitalize()}: {store.name}"
