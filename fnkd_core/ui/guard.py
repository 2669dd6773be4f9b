"""What a user can cause is a sentence on the page, never a traceback: in fragments, dialogs and callbacks too.

`st.fragment`, `st.dialog` and callbacks of widgets are made here alone; a test holds every page to it.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import streamlit as st

from fnkd_core.errors import Damaged, UserError, require
from fnkd_core.stores.upkeep import delete_damaged
from fnkd_core.ui import address
from fnkd_core.ui.markdown import literal, prose

PAGE = "page"
"""The place of problems that have no place of their own: below the page's title."""
KEPT = "problems"
READ_ONLY = "This server only shows: nothing is added, started or deleted here."


class Enough(Exception):
    """The page ends here, all being said. Not `st.stop`: what stands below a page, its address, is still written."""


@dataclass
class Kept:
    """A problem that waits to be said, or was said in this run of the page."""

    text: str
    said: bool = False


def read_only() -> bool:
    """Whether this server only shows: no control that writes, runs or names a path is drawn, and none does anything."""
    return os.environ.get("FNKD_READONLY", "") not in ("", "0")


def sentence(error: UserError | OSError) -> str:
    """What went wrong, as a page says it: without the number that the system gives it."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}." if error.filename else f"{error.strerror}."
    return str(error)


def say(error: UserError | OSError) -> None:
    """Say it here and now; of a damaged store with a button that makes it anew."""
    st.error(prose(sentence(error)), icon=":material/error:")
    if isinstance(error, Damaged):
        st.button(
            "Extract anew",
            icon=":material/refresh:",
            key=f"anew {error.store.name}",
            on_click=callback(delete_damaged, error.store, anew=True),
        )


def keep(error: UserError | OSError, at: str = PAGE) -> None:
    """Keep it for `problem(at)` to say."""
    st.session_state.setdefault(KEPT, {})[at] = Kept(sentence(error))


def went_well(what: Callable[[], object]) -> bool:
    """Whether it went well; what a user can cause is a sentence where it happened."""
    try:
        what()
    except (UserError, OSError) as error:
        say(error)
        return False
    return True


def fragment(part: Callable[..., object], *, run_every: str | None = None) -> Callable[..., None]:
    """`st.fragment` of a part of a page."""

    @functools.wraps(part)  # a fragment is known by its function's name
    def guarded(*args: Any, **kwargs: Any) -> None:
        st.session_state[address.FRAGMENT] = True
        try:
            with contextlib.suppress(Enough):
                went_well(functools.partial(part, *args, **kwargs))
        finally:
            st.session_state[address.FRAGMENT] = False
        if not st.session_state.get("_frame"):  # run by itself: the page's end, which does it, is not reached
            address.show(part.__name__)

    return st.fragment(guarded, run_every=run_every)


def dialog(title: str, **options: Any) -> Callable[[Callable[..., object]], Callable[..., None]]:
    """`st.dialog` around what it shows."""

    def decorated(part: Callable[..., object]) -> Callable[..., None]:
        @functools.wraps(part)
        def guarded(*args: Any, **kwargs: Any) -> None:
            with contextlib.suppress(Enough):
                went_well(functools.partial(part, *args, **kwargs))

        return st.dialog(literal(title), **options)(guarded)

    return decorated


def callback(
    what: Callable[..., object], *args: Any, at: str = PAGE, anew: bool = False, writes: bool = True
) -> Callable[[], None]:
    """A widget's callback that does `what` to these arguments, which are those of the widget as it is shown.

    A problem is a sentence where `problem(at)` stands. anew: afterwards the whole page is run, from a fragment too.
    writes: whether it changes more than what this session sees. `UserError` then where the server only shows, so that
    such a widget is not even drawn.
    """
    answer = Answer(what, at, anew, writes)

    @functools.wraps(what)
    def guarded() -> None:
        if not answer.given(*args) or anew:  # the place of a problem may be outside of the fragment
            st.rerun(scope="app")

    return guarded


@dataclass(frozen=True)
class Answer:
    """What is done with what an element of ours tells, as `callback` does it."""

    what: Callable[..., object]
    at: str = PAGE
    anew: bool = False
    writes: bool = True

    def __post_init__(self) -> None:
        self._require_allowed()

    def _require_allowed(self) -> None:
        require(not (self.writes and read_only()), READ_ONLY)

    def given(self, *args: Any) -> bool:
        """Do it, and whether it went well."""
        try:
            self._require_allowed()
            self.what(*args)
        except (UserError, OSError) as error:
            keep(error, self.at)
            return False
        return True


def answers(told: Callable[[], Iterable[tuple[Answer, Any]]]) -> Callable[[], None]:
    """The callback of an element that tells several things at once: each is answered, then the page is run once."""

    def guarded() -> None:
        anew = [not answer.given(value) or answer.anew for answer, value in told()]
        if any(anew):
            st.rerun(scope="app")

    return guarded


def download(what: Callable[[], bytes], at: str = PAGE) -> Callable[[], bytes]:
    """What a download button calls when it is pressed, apart from any run of the page.

    A problem ends the download, and is a sentence where `problem(at)` stands when the page is next run.
    """
    kept = st.session_state.setdefault(KEPT, {})

    def guarded() -> bytes:
        try:
            return what()
        except (UserError, OSError) as error:
            kept[at] = Kept(sentence(error))
            raise

    return guarded


def problem(at: str = PAGE) -> None:
    """The place where the problem of a callback is said, until the whole page is run again; there without one too."""
    with st.container():
        if kept := st.session_state.get(KEPT, {}).get(at):
            st.error(prose(kept.text), icon=":material/error:")
            kept.said = True


def forget_said() -> None:
    """Forget the problems that were said: a new run of the whole page begins. Fragments alone say them again."""
    kept = st.session_state.get(KEPT, {})
    for at in [at for at, one in kept.items() if one.said]:
        del kept[at]
