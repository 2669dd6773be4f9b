"""A method that is added to the dict is in the command line, the form and the reference, without any other code."""

from __future__ import annotations

import runpy
from typing import Annotated

import pytest
from streamlit.testing.v1 import AppTest

from fnkd_core import cli
from fnkd_core.kd.losses import Objective
from fnkd_core.kd.methods import METHODS, Method
from fnkd_core.kd.parameters import Range
from fnkd_core.kd.targets import Smoothed
from fnkd_core.paths import project_dir


def toy(
    sweetness: Annotated[float, Range("How much of everything the student gets.", 0, 1, 0.1)] = 0.3,
) -> Objective:
    """A method for this test: label smoothing by another name."""
    return Objective(targets=Smoothed(sweetness))


@pytest.fixture
def added(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS, "toy", Method(toy, "Toy", r"H(q, s(v_S))", "nowhere"))


def test_it_is_in_the_command_line_and_trains(added: None, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        "train",
        "--dataset",
        "digits",
        "--method",
        "toy",
        "--sweetness",
        "0.5",
        "--epochs",
        "1",
        "--threads",
        "1",
    ]
    assert cli.main(arguments) == 0
    assert "finished" in capsys.readouterr().out
    assert cli.main([*arguments[:5], "--sweetness", "2"]) == 2
    assert "sweetness must be <= 1, got 2.0." in capsys.readouterr().err


def test_it_is_in_the_form_with_its_parameter(added: None) -> None:
    app = AppTest.from_file(str(project_dir() / "app.py"), default_timeout=300).run()
    app.switch_page("pages/distill.py").run()
    next(s for s in app.selectbox if s.label == "Method").select("toy")
    app.run()
    assert not app.exception
    assert next(n for n in app.number_input if n.label == "sweetness").value == 0.3


def test_it_is_in_the_reference(added: None) -> None:
    text = runpy.run_path(str(project_dir() / "docs" / "write_readme.py"))["page"]("docs/reference/methods.md")
    assert "| `toy` A method for this test: label smoothing by another name. |" in text
    assert "`sweetness` 0.3" in text
