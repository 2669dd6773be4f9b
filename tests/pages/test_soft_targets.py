"""Soft targets: its values go to Distill when they are asked to, and never else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from fnkd_core.kd.methods import METHODS
from fnkd_core.kd.objective import parameters
from tests.pages.tools import labelled, press, sentences

USE, BACK = "Use these values in Distill", "Back to the defaults"
NOTE = "T, tau, lambda and variant are from Soft targets."
LAB = {"T": "2.5", "tau": "1.75", "lambda": "2", "variant": "released"}


def fields(app: AppTest, method: str) -> dict[str, Any]:
    """The method's parameters as the form on Distill shows them."""
    if labelled(app.selectbox, "Method").value != method:
        labelled(app.selectbox, "Method").select(method)
        app.run()
    assert not app.exception and not app.error and not app.warning
    names = {p.name for p in parameters(method)}
    return {
        e.label: e.value for kind in (app.number_input, app.selectbox, app.toggle) for e in kind if e.label in names
    }


def test_opening_soft_targets_changes_no_field_on_distill(opened: Callable[..., AppTest]) -> None:
    app = opened("soft_targets", **LAB)
    app.switch_page("pages/distill.py").run()
    for method in METHODS:
        assert fields(app, method) == {p.name: p.default for p in parameters(method)}, method
        assert "Soft targets" not in sentences(app)


@pytest.mark.parametrize(("before", "after"), [(None, "fn"), ("kd", "kd"), ("fn", "fn"), ("lskd", "fn")])
def test_the_button_sets_kd_s_and_fn_s_values_on_distill_and_says_where_they_are_from(
    opened: Callable[..., AppTest], before: str | None, after: str
) -> None:
    app = opened("distill" if before else "soft_targets", **({} if before else LAB))
    if before:
        fields(app, before)
        for key, value in LAB.items():
            app.query_params[key] = value
        app.switch_page("pages/soft_targets.py").run()
    press(app, USE)
    assert not app.exception
    assert app.title[0].value == "Distill" and NOTE in sentences(app)
    assert labelled(app.selectbox, "Method").value == after
    assert fields(app, "kd") == {"T": 2.5, "alpha": 0.9, "t_squared": True}
    fn = {"tau": 1.75, "lambda": 2.0, "variant": "released", "student_norm": "own"}
    assert fields(app, "fn") == fn
    assert fields(app, "lskd")["T"] == 2 and NOTE not in sentences(app)
    app.switch_page("pages/norms.py").run()
    app.switch_page("pages/distill.py").run()
    assert fields(app, "fn") == fn and NOTE in sentences(app)
    press(app, BACK)
    for method in ("fn", "kd", "lskd"):
        assert fields(app, method) == {p.name: p.default for p in parameters(method)}
        assert "Soft targets" not in sentences(app)


def test_what_was_changed_on_distill_afterwards_is_not_said_to_be_from_soft_targets(
    opened: Callable[..., AppTest],
) -> None:
    app = opened("soft_targets", **LAB)
    press(app, USE)
    labelled(app.number_input, "lambda").set_value(5.0)
    app.run()
    assert "T, tau and variant are from Soft targets." in sentences(app)
    app.switch_page("pages/soft_targets.py").run()
    app.switch_page("pages/distill.py").run()
    assert fields(app, "fn")["lambda"] == 5.0
