"""Recipes in the forms of Distill and Compare: each starts from one, and says what was changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from fnkd_core.experiments.plan import Cell, plan
from fnkd_core.training import spread
from fnkd_core.training.config import RunConfig
from fnkd_core.training.recipes import RECIPES, with_recipe
from fnkd_core.ui.recipes import images_line
from tests.pages.tools import labelled, sentences


@pytest.fixture
def submitted(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What was asked to be trained."""
    found: list[dict[str, Any]] = []

    class Submitted:
        id = "none"

    monkeypatch.setattr("fnkd_core.ui.starting.submit", lambda config: found.append(config) or Submitted())
    return found


def start(app: AppTest) -> None:
    assert not app.exception and not app.error
    labelled(app.button, "Start").click()  # type: ignore[attr-defined]
    app.run()


def test_a_form_starts_from_a_recipe_says_what_was_changed_and_goes_back(
    opened: Callable[..., AppTest], submitted: list[dict[str, Any]]
) -> None:
    app = opened("distill")
    assert labelled(app.selectbox, "Recipe").value == "quick"
    assert "Every setting that a recipe decides is that of quick." in sentences(app)
    given = {"method": "fn", "teacher": "digits-teacher"}
    for name in (name for name in RECIPES if not RECIPES[name].needs):
        labelled(app.selectbox, "Recipe").set_value(name)
        app.run()
        said = sentences(app)
        assert f"Every setting that a recipe decides is that of {name}." in said and RECIPES[name].source in said
        start(app)
        assert submitted[-1] == RunConfig(**with_recipe(name, given)).to_dict()
    labelled(app.number_input, "Epochs").set_value(7)
    labelled(app.number_input, "Mixup").set_value(0.0)
    app.run()
    assert "As the recipe patient, but for epochs 7 (there 600); mixup 0.0 (there 1.0)." in sentences(app)
    labelled(app.button, "Back to the recipe").click()
    app.run()
    start(app)
    assert submitted[-1] == RunConfig(**with_recipe("patient", given)).to_dict()


def test_a_student_can_start_from_a_checkpoint_and_finetune_asks_for_one(
    opened: Callable[..., AppTest], submitted: list[dict[str, Any]]
) -> None:
    app = opened("distill")
    labelled(app.selectbox, "Recipe").set_value("finetune")
    app.run()
    assert "finetune needs init: see Start from other weights." in sentences(app)
    field = labelled(app.selectbox, "Start from")
    assert set(field.options) == {"random weights", "digits-ce", "digits-kd", "digits-fn"}
    assert labelled(app.number_input, "Freeze").disabled
    field.set_value("digits-kd")
    app.run()
    assert "needs init" not in sentences(app)
    assert "The student starts from digits-kd, with its head." in sentences(app)
    start(app)
    given = {"method": "fn", "teacher": "digits-teacher", "init": "digits-kd"}
    # The freeze of the recipe was set before there was an init to keep.
    assert submitted == [RunConfig(**with_recipe("finetune", given)).to_dict()]


def test_which_augmentation_suits_the_teacher_is_asked_on_the_page_and_stays_answered(
    opened: Callable[..., AppTest], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr("fnkd_core.ui.augmentations.start_spread", lambda *what: asked.append(what))
    app = opened("distill", teacher="digits-ce")
    labelled(app.button, "Measure").click()  # type: ignore[attr-defined]
    app.run()
    ((entry, info),) = asked
    assert entry.name == "digits-ce" and not app.exception and not app.error
    monkeypatch.setattr(spread, "DRAWN", 20)
    for _ in spread.measure(entry, info):
        pass
    app.run()
    found = spread.found(entry, info)
    assert found is not None and spread.verdict(found) in sentences(app)
    assert not [button for button in app.button if button.label == "Measure"] and not app.exception


def test_a_comparison_starts_from_a_recipe_says_what_was_changed_and_goes_back(
    opened: Callable[..., AppTest], monkeypatch: pytest.MonkeyPatch
) -> None:
    planned: list[list[Cell]] = []

    class Made:
        id = "none"

    monkeypatch.setattr(
        "fnkd_core.ui.comparison_form.create_comparison", lambda cells, *_: planned.append(cells) or Made()
    )
    monkeypatch.setattr("fnkd_core.ui.comparison_form.start", lambda comparison: None)
    base = {"dataset": "digits", "teacher": "digits-teacher"}
    app = opened("compare", what="methods")
    labelled(app.multiselect, "Methods").set_value(["ce", "kd"])
    labelled(app.number_input, "Seeds").set_value(1)
    app.run()
    assert labelled(app.selectbox, "Recipe").value == "quick"
    assert "Every setting that a recipe decides is that of quick." in sentences(app)
    start(app)
    # As a comparison of before there were recipes here.
    assert [c.config for c in planned[-1]] == [c.config for c in plan(base, ["ce", "kd"], [0])]
    labelled(app.selectbox, "Recipe").set_value("patient")
    app.run()
    said = sentences(app)
    assert "Every setting that a recipe decides is that of patient." in said and RECIPES["patient"].source in said
    start(app)
    as_patient = plan(base, ["ce", "kd"], [0], recipe="patient")
    assert planned[-1] == as_patient and as_patient[1].config.mixup == 1.0
    labelled(app.number_input, "Epochs").set_value(60)
    labelled(app.text_input, "Grid").set_value("lr=0.003,0.01 weight_by_norm=-1")
    app.run()
    text = "As the recipe patient, but for epochs 60 (there 600); warmup_epochs 0.5 (there 5.0); "
    assert f"{text}weight_by_norm -1.0 (there 0.0); lr 0.01 (there 0.003)." in sentences(app)
    labelled(app.button, "Back to the recipe").click()
    labelled(app.text_input, "Grid").set_value("")
    app.run()
    assert "Every setting that a recipe decides is that of patient." in sentences(app)
    start(app)
    assert planned[-1] == as_patient


def test_a_comparison_from_finetune_asks_for_its_checkpoint(opened: Callable[..., AppTest]) -> None:
    app = opened("compare", what="methods")
    assert not [box for box in app.selectbox if box.label == "Start from"]
    labelled(app.selectbox, "Recipe").set_value("finetune")
    app.run()
    assert [e.value for e in app.error] == ["The recipe finetune needs init, such as --init NAME; give it too."]
    labelled(app.selectbox, "Start from").set_value("digits-kd")
    app.run()
    assert (
        not app.exception
        and not app.error
        and "Every setting that a recipe decides is that of finetune." in sentences(app)
    )


def test_on_which_images_a_run_trains_is_said_beside_its_recipe() -> None:
    assert images_line(RunConfig()) == ""
    some = RunConfig(per_class=100, exclude="tagged", label_noise=0.2)
    assert images_line(some) == "The images: 100 of each class, without those of tagged, 20% with a wrong label."
