"""The parts of the Data page: what there is of each class, what it looks like, and what its files are."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from fnkd_core.data import check_data, look_again, refuses_broken
from fnkd_core.data.catalogue import files_of
from fnkd_core.data.check import left_out_line
from fnkd_core.data.pictures import in_full
from fnkd_core.errors import UserError
from fnkd_core.plots.classes import samples_by_class
from fnkd_core.stores.album import Album, album
from fnkd_core.ui import address, charts, guard, inputs, tables
from fnkd_core.ui.components.gallery import uri
from fnkd_core.ui.downloads import offered
from fnkd_core.ui.links import ALL
from fnkd_core.ui.markdown import code, literal, prose
from fnkd_core.ui.tasks import leave_out
from fnkd_core.ui.tiles import tiles
from fnkd_core.ui.view import View, page_path
from fnkd_core.wording import counted

A_PAGE = 60
"""Pictures of a page."""
LISTED = 50
"""So many files are listed, of those with something to say of."""


def facts(view: View) -> None:
    """What it is, in one line and a few numbers."""
    info = view.info
    st.markdown(f"**{literal(info.title)}**, {len(info.classes):,} classes. {prose(info.note)}")
    with st.container(horizontal=True, gap="medium"):
        for split, size in zip(info.splits, info.sizes, strict=False):
            st.metric(literal(split.capitalize()), f"{size:,}", width="content")
        _, height, width = info.image
        text = "The size at which a network that is trained here reads them." if info.resizable else None
        st.metric("Pixels", literal(f"{width} × {height}"), width="content", help=text)
    numbers = ", ".join(f"{mean:.3g} ± {std:.3g}" for mean, std in zip(info.mean, info.std, strict=True))
    said = f"Pixels are normalised by {numbers} (mean ± sd of each channel; white is 1)."
    where = f" Its files: {code(info.root)}." if info.root else ""
    st.caption(prose(said) + where)


def steps(view: View) -> None:
    """From the data to a student, with what is there already."""
    teacher, student = view.teacher, view.student
    is_here = not view.info.download
    fits = f"{counted(len(view.fitting), 'checkpoint')} here fit these data."
    ways: tuple[tuple[bool, str, str, dict[str, tuple[str, str]]], ...] = (
        (
            is_here,
            "1. Data",
            f"{view.info.title} is " + ("read. Its images are below." if is_here else "not on this machine yet."),
            {"overview": ("Add an image folder", ":material/create_new_folder:")},
        ),
        (
            teacher is not None,
            "2. Teacher",
            f"{teacher.name} is chosen. {fits}" if teacher else f"{fits} Import one, or train one here.",
            {"overview": ("Import a checkpoint", ":material/upload:"), "distill": ("Train one", ":material/science:")},
        ),
        (
            student is not None,
            "3. Student",
            f"{student.name} is chosen." if student else "Distil one from the teacher.",
            {"distill": ("Distil a student", ":material/science:")},
        ),
    )
    for column, (done, title, text, links) in zip(st.columns(3), ways, strict=True):
        with column, st.container(border=True, height="stretch"):
            mark = ":green[:material/check_circle:]" if done else ":material/radio_button_unchecked:"
            st.markdown(f"{mark} **{literal(title)}**")
            st.caption(literal(text))
            if not guard.read_only():
                for name, (label, icon) in links.items():
                    st.page_link(page_path(name), label=literal(label), icon=icon)


def require_here(view: View) -> None:
    """End the page with a button where the images would have to be downloaded."""
    if offered(view.info):
        raise guard.Enough


def balance(view: View) -> None:
    """How many samples each class has."""
    info = view.info
    st.header("Samples of each class", anchor=False)
    counts = {split: album(info, split).counts(len(info.classes)) for split in info.splits}
    charts.chart(samples_by_class(counts, info.classes), key="samples by class", bar=False)
    total = np.sum(list(counts.values()), axis=0)
    least, most = int(total.argmin()), int(total.argmax())
    if total[least] == total[most]:
        st.caption(f"Every class has {total[least]:,} samples.")
    else:
        first, last = (f"{total[k]:,} ({literal(info.classes[k])})" for k in (least, most))
        st.caption(
            f"From {first} to {last}; the largest class has {total[most] / max(total[least], 1):.3g} times as many "
            "as the smallest."
        )
    with st.expander("As a table", icon=":material/table:"):
        table = pd.DataFrame({"class": list(info.classes), **counts})
        tables.show(table, hide_index=True)


def images(view: View) -> None:
    """The pictures of a split, of one class or of all, a page at a time."""
    info = view.info
    st.header("Images", anchor=False)
    held = album(info, view.split)
    names = [ALL, *info.classes]
    line = st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="bottom")
    chosen = inputs.on(line).selectbox("Class", names, key=address.key("cls", names), width=280)
    ids = np.arange(len(held.labels)) if chosen == ALL else np.flatnonzero(held.labels == names.index(chosen) - 1)
    line.caption(f"{len(ids):,} of {len(held.labels):,} samples of {literal(view.split)}.", width="content")
    page = address.page_of(-(-len(ids) // A_PAGE), line)
    broken: list[str] = []
    items = [item for i in ids[(page - 1) * A_PAGE : page * A_PAGE] if (item := _tile(view, held, int(i), broken))]
    asked: int | None = None
    if items:
        asked = tiles([{"title": view.split.capitalize(), "note": "", "items": items}], 96, key="data pictures")
    elif not broken:
        st.info("There is no sample of this class in this split.", icon=":material/filter_alt_off:")
    if broken:
        with st.container(border=True):
            count = f"{counted(len(broken), 'image')} of this page cannot be read"
            st.error(prose(f"{count}: {'; '.join(broken[:3])}{' ...' if len(broken) > 3 else ''}."))
            offer_to_leave_out(view, "images")
    if asked is not None and asked < len(held.labels):
        _look(view, held, asked)


def offer_to_leave_out(view: View, at: str) -> None:
    """A button beside what cannot be read, where the data can be read without it. at: the part of the page."""
    if not guard.read_only() and refuses_broken(view.info.name):
        leave_out(view.info.name, at=f"broken {at}")
        guard.problem(f"broken {at}")


def _tile(view: View, held: Album, i: int, broken: list[str]) -> dict[str, Any] | None:
    try:
        picture = held.picture(i)
    except UserError as error:
        broken.append(str(error))
        return None
    label = view.info.classes[held.labels[i]]
    return {"id": i, "src": uri(picture), "norm": "", "more": [], "label": label, "predicted": None}


@guard.dialog("Image", width="large")
def _look(view: View, held: Album, i: int) -> None:
    says = f"Sample {i}, {view.info.classes[held.labels[i]]}"
    st.markdown(f"**{literal(view.info.classes[held.labels[i]])}**, sample {i:,} of {literal(view.split)}")
    if held.sources:
        picture, (width, height) = in_full(held.sources[i])
        st.image(picture, alt=says)
        st.caption(literal(f"{width} × {height} pixels."))
        if isinstance(path := held.sources[i], str):
            st.code(path, language=None, wrap_lines=True)
    else:
        st.image(held.picture(i), width=320, alt=says)
        st.caption(code(held.keys[i]))


def files(view: View) -> None:
    """What its image files are, looked at when that is asked for."""
    if files_of(view.info, view.split) is None:
        return
    st.header("Files", anchor=False)
    where = f"files of {view.info.name} {view.info.identities}"  # what was left out since makes them others
    with st.container(horizontal=True, vertical_alignment="center"):
        for label, deep, text in (
            ("Read their headers", False, "Counts formats, modes and sizes."),
            ("Decode every image", True, "Finds those that are cut off as well; takes as long as reading all of them."),
        ):
            if st.button(label, key=f"check {deep}", help=text):
                look_again()
                with st.spinner("Looking at the files"):
                    st.session_state[where] = check_data(view.info.name, deep)
    found: dict[str, Any] | None = st.session_state.get(where)
    if found is None:
        st.caption("Formats, sizes, images that are turned, broken ones: looked up when you ask for it.")
        return
    _report(view, found)


def _report(view: View, found: dict[str, Any]) -> None:
    splits = found["splits"].items()
    rows = [
        {
            "split": split,
            "images": seen["images"],
            "formats": ", ".join(f"{kind} {count:,}" for kind, count in seen["formats"].items()),
            "modes": ", ".join(f"{kind} {count:,}" for kind, count in seen["modes"].items()),
            "smallest": _size(seen["smallest"]),
            "median": _size(seen["median"]),
            "largest": _size(seen["largest"]),
            "turned by EXIF": seen["turned"],
            "unreadable": len(seen["unreadable"]) + len(seen["huge"]),
        }
        for split, seen in splits
    ]
    tables.show(pd.DataFrame(rows), hide_index=True)
    broken = [
        {"split": split, "file": key, "what": why}
        for split, seen in splits
        for kind in ("unreadable", "huge", "corrupt_exif")
        for key, why in seen[kind].items()
    ]
    if broken:
        tables.show(pd.DataFrame(broken[:LISTED]), hide_index=True)
        if len(broken) > LISTED:
            st.caption(f"{LISTED} of {len(broken):,} are listed; `fnkd data check` prints all as JSON.")
        if any(seen["unreadable"] for _, seen in splits):
            offer_to_leave_out(view, "files")
    for kind, text in (("empty", "Without images"), ("outside", "Links that lead out of the folder")):
        if found[kind]:
            st.caption(literal(f"{text}: {len(found[kind]):,} ({', '.join(found[kind][:10])})."))
    for group in found["same_names"]:
        st.caption(literal(f"The same name but for case or Unicode form: {', '.join(group)}."))
    if found["left_out"]:
        st.caption(literal(left_out_line(Counter(found["left_out"]))))
    if not broken and not found["problem"]:
        looked = "decoded" if next(iter(found["splits"].values()))["decoded"] else "opened"
        st.caption(f":green[:material/check_circle:] Every image could be {looked}.")


def _size(size: list[int] | None) -> str:
    return f"{size[0]} × {size[1]}" if size else ""
