"""Runs: what is selected stays selected, and what a confirmation names is what is deleted."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from fnkd_core.jobs import run as module
from fnkd_core.jobs.control import cancel, end_run, submit, wait
from fnkd_core.jobs.run import Run, create_run, delete_run, list_runs
from fnkd_core.training.config import RunConfig
from fnkd_core.training.resolve import look_up
from fnkd_core.ui.run_table import table
from fnkd_core.ui.starting import same_as
from tests.pages.test_damage import finished
from tests.pages.tools import labelled, link_of, press, select, sentences


@pytest.fixture
def made(home: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Run]:
    """Makes a run that failed, newer than those before it."""
    count = iter(range(100))
    monkeypatch.setattr(module, "new_id", lambda method: f"2026-{next(count):02d}")

    def make(name: str) -> Run:
        run = create_run(RunConfig(epochs=1, name=name).to_dict())
        end_run(run, "failed", f"{name} broke.")
        return run

    return make


def names(app: AppTest) -> list[str]:
    return list(app.dataframe[0].value["name"])


def test_what_is_selected_stays_selected_when_runs_appear_and_vanish(
    opened: Callable[..., AppTest], made: Callable[[str], Run]
) -> None:
    old, middle, _ = (made(name) for name in ("old", "middle", "new"))
    app = opened("runs")
    select(app, names(app).index("old"))
    assert "old broke." in sentences(app)
    made("newest")
    app.run()
    assert names(app) == ["newest", "new", "middle", "old"]
    assert "old broke." in sentences(app) and "**old**" in sentences(app)
    delete_run(middle)
    app.run()
    assert "old broke." in sentences(app)
    select(app, 0, 2)
    assert "2 selected" in sentences(app)
    delete_run(old)
    app.run()
    assert names(app) == ["newest", "new"] and "newest broke." in sentences(app)
    select(app)
    assert "Select rows" in sentences(app)
    made("last")
    app.run()
    assert "Select rows" in sentences(app)


def test_delete_for_good_deletes_the_runs_that_were_named_whatever_has_appeared_since(
    opened: Callable[..., AppTest], made: Callable[[str], Run]
) -> None:
    for name in ("a", "b", "c"):
        made(name)
    app = opened("runs")
    select(app, names(app).index("b"))
    assert "Delete **b** with all" in sentences(app)
    made("d")
    labelled(app.button, "Delete for good").click()
    app.run()
    assert not app.exception and not app.error
    assert [run.config["name"] for run in list_runs()] == ["d", "c", "a"]
    select(app, names(app).index("a"), names(app).index("c"))
    assert "Delete these 2 runs" in sentences(app) and "- c\n- a" in sentences(app)
    made("e")
    labelled(app.button, "Delete for good").click()
    app.run()
    assert [run.config["name"] for run in list_runs()] == ["e", "d"]
    assert "Select rows" in sentences(app)


def test_a_run_that_is_gone_already_is_no_reason_not_to_delete_the_others(
    opened: Callable[..., AppTest], made: Callable[[str], Run]
) -> None:
    made("a")
    gone = made("b")
    app = opened("runs")
    select(app, 0, 1)
    delete_run(gone)
    labelled(app.button, "Delete for good").click()
    app.run()
    assert not app.exception and not list_runs()


def test_a_run_whose_weights_were_deleted_says_so_where_its_student_would_be(
    opened: Callable[..., AppTest], home: Path
) -> None:
    run = finished(RunConfig(epochs=2))
    assert "The weights of its last epoch are gone" not in sentences(opened("runs", runs=run.id))
    (run.path / "model.safetensors").unlink()
    said = sentences(opened("runs", runs=run.id))
    assert f"The weights of its last epoch are gone: {run.path / 'model.safetensors'} is missing" in said


def ended_run(config: RunConfig, status: str) -> Run:
    run = create_run(config.to_dict())
    end_run(run, status)
    return run


def test_parameters_in_which_runs_differ_are_columns(opened: Callable[..., AppTest], home: Path) -> None:
    base = {"teacher": "digits-teacher", "epochs": 1}
    for tau in (2.0, 3.0):
        ended_run(RunConfig(method="fn", parameters={"tau": tau}, **base), "failed")
    ended_run(RunConfig(method="kd", parameters={"T": 7.0}, **base), "failed")
    shown = opened("runs").dataframe[0]
    table = shown.value
    assert not {"test, best epoch", "over epochs"} & set(table), "no row has anything in them"
    assert shown.proto.placeholder == "" and shown.proto.HasField("placeholder"), "what has no value is an empty cell"
    assert sorted(table["tau"].dropna()) == [2.0, 3.0] and "lambda" not in table
    assert list(table.columns).index("test, last epoch") < list(table.columns).index("seed")
    assert any("T 7" in text for text in table["parameters"])


def test_a_name_that_is_another_parameter_of_another_method_is_another_column(opened: Callable[..., AppTest]) -> None:
    for method, alpha in (("kd", 0.5), ("kd", 0.75), ("dkd", 2.0)):
        values = {"T": 3.0, "alpha": alpha}
        ended_run(RunConfig(method=method, parameters=values, teacher="digits-teacher", epochs=1), "failed")
    app = opened("runs")
    shown = app.dataframe[0].value
    assert sorted(shown["kd alpha"].dropna()) == [0.5, 0.75] and not {"alpha", "dkd alpha", "T"} & set(shown)
    assert any(", alpha 2, " in text for text in shown["parameters"]), "it is in the text, beside the method"
    select(app, 0, 1, 2)
    differing = app.dataframe[1].value
    assert {"method", "kd.alpha", "dkd.alpha"} <= set(differing.index) and "T" not in "".join(differing.index)


def test_what_distinguishes_runs_is_what_they_reached_and_their_settings_under_their_names(
    opened: Callable[..., AppTest], home: Path
) -> None:
    for name, tau, seed in (("a", 1 / 3, 0), ("b", 2.0, 0), ("b", 2.0, 1)):
        config = RunConfig(method="fn", name=name, parameters={"tau": tau}, teacher="digits-teacher", seed=seed)
        finished(config, accuracy=0.9 + seed / 100)
    app = opened("runs")
    select(app, 0, 1, 2)
    differing = app.dataframe[1].value
    assert sum(re.fullmatch(r"b [0-9a-f]{8}", name) is not None for name in differing.columns) == 2
    assert differing.index[0] == "test accuracy, last epoch" and sorted(differing.iloc[0]) == ["0.9", "0.9", "0.91"]
    assert differing.loc["tau", "a"] == "0.333333" and "NLL on test, last epoch" not in differing.index
    assert not {"name", "id"} & set(differing.index)


def test_a_selection_of_runs_stands_in_the_link(opened: Callable[..., AppTest], made: Callable[[str], Run]) -> None:
    old, _, new = (made(name) for name in ("old", "middle", "new"))
    app = opened("runs")
    select(app, 0, 2)
    assert link_of(app)["runs"] == f"{new.id},{old.id}"
    again = opened("runs", runs=old.id)
    assert "old broke." in sentences(again)


def test_a_link_to_a_run_that_is_gone_says_so(opened: Callable[..., AppTest], made: Callable[[str], Run]) -> None:
    run, _ = made("there"), made("there-too")
    app = opened("runs", runs=f"{run.id},20200101-000000-kd-00000000")
    assert "This link names 20200101-000000-kd-00000000, which is not here." in sentences(app)
    assert "not here" not in sentences(opened("runs", runs=run.id))
    app = opened("runs", runs="20200101-000000-kd-00000000", find="such as there is not")
    assert "No run passes" in sentences(app) and "which is not here." in sentences(app)


def test_a_selected_run_that_somebody_deletes_is_missed_aloud_and_one_s_own_is_not(
    opened: Callable[..., AppTest], made: Callable[[str], Run]
) -> None:
    old, new = made("old"), made("new")
    app = opened("runs", runs=old.id)
    delete_run(old)
    app.run()
    assert f"{old.id} is not here any more: somebody has deleted it." in sentences(app)
    select(app, 0)
    assert "any more" not in sentences(app)
    press(app, "Delete for good")
    assert not new.path.exists() and "any more" not in sentences(app) and not app.exception


def test_distill_keeps_the_last_five_that_ended_and_what_can_be_done_with_them(
    opened: Callable[..., AppTest], made: Callable[[str], Run]
) -> None:
    for name in "abcdefg":
        made(f"run-{name}")
    text = sentences(opened("distill"))
    assert all(f"**run-{name}**" in text for name in "cdefg") and "**run-a**" not in text and "**run-b**" not in text
    (newest, *_) = list_runs()
    end_run(newest, "cancelled")
    assert "Cancelled at 0 of 1 epochs. Resuming goes on from there." in sentences(opened("distill"))


def test_runs_that_are_alive_are_in_sight_on_every_page(opened: Callable[..., AppTest], home: Path) -> None:
    def alive(page: str) -> list[str]:
        labels = [link.proto.label for link in opened(page).get("page_link")]
        return [label for label in labels if re.match(r"1 (running|queued)", label)]

    assert not alive("norms")
    run = submit(RunConfig(epochs=5000, threads=1).to_dict())
    try:
        assert len(alive("norms")) == len(alive("classes")) == 1
    finally:
        cancel(run)
        wait(run, 60)
    assert not alive("norms")


def test_settings_that_are_not_the_usual_ones_are_told_and_have_a_column_where_runs_differ() -> None:
    runs = [create_run(RunConfig(ema=0.9, per_class=one).to_dict()).path.name for one in (50, None)]
    found = table(runs)
    assert found["per_class"].to_list()[0] == 50 and found["per_class"].isna().to_list() == [False, True]
    assert found["settings"].to_list() == ["ema 0.9"] * 2
    assert list(table(runs[1:])["settings"]) == ["ema 0.9"] and "per_class" not in table(runs[1:])
    assert "settings" not in table([create_run(RunConfig().to_dict()).path.name])


def test_a_run_that_would_repeat_another_one_is_said_to_before_it_is_started(opened: Callable[..., AppTest]) -> None:
    config = RunConfig(method="ce", epochs=2)
    assert not same_as(look_up(config).identity)
    create_run(config.to_dict())
    assert "There is a run of these settings and this seed" in same_as(look_up(config).identity)
    assert not same_as(look_up(dataclasses.replace(config, seed=1)).identity)
    app = opened("distill", settings=json.dumps({"method": "ce", "epochs": 2}))
    assert "Another one repeats it" in sentences(app)
    labelled(app.number_input, "Seed").set_value(1).run()
    assert "Another one repeats it" not in sentences(app)
