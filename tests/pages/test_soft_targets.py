"""Soft targets: its values go to Distill when they are asked to, and never else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from fnkd_core.kd.methods import METHODS
from fnkd_core.kd.objective import parameters
from fnkd_core.kd.rules import RULES
from fnkd_core.stores.store import Store
from fnkd_core.ui.lab_parts import PARTS
from tests.pages.tools import fields, labelled, link_of, press, sentences

BACK = "Back to the defaults"
NOTE = "tau, lambda and variant are from Soft targets."
LAB = {"T": "2.5", "tau": "1.75", "lambda": "2", "variant": "released"}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Press a button of the lab, if one is named, in the next run of the page, and keep what the lab is given."""

    def ask(*waits: str, **what: Any) -> None:
        waiting = list(waits)

        def pressed(pack: dict[str, Any], data: dict[str, Any], *, key: str, **callbacks: Callable[[], None]) -> Any:
            shown.append(pack | data)
            if waiting:
                name = waiting.pop()
                told = what[name] if name in what else what | {"values": what.get("values") or data["values"]}
                st.session_state[key] = {name: told}
                callbacks[f"on_{name}"]()
            return None

        monkeypatch.setattr("fnkd_core.ui.soft_targets.temperature_lab", pressed)

    return ask


shown: list[dict[str, Any]] = []
"""What the lab was given, run by run."""


def usual(method: str) -> dict[str, Any]:
    """The method's parameters where nothing is changed."""
    return {p.name: p.default for p in parameters(method)}


def test_opening_soft_targets_changes_no_field_on_distill(opened: Callable[..., AppTest]) -> None:
    app = opened("soft_targets", **LAB)
    app.switch_page("pages/distill.py").run()
    for method in METHODS:
        assert fields(app, method) == usual(method), method
        assert "Soft targets" not in sentences(app)


@pytest.mark.parametrize(
    ("before", "rule", "method"), [(None, "fn_released", "fn"), ("kd", "t", "kd"), ("lskd", "fn_released", "fn")]
)
def test_a_button_of_the_lab_sets_the_drawn_rules_methods_on_distill_and_says_where_the_values_are_from(
    opened: Callable[..., AppTest], asked: Callable[..., None], before: str | None, rule: str, method: str
) -> None:
    app = opened("distill" if before else "soft_targets", **({} if before else LAB))
    if before:
        fields(app, before)
        for key, value in LAB.items():
            app.query_params[key] = value
    asked("train", rule=rule)
    app.switch_page("pages/soft_targets.py").run()
    app._page_hash = ""
    assert not app.exception
    assert app.title[0].value == "Distill" and "from Soft targets." in sentences(app)
    assert labelled(app.selectbox, "Method").value == method
    assert fields(app, "kd") == usual("kd") | {"T": 2.5}
    assert "T and policy are from Soft targets." in sentences(app)
    fn = {"tau": 1.75, "lambda": 2.0, "variant": "released", "student_norm": "own"}
    assert fields(app, "fn") == fn and NOTE in sentences(app)
    assert fields(app, "lskd")["T"] == 2 and "Soft targets" not in sentences(app)
    app.switch_page("pages/norms.py").run()
    app.switch_page("pages/distill.py").run()
    assert fields(app, "fn") == fn and NOTE in sentences(app)
    press(app, BACK)
    for name in ("fn", "kd", "lskd"):
        assert fields(app, name) == usual(name)
        assert "Soft targets" not in sentences(app)


@pytest.mark.parametrize("rule", [name for name, rule in RULES.items() if rule.fields])
def test_every_rule_with_a_method_hands_its_values_over(
    opened: Callable[..., AppTest], asked: Callable[..., None], rule: str
) -> None:
    app = opened("overview", rules=rule)
    asked("train", rule=rule)
    app.switch_page("pages/soft_targets.py").run()
    app._page_hash = ""
    values, chosen = shown[-1]["values"], RULES[rule]
    found = fields(app, chosen.method)
    assert labelled(app.selectbox, "Method").value == chosen.method
    assert {field: found[field] for field in chosen.fields} == {f: values[v] for f, v in chosen.fields.items()}
    assert {field: found[field] for field in chosen.fixed} == dict(chosen.fixed)
    assert "from Soft targets." in sentences(app)


def test_the_suggested_weight_goes_to_kd_with_the_others(
    opened: Callable[..., AppTest], asked: Callable[..., None]
) -> None:
    app = opened("overview", **LAB)
    asked()
    app.switch_page("pages/soft_targets.py").run()
    asked("train", rule="t", values=shown[-1]["values"] | {"t": 2.25, "alpha": 0.6})
    app.switch_page("pages/soft_targets.py").run()
    app._page_hash = ""
    assert fields(app, "kd") == usual("kd") | {"T": 2.25, "alpha": 0.6}
    assert "T, policy and alpha are from Soft targets." in sentences(app)


@pytest.mark.parametrize("rule", ["fn_released", "t"])
def test_another_method_takes_a_rule_of_the_lab_as_its_policy(
    opened: Callable[..., AppTest], asked: Callable[..., None], rule: str
) -> None:
    app = opened("overview", **LAB)
    asked("train", rule=rule, method="dkd")
    app.switch_page("pages/soft_targets.py").run()
    app._page_hash = ""
    wanted = {"fn_released": {"policy": "norm_released", "T": 1.0, "unit": 1.75}, "t": {"T": 2.5}}[rule]
    assert labelled(app.selectbox, "Method").value == "dkd"
    assert fields(app, "dkd") == usual("dkd") | wanted and "from Soft targets." in sentences(app)


def test_what_was_changed_on_distill_afterwards_is_not_said_to_be_from_soft_targets(
    opened: Callable[..., AppTest], asked: Callable[..., None]
) -> None:
    app = opened("overview", **LAB)
    asked("train", rule="fn_released")
    app.switch_page("pages/soft_targets.py").run()
    app._page_hash = ""
    labelled(app.number_input, "lambda").set_value(5.0)
    app.run()
    assert "tau and variant are from Soft targets." in sentences(app)
    app.switch_page("pages/soft_targets.py").run()
    app.switch_page("pages/distill.py").run()
    assert fields(app, "fn")["lambda"] == 5.0


@pytest.mark.parametrize("by", ["temperature", "entropy", "divergence"])
def test_a_match_sets_the_second_rule_s_value_and_says_what_is_equal(
    opened: Callable[..., AppTest], asked: Callable[..., None], by: str
) -> None:
    app = opened("overview", T="2")
    asked("match", by=by, first="t", second="fn")
    app.switch_page("pages/soft_targets.py").run()
    assert not app.exception and not app.error
    app.run()
    last = shown[-1]
    assert last["set"] == 2 and last["said"].startswith("τ = ")
    assert last["values"]["t"] == 2
    if by == "temperature":
        mean = last["models"]["teacher"]["means"]["norm"]
        assert mean / last["values"]["tau"] == pytest.approx(2, rel=1e-3)
    assert float(link_of(app)["tau"]) == last["values"]["tau"]


def test_a_match_that_cannot_be_is_one_line_on_the_page(
    opened: Callable[..., AppTest], asked: Callable[..., None]
) -> None:
    app = opened("overview")
    asked("match", by="temperature", first="one_hot", second="t")
    app.switch_page("pages/soft_targets.py").run()
    assert not app.exception
    assert [e.value for e in app.error] == ["one-hot has no temperature; match the entropy."]


def test_a_link_says_which_rules_are_drawn_and_compared_and_what_cannot_be_is_said(
    opened: Callable[..., AppTest], asked: Callable[..., None]
) -> None:
    app = opened("overview", rules="std,lsd", pair="lsd,std", whose="student", epsilon="7", t_std="1.5", tau="x")
    asked()
    app.switch_page("pages/soft_targets.py").run()
    values = shown[-1]["values"]
    assert values["rules"] == ["lsd", "std"] and values["pair"] == ["lsd", "std"] and values["of"] == "student"
    assert values["epsilon"] == 1 and values["t_std"] == 1.5 and values["tau"] > 0
    assert [w.value for w in app.warning] and "tau cannot be read" in app.warning[0].value
    app = opened("soft_targets", rules="t,unheard", whose="nobody")
    said = "\n".join(warning.value for warning in app.warning)
    assert "unheard" in said and "nobody" in said and not app.exception


def test_a_number_of_a_link_beyond_its_slider_is_the_slider_s_end_and_that_is_said(
    opened: Callable[..., AppTest], asked: Callable[..., None]
) -> None:
    shown.clear()
    asked()
    app = opened("soft_targets", T="1e9", tau="2")
    assert "This link has 1e+09 for T; shown is 64, where its slider ends." in sentences(app)
    assert shown[-1]["values"]["t"] == 64 and shown[-1]["values"]["tau"] == 2
    assert link_of(app)["T"] == "64" and "tau; shown" not in sentences(app)
    assert "its slider ends" not in sentences(opened("soft_targets", T="64"))


def test_the_sample_that_is_shown_stands_in_the_link(
    opened: Callable[..., AppTest], asked: Callable[..., None], teacher_store: Store
) -> None:
    app = opened("overview", rank="7")
    asked("rank", rank=9)
    app.switch_page("pages/soft_targets.py").run()
    app.run()
    assert [data["sample"]["id"] for data in shown[-2:]] == [int(teacher_store.order[rank]) for rank in (7, 9)]
    assert link_of(app)["rank"] == "9"
    asked()
    app = opened("soft_targets", **link_of(app))
    assert shown[-1]["sample"]["rank"] == 9
    opened("soft_targets", rank="100000")
    assert shown[-1]["sample"]["rank"] == len(teacher_store.samples) - 1


def test_what_was_set_beside_another_split_goes_on_where_one_comes_back(
    opened: Callable[..., AppTest], asked: Callable[..., None]
) -> None:
    asked()
    app = opened("soft_targets", T="8")
    for split, t in (("train", 2.0), ("test", None)):
        labelled(app.sidebar.selectbox, "Split").set_value(split)
        app.run()
        if t:
            asked("values", values=shown[-1]["values"] | {"t": t})
            app.run()
            app.run()
        assert shown[-1]["values"]["t"] == 2 and link_of(app)["T"] == "2"


@pytest.mark.parametrize("look", list(PARTS))
@pytest.mark.parametrize("models", [{}, {"student": "none"}, {"teacher": "none", "student": "digits-kd"}])
def test_every_part_below_the_lab_is_shown_for_one_model_and_for_two(
    opened: Callable[..., AppTest], look: str, models: dict[str, str]
) -> None:
    app = opened("soft_targets", look=look, **models)
    assert not app.exception and not app.error
    if look == "numbers":
        assert len(app.dataframe[0].value) == len(RULES) * (1 if models else 2)
    if look == "suggest":
        assert "say most beyond their label" in sentences(app)
        press(app, "Set these in the lab")
        assert not app.exception and "say most beyond their label" in sentences(app)
        held = app.session_state["temperatures"]
        shown_ones = [float(app.metric[i].value) for i in (0, 3)]
        assert [held["t"], held["alpha"]] == pytest.approx(shown_ones, rel=1e-2)


@pytest.mark.parametrize("way", ["first", "second", "difference"])
def test_the_map_of_classes_is_of_one_rule_or_of_the_difference_of_two(
    opened: Callable[..., AppTest], way: str
) -> None:
    app = opened("soft_targets", look="map")
    control = next(e for e in app.segmented_control if e.key == "under")
    control.set_value(way)
    app.run()
    assert not app.exception and not app.error
    assert ("is moved" in sentences(app)) == (way == "difference")
