"""Tags and saved selections on the Gallery: made there, shown alone, exported, and handed to Distill."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray

from fnkd_core.data.selections import (
    Selection,
    add_to,
    delete_selection,
    find_selection,
    list_selections,
    relabel,
    remove_from,
    rows_of,
    save_anew,
    set_note,
)
from fnkd_core.errors import UserError
from fnkd_core.spreadsheets import csv_of
from fnkd_core.stores.store import Store
from fnkd_core.ui import address, guard, inputs
from fnkd_core.ui.links import AMONG, AT, NO_FILTER
from fnkd_core.ui.markdown import literal, prose
from fnkd_core.ui.settings import key_of
from fnkd_core.ui.view import View, page_path

KEPT = "selections chosen"
"""Where the session keeps what is chosen of each split: a picker's own value goes with the page that draws it."""
NAME = "selection"
"""Key of the name of a selection in the address."""
BY_HAND = "tagged by hand"


def current(view: View) -> Selection | None:
    """The selection into which samples are tagged; None where nothing was yet, or it is of other images."""
    name = chosen_name(view)
    # In the address it stands where it is not the usual one.
    st.session_state[NAME] = name if name != usual_name(view) else None
    try:
        found = find_selection(name)
    except UserError:
        return None
    return found if found.split == view.split and found.is_of(view.info.identity(view.split)) else None


def chosen_name(view: View) -> str:
    """The name that is chosen, at first one made of data and split."""
    if (name := address.linked(NAME)) is not None:
        choose(view, name)
    state, picker = st.session_state, _picker(view)
    if state.get(picker):
        state[KEPT] = {**state.get(KEPT, {}), picker: state[picker]}
    return str(state.get(KEPT, {}).get(picker) or usual_name(view))


def choose(view: View, name: str) -> None:
    """Choose a selection, before its picker is drawn."""
    st.session_state[_picker(view)] = name


def _picker(view: View) -> str:
    return f"{NAME} {view.info.name} {view.split}"


def usual_name(view: View) -> str:
    return f"tagged-{view.info.name}-{view.split}"[:64]


def shown_alone(selection: Selection | None) -> Selection | None:
    """The selection where only its samples are to be shown."""
    return selection if selection is not None and st.session_state.get(AMONG) else None


@dataclass(frozen=True)
class Tags:
    """What is tagged of a split, and how a tag is set. selection: that of the tags, None before the first."""

    view: View
    store: Store
    selection: Selection | None

    def of(self, ids: NDArray[np.int32]) -> list[int]:
        """Those of these samples that are in the selection."""
        keys = set(self.selection.keys) if self.selection else set()
        told = self.store.samples["key"].iloc[ids]  # to turn all of a million into text takes a click's time
        return [int(i) for i, key in zip(ids, told, strict=True) if key in keys]

    def toggle(self, sample: int) -> None:
        """Tag a sample, or take its tag off."""
        view, name, key = self.view, chosen_name(self.view), str(self.store.samples["key"].iat[sample])
        held = current(view)
        if held is not None and key in held.keys:
            remove_from(name, view.info, view.split, [key])
        else:
            add_to(name, view.info, view.split, [key], BY_HAND)


def new_labels(selection: Selection | None, store: Store, ids: NDArray[np.int32]) -> dict[int, dict[str, str]]:
    """Of those of these samples to whom the selection gives a new label: its class, and by which selection."""
    if selection is None or not selection.labels:
        return {}
    told = zip(ids, store.samples["key"].iloc[ids], strict=True)
    given, classes = selection.labels, store.classes
    return {
        int(i): {"label": classes[given[key]], "by": selection.name}
        for i, key in told
        if 0 <= given.get(key, -1) < len(classes)
    }


def to_gallery(view: View, keys: list[str], name: str, made: str) -> None:
    """Save the samples with these keys under a name of ours, and show them alone in the Gallery."""
    saved = save_anew(name, view.info, view.split, keys, made)
    choose(view, saved.name)
    st.session_state.update(NO_FILTER | {AMONG: True, NAME: saved.name, AT: 1})
    address.go(page_path("gallery"))


def selections(view: View, store: Store, ids: NDArray[np.int32], filters: str) -> None:
    """What is saved, and what can be done with it. ids: of the samples that pass. filters: in words."""
    names, problems = _names(view)
    for problem in problems:
        st.error(prose(problem), icon=":material/broken_image:")
    a, b, c = st.columns([1.3, 2, 1], vertical_alignment="bottom")
    choose(view, chosen_name(view))
    inputs.on(a).selectbox(
        "Selection",
        dict.fromkeys([*names, usual_name(view), chosen_name(view)]),
        key=_picker(view),
        accept_new_options=True,
        help="Tags go into it. Type another name for another one.",
    )
    selection, name = current(view), chosen_name(view)
    note = f"note {name}"
    st.session_state[note] = selection.note if selection else ""  # as it is now, also where another tab has written it
    written = guard.callback(lambda: set_note(name, st.session_state[note]), at=NAME)
    inputs.on(b).text_input("Note", key=note, disabled=selection is None, on_change=written)
    inputs.on(c).toggle("Show these alone", key=AMONG, disabled=selection is None)
    with st.container(horizontal=True, vertical_alignment="center"):
        _buttons(view, store, ids, filters, selection, name)
    if selection is None:
        st.caption("Nothing is in it yet: press t on an image, or add all that pass.")
        return
    told = f", {literal(selection.made)}" if selection.made else ""
    given = f", {len(selection.labels):,} with a new label" if selection.labels else ""
    st.caption(
        f"{len(selection.keys):,} of {len(store.samples):,} samples{given}{told}; changed {literal(selection.changed)}."
    )
    _ways_out(view, store, selection)


def _names(view: View) -> tuple[list[str], list[str]]:
    found, problems = list_selections()
    identity = view.info.identity(view.split)
    return [one.name for one in found if one.split == view.split and one.is_of(identity)], problems


def _buttons(
    view: View, store: Store, ids: NDArray[np.int32], filters: str, selection: Selection | None, name: str
) -> None:
    count = len(ids)

    def keys() -> list[str]:
        return list(store.samples["key"].iloc[ids])

    st.button(
        f"Add the {count:,} that pass",
        icon=":material/library_add:",
        disabled=not count,
        on_click=guard.callback(
            lambda: add_to(name, view.info, view.split, keys(), f"{count:,} by {filters}"), at=NAME
        ),
    )
    if selection is not None:
        st.button(
            f"Take the {count:,} that pass out",
            icon=":material/playlist_remove:",
            on_click=guard.callback(lambda: remove_from(name, view.info, view.split, keys()), at=NAME),
        )
        _new_labels(view, selection, keys)
        with st.popover("Delete", icon=":material/delete:"):
            st.markdown(f"Delete the selection **{literal(name)}**? The images stay.")
            gone = guard.callback(delete_selection, name, at=NAME)
            st.button("Delete for good", type="primary", key=f"delete selection {name}", on_click=gone)
    guard.problem(NAME)


def _new_labels(view: View, selection: Selection, passing: Callable[[], list[str]]) -> None:
    """Other labels for its samples, all of them or those that pass the filters too."""
    name, classes = selection.name, view.info.classes

    def give(label: int | None, only_new: bool = False) -> Selection:
        chosen = passing()
        keys = [key for key in chosen if key not in selection.labels] if only_new else chosen
        return relabel(name, view.info, view.split, keys, label)

    with st.popover("New label", icon=":material/label:"):
        st.markdown("The class of its samples in trainings with its labels. The data stay as they are.")
        options = range(len(classes))
        label = inputs.on().selectbox(
            "Class", options, format_func=lambda k: literal(classes[k]), key=f"new label {view.info.name} {view.split}"
        )
        ways: list[tuple[str, tuple[Any, ...]]] = [
            ("Give it to those that pass", (label,)),
            ("Give it to those without a new one", (label, True)),
            ("Own labels for those that pass", (None,)),
        ]
        for words, how in ways:
            act = guard.callback(give, *how, at=NAME)
            st.button(literal(words), on_click=act, width="stretch", key=f"{words} {name}")


def _ways_out(view: View, store: Store, selection: Selection) -> None:
    """As files, and to a training."""
    samples = store.samples

    def table() -> pd.DataFrame:
        rows = rows_of(selection, view.info, samples["key"].tolist(), samples["label"].to_numpy())
        return pd.DataFrame(rows)

    def parquet() -> bytes:
        buffer = io.BytesIO()
        table().to_parquet(buffer, index=False)
        return buffer.getvalue()

    def files() -> bytes:
        found = table()
        return ("\n".join(found["path" if "path" in found else "key"]) + "\n").encode(errors="surrogateescape")

    kinds: tuple[tuple[str, Callable[[], bytes], str, str], ...] = (
        ("CSV", lambda: csv_of(table()).encode(), ".csv", "text/csv"),
        ("Parquet", parquet, ".parquet", "application/vnd.apache.parquet"),
        ("List of files", files, ".txt", "text/plain"),
    )
    with st.container(horizontal=True, vertical_alignment="center"):
        for label, make, suffix, mime in kinds:
            st.download_button(
                literal(label), guard.download(make, at=NAME), selection.name + suffix, mime, icon=":material/download:"
            )
        _to_distill(view, selection)


def _to_distill(view: View, selection: Selection) -> None:
    if view.split != "train":
        text = "A selection of the training split can be trained on alone, left out, or given other labels."
        st.caption(text, width="content")
        return
    ways: list[tuple[str, dict[str, Any]]] = [
        ("Train without these", {"exclude": selection.name, "only": ""}),
        ("Train on these alone", {"only": selection.name, "exclude": ""}),
    ]
    if selection.labels:
        ways.append(("Train with its labels", {"relabel": selection.name}))
    if view.teacher is not None:
        ways.append(("Weigh all by norm", {"weight_by_norm": 1.0}))
    for words, settings in ways:
        if st.button(literal(words), icon=":material/science:"):
            st.session_state.update({key_of(name): value for name, value in settings.items()})
            address.go(page_path("distill"))
