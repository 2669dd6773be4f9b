"""The form of a new comparison stands in the link while it is open."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from fnkd_core.experiments.comparison import create_comparison
from fnkd_core.experiments.plan import plan
from tests.pages.tools import labelled, link_of, sentences


def new_in(app: AppTest) -> dict[str, object]:
    record: dict[str, object] = json.loads(link_of(app)["new"])
    return record


def runs_in(app: AppTest) -> str:
    return next(line for line in sentences(app).splitlines() if "runs" in line and line.startswith("**"))


def test_a_form_comes_back_from_its_link_with_all_that_is_asked(opened: Callable[..., AppTest]) -> None:
    app = opened("compare", what="methods")
    labelled(app.multiselect, "Methods").set_value(["kd", "fn"])
    labelled(app.text_area, "Rows besides").set_value("dkd policy=norm lr=0.1,0.2")
    labelled(app.selectbox, "Student").set_value("cifar_resnet14")
    for label, value in (("Epochs", 3), ("Seeds", 2), ("Per class", 4), ("Learning rate", 0.025)):
        labelled(app.number_input, label).set_value(value)
    labelled(app.text_input, "Grid").set_value("T=2,4")
    labelled(app.text_input, "Name").set_value("mine")
    app.run()
    assert new_in(app) == {
        "methods": ["kd", "fn"], "rows": "dkd policy=norm lr=0.1,0.2", "student": "cifar_resnet14", "epochs": 3,
        "seeds": 2, "per_class": 4, "lr": 0.025, "grid": "T=2,4", "name": "mine",
    }  # fmt: skip
    again = opened("compare", **link_of(app))
    assert not again.exception and not again.warning and link_of(again) == link_of(app)
    assert runs_in(again) == runs_in(app) and sentences(again) == sentences(app)


def test_a_question_of_a_link_brings_its_rows_and_gives_them_back(opened: Callable[..., AppTest]) -> None:
    app = opened("compare", what="methods")
    labelled(app.selectbox, "Question").set_value("short-runs").run()
    assert new_in(app)["question"] == "short-runs" and new_in(app)["recipe"] == "short"
    again = opened("compare", **link_of(app))
    assert link_of(again) == link_of(app) and runs_in(again) == runs_in(app)
    # The recipe came with the question, and goes with it.
    labelled(again.selectbox, "Question").set_value("my own choice").run()
    assert labelled(again.selectbox, "Recipe").value == "quick" and set(new_in(again)) == {"student"}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("methods", ["kd", "magic"]), ("methods", ["kd", "kd"]), ("lr", float("nan")),
        ("epochs", 0), ("epochs", 2.5), ("epochs", True), ("seeds", "many"), ("lr", -1),
        ("question", "why"), ("question", []), ("recipe", None), ("rows", ["kd"]), ("teachers", "all"), ("batch", 64),
    ],
)  # fmt: skip
def test_what_a_field_cannot_have_is_said_and_left_out(
    opened: Callable[..., AppTest], field: str, value: object
) -> None:
    app = opened("compare", what="methods", new=json.dumps({field: value, "name": "mine"}))
    assert f"This link has {value!r} for {field} of a new comparison" in sentences(app)
    assert not app.exception and not app.error and {**new_in(app), "student": ""} == {"name": "mine", "student": ""}


def test_a_student_that_these_images_do_not_allow_is_said_and_another_chosen(opened: Callable[..., AppTest]) -> None:
    app = opened("compare", what="methods", new=json.dumps({"student": "resnet9000"}))
    assert "The student 'resnet9000' is none for these images" in sentences(app) and not app.exception
    assert labelled(app.selectbox, "Student").value == new_in(app)["student"] != "resnet9000"


def test_a_form_that_is_shut_is_not_planned_and_in_no_link(opened: Callable[..., AppTest]) -> None:
    create_comparison(plan({"dataset": "digits", "epochs": 1}, ["ce"], range(2)), "one")
    app = opened("compare", what="methods")
    assert "new" not in link_of(app) and "Start" not in [button.label for button in app.button]
    app = opened("compare", what="methods", new="{}")
    assert "Start" in [button.label for button in app.button] and set(new_in(app)) == {"student"}
    app.run()
    assert "Start" in [button.label for button in app.button]
