"""The parts of the Overview page."""

from __future__ import annotations

import contextlib
import functools
import io
import zipfile
from collections.abc import Iterable

import numpy as np
import pandas as pd
import streamlit as st

from fnkd_core.analysis.health import health
from fnkd_core.checkpoints.card import IMPORTED, Card, Finding
from fnkd_core.checkpoints.fits import unfit
from fnkd_core.checkpoints.library import EXPORTS, Entry, identities
from fnkd_core.checkpoints.several import chain
from fnkd_core.data import add_folder, folders, list_datasets, remove_folder
from fnkd_core.errors import Damaged, require
from fnkd_core.files import temporary_folder
from fnkd_core.jobs.control import forget_teacher_outputs, prune_stores, teachers_of_living
from fnkd_core.jobs.words import parameters_line
from fnkd_core.paths import cache_dir
from fnkd_core.stores.store import Store, open_store
from fnkd_core.stores.upkeep import bytes_of, delete_with_stores, holdings, stores_of
from fnkd_core.ui import guard, inputs, tables
from fnkd_core.ui.markdown import code, literal, prose
from fnkd_core.ui.stores import awaited, by_role, side_by_side, sound
from fnkd_core.ui.view import PAGES, View, page_path
from fnkd_core.wording import counted, megabytes

ICONS = {
    "good": ":green[:material/check_circle:]",
    "warning": ":orange[:material/warning:]",
    "bad": ":red[:material/error:]",
}


def model_card(role: str, card: Card, store: Store) -> None:
    """Name, origin and the four numbers to know of a model."""
    m = store.manifest
    st.subheader(literal(f"{role.capitalize()}: {store.name}"), anchor=False)
    parameters = parameters_line(card.parameters)
    taught = f" from {chain(card.teacher, card.ancestry)}" if card.teacher else ""
    how = card.method if card.method == IMPORTED else f"trained by {card.method}"
    length = f", {counted(card.epochs, 'epoch')}" if card.epochs else ""
    seed = f", seed {card.seed}" if card.seed is not None else ""
    text = f"{card.architecture['name']}, {how}{f' ({parameters})' if parameters else ''}{taught}{length}{seed}."
    st.caption(literal(text))
    norm = m["norm"]
    with st.container(horizontal=True, gap="medium"):
        samples = f"On {m['num_samples']:,} samples of this split."
        st.metric("Accuracy", f"{m['accuracy']:.2%}", help=samples, width="content")
        st.metric("Parameters", literal(short(m["checkpoint"]["num_parameters"])), width="content")
        what = "‖f‖ is the norm of the penultimate feature vector."
        st.metric("Mean ‖f‖", f"{norm['mean']:.2f}", help=what, width="content")
        ends = f"From {norm['min']:.2f} to {norm['max']:.2f}."
        st.metric("sd of ‖f‖", f"{norm['sd']:.2f}", help=ends, width="content")
    st.caption(f"NLL {m['nll']:.4f} nats, ECE {m['ece']:.4f}, {m['num_features']:,} features.")


def models(view: View) -> None:
    """What the chosen models are, whether their numbers can be trusted, and how they stand to each other."""
    chosen = sound(view)
    if not chosen or not awaited(list(chosen.values()), view.info, view.split):
        return
    stores = by_role(chosen, view)
    st.header("The models" if len(stores) > 1 else "The model", anchor=False)
    for column, (role, store) in zip(st.columns(len(stores), gap="medium"), stores.items(), strict=True):
        entry = view.models[role]
        assert entry.card is not None
        with column, st.container(border=True, height="stretch"):
            model_card(role, entry.card, store)
            checks(health(entry.card, store.manifest))
    if len(stores) == 2:
        agreement(side_by_side(*stores.values()))


def short(count: int) -> str:
    """78.0 k, 11.2 M."""
    if count < 1000:
        return str(count)
    return f"{count / 1e6:.1f} M" if count >= 1e6 else f"{count / 1e3:.1f} k"


def checks(found: Iterable[Finding]) -> None:
    """The health checks, a line each."""
    st.markdown("\n\n".join(f"{ICONS[check.level]} {prose(check.text)}" for check in found))


def agreement(both: pd.DataFrame) -> None:
    """One sentence on how the two models stand to each other."""
    counts = np.bincount(both["outcome"], minlength=4)
    st.markdown(
        f"They agree on **{both['agree'].mean():.1%}** of {len(both):,} samples. Only the teacher is right on "
        f"{counts[1]:,}, only the student on {counts[2]:,}, neither on {counts[3]:,}; Compare shows which."
    )


def where_next() -> None:
    """A line for each question that another page answers."""
    st.header("Where to go next", anchor=False)
    ways = {
        "norms": "How are the norms distributed, and what goes with them?",
        "gallery": "Which images have the lowest and the highest norm?",
        "soft_targets": "What do T and τ/‖f‖ make of the targets?",
        "distill": "Train a student with these targets.",
    }
    titles = PAGES["Analyse"] | PAGES["Train"]
    for column, (name, question) in zip(st.columns(4), ways.items(), strict=True):
        with column, st.container(border=True, height="stretch"):
            label, icon = titles[name]
            st.page_link(page_path(name), label=label, icon=icon)
            st.caption(question)


def add_data() -> None:
    """A form that adds an image folder, and the list of those added."""
    st.subheader("Add an image folder", anchor=False)
    st.caption(
        "A folder on this machine with `train/<class>/` and `test/<class>/`, and `val` to choose by if there (it tests "
        "where `test` is not, or has no labels); or with `<class>/` alone, a fifth of which then tests; or one that "
        "`save_to_disk` of Hugging Face datasets has made. Once it is chosen, *Data* counts what of it is not read."
    )
    with st.form("add folder", border=True):
        inputs.on().text_input("Path of the folder", placeholder="/data/flowers", key="folder path")
        inputs.on().text_input("Name", placeholder="flowers", help="Letters, digits, - and _.", key="folder name")
        inputs.on().toggle(
            "Leave out broken images",
            help="Every image is decoded once, now. Images that cannot be read and classes without any are left out; "
            "else they are an error.",
            key="folder skip",
        )
        st.form_submit_button("Add", type="primary", on_click=guard.callback(_add, at="folders"))
    guard.problem("folders")
    for name, where in folders().items():
        line, button = st.columns([3, 1], vertical_alignment="center")
        line.markdown(f"**{literal(name)}**  {code(where)}")
        button.button(
            "Forget",
            key=f"forget {name}",
            help="Takes it off the list; the images stay.",
            on_click=guard.callback(_forget, name, at="folders"),
        )


def _forget(name: str) -> None:
    remove_folder(name)
    if st.session_state.get("dataset") == name:
        st.session_state["dataset"] = list_datasets()[0]  # who forgets what is shown need not be told that it is gone


def _add() -> None:
    """Add the folder that the form names and choose it; a callback, so that the pickers know it at once."""
    name, path = (st.session_state[f"folder {what}"].strip() for what in ("name", "path"))
    require(bool(path), "Give the path of the folder, such as /data/flowers.")
    info = add_folder(name, path, "skip" if st.session_state["folder skip"] else "refuse")
    st.session_state["dataset"] = info.name


def library(view: View) -> None:
    """All checkpoints, with why those that cannot be chosen here do not fit."""
    st.subheader("Checkpoints", anchor=False)
    st.caption("Shipped and imported ones, and the students of finished runs that the sidebar offers.")
    entries, rows = list(view.offered), []
    for entry in entries:
        card = entry.card
        rows.append(
            {
                "name": entry.name,
                "architecture": card.architecture["name"] if card else None,
                "data": card.dataset if card else None,
                "method": card.method if card else None,
                "accuracy": _reached(entry, view),
                "why not here": unfit(entry, view.info) or "",
            }
        )
    if not rows:
        st.info("There is no checkpoint yet. Import one, or train one on Distill.", icon=":material/info:")
        return
    tables.show(
        pd.DataFrame(rows),
        hide_index=True,
        column_config={"accuracy": st.column_config.NumberColumn(format="%.4f")},
    )
    if not guard.read_only():
        leave([entry for entry in entries if entry.card is not None])
        disk()


def _reached(entry: Entry, view: View) -> float | None:
    """Its accuracy on the test split: as its card says, else, of an imported one, as it was extracted on these data."""
    if entry.card is None:
        return None
    accuracy = entry.card.reached.get("accuracy")
    if accuracy is None and entry.card.dataset == view.info.name and unfit(entry, view.info) is None:
        store = open_store(entry, view.info, "test")
        with contextlib.suppress(Damaged):  # which is said where its outputs are looked at
            accuracy = store.manifest["accuracy"] if store is not None else None
    return accuracy


def disk() -> None:
    """What stores take on the disk, and buttons that remove those that nothing needs, and what can be asked again."""
    found = holdings(identities() | teachers_of_living())
    stores, outputs, unused = found.stores, found.outputs, found.unneeded
    if not stores and not outputs and not unused:
        return
    row = st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute")
    said = []
    if stores:
        what = "store of a model's outputs takes" if len(stores) == 1 else "stores of models' outputs take"
        said.append(f"{len(stores)} {what} {megabytes(bytes_of(store.path for store in stores))} on the disk.")
    if outputs:
        said.append(f"Teachers' outputs on training images take {megabytes(bytes_of(outputs))}.")
    if unused:
        size = megabytes(bytes_of(unused))
        said.append(f"{size} belong to deleted checkpoints or to work that did not end.")
    row.caption(literal(" ".join(said)), width="content")
    buttons = row.container(horizontal=True, width="content")
    if unused:
        help_text = "Removes what belongs to deleted checkpoints, or to work that did not end. It can be made again."
        buttons.button(
            "Prune", icon=":material/mop:", help=help_text, on_click=guard.callback(prune_stores, at="stores")
        )
    if outputs:
        with buttons.popover("Delete teachers' outputs", icon=":material/delete:"):
            st.markdown(
                "Delete the teachers' outputs on training images? A run that wants them asks its teacher again."
            )
            gone = guard.callback(forget_teacher_outputs, at="stores")
            st.button("Delete for good", type="primary", key="forget teacher outputs", on_click=gone)
    guard.problem("stores")


def leave(entries: list[Entry]) -> None:
    """A checkpoint with its card, to download in the form its next home reads; an imported one can be deleted."""
    if not entries:
        return
    a, b, c, d = st.columns([2, 1.4, 1.2, 1.2], vertical_alignment="bottom")
    names = {entry.name: entry for entry in entries}
    entry = names[inputs.on(a).selectbox("Checkpoint", list(names), key="leave")]
    forms = {
        "safetensors": "safetensors",
        "state_dict": "torch state dict",
        "onnx": "ONNX",
        "torch_export": "torch.export",
    }
    text = "ONNX and torch.export take images in [0, 1], normalise them inside, and give logits and norms; "
    text += "they are run and compared with the checkpoint before they are handed out."
    form = inputs.on(b).selectbox("As", list(EXPORTS), format_func=forms.__getitem__, key="leave as", help=text)
    c.download_button(
        "Export",
        guard.download(functools.partial(_zipped, entry, form), at="checkpoints"),
        f"{entry.name}-{form}.zip",
        "application/zip",
        icon=":material/download:",
        width="stretch",
        on_click="ignore",
        help="The weights in this form, with the card that holds their history.",
    )
    deletable = bool(entry.card and entry.card.findings)
    with d.popover("Delete", icon=":material/delete:", width="stretch", disabled=not deletable):
        stores = len(stores_of(entry)) if deletable else 0
        along = f" What was extracted from it goes along ({counted(stores, 'store')})." if stores else ""
        st.markdown(f"Delete the imported checkpoint {literal(entry.name)}? The file it came from stays.{along}")
        st.button(
            "Delete for good",
            type="primary",
            key=f"delete checkpoint {entry.name}",
            on_click=guard.callback(delete_with_stores, entry.name, at="checkpoints"),
        )
    guard.problem("checkpoints")


def _zipped(entry: Entry, form: str) -> bytes:
    from fnkd_core.checkpoints.export import export_checkpoint

    buffer = io.BytesIO()
    with temporary_folder(cache_dir() / "export") as folder, zipfile.ZipFile(buffer, "w") as archive:
        for path in export_checkpoint(entry, folder, [form]):
            archive.write(path, path.name)
    return buffer.getvalue()
