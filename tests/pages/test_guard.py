"""What a user can cause is a sentence in fragments, dialogs and callbacks too, and none of them can forget it."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from fnkd_core.errors import UserError
from fnkd_core.jobs.run import create_run
from fnkd_core.paths import project_dir
from fnkd_core.training.config import RunConfig
from tests.pages.tools import labelled, select, sentences

SOURCES = [*(project_dir() / "fnkd_core" / "ui").glob("*.py"), *(project_dir() / "pages").glob("*.py")]
ON_DISK = "No space left on device"


def is_made(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func) in ("guard.callback", "guard.answers")


def unguarded(path: Path) -> Iterator[str]:
    """The lines where a fragment, a dialog or a callback is made without `guard`."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    made = {ast.unparse(node.targets[0]) for node in nodes if isinstance(node, ast.Assign) and is_made(node.value)}
    for node in nodes:
        if (
            isinstance(node, ast.Attribute)
            and node.attr in ("fragment", "dialog")
            and ast.unparse(node.value) != "guard"
        ):
            yield f"{path.name}:{node.lineno} {node.attr}"
        if isinstance(node, ast.Call):
            for keyword in node.keywords:
                value = keyword.value
                handed_on = isinstance(value, ast.Name) and value.id == keyword.arg
                fine = is_made(value) or isinstance(value, ast.Constant) or ast.unparse(value) in made or handed_on
                if (keyword.arg or "").startswith("on_") and not fine:
                    yield f"{path.name}:{value.lineno} {keyword.arg}"


def test_fragments_dialogs_and_callbacks_are_made_by_the_guard_alone() -> None:
    assert len(SOURCES) > 20
    assert [line for path in SOURCES if path.name != "guard.py" for line in unguarded(path)] == []


def app_of(body: str) -> AppTest:
    lines = ("import streamlit as st", "from fnkd_core.errors import UserError", "from fnkd_core.ui import guard")
    return AppTest.from_string("\n".join((*lines, "guard.forget_said()", body)))


RAISES = """
def fails(error):
    raise {'user': UserError('It must be > 0.'), 'system': FileNotFoundError(2, 'No such file', '/x/y')}[error]
"""
SAID = {"user": "It must be > 0.", "system": "No such file: /x/y."}


@pytest.mark.parametrize("error", SAID)
@pytest.mark.parametrize(
    "use",
    ["guard.fragment(fails)({!r})", "guard.dialog('Sample')(fails)({!r})", "guard.went_well(lambda: fails({!r}))"],
)
def test_an_error_in_a_fragment_or_a_dialog_is_its_sentence_there(use: str, error: str) -> None:
    app = app_of(RAISES + use.format(error)).run()
    assert not app.exception
    assert [e.value for e in app.error] == [SAID[error]]


@pytest.mark.parametrize("error", SAID)
@pytest.mark.parametrize("inside", [True, False])
def test_an_error_in_a_callback_is_said_once_at_its_place(error: str, inside: bool) -> None:
    part = f"\ndef part():\n    st.button('Go', on_click=guard.callback(fails, {error!r}, at='here'))\n"
    app = app_of(RAISES + part + ("guard.fragment(part)()" if inside else "part()") + "\nguard.problem('here')").run()
    assert not app.error
    app.button[0].click().run()
    assert not app.exception
    assert [e.value for e in app.error] == [SAID[error]]
    app.run()
    assert not app.error


@pytest.mark.parametrize("error", SAID)
def test_an_answer_that_goes_wrong_is_said_and_keeps_no_other_from_being_given(error: str) -> None:
    body = f"""
done = st.session_state.setdefault('done', [])
told = [(guard.Answer(fails, at='here'), {error!r}), (guard.Answer(done.append), 1), (guard.Answer(done.append), 2)]
guard.fragment(lambda: st.button('Go', on_click=guard.answers(lambda: told)))()
guard.problem('here')
"""
    app = app_of(RAISES + body).run()
    app.button[0].click().run()
    assert not app.exception and [e.value for e in app.error] == [SAID[error]]
    assert app.session_state["done"] == [1, 2]


def test_a_disk_that_is_full_is_a_sentence_on_runs_and_on_distill(
    opened: Callable[..., AppTest], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, ON_DISK, "/home/runs")

    create_run(RunConfig(epochs=1).to_dict())
    monkeypatch.setattr("fnkd_core.ui.reading.delete_run", full)
    monkeypatch.setattr("fnkd_core.ui.jobs.resume", full)
    app = opened("runs")
    select(app, 0)
    labelled(app.button, "Delete for good").click()
    app.run()
    assert not app.exception and ON_DISK in sentences(app)
    labelled(app.button, "Resume").click()
    app.run()
    assert not app.exception and ON_DISK in sentences(app)


@pytest.mark.parametrize("error", SAID)
def test_a_download_that_fails_is_a_sentence_when_the_page_is_next_run(error: str) -> None:
    script = f"st.session_state['press'] = guard.download(lambda: fails({error!r}), at='here')\nguard.problem('here')"
    app = app_of(RAISES + script).run()
    assert not app.error
    with pytest.raises((UserError, OSError)):
        app.session_state["press"]()
    app.run()
    assert not app.exception and [e.value for e in app.error] == [SAID[error]]
    app.run()
    assert not app.error
