"""The parts of the Similar classes page: where groups come from, their editor, and one class for example."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd
import streamlit as st

from fnkd_core.analysis.confusion import alsd_target, confused_groups
from fnkd_core.data import DatasetInfo
from fnkd_core.data.similar import (
    MOST_BYTES,
    Groups,
    class_groups,
    count_groups,
    default_similar,
    delete_groups,
    fitting_sources,
    groups_csv,
    own_similar,
    read_groups,
    save_groups,
    saved_path,
    siblings,
)
from fnkd_core.errors import UserError
from fnkd_core.kd.objective import parameters
from fnkd_core.plots.samples import given_back
from fnkd_core.spreadsheets import unmarked
from fnkd_core.stores.store import open_store
from fnkd_core.ui import address, charts, guard, inputs, tables, uploads
from fnkd_core.ui.distill import hand_over
from fnkd_core.ui.markdown import JOINER, literal, prose
from fnkd_core.ui.settings import key_of
from fnkd_core.ui.view import View, page_path
from fnkd_core.wording import counted

TITLES = {
    "superclass": "Superclasses",
    "last_word": "Last word of the name",
    "make": "Makes of cars",
    "family": "Families of aircraft",
    "manufacturer": "Manufacturers of aircraft",
    "saved": "Saved by you",
    "none": "No groups",
}
MOST_ROWS = 11
"""A longer table scrolls."""


@dataclass
class Draft:
    """What the editor holds: the groups it began with, those it shows now, and where they came from.

    version: counts the beginnings, since an editor keeps its changes for as long as its key stands.
    """

    key: str
    origin: str
    begun: Groups
    now: Groups
    version: int = 0

    def begin(self, origin: str, groups: Groups) -> None:
        self.origin, self.begun, self.now, self.version = origin, groups, groups, self.version + 1

    @property
    def editor(self) -> str:
        return f"{self.key} {self.version}"


def draft_of(info: DatasetInfo) -> Draft:
    """The draft of this data set's classes, which outlives visits to other pages; at first what `auto` means."""
    key = f"groups {info.name} {info.label_space} {hash(info.classes)}"
    if key not in st.session_state:
        try:
            origin = default_similar(info)
            groups = class_groups(info, origin)
        except (UserError, OSError) as error:
            guard.keep(error, "groups")
            origin = own_similar(info)
            groups = class_groups(info, origin)
        st.session_state[key] = Draft(key, origin, groups, groups)
    draft: Draft = st.session_state[key]
    if draft.editor not in st.session_state:  # back from another page, where the editor was forgotten
        # Edits are kept by row, and the rows are ordered anew: those of the old order must not be read in it.
        draft.begin(draft.origin, draft.now)
    return draft


def beginning(info: DatasetInfo, draft: Draft) -> None:
    """Where the groups come from, and the sums of what they are now."""
    sources = fitting_sources(info)
    options = sources if draft.origin in sources else [*sources, draft.origin]
    picker = f"source {draft.key}"
    st.session_state[picker] = draft.origin

    def load() -> None:
        draft.begin(st.session_state[picker], class_groups(info, st.session_state[picker]))

    own = default_similar(info)
    first, *columns = st.columns([2.4, 1, 1, 1], vertical_alignment="bottom")
    inputs.on(first).selectbox(
        "Groups from",
        options,
        key=picker,
        format_func=lambda name: f"{TITLES.get(name, name)}{' (auto)' if name == own else ''}",
        on_change=guard.callback(load, at="groups", writes=False),
        help="Begins anew from there; changes that are not saved are dropped.",
    )
    counts = count_groups(draft.now)
    for column, label, value, text in zip(
        columns,
        ("Groups", "Grouped", "Alone"),
        (counts.num_groups, counts.num_grouped, counts.num_alone),
        (
            "Of two classes and more.",
            "Classes that have a sibling.",
            "Classes whose A(x) is empty; for them aLSD is LSD with ε₁ + ε₂.",
        ),
        strict=True,
    ):
        column.metric(label, f"{value:,}", border=True, help=text)
    guard.problem("groups")


def others(view: View, draft: Draft) -> None:
    """The ways to bring groups from elsewhere, and to take these along."""
    info, key = view.info, f"upload {draft.editor}"

    def load() -> None:
        file = st.session_state[key]
        if file is not None:
            uploads.let_go(file)
            draft.begin(file.name, read_groups(info, file.getvalue(), file.name))

    with st.container(horizontal=True, gap="xsmall"):
        with st.popover("Suggest", icon=":material/auto_awesome:"):
            suggestion(view, draft)
        if not guard.read_only():
            with st.popover("Upload", icon=":material/upload:"):
                st.file_uploader(
                    "A CSV with the columns class and group",
                    "csv",
                    key=key,
                    max_upload_size=MOST_BYTES >> 20,
                    on_change=guard.callback(load, at="groups"),
                )
        st.download_button(
            "Download",
            groups_csv(info, draft.now),
            saved_path(info).name,
            "text/csv",
            icon=":material/download:",
            on_click="ignore",
        )


def suggestion(view: View, draft: Draft) -> None:
    """Groups of what the teacher confuses fill the editor."""
    st.markdown("**Group by what the teacher confuses**")
    num_classes = len(view.info.classes)
    store = open_store(view.teacher, view.info, view.split) if view.teacher else None
    if view.teacher is None or num_classes < 3:
        st.caption("Choose a teacher in the sidebar; classes that it takes for each other become a group.")
        return
    if store is None:
        st.caption(
            f"{literal(view.teacher.name)} has no outputs on the {literal(view.split)} split yet; Norms extracts them."
        )
        st.page_link(page_path("norms"), label="Norms", icon=":material/bar_chart:")
        return
    wanted = inputs.on().slider(
        "Groups, with those of one class", 2, num_classes - 1, max(2, num_classes // 2), key=f"wanted {draft.key}"
    )
    st.button(
        "Fill the table",
        type="primary",
        on_click=guard.callback(
            lambda: draft.begin(f"Confused by {store.name}", confused_groups(store, wanted)), at="groups", writes=False
        ),
    )
    if view.split != "train":
        st.caption(f"From the {literal(view.split)} split; for a fair test choose the train split in the sidebar.")


def editor(info: DatasetInfo, draft: Draft) -> None:
    """The table of classes and groups, groups together and lone classes last."""
    order = sorted(range(len(info.classes)), key=lambda k: (draft.begun[k] is None, draft.begun[k] or "", k))
    table = pd.DataFrame(
        {"class": [info.classes[k] for k in order], "group": [draft.begun[k] or "" for k in order]}, index=order
    )
    edited = tables.edit(
        table,
        key=draft.editor,
        hide_index=True,
        height="content" if len(order) <= MOST_ROWS else 32 * (MOST_ROWS + 1),
        column_config={
            "class": st.column_config.TextColumn("Class", disabled=True),
            "group": st.column_config.TextColumn("Group", max_chars=100, help="Empty: the class stands alone."),
        },
    )
    names = edited["group"].reindex(range(len(order))).fillna("").map(lambda name: unmarked(name, JOINER)).str.strip()
    groups = tuple(name or None for name in names)
    if groups != draft.now:
        draft.now = groups
        st.rerun()  # the sums stand above the table


def keeping(info: DatasetInfo, draft: Draft, used: bool) -> None:
    """Whether these groups are in use (`used`), and the buttons that make them so or give them up."""
    saved = saved_path(info).is_file()
    own = TITLES[own_similar(info)].lower()
    now = "your saved groups" if saved else own
    if used:
        st.markdown(f":green[:material/check_circle:] In use: `auto` means {now} for {literal(info.title)}.")
    else:
        st.markdown(f":orange[:material/edit:] Not in use yet: `auto` still means {now}. Save to change that.")
    if guard.read_only():
        return
    with st.container(horizontal=True, gap="small"):
        st.button(
            "Save",
            type="primary",
            icon=":material/save:",
            disabled=used,
            on_click=guard.callback(_save, info, draft, at="groups"),
        )
        if saved:
            with st.popover("Back to the data set's own", icon=":material/undo:"):
                st.markdown(f"Delete your saved groups? `auto` then means {own} again.")
                st.button("Delete for good", type="primary", on_click=guard.callback(_back, info, draft, at="groups"))


def in_use(info: DatasetInfo, groups: Groups) -> bool:
    """Whether a run that says nothing of groups takes these."""
    try:
        return siblings(groups) == siblings(class_groups(info, "auto"))
    except (UserError, OSError):
        return False


def _save(info: DatasetInfo, draft: Draft) -> None:
    save_groups(info, draft.now)
    draft.begin("saved", draft.now)


def _back(info: DatasetInfo, draft: Draft) -> None:
    delete_groups(info)
    draft.begin(own_similar(info), class_groups(info, "auto"))


def example(info: DatasetInfo, groups: Groups, used: bool) -> int:
    """One class, its A(x), and what it gives back under aLSD. used: whether a run takes these groups. Returns the
    class.
    """
    similar = siblings(groups)
    first = next((k for k, members in enumerate(similar) if members), 0)
    a, b, c = st.columns([2, 1, 1])
    classes = list(info.classes)
    chosen = inputs.on(a).selectbox(
        "Class", classes, key=address.key("example", classes, classes[first]), filter_mode="contains"
    )
    epsilon = {p.name: p for p in parameters("alsd")}
    values = [
        inputs.on(column).number_input(
            literal(sign),
            0.0,
            0.5,
            step=0.01,
            help=prose(epsilon[of].help),
            key=address.key(name, default=float(epsilon[of].default)),
        )
        for column, sign, name, of in (
            (b, "ε₁", "epsilon_1", "epsilon_uniform"),
            (c, "ε₂", "epsilon_2", "epsilon_similar"),
        )
    ]
    label = classes.index(chosen)
    members, e1, e2 = similar[label], *values
    alsd = alsd_target(label, members, len(classes), e1, e2)
    lsd = alsd_target(label, (), len(classes), e1, e2)
    kept = f"The label keeps **{alsd[label]:.3f}**"
    if members:
        st.markdown(f"A({literal(chosen)}) has **{counted(len(members), 'class', 'classes')}**. {kept} and gives back:")
    else:
        st.markdown(
            f"**{literal(chosen)}** stands alone, so aLSD is LSD with ε₁ + ε₂ = {e1 + e2:g}. {kept} and gives back:"
        )
    charts.chart(given_back(alsd, lsd, classes, label, members), key="target", bar=False)
    distil_with("alsd", {"epsilon_uniform": e1, "epsilon_similar": e2}, "Distil with these ε", used)
    return label


def distil_with(method: str, values: dict[str, Any], label: str, used: bool | None = None, *, why: str = "") -> None:
    """A button that gives this method's fields on Distill these values. used: whether the groups that it reads are in
    use; None where it reads none. why: it cannot be pressed.
    """
    if guard.read_only():
        return
    if used is False:
        why = why or "A run takes the groups that are in use; save these first."
    if st.button(literal(label), icon=":material/science:", disabled=bool(why), help=prose(why) or None):
        if used is not None:
            st.session_state[key_of("similar")] = "auto"
        hand_over(method, {f"{method} {name}": value for name, value in values.items()}, "Similar classes")
        address.go(page_path("distill"))
