"""What every page shares: the list of pages, the sidebar's choice, and the view that follows from it."""

from __future__ import annotations

import copy
import functools
from collections import Counter
from collections.abc import Callable
from typing import Any

import streamlit as st

from fnkd_core.checkpoints import library
from fnkd_core.checkpoints.fits import unfit
from fnkd_core.checkpoints.library import WEIGHTS, Entry, student_rows
from fnkd_core.checkpoints.several import names_of
from fnkd_core.data import DatasetInfo, dataset_info, folders, list_datasets, registry_problem, remove_folder
from fnkd_core.errors import NotHere, UserError
from fnkd_core.index import looked_once
from fnkd_core.paths import project_dir
from fnkd_core.ui import address, door, glossary, guard, jobs, pickers
from fnkd_core.ui.markdown import literal, prose
from fnkd_core.ui.view import NONE, OF_MODELS, PAGES, View, page_path

GROUP = "students shown"
"""The key of whose students the sidebar offered last."""


def _pages(icons: bool = True) -> dict[str, list[Any]]:
    # Each session is given pages of its own, since the one that is chosen is marked.
    return {group: [copy.copy(page) for page in pages] for group, pages in _pages_of(icons).items()}


@functools.cache  # Streamlit looks for the file of each of them, at each run of any
def _pages_of(icons: bool) -> dict[str, list[Any]]:
    return {
        group: [
            st.Page(
                page_path(name),
                title=title,
                icon=icon if icons else None,
                url_path=name,
                default=name == "overview",
            )
            for name, (title, icon) in pages.items()
        ]
        for group, pages in PAGES.items()
    }


def run() -> None:
    """Navigation, sidebar, page, for those who may see them. Called by `app.py` alone."""
    if not door.passed():
        return
    st.session_state["_frame"] = True
    guard.forget_said()
    try:
        chosen = st.navigation(_pages())
        logo = "dark" if st.context.theme.type == "dark" else "light"
        st.logo(str(project_dir() / "static" / f"logo-{logo}.svg"), size="large")
        door.notice()
        address.arrive(chosen.url_path or "overview")
        with looked_once():
            if _guarded(lambda: st.session_state.update(_view=_viewed(chosen.title))) and _guarded(chosen.run):
                _of_link()
        address.show(on_differs=guard.callback(address.take_differing, writes=False))
    finally:
        del st.session_state["_frame"]  # it stands for this run of the script alone


def _of_link() -> None:
    """What there is to say of the link, below the page's title: known when the page has looked for what it names."""
    place = st.session_state["_of_link"]
    for sentence in address.said():
        place.warning(literal(sentence), icon=":material/link_off:")


def _guarded(what: Callable[[], Any]) -> bool:
    """Whether it went well; what a user can cause is a sentence on the page, never a traceback.

    No `st.stop` here: after it the session state cannot be touched, and `run` has to.
    """
    try:
        what()
    except guard.Enough:
        return True
    except NotHere as error:
        from fnkd_core.ui.downloads import offer_download

        offer_download(error.name, error.title, error.root, str(error))
        return False
    except _Unread as error:
        guard.say(error)
        if not guard.read_only():
            gone = guard.callback(remove_folder, error.name)
            st.button(f"Forget {literal(error.name)}", help="The images stay.", on_click=gone, key="forget unread")
        return False
    except (UserError, OSError) as error:
        guard.say(error)
        return False
    return True


class _Unread(UserError):
    """A folder that was added and cannot be read any more."""

    def __init__(self, name: str, why: UserError) -> None:
        super().__init__(f"The data set {name} cannot be read: {why}")
        self.name = name


def _described(name: str) -> DatasetInfo:
    try:
        return dataset_info(name)
    except UserError as error:
        if name not in folders() or isinstance(error, NotHere):
            raise
        raise _Unread(name, error) from None


def page(name: str, question: str) -> View:
    """First line of every page: its heading, and what the sidebar has chosen.

    The first request after the server's start may be for a page, which then runs without `app.py`; the pages
    are made known and the request is run again.
    """
    if not st.session_state.get("_frame"):
        # Without `app.py` there is no favicon, and a page's icon would be fetched from outside to be one.
        st.navigation(_pages(icons=False), position="hidden")
        st.rerun()
    title = next(pages[name][0] for pages in PAGES.values() if name in pages)
    st.title(literal(title), anchor=False)
    st.caption(prose(question))
    guard.problem()
    st.session_state["_of_link"] = st.container()
    view: View = st.session_state["_view"]
    for sentence in view.absent:
        raise UserError(sentence)
    for sentence in view.missing:
        if name in OF_MODELS:
            raise UserError(sentence)
        st.warning(literal(sentence), icon=":material/link_off:")
    return view


def _viewed(title: str) -> View:
    """What the sidebar has chosen; where there is nothing for the page to be of, it has its title all the same."""
    try:
        return _sidebar()
    except (UserError, OSError):
        st.title(literal(title), anchor=False)
        raise


def _sidebar() -> View:
    # A page that wants another choice leaves it here: a widget's value can be set only before it is drawn.
    st.session_state.update(st.session_state.pop("choose", {}))
    with st.sidebar:
        if problem := registry_problem():
            st.error(prose(problem), icon=":material/broken_image:")
        datasets = list_datasets()
        address.missed("dataset", "data set", datasets)
        name = address.here(
            address.picker("Data set", "dataset", datasets, datasets[0]), "dataset", "data set", datasets
        )
        info = _described(name)
        labels = info.label_space
        if len(info.label_spaces) > 1:
            spaces = list(info.label_spaces)
            labels = address.here(address.picker("Labels", "labels", spaces, spaces[0]), "labels", "labels", spaces)
            info = dataset_info(name, labels=labels)
        absent = []
        splits = list(info.splits)
        split = address.picker("Split", "split", splits, splits[-1])
        if split is None:
            absent.append(address.not_here("split", address.gone()["split"], splits))
        rows = student_rows()
        group, groups = pickers.SINGLE, pickers.groups(rows)
        if len(groups) > 1:
            chosen = address.picker("Students of", "students", groups, pickers.SINGLE)
            if chosen is None:
                absent.append(address.not_here("students of", address.gone()["students"], groups))
            group = chosen or pickers.SINGLE
        offer = pickers.offer(rows, group)
        fitting = tuple(e for e in offer.entries if unfit(e, info) is None)
        names = {e.name: e for e in fitting}
        teacher, student = default_models(fitting)
        if st.session_state.get(GROUP, group) != group:  # whose students somebody has asked for
            address.forget("student")
            student = next((names[name] for name in offer.of_group if name in names), student)
        st.session_state[GROUP] = group
        others = {e.name: e for e in offer.entries if e.name not in names}
        for role in ("teacher", "student"):
            if st.session_state.get(role) not in names:  # else no list of ten thousand is asked for
                address.missed(role, role, [NONE, *library.names()])
        picked = {
            role: pickers.checkpoint(role.capitalize(), role, names, default.name if default else NONE, more=(NONE,))
            for role, default in (("teacher", teacher), ("student", student))
        }
        asked_for = {role: address.gone().get(role, "") for role, name in picked.items() if name is None}
        missing = tuple(
            _missing(role, name, others.get(name), info, [*names, NONE]) for role, name in asked_for.items()
        )
        models = {role: names.get(name or NONE) for role, name in picked.items()}
        if offer.num_shown < offer.num_runs:
            st.caption(f"Students of the {offer.num_shown:,} newest of {offer.num_runs:,} runs; Runs has all of them.")
        if len(fitting) < len(offer.entries):
            st.caption(f"{len(fitting)} of {len(offer.entries)} checkpoints fit this data set; Overview says why.")
        jobs.sight()
        asked = glossary.pressed()
    if asked:
        glossary.show()
    offered = tuple(offer.entries)
    of = split or splits[-1]
    return View(info, of, models["teacher"], models["student"], fitting, offered, missing, tuple(absent))


def _missing(role: str, name: str, entry: Entry | None, info: DatasetInfo, options: list[str]) -> str:
    """What to say of a model that a link names: it is here, and not for these data, or it is not here."""
    if entry is None:
        return address.not_here(role, name, options)
    return f"This link names {role} {name!r}, which does not fit these data. {unfit(entry, info)}"


def default_models(fitting: tuple[Entry, ...]) -> tuple[Entry | None, Entry | None]:
    """The teacher that most others name, else the most accurate; the student by fn, else any other, its twin last."""

    def accuracy(entry: Entry) -> float:
        assert entry.card is not None
        return float(entry.card.metrics.get("last", {}).get("accuracy") or 0.0)

    # By identity where a card tells its teacher's, else by name: no model is compared with every other.
    cards = [e.card for e in fitting if e.card is not None]
    pupils = Counter(one for card in cards for one in names_of(card.provenance.get("teacher") or card.teacher))
    known = {e.name: e.identity for e in fitting}
    ranked = sorted(fitting, key=lambda e: (-pupils[known[e.name]] - pupils[e.name], -accuracy(e), e.name))
    teacher = ranked[0] if ranked else None
    others = [e for e in fitting if e is not teacher]
    own = {teacher.name, known[teacher.name]} if teacher else set()

    def by_fn(entry: Entry) -> bool:
        assert entry.card is not None
        taught_by = names_of(entry.card.provenance.get("teacher") or entry.card.teacher)
        return entry.card.method == "fn" and not own.isdisjoint(taught_by)

    def is_twin(entry: Entry) -> bool:
        """Whether it is another epoch of the teacher's own run."""
        return teacher is not None and entry.path.parent == teacher.path.parent and entry.path.name in WEIGHTS

    others.sort(key=lambda e: (is_twin(e), not by_fn(e)))
    return teacher, others[0] if others else None
