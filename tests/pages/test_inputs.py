"""An input begins in the browser with what the session has, in every run of the page: the browser may draw it late."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from fnkd_core.ui.inputs import BEGINS
from tests.pages.test_address import NAMES
from tests.pages.test_guard import SOURCES
from tests.pages.tools import labelled

LINKS: dict[str, dict[str, str]] = {
    "overview": {"teacher": "digits-ce", "split": "train"},
    "norms": {"split": "test", "student": "digits-kd", "model": "student", "by": "outcome", "norm": "8~12"},
    "gallery": {"cls": "3", "outcome": "right", "show": "sorted", "sort": "confidence", "size": "128", "norm": "8~12"},
    "map": {"layout": "tsne", "colour": "class"},
    "soft_targets": {"look": "class", "mean_of": "3"},
    "compare": {"what": "methods"},
    "runs": {"find": "fn", "curve": "loss"},
    "data": {"cls": "3"},
}
"""A page -> what a link to it says that is not as usual."""


def drawn(app: AppTest) -> Iterator[tuple[str, Any, Any]]:
    """Key of each input, what the browser begins it with, and its value, both as the browser has them."""
    for one in app.selectbox:
        begins = one.proto.options[one.proto.default] if one.proto.HasField("default") else None
        yield one.key, begins, None if one.value is None else one.format_func(one.value)
    for one in app.get("button_group"):
        yield one.key, [one.options[i] for i in one.proto.default], [one.options[i] for i in one.indices]
    for one in app.multiselect:
        yield one.key, [one.proto.options[i] for i in one.proto.default], [one.format_func(v) for v in one.value]
    for one in (*app.toggle, *app.text_input, *app.text_area):
        yield one.key, one.proto.default, one.value or type(one.proto.default)()
    for one in app.number_input:
        yield one.key, one.proto.default if one.proto.HasField("default") else None, one.value
    for one in app.slider:
        yield one.key, list(one.proto.default), list(one.value) if isinstance(one.value, tuple) else [one.value]


def test_inputs_are_drawn_with_what_the_session_has_alone() -> None:
    def others(path: Path) -> Iterator[str]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in BEGINS:
                on = node.func.value
                if not (isinstance(on, ast.Call) and ast.unparse(on.func) == "inputs.on"):
                    yield f"{path.name}:{node.lineno} {node.func.attr}"

    assert [line for path in SOURCES for line in others(path)] == []
    assert sum(path.read_text().count("inputs.on(") for path in SOURCES) > 50


@pytest.mark.parametrize("name", NAMES)
def test_every_input_of_a_page_begins_with_what_a_link_says_in_each_run(
    name: str, opened: Callable[..., AppTest]
) -> None:
    app = opened(name, **LINKS.get(name, {}))
    begins_as_it_is(app)
    begins_as_it_is(app.run())


def begins_as_it_is(app: AppTest) -> None:
    assert not app.exception
    found = list(drawn(app))
    assert len(found) > 3
    assert [one for one in found if one[1] != one[2]] == []


def test_so_do_those_of_a_form_that_a_recipe_has_filled(opened: Callable[..., AppTest]) -> None:
    app = opened("distill")
    labelled(app.selectbox, "Recipe").set_value("crd240").run()  # type: ignore[attr-defined]
    begins_as_it_is(app)
    begins_as_it_is(app.run())
    assert labelled(app.number_input, "Epochs").proto.default == 240  # type: ignore[attr-defined]


SESSION: dict[str, tuple[str, Any, Any]] = {
    "a whole number in a field that is not": ("number_input('x', 0.0, key='x')", 3, 3.0),
    "nothing in a field that has a number": ("number_input('x', 0.0, 1.0, 0.5, key='x')", None, None),
    "a number in a field that is empty": ("number_input('x', value=None, key='x')", 2, 2.0),
    "an option that was typed": ("selectbox('x', ['a'], key='x', accept_new_options=True)", "b", "b"),
    "no option": ("selectbox('x', ['a'], key='x')", None, None),
    "some of the options": ("multiselect('x', ['a', 'b', 'c'], ['a'], key='x')", ["c", "b"], ["c", "b"]),
    "both ends of a range": ("slider('x', 0.0, 9.0, key='x')", (2.0, 3.0), [2.0, 3.0]),
    "a place among several": ("select_slider('x', [1, 2, 4], key='x')", 4, [2.0]),
    "a line": ("text_input('x', 'usual', key='x')", "other", "other"),
}
"""What a session has for an input -> the input, that value, and what the browser begins with."""


@pytest.mark.parametrize("name", SESSION)
def test_it_is_the_session_s_value_in_the_input_s_own_kind(name: str) -> None:
    source, value, begins = SESSION[name]
    app = AppTest.from_string(f"from fnkd_core.ui import inputs\ninputs.on().{source}")
    app.session_state["x"] = value
    for _ in range(2):
        app.run()
        assert not app.exception
        assert app.session_state["x"] == value
        if source.startswith("select_slider"):
            assert list(app.select_slider[0].proto.default) == begins
        else:
            ((_, found, _),) = drawn(app)
            assert found == begins


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("number_input('x', 0, 5, key='x')", 7),
        ("number_input('x', 0, 5, key='x')", 2.5),
        ("selectbox('x', ['a'], key='x')", 7),
    ],
)
def test_what_an_input_cannot_have_leaves_it_its_own_beginning(source: str, value: float) -> None:
    app = AppTest.from_string(f"from fnkd_core.ui import inputs\ninputs.on().{source}")
    app.session_state["x"] = value
    app.run()
    assert not app.exception
    ((_, found, _),) = drawn(app)
    assert found in (0, "a")


def test_a_form_that_is_come_back_to_begins_with_what_was_entered(opened: Callable[..., AppTest]) -> None:
    app = opened("distill")
    labelled(app.number_input, "Epochs").set_value(7).run()  # type: ignore[attr-defined]
    app.switch_page("pages/norms.py").run()
    app.switch_page("pages/distill.py").run()
    begins_as_it_is(app)
    begins_as_it_is(app.run())
    assert labelled(app.number_input, "Epochs").proto.default == 7  # type: ignore[attr-defined]
