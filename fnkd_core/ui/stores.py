"""Stores for the pages: opened once; those that are missing are made by jobs, which the page waits for."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
import streamlit as st

from fnkd_core.checkpoints.library import Entry
from fnkd_core.data import DatasetInfo
from fnkd_core.errors import UserError
from fnkd_core.jobs.tasks import extraction_of, start_extraction
from fnkd_core.stores.checked import check_once
from fnkd_core.stores.pieces import progress
from fnkd_core.stores.store import Store, open_store, store_path
from fnkd_core.ui import guard
from fnkd_core.ui.downloads import offered
from fnkd_core.ui.markdown import literal
from fnkd_core.ui.tasks import ALIVE, left, show
from fnkd_core.ui.view import View, page_path

T = TypeVar("T")


@st.cache_resource(max_entries=12, show_spinner=False)
def _opened(path: str, called: str, created: str) -> Store:
    store = Store(Path(path), called)
    # Here and not in the middle of a page: what follows finds a store that is whole.
    check_once(store, note=not guard.read_only())
    return store


@st.cache_resource(max_entries=64, show_spinner=False)
def _kept(what: str, stores: tuple[str, ...], more: tuple[Hashable, ...], _make: Callable[[], Any]) -> Any:
    return _make()


@st.cache_resource(max_entries=32, show_spinner=False)
def _kept_of_filters(what: str, stores: tuple[str, ...], more: tuple[Hashable, ...], _make: Callable[[], Any]) -> Any:
    return _make()


def kept(what: str, make: Callable[[], T], *of: Store | Hashable) -> T:
    """What `make` gives, a table or a figure, made once for all sessions; nobody may change it.

    what: which of a page's things it is. of: all that it depends on, stores and what was chosen.
    """
    kept_one: T = _kept(what, *_told(of), make)
    return kept_one


def kept_of_filters(what: str, make: Callable[[], T], *of: Store | Hashable) -> T:
    """As `kept`, of what every filter makes anew: apart, so that clicks put out nothing that takes seconds to make."""
    kept_one: T = _kept_of_filters(what, *_told(of), make)
    return kept_one


def _told(of: Sequence[Store | Hashable]) -> tuple[tuple[str, ...], tuple[Hashable, ...]]:
    stores = tuple(one.identity for one in of if isinstance(one, Store))
    return stores, tuple(one for one in of if not isinstance(one, Store))


def side_by_side(a: Store, b: Store) -> pd.DataFrame:
    """The two stores' samples side by side; see `fnkd_core.analysis.tables`."""
    from fnkd_core.analysis import tables

    return kept("side by side", lambda: tables.side_by_side(a, b), a, b)


def load_store(entry: Entry, info: DatasetInfo, split: str) -> Store:
    """The store of a checkpoint on a split; see `loaded`."""
    return loaded([entry], info, split)[0]


def loaded(entries: Sequence[Entry], info: DatasetInfo, split: str) -> list[Store]:
    """The stores of checkpoints on a split. Stops the page, showing how far they are, while some are made.

    `UserError` or `OSError` where that cannot be done.
    """
    if not awaited(entries, info, split):
        raise guard.Enough
    stores = [Store(store_path(entry, info, split), entry.name) for entry in entries]
    return [_opened(str(store.path), store.called, str(store.manifest["created"])) for store in stores]


def awaited(entries: Sequence[Entry], info: DatasetInfo, split: str) -> bool:
    """Whether the stores are there; those that are not are being made from now on, and the page shows how far that is.

    Stops the page with a button where it means a download.
    """
    if offered(info):
        raise guard.Enough
    missing = _missing(entries, info, split)
    if missing and guard.read_only():
        st.info("This is not extracted yet. On the server's machine, do:", icon=":material/visibility:")
        commands = [f"fnkd extract --checkpoint {e.name} --dataset {info.name} --split {split}" for e in missing]
        st.code("\n".join(commands), language=None)
        raise guard.Enough
    for entry in missing:
        if extraction_of(entry, info, split).state in ("gone", "finished"):
            start_extraction(entry, info, split)
    if not _missing(entries, info, split):
        return True
    alive = _alive(missing, info, split)
    guard.fragment(_making, run_every="1s" if alive else None)(missing, info, split, alive)
    return False


def _missing(entries: Sequence[Entry], info: DatasetInfo, split: str) -> list[Entry]:
    """One for each store that is not there: models of the same weights share theirs."""
    lacking = dict[Path, Entry]()
    for entry in entries:
        if open_store(entry, info, split) is None:
            lacking.setdefault(store_path(entry, info, split), entry)
    return list(lacking.values())


def _alive(entries: Sequence[Entry], info: DatasetInfo, split: str) -> list[str]:
    return [e.name for e in entries if extraction_of(e, info, split).state in ALIVE]


def _making(entries: Sequence[Entry], info: DatasetInfo, split: str, alive_before: list[str]) -> None:
    """How far the stores are; goes on to what the page shows once all are there."""
    missing = _missing(entries, info, split)
    if not missing or _alive(entries, info, split) != alive_before:
        st.rerun(scope="app")
    for entry in missing:
        task = extraction_of(entry, info, split)
        if task.state == "gone":
            st.rerun(scope="app")
        done, total = task.progress.get("done"), task.progress.get("total")
        if not isinstance(done, int) or not isinstance(total, int):
            done, total = progress(store_path(entry, info, split)) or (None, None)
        what = f"the outputs of {entry.name} on {info.name} {split}"
        if total and done is not None:
            text = f"Extracting {what}: {done:,} of {total:,} images{left(task)}"
        else:
            text = f"Loading {entry.name} and {info.title}, {split} split"
        show(task, what, text, (done or 0) / (total or 1))


def load_stores(view: View) -> dict[str, Store]:
    """Role -> store of the chosen models. Of one whose file is broken it is said, and the other one is shown.

    Stops the page, saying what to do, where none is chosen, or there is none to show.
    """
    if not view.models:
        if view.fitting:
            st.info("No model is chosen. Pick a teacher or a student in the sidebar.", icon=":material/info:")
        else:
            st.info(
                f"No checkpoint fits {literal(view.info.title)}. Train one here first; it is then in the pickers.",
                icon=":material/info:",
            )
            st.page_link(page_path("distill"), label="Train a model on this data", icon=":material/science:")
        raise guard.Enough
    if not (models := sound(view)):
        raise guard.Enough
    return by_role(models, view)


def by_role(models: Mapping[str, Entry], view: View) -> dict[str, Store]:
    """Role -> store of these models on the view's data; see `loaded`."""
    return dict(zip(models, loaded(list(models.values()), view.info, view.split), strict=True))


def sound(view: View) -> dict[str, Entry]:
    """Role -> those of the chosen models whose file is the one that their card describes; of the others it is said."""
    found = {}
    for role, entry in view.models.items():
        try:
            open_store(entry, view.info, view.split)
        except (UserError, OSError) as error:
            guard.say(error)
        else:
            found[role] = entry
    return found


def labelled(role: str, store: Store) -> str:
    """How a model is named in legends: "Teacher: digits-teacher"."""
    return f"{role.capitalize()}: {store.name}"
