"""Data that are not on this machine yet: said, and fetched where they are published."""

from __future__ import annotations

import streamlit as st

from fnkd_core.data.download.addresses import PUBLISHED, data_root, to_fetch
from fnkd_core.data.download.fetch import fetch, fetched_bytes
from fnkd_core.data.types import DatasetInfo
from fnkd_core.errors import UserError
from fnkd_core.ui import guard
from fnkd_core.ui.markdown import literal, prose
from fnkd_core.wording import megabytes


def offer_download(name: str, title: str, root: str | None = None, otherwise: str = "") -> None:
    """Say that the data are not here, with a button that fetches them where they are published, else with where
    they go, or with `otherwise`. The script is run again after a download."""
    published, place, called = PUBLISHED.get(name), f"download {name}", literal(title)
    if published is None or published.by_hand:
        text = published.by_hand.format(root=data_root(root)) if published else otherwise
        st.info(f"{called} is not on this machine yet. {prose(text)}", icon=":material/download:")
        return
    st.info(f"{called} is not on this machine yet.", icon=":material/download:")
    if guard.read_only():
        return
    guard.problem(place)
    here, size = fetched_bytes(name, root), to_fetch(name, root)
    label = f"Download {called} ({literal(size)})"
    if here:
        label = f"Resume download of {called} ({literal(megabytes(here))} of {literal(size)} are here)"
    ask = guard.callback(st.session_state.__setitem__, place, True)
    st.button(label, type="primary", icon=":material/download:", on_click=ask)
    if not st.session_state.pop(place, False):
        return
    try:
        show_fetching(name, title, root)
    except (UserError, OSError) as error:
        guard.keep(error, place)
    st.rerun()


def offered(info: DatasetInfo) -> bool:
    """Whether the data would have to be downloaded first: then that is offered, and nothing is fetched unasked."""
    if info.download:
        offer_download(info.name, info.title, info.root, info.note)
    return bool(info.download)


def show_fetching(name: str, title: str, root: str | None = None) -> None:
    """Fetch the data with a bar on the page. `UserError` and `OSError` as in `fetch`."""
    called, shown = literal(title), -1
    bar = st.progress(0.0, "Connecting")
    for done, total in fetch(name, root):
        if (percent := 100 * done // total) > shown:
            shown = percent
            words = f"Downloading {called}: {done / 1e6:,.0f} of {total / 1e6:,.0f} MB"
            bar.progress(done / total, words if done < total else f"Verifying and unpacking {called}")
