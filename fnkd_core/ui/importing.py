"""Importing a checkpoint on the Overview page: from a path or an upload, through the gate, with what was found."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import streamlit as st

from fnkd_core.checkpoints.card import Finding
from fnkd_core.data import DatasetInfo, list_datasets
from fnkd_core.errors import UserError, require
from fnkd_core.files import temporary_folder
from fnkd_core.lists import items
from fnkd_core.paths import cache_dir
from fnkd_core.ui import guard, uploads
from fnkd_core.ui.frame import View
from fnkd_core.ui.markdown import literal, prose

OPEN = "not listed here"
PLACES = ("Path on this machine", "Upload")


def form(view: View) -> None:
    """The form; after it what the last import found, or why it was refused."""
    st.subheader("Import a checkpoint", anchor=False)
    st.caption(
        "safetensors, `.pth` `.pt` `.th` `.bin` or no suffix, MXNet `.params`. The network is recognised from its "
        "weights; the file is read in a process of its own and nothing in it is executed."
    )
    with st.container(border=True):
        place = st.segmented_control(
            "Where", PLACES, default=PLACES[0], required=True, key="import where", label_visibility="collapsed"
        )
        upload = path = None
        if place == PLACES[1]:
            upload = st.file_uploader("Checkpoint file", key=_uploader(), label_visibility="collapsed")
            st.caption(prose(uploads.limits()))
        else:
            path = st.text_input("Path of the file", placeholder="/models/resnet56.pth", key="import path")
        a, b = st.columns(2)
        names = [*list_datasets(), OPEN]
        text = "The outputs are taken as the classes of this data. Where it is on this machine, the order of the "
        text += "outputs and the input normalisation are measured on its labelled images."
        dataset = a.selectbox("Classes of", names, index=names.index(view.info.name), key="import data", help=text)
        name = b.text_input(
            "Checkpoint name", placeholder="as the file", key="import name", help="Letters, digits, dots, - and _."
        )
        with st.expander("More"):
            request = _more(view.info, dataset)
        asked = st.session_state.__setitem__
        st.button(
            "Import",
            type="primary",
            icon=":material/upload:",
            key="import now",
            on_click=guard.callback(asked, "import asked", True),
        )
        if st.session_state.pop("import asked", False):
            chosen = {"dataset": None if dataset == OPEN else dataset, "name": name.strip() or None} | request
            chosen["labels"] = view.info.label_space if dataset == view.info.name else None
            _import(upload, (path or "").strip(), chosen)
    _outcome()


def _uploader() -> str:
    """The key of the uploader: after an import it is another one, which holds nothing."""
    return f"import upload {st.session_state.get('imports', 0)}"


def _more(info: DatasetInfo, dataset: str) -> dict[str, Any]:
    """What is seldom needed, under the names of `ImportRequest`; texts are read when Import is pressed."""
    a, b = st.columns(2)
    text = "Such as cifar_resnet56, wrn_40_2, torchvision/resnet50, timm/vit_tiny_patch16_224."
    found: dict[str, Any] = {
        "architecture": a.text_input("Architecture", placeholder="recognised", key="import arch", help=text)
    }
    size = b.number_input("Image size", 4, 1024, None, placeholder="as the data or the network", key="import size")
    found["image_size"] = size
    a, b = st.columns(2)
    text = "Per channel, white is 1, with commas between: 0.485, 0.456, 0.406."
    found["mean"] = a.text_input("Input mean", placeholder="measured, or as published", key="import mean", help=text)
    found["std"] = b.text_input("Input std", placeholder="measured, or as published", key="import std", help=text)
    a, b = st.columns(2, vertical_alignment="bottom")
    text = "Where the file holds several networks: student, teacher, or the name under which it lies in the file."
    found["part"] = a.text_input("Part", placeholder="the only one", key="import part", help=text)
    text = "Weights averaged over the training, where the file has them."
    found["prefer_ema"] = b.toggle("Prefer EMA weights", key="import ema", help=text)
    text = "How many labelled images tell candidates apart that lie close together."
    found["measure_on"] = st.number_input(
        "Measure on", 1, None, None, placeholder="8192 up to 64 pixels, else 1024", help=text, key="import measure"
    )
    text = "One name a line, or a JSON list, in the order of the outputs."
    found["classes"] = st.text_area(
        "Class names", placeholder="as the data", key="import classes", help=text, height=80
    )
    return found


def _numbers(text: str, what: str) -> tuple[float, ...] | None:
    try:
        return tuple(float(part) for part in items(text)) or None
    except ValueError:
        raise UserError(f"{what} must be numbers with commas between, got {text!r}.") from None


@contextmanager
def _file(upload: Any, path: str) -> Iterator[Path]:
    """The file to read; an upload lies in a folder of its own for as long."""
    if upload is None:
        yield Path(path)
        return
    with temporary_folder(cache_dir() / "upload") as folder:
        file = folder / (re.sub(r"[^A-Za-z0-9._-]+", "-", Path(upload.name).name).strip("-.") or "upload")
        file.write_bytes(upload.getbuffer())
        yield file


def _import(upload: Any, path: str, request: dict[str, Any]) -> None:
    """Do it, saying what is being done; the outcome outlives this run of the page."""
    with st.status("Importing", expanded=True) as status:
        # torch is loaded here and not before.
        from fnkd_core.checkpoints.importing.importer import Imported, import_checkpoint
        from fnkd_core.checkpoints.importing.request import ImportRequest, named_classes

        try:
            require(bool(upload or path), "No file is given; write its path, or upload it.")
            request |= {"mean": _numbers(request["mean"], "The mean"), "std": _numbers(request["std"], "The std")}
            require((request["mean"] is None) == (request["std"] is None), "Mean and std belong together; give both.")
            request |= {key: request[key].strip() or None for key in ("architecture", "part")}
            request["classes"] = (
                named_classes(request["classes"], "The class names") if request["classes"].strip() else None
            )
            with _file(upload, path) as file:
                for event in import_checkpoint(ImportRequest(path=file, **request)):
                    if isinstance(event, Imported):
                        st.session_state["imported"] = (event.name, event.card.findings)
                    else:
                        status.write(prose(event))
        except (UserError, OSError) as error:
            status.update(label="Refused", state="error", expanded=False)
            st.session_state.pop("imported", None)
            guard.keep(error, "import")
        else:
            status.update(label="Imported", state="complete", expanded=False)
            if upload is not None:  # one that was refused may be tried again with other settings
                uploads.let_go(upload)
                st.session_state["imports"] = st.session_state.get("imports", 0) + 1


def _outcome() -> None:
    guard.problem("import")
    if "imported" not in st.session_state:
        return
    from fnkd_core.ui.overview import checks

    name, findings = st.session_state["imported"]
    with st.container(border=True):
        st.markdown(f"**{literal(name)}** is in the library.")
        checks(Finding(**finding) for finding in findings)
        a, b, _ = st.columns(3)
        for column, role in ((a, "teacher"), (b, "student")):
            use = guard.callback(_use, role, name, writes=False)
            column.button(f"Use as {literal(role)}", key=f"use as {role}", width="stretch", on_click=use)


def _use(role: str, name: str) -> None:
    st.session_state["choose"] = {role: name}
    del st.session_state["imported"]
