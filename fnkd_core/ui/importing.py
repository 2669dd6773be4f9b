"""Importing a checkpoint on the Overview page: from a path or an upload, through the gate, with what was found."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import streamlit as st

from fnkd_core.checkpoints.card import Finding
from fnkd_core.checkpoints.importing.request import named_classes
from fnkd_core.checkpoints.library import find_checkpoint
from fnkd_core.data import DatasetInfo, list_datasets
from fnkd_core.errors import UserError, require
from fnkd_core.jobs.tasks import Task, forget, list_imports, start_import
from fnkd_core.records import recall
from fnkd_core.shapes import misfit
from fnkd_core.ui import guard, inputs, uploads
from fnkd_core.ui.markdown import literal, prose
from fnkd_core.ui.pickers import choose
from fnkd_core.ui.tasks import ALIVE, ended
from fnkd_core.ui.view import View
from fnkd_core.wording import items

OPEN = "not listed here"
PLACES = ("Path on this machine", "Upload")
MOST = 8
"""So many imports are shown, the newest."""


def form(view: View) -> None:
    """The form; after it what the last import found, or why it was refused."""
    st.subheader("Import a checkpoint", anchor=False)
    st.caption(
        "safetensors, `.pth` `.pt` `.th` `.bin` or no suffix, MXNet `.params`. The network is recognised from its "
        "weights; the file is read in a process of its own and nothing in it is executed."
    )
    with st.container(border=True):
        place = inputs.on().segmented_control(
            "Where", PLACES, default=PLACES[0], required=True, key="import where", label_visibility="collapsed"
        )
        upload = path = None
        if place == PLACES[1]:
            upload = st.file_uploader("Checkpoint file", key=_uploader(), label_visibility="collapsed")
            st.caption(prose(uploads.limits()))
        else:
            path = inputs.on().text_input("Path of the file", placeholder="/models/resnet56.pth", key="import path")
        a, b = st.columns(2)
        names = [*list_datasets(), OPEN]
        text = "The outputs are taken as the classes of this data. Where it is on this machine, the order of the "
        text += "outputs and the input normalisation are measured on its labelled images."
        own = view.info.name
        dataset = inputs.on(a).selectbox(
            "Classes of", names, index=names.index(own), key=f"import data {own}", help=text
        )
        name = inputs.on(b).text_input(
            "Checkpoint name", placeholder="as the file", key="import name", help="Letters, digits, dots, - and _."
        )
        with st.expander("More"):
            request = _more(view.info, dataset)
        asked = st.session_state.__setitem__
        # Pressed while a file still comes up, it would find none, and what it said would go when the file is there.
        awaited = place == PLACES[1] and upload is None
        st.button(
            "Import",
            type="primary",
            icon=":material/upload:",
            key="import now",
            disabled=awaited,
            help="Once a file has come up whole." if awaited else None,
            on_click=guard.callback(asked, "import asked", True),
        )
        if st.session_state.pop("import asked", False):
            chosen = {"dataset": None if dataset == OPEN else dataset, "name": name.strip() or None} | request
            chosen["labels"] = view.info.label_space if dataset == view.info.name else None
            _start(upload, (path or "").strip(), chosen)
    _outcomes()


def _uploader() -> str:
    """The key of the uploader: after an import it is another one, which holds nothing."""
    return f"import upload {st.session_state.get('imports', 0)}"


def _more(info: DatasetInfo, dataset: str) -> dict[str, Any]:
    """What is seldom needed, under the names of `ImportRequest`; texts are read when Import is pressed."""
    a, b = st.columns(2)
    text = "Such as cifar_resnet56, wrn_40_2, torchvision/resnet50, timm/vit_tiny_patch16_224."
    found: dict[str, Any] = {
        "architecture": inputs.on(a).text_input("Architecture", placeholder="recognised", key="import arch", help=text)
    }
    size = inputs.on(b).number_input(
        "Image size", 4, 1024, None, placeholder="as the data or the network", key="import size"
    )
    found["image_size"] = size
    a, b = st.columns(2)
    text = "Per channel, white is 1, with commas between: 0.485, 0.456, 0.406."
    found["mean"] = inputs.on(a).text_input(
        "Input mean", placeholder="measured, or as published", key="import mean", help=text
    )
    found["std"] = inputs.on(b).text_input(
        "Input std", placeholder="measured, or as published", key="import std", help=text
    )
    a, b = st.columns(2, vertical_alignment="bottom")
    text = "Where the file holds several networks: student, teacher, or the name under which it lies in the file."
    found["part"] = inputs.on(a).text_input("Part", placeholder="the only one", key="import part", help=text)
    text = "Weights averaged over the training, where the file has them."
    found["prefer_ema"] = inputs.on(b).toggle("Prefer EMA weights", key="import ema", help=text)
    text = "How many labelled images tell candidates apart that lie close together."
    found["measure_on"] = inputs.on().number_input(
        "Measure on", 1, None, None, placeholder="8192 up to 64 pixels, else 1024", help=text, key="import measure"
    )
    text = "One name a line, or a JSON list, in the order of the outputs."
    found["classes"] = inputs.on().text_area(
        "Class names", placeholder="as the data", key="import classes", help=text, height=80
    )
    return found


def _numbers(text: str, what: str) -> tuple[float, ...] | None:
    try:
        return tuple(float(part) for part in items(text)) or None
    except ValueError:
        raise UserError(f"{what} must be numbers with commas between, got {text!r}.") from None


def _named(upload: Any) -> str:
    """The upload's name, as a file can have it."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", Path(upload.name).name).strip("-.") or "upload"


def _start(upload: Any, path: str, request: dict[str, Any]) -> None:
    """Have it done, in place of what this session asked for before and has seen the end of."""
    try:
        require(bool(upload or path), "No file is given; write its path, or upload it.")
        request |= {"mean": _numbers(request["mean"], "The mean"), "std": _numbers(request["std"], "The std")}
        require((request["mean"] is None) == (request["std"] is None), "Mean and std belong together; give both.")
        request |= {key: request[key].strip() or None for key in ("architecture", "part")}
        classes = request["classes"]
        request["classes"] = named_classes(classes, "The class names") if classes.strip() else None
        before = st.session_state.pop("import task", None)
        if before is not None and before.state not in ALIVE:
            forget(before)
        sent = None if upload is None else (_named(upload), upload.getbuffer())
        task = start_import(request | {"path": path}, sent)
    except (UserError, OSError) as error:
        guard.keep(error, "import")
    else:
        st.session_state["import task"] = task
        st.session_state["import upload kept"] = (task, upload)


def _outcomes() -> None:
    """What is being imported, by whomever, and how those ended that nobody has taken note of."""
    guard.problem("import")
    tasks = list_imports()[:MOST]
    alive = [task.id for task in tasks if task.state in ALIVE]
    guard.fragment(_under_way, run_every="1s" if alive else None)(alive)
    task, upload = st.session_state.get("import upload kept", (None, None))
    if task is not None and task.state == "finished":  # one that was refused may be tried again with other settings
        if upload is not None:
            uploads.let_go(upload)
        st.session_state["imports"] = st.session_state.get("imports", 0) + 1
        del st.session_state["import upload kept"]


def _under_way(alive_before: list[str]) -> None:
    tasks = [(task, task.state) for task in list_imports()[:MOST]]
    if [task.id for task, state in tasks if state in ALIVE] != alive_before:
        st.rerun(scope="app")  # what has come in belongs in the pickers
    for task, state in tasks:
        if state == "gone":
            continue
        if state == "finished":
            _imported(task)
            continue
        label, kind = {"failed": ("Refused", "error")}.get(state, ("Importing", "running"))
        label = f"{label}: {_file_of(task)}"
        said = task.progress.get("said")
        if state in (*ALIVE, "failed"):
            with st.status(literal(label), state=kind, expanded=state in ALIVE):  # type: ignore[arg-type]
                for line in said if isinstance(said, list) else []:
                    st.write(prose(str(line)))
        ended(task, state, f"the import of {_file_of(task)}")


def _file_of(task: Task) -> str:
    """The name of the file that it imports."""
    request = recall(task.path / "ask.json").get("request")
    return Path(str(request.get("path"))).name if isinstance(request, dict) else task.id


def _imported(task: Task) -> None:
    from fnkd_core.ui.overview import checks

    name, findings = task.result.get("name"), task.result.get("findings")
    if not isinstance(name, str) or misfit(findings, list[Finding]) is not None:
        return
    with st.container(border=True):
        st.markdown(f"**{literal(name)}** is in the library.")
        checks(Finding(**finding) for finding in findings)  # type: ignore[union-attr]
        a, b, c = st.columns(3)
        for column, role in ((a, "teacher"), (b, "student")):
            use = guard.callback(_use, role, name, task, anew=True)
            key = f"use as {role} {task.id}"
            column.button(f"Use as {literal(role)}", key=key, width="stretch", on_click=use)
        gone = guard.callback(forget, task, anew=True)
        c.button("Dismiss", key=f"dismiss {task.id}", width="stretch", on_click=gone)


def _use(role: str, name: str, task: Task) -> None:
    choose(role, find_checkpoint(name))
    forget(task)
