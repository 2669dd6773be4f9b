"""A link is a view: what a page shows stands in its address, in the names of one table.

A page's state is read from the address when the page is come to, by a link, "back" or a reload, and written into it
whenever it changes. A change of page is an entry in the browser's history, any other change is none.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Hashable, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlencode

import streamlit as st

from fnkd_core.errors import UserError, nearest
from fnkd_core.ui import inputs
from fnkd_core.ui.components.address import address
from fnkd_core.ui.links import PARAMETERS, of_page, query_of, state_of, title_of
from fnkd_core.ui.markdown import literal

PAGE = "page"

# Where the session keeps its own: the page that is shown, the values of widgets that another page does not draw, what
# was read from a link and not looked at yet, what a link names and is not there, and what is said of that.
_PAGE, _KEPT, _LINKED, _GONE = "_page", "_view_kept", "_view_linked", "_view_gone"
_SAID, _SAID_OF = "_view_said", "_view_said_of"
# The names whose widgets stand on the page and in no fragment of it, and the values that the page was drawn with.
_OUTSIDE, _DRAWN = "_view_outside", "_view_drawn"
FRAGMENT = "_view_fragment"
"""Stands in the session while a fragment of a page is drawn."""
_ORDER, _SESSION, _ASKED, _WRITTEN, _STAY = "_view_order", "_view_session", "_view_asked", "_view_written", "_view_stay"


def arrive(page: str) -> None:
    """A run of a page begins: take over what its link says, if it was come to just now.

    A link that was written here names all that is not as usual; one that names less, as a link on a page does, leaves
    the rest as it is.
    """
    state = st.session_state
    before = state.get(_PAGE)
    state[_PAGE] = page
    state[_OUTSIDE] = set()
    state[_ASKED] = None
    if _SESSION not in state:
        state[_SESSION] = secrets.token_hex(8)
        state[_ASKED] = urlencode(st.query_params.to_dict())
    if before != page and not state.pop(_STAY, False):
        if before is not None:
            _drop("page")  # of the other page's rows
        take(page, urlencode(st.query_params.to_dict()))
    for name, value in state.setdefault(_KEPT, {}).items():
        if name not in state and name in of_page(page):
            state[name] = value


def take(page: str, query: str) -> None:
    """Make a query's values the session's."""
    state = st.session_state
    values, unread = state_of(page, query)
    if {"dataset", "split"} <= set(values):
        for name in of_page(page):
            _drop(name)
    state.update(values)
    state[_LINKED] = set(values)
    state[_GONE] = {}
    state.pop(_SAID_OF, None)
    state[_SAID] = [
        f"This link's {title_of(name)} cannot be read: {text!r}. It is left out." for name, text in unread.items()
    ]


def key(name: str, options: Sequence[Hashable] | None = None, default: Any = None) -> str:
    """The key of the widget for a name of the table, whose value is made one of the options first.

    default: the value where none is chosen, if it is not the table's. A value of a link that is not among the options
    is said where `said` stands.
    """
    state = st.session_state
    if not state.get(FRAGMENT):
        state.setdefault(_OUTSIDE, set()).add(name)
    usual = PARAMETERS[name].default if default is None else default
    linked = name in state.get(_LINKED, set())
    state.get(_LINKED, set()).discard(name)
    if options is None:
        if name not in state:
            state[name] = usual
    elif state.get(name) not in options:
        if linked and name in state:
            state[_SAID].append(f"This link has {state[name]!r} for {title_of(name)}, which is not here.")
        state[name] = usual if usual in options else options[0]
    return name


def linked(name: str) -> Any:
    """The value that a link gave, once; None where none did."""
    names: set[str] = st.session_state.get(_LINKED, set())
    if name not in names:
        return None
    names.discard(name)
    return st.session_state[name]


def forget(name: str) -> None:
    """Have a name of the table as if nobody had chosen, unless a link has just given it."""
    if name not in st.session_state.get(_LINKED, set()):
        _drop(name)


def _drop(name: str) -> None:
    st.session_state.pop(name, None)
    st.session_state.get(_KEPT, {}).pop(name, None)


def key_or_gone(name: str, options: Sequence[str], default: str) -> str:
    """As `key`, but what a link names and is not among the options stays open until it is chosen; see `here`."""
    state = st.session_state
    linked: set[str] = state.get(_LINKED, set())
    if name in linked and state.get(name) not in options:
        state.setdefault(_GONE, {})[name] = state.pop(name)
    linked.discard(name)
    waits: dict[str, str] = state.setdefault(_GONE, {})
    if name in waits:
        if state.get(name) in options:
            del waits[name]  # something else was chosen meanwhile
        else:
            state[name] = None
        return name
    return key(name, options, default)


def missed(name: str, what: str, there: Collection[str]) -> None:
    """Say of what was shown and has been deleted since that another is shown now; what a link names, `here` says.

    what: what it is, in words. there: all that there is.
    """
    state = st.session_state
    if state.get(name) is not None and state[name] not in there and name not in state.get(_LINKED, set()):
        tell(f"The {what} {state[name]!r} is not here any more; another one is shown.")


def tell(sentence: str) -> None:
    """Say this where `said` stands, until something is chosen."""
    st.session_state.setdefault(_SAID, []).append(sentence)
    st.session_state.pop(_SAID_OF, None)


def picker(
    label: str, name: str, options: Sequence[str], default: str, where: Any = st, titled: Callable[[str], str] = str
) -> str | None:
    """A select box for a name of the table; None while what a link names and is not here waits for another choice.

    titled: what an option is called in the list.
    """
    shown = key_or_gone(name, options, default)
    chosen: str | None = inputs.on(where).selectbox(
        literal(label), options, key=shown, placeholder="Choose one", format_func=titled
    )
    return chosen


def page_of(num_pages: int, where: Any) -> int:
    """The page that is shown, from 1 on, chosen in a row of numbers there; one that is there no more is the last."""
    if num_pages < 2:
        return 1
    if st.session_state.get("page", 1) > num_pages:
        st.session_state["page"] = num_pages
    return int(inputs.on(where).pagination(num_pages, key=key("page")))


def gone() -> dict[str, str]:
    """Name -> what the link named and is not here, until something else is chosen."""
    return dict(st.session_state.get(_GONE, {}))


def here(chosen: str | None, name: str, what: str, options: Sequence[str], where: str = "in the sidebar") -> str:
    """What was chosen. `UserError` where nothing is, since a link names what is not here.

    what: what it is, in words. where: its picker is.
    """
    if chosen is not None:
        return chosen
    raise UserError(not_here(what, gone().get(name, ""), options, where))


def not_here(what: str, value: str, options: Sequence[str], where: str = "in the sidebar") -> str:
    """The sentence for what a link names and is not here, with the nearest of what is."""
    near = f"; nearest: {', '.join(nearest(value, options))}" if options else ""
    return f"This link names {what} {value!r}, which is not here. Choose one {where}{near}."


def said() -> list[str]:
    """What there is to say of the link that was followed, at the end of a page, until something is chosen on it."""
    state = st.session_state
    if state.setdefault(_SAID, []) and state.setdefault(_SAID_OF, _query()) != _query():
        state[_SAID] = []
    return list(state[_SAID])


def _query() -> str:
    """The query of the page as it is."""
    # What is asked for and not here stays in the address until something else is chosen.
    return query_of(st.session_state[_PAGE], _values() | gone())


def _values() -> dict[str, Any]:
    """Name -> value of the page as it is drawn.

    Where a fragment is run by itself, the browser may still send the values that widgets outside of it had before the
    page was drawn with others: those of the page count.
    """
    state = st.session_state
    values = {name: state.get(name) for name in of_page(state[_PAGE])}
    return values if state.get("_frame") else values | state.get(_DRAWN, {})


def show(at: str = PAGE, on_differs: Callable[[], None] | None = None) -> None:
    """Make the address that of what is shown, at the end of a run of a page or of a fragment of it.

    at: which part of the page that is. on_differs: `take_differing`, for the page.
    """
    state = st.session_state
    if _PAGE not in state:
        return
    page = state[_PAGE]
    kept = state.setdefault(_KEPT, {})
    values = _values()
    if state.get("_frame"):
        state[_DRAWN] = {name: values[name] for name in state.get(_OUTSIDE, ()) if name in values}
    kept |= {name: values[name] for name in of_page(page) if name in state}
    state[_WRITTEN] = query = _query()
    state[_ORDER] = state.get(_ORDER, 0) + 1
    address(
        page if page != "overview" else "",
        query,
        PARAMETERS,
        asked=state[_ASKED],
        session=state[_SESSION],
        order=state[_ORDER],
        key=f"address {at}",
        on_differs=on_differs,
    )


def take_differing() -> None:
    """The browser has another address than the session was begun with: it counts."""
    text = st.session_state[f"address {PAGE}"].get("differs")
    if text is not None:
        take(st.session_state[_PAGE], text)


def written() -> str:
    """The query as last written."""
    return str(st.session_state.get(_WRITTEN, ""))


def go(path: str) -> None:
    """Change to another page, whose state is the session's."""
    st.session_state[_STAY] = True
    # The address of the page that is left stays as it is: emptied, it would be an entry of its own.
    st.switch_page(path, query_params=parse_qsl(written()))
