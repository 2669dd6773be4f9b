"""A link is a view: every state of a page comes back from its address, and what is not here is said."""

from __future__ import annotations

import json
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st
from streamlit.testing.v1 import AppTest

from fnkd_core.kd.rules import RULES
from fnkd_core.ui.links import (
    COLUMNS,
    DIVERGENCE,
    PARAMETERS,
    RANK,
    SIDEBAR,
    flag,
    of_page,
    positive,
    query_of,
    settings,
    several,
    state_of,
)
from fnkd_core.ui.view import OF_MODELS, PAGES
from tests.pages.tools import labelled, link_of, sentences
from tests.tools import copy_checkpoint

NAMES = [name for pages in PAGES.values() for name in pages]
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
ID = st.text(string.ascii_lowercase + string.digits + "-", min_size=1)
NUMBER = st.floats(1e-6, 1e6)
SPAN = st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)).map(lambda ends: (min(ends), max(ends)))
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "sample": st.integers(0, 10**6),
    RANK: st.integers(0, 10**6),
    **{name: st.integers(1, 10**6) for name in ("size", "at", "page")},
    **dict.fromkeys((*COLUMNS, DIVERGENCE), SPAN),
    **{name: NUMBER for name, one in PARAMETERS.items() if one.parse is positive},
    **dict.fromkeys(("rules", "pair"), st.lists(st.sampled_from(list(RULES)), min_size=1)),
    **{name: st.just(True) for name, one in PARAMETERS.items() if one.parse is flag},
    **dict.fromkeys(
        ("settings", "new"),
        st.dictionaries(TEXT, st.one_of(st.integers(), st.booleans(), TEXT, NUMBER), min_size=1),
    ),
    **dict.fromkeys(("epsilon_1", "epsilon_2"), st.floats(0, 0.5)),
    "sharpness": st.floats(0.01, 1e6),
    "common_of": st.integers(2, 5000),
    **dict.fromkeys(("runs", "within"), st.lists(ID, min_size=1)),
    "coloured": st.lists(TEXT, min_size=1),
}


@pytest.mark.parametrize("page", NAMES)
@given(data=st.data())
def test_every_state_of_a_page_comes_back_from_its_address(page: str, data: st.DataObject) -> None:
    names = data.draw(st.sets(st.sampled_from(of_page(page))))
    state = {name: data.draw(VALUES.get(name, TEXT), label=name) for name in sorted(names)}
    values, unread = state_of(page, query_of(page, state))
    usual = {name: PARAMETERS[name].default for name in state}
    assert usual | values == state and not unread


@given(query=st.text())
@pytest.mark.parametrize("page", NAMES)
def test_no_address_is_an_exception(page: str, query: str) -> None:
    for name in of_page(page):
        values, unread = state_of(page, f"{name}={query}")
        assert set(values) | set(unread) <= set(of_page(page))


@pytest.mark.parametrize("page", NAMES)
def test_an_address_that_is_nested_too_deep_is_said_to_be_unreadable(page: str) -> None:
    deep = "[" * 5000
    _, unread = state_of(page, "&".join(f"{name}={deep}" for name in of_page(page)))
    assert {name for name in of_page(page) if PARAMETERS[name].parse in (several, settings)} <= set(unread)


def test_what_the_sidebar_has_is_always_written(opened: Callable[..., AppTest]) -> None:
    for page in NAMES:
        link = link_of(opened(page))
        assert set(link) >= {"dataset", "split", "teacher", "student"} <= set(SIDEBAR)


VIEWS: dict[str, dict[str, str]] = {
    "gallery": {
        "model": "student", "show": "sorted", "sort": "entropy", "order": "highest first", "size": "96",
        "norm": "5~15", "entropy": "0~2", "outcome": "right", "other": "right", "at": "73", "split": "train",
        "common": "yes", "common_of": "40",
    },
    "norms": {
        "model": "student", "by": "right / wrong", "of": "3", "against": "entropy", "student": "digits-kd",
        "form": "ECDF", "norm": "8~12", "angles": "raw",
    },
    "soft_targets": {
        "T": "7.5", "tau": "2.25", "lambda": "1.5", "variant": "released", "rules": "lsd,t,fn_released",
        "epsilon": "0.2", "pair": "fn_released,lsd", "whose": "student", "look": "map",
        "under": "difference", "look_at": "student",
    },
    "compare": {"a": "digits-kd", "b": "digits-ce"},
    "classes": {"example": "7", "epsilon_1": "0.02", "epsilon_2": "0.3", "sharpness": "2.5"},
    "distill": {"settings": json.dumps({"method": "kd", "epochs": 3, "parameters": {"T": 9.0}}, separators=(",", ":"))},
}  # fmt: skip


@pytest.mark.parametrize("page", VIEWS)
def test_a_view_opened_by_its_link_writes_the_same_link(opened: Callable[..., AppTest], page: str) -> None:
    app = opened(page, **VIEWS[page])
    assert not app.exception and not app.error and not app.warning
    link = link_of(app)
    if page == "distill":  # the teacher of the sidebar and the method are always there
        record = json.loads(link["settings"])
        assert record["epochs"] == 3 and record["method"] == "kd" and record["parameters"] == {"T": 9.0}
    else:
        assert VIEWS[page].items() <= link.items()
    again = opened(page, **link)
    assert link_of(again) == link and sentences(again) == sentences(app)


@pytest.mark.parametrize(
    ("name", "what"),
    [("dataset", "data set"), ("split", "split"), ("teacher", "teacher"), ("student", "student")],
)
def test_what_a_link_names_and_is_not_here_is_said_and_nothing_else_is_shown(
    opened: Callable[..., AppTest], name: str, what: str
) -> None:
    app = opened("norms", **{name: "gone"})
    assert f"This link names {what} 'gone', which is not here. Choose one in the sidebar" in sentences(app)
    assert [title.value for title in app.title] == ["Norms"]
    assert name == "dataset" or {box.key for box in app.sidebar.selectbox} >= {"split", "teacher", "student"}
    assert not app.get("plotly_chart") and link_of(app)[name] == "gone"
    picker = app.sidebar.selectbox(key=name)
    first = picker.options[0].partition(" · ")[0]
    picker.set_value(first).run()
    assert "This link names" not in sentences(app) and link_of(app)[name] == first


@pytest.mark.parametrize("page", ["gallery", "runs"])
def test_a_model_that_is_deleted_while_a_page_shows_it_is_missed_aloud(
    opened: Callable[..., AppTest], home: Path, page: str
) -> None:
    copy_checkpoint(home, "digits-kd", "mine")
    app = opened(page, student="mine")
    assert not app.warning
    for path in (home / "checkpoints").glob("mine.*"):
        path.unlink()
    app.run()
    assert "The student 'mine' is not here any more; another one is shown." in sentences(app)
    app.sidebar.selectbox(key="teacher").set_value("digits-ce").run()
    assert "not here any more" not in sentences(app) and not app.exception


def test_a_model_of_a_link_that_is_for_other_data_is_said_to_be_so(opened: Callable[..., AppTest], home: Path) -> None:
    copy_checkpoint(home, "digits-kd", "foreign", classes=list("abcdefghij"))
    app = opened("norms", student="foreign")
    assert "This link names student 'foreign', which does not fit these data." in sentences(app)
    assert "foreign calls class 0 'a', digits (digits) calls it '0'" in sentences(app)
    assert "is not here" not in sentences(app) and not app.get("plotly_chart")


@pytest.mark.parametrize("page", [name for pages in PAGES.values() for name in pages if name not in OF_MODELS])
def test_a_page_that_can_do_without_a_model_is_there_where_a_link_names_one_that_is_not(
    opened: Callable[..., AppTest], page: str
) -> None:
    app = opened(page, student="gone")
    assert [w.value for w in app.warning if "student 'gone', which is not here" in w.value.replace(chr(92), "")]
    assert not app.exception and not app.error
    assert len(app.main) > len(opened("norms", student="gone").main) and link_of(app).get("student") == "gone"


def test_a_filter_of_a_link_that_the_data_do_not_have_is_said(opened: Callable[..., AppTest]) -> None:
    app = opened("gallery", cls="unicorn", norm="wide", at="-1")
    said = "\n".join(warning.value for warning in app.warning)
    assert "unicorn" in said and "wide" in said and "-1" in said and not app.exception
    labelled(app.selectbox, "Label").set_value("3").run()
    assert not app.warning


def test_a_settings_record_that_is_none_is_a_sentence(opened: Callable[..., AppTest]) -> None:
    for text in ('{"epochs":-3}', '{"nonsense":1}', '{"method":["kd"]}', "[]", "{", '{"lr":NaN}'):
        app = opened("distill", settings=text)
        assert not app.exception and (app.error or app.warning), text


def test_filters_stay_while_other_pages_are_looked_at(opened: Callable[..., AppTest]) -> None:
    app = opened("gallery", outcome="right", norm="8~12")
    before = link_of(app)
    app.switch_page("pages/norms.py").run()
    assert "outcome" not in link_of(app)
    app.query_params.clear()
    app.switch_page("pages/gallery.py").run()
    assert link_of(app) == before and labelled(app.selectbox, "Outcome").value == "right"


def test_the_query_is_spelt_as_the_browser_reads_it() -> None:
    query = query_of("runs", {"dataset": "a b&c=d", "find": "τ=4 +1"})
    assert dict(parse_qsl(query)) == {"dataset": "a b&c=d", "find": "τ=4 +1"}
