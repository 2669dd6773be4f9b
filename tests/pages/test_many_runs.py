"""Very many runs: the table pages and filters, comparisons are rows that open, and pickers stay short."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from fnkd_core.files import write_json
from fnkd_core.jobs import run as module
from fnkd_core.jobs.control import end_run
from fnkd_core.jobs.run import Run, create_run, delete_run, list_runs
from fnkd_core.paths import project_dir
from fnkd_core.training.config import RunConfig
from fnkd_core.ui import pickers, run_table
from tests.pages.test_damage import REACHED
from tests.pages.tools import labelled, link_of, press, select, sentences


@pytest.fixture
def made(home: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Run]:
    """Makes a run with a student, newer than those before it."""
    count = iter(range(1000))
    monkeypatch.setattr(module, "new_id", lambda method: f"2026-{next(count):03d}-{method}")

    def make(name: str, status: str = "finished", comparison: str | None = None, **settings: Any) -> Run:
        run = create_run(RunConfig(**({"epochs": 1, "name": name} | settings)).to_dict(), comparison=comparison)
        for file in ("model", "best"):
            for suffix in (".safetensors", ".json"):
                shutil.copy(project_dir() / "checkpoints" / f"digits-ce{suffix}", run.path / f"{file}{suffix}")
            card = json.loads((run.path / f"{file}.json").read_text())
            write_json(run.path / f"{file}.json", card | {"name": name})
        end_run(run, status, f"{name} broke." if status == "failed" else None)
        return run

    return make


def shown(app: AppTest, table: int = 0) -> list[str]:
    return list(app.dataframe[table].value["name"])


def test_the_table_has_a_page_of_the_runs_newest_first_and_says_how_many_there_are(
    opened: Callable[..., AppTest], made: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_table, "PER_PAGE", 3)
    for i in range(8):
        made(f"run{i}")
    app = opened("runs")
    assert shown(app) == ["run7", "run6", "run5"]
    assert "Showing 3 of 8 rows, newest first: 8 runs." in sentences(app)
    app.session_state["page"] = 3
    app.run()
    assert not app.exception and shown(app) == ["run1", "run0"]
    select(app, 1)
    assert "**run0**" in sentences(app)


def test_runs_of_several_pages_are_selected_and_compared_together(
    opened: Callable[..., AppTest], made: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_table, "PER_PAGE", 3)
    for i in range(8):
        made(f"run{i}", epochs=i + 1)
    app = opened("runs")
    select(app, 0)
    app.session_state["page"] = 2
    app.run()
    assert "Selected: 1, of which 1 on other pages." in sentences(app) and "run7" in sentences(app)
    select(app, 1)
    assert "2 selected" in sentences(app) and "What distinguishes them" in sentences(app)
    assert len(link_of(app)["runs"].split(",")) == 2
    assert "2 selected" in sentences(opened("runs", **link_of(app)))
    labelled(app.button, "Deselect those").click()
    app.run()
    assert "**run3**" in sentences(app) and not app.exception
    select(app, 0, 1)
    assert len(link_of(app)["runs"].split(",")) == 2
    delete_run(next(run for run in list_runs() if run.id in link_of(app)["runs"]))
    app.run()
    assert len(link_of(app)["runs"].split(",")) == 1 and "which is not here" not in sentences(app)


def test_the_filter_by_state_stays_when_no_run_is_in_it_any_more(
    opened: Callable[..., AppTest], made: Callable[..., Run]
) -> None:
    made("plain")
    broken = made("broken", status="failed")
    app = opened("runs")
    labelled(app.selectbox, "State").set_value("failed")
    app.run()
    (broken.path / "end.json").unlink()
    end_run(broken, "finished")
    app.run()
    assert not app.exception and labelled(app.selectbox, "State").value == "failed"
    assert "No run passes these filters." in sentences(app)


def test_runs_are_found_by_state_method_student_data_and_words(
    opened: Callable[..., AppTest], made: Callable[..., Run]
) -> None:
    made("plain")
    made("broken", status="failed", method="lsd")
    made("taught", method="kd", teacher="digits-teacher", parameters={"T": 8.0})
    made("other", student="cifar_resnet14")
    app = opened("runs")
    assert len(shown(app)) == 4
    for label, value, expected in (
        ("State", "failed", ["broken"]), ("Method", "kd", ["taught"]), ("Student", "cifar_resnet14", ["other"]),
    ):  # fmt: skip
        labelled(app.selectbox, label).set_value(value)
        app.run()
        assert not app.exception and shown(app) == expected
        assert "rows, newest first: 1 of 4 runs." in sentences(app)
        labelled(app.selectbox, label).set_value("all")
    for words, expected in (("digits-teach t 8", ["taught"]), ("LSD", ["broken"]), ("plain", ["plain"])):
        labelled(app.text_input, "Find").set_value(words)
        app.run()
        assert shown(app) == expected, words
    labelled(app.text_input, "Find").set_value("nothing like it")
    app.run()
    assert not app.exception and "No run passes these filters" in sentences(app)
    app = opened("runs", find="taught")
    assert shown(app) == ["taught"]


def test_a_comparison_is_one_row_that_opens(opened: Callable[..., AppTest], made: Callable[..., Run]) -> None:
    made("first")
    for i in range(4):
        made(f"cell{i}", comparison="demo-12345678", status="failed" if i == 3 else "finished", seed=i)
    made("last")
    app = opened("runs")
    assert shown(app) == ["last", "demo-12345678: 4 runs", "first"]
    assert app.dataframe[0].value["state"].tolist() == ["finished", "3 finished, 1 failed", "finished"]
    assert "6 runs. Several runs in one row" in sentences(app)
    select(app, 1)
    assert not app.exception and shown(app, 1) == ["cell3", "cell2", "cell1", "cell0"]
    app.session_state[app.dataframe[1].key] = {"selection": {"rows": [0], "columns": [], "cells": []}}
    app.run()
    assert "cell3 broke." in sentences(app)
    app.session_state[app.dataframe[1].key] = {"selection": {"rows": [0, 1], "columns": [], "cells": []}}
    app.run()
    assert "2 selected" in sentences(app) and "What distinguishes them" in sentences(app)
    select(app, 0, 1)
    assert "5 runs selected" in sentences(app)
    labelled(app.button, "Delete for good").click()
    app.run()
    assert not app.exception and [run.config["name"] for run in list_runs()] == ["first"]


def test_a_run_that_is_open_within_a_comparison_stands_in_the_link_and_one_of_its_runs_can_be_linked_to(
    opened: Callable[..., AppTest], made: Callable[..., Run]
) -> None:
    cells = [made(f"cell{i}", comparison="demo-12345678", status="failed", seed=i) for i in range(3)]
    made("last")
    app = opened("runs")
    select(app, 1)
    app.session_state[app.dataframe[1].key] = {"selection": {"rows": [0], "columns": [], "cells": []}}
    app.run()
    assert "cell2 broke." in sentences(app)
    link = link_of(app)
    assert (link["runs"], link["within"]) == ("demo-12345678", cells[2].id)
    for given in ({"runs": "demo-12345678", "within": cells[2].id}, {"runs": cells[2].id}):
        again = opened("runs", **given)
        assert not again.exception and "cell2 broke." in sentences(again), given
        assert {k: link_of(again)[k] for k in ("runs", "within")} == {k: link[k] for k in ("runs", "within")}
    select(again)
    assert "within" not in link_of(again) and "runs" not in link_of(again)
    gone = opened("runs", runs="demo-12345678", within="20200101-000000-kd-00000000")
    assert "This link names 20200101-000000-kd-00000000, which is not here." in sentences(gone)
    both = opened("runs", runs="demo-12345678", within=f"{cells[0].id},{cells[1].id}")
    assert "2 selected" in sentences(both)
    press(both, "Delete for good")
    assert not both.exception and {run.config["name"] for run in list_runs()} == {"cell2", "last"}


def test_pickers_offer_students_of_comparisons_by_their_group_and_links_by_name_go_on_working(
    opened: Callable[..., AppTest], made: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pickers, "MOST", 2)
    for i in range(3):
        made(f"single{i}")
    cells = [made(f"cell{i}", comparison="demo-12345678", seed=i) for i in range(2)]
    app = opened("norms")
    options = labelled(app.sidebar.selectbox, "Student").options
    assert {name.split("-")[0] for name in options} == {"digits", "single1", "single2", "none"}
    assert "Students of the 2 newest of 3 runs" in sentences(app)
    labelled(app.sidebar.selectbox, "Students of").set_value("demo-12345678")
    app.run()
    options = labelled(app.sidebar.selectbox, "Student").options
    assert {name.split("-")[0] for name in options} == {"digits", "cell0", "cell1", "none"}
    assert labelled(app.sidebar.selectbox, "Student").value.startswith("cell1-"), "whose students were asked for"
    name = f"cell1-{cells[1].id.rpartition('-')[2]}-best"
    app = opened("norms", student=name, teacher="single0-ce")
    assert not app.exception
    chosen = [labelled(app.sidebar.selectbox, label).value for label in ("Teacher", "Student", "Students of")]
    assert chosen == ["single0-ce", name, "single runs"]
    app = opened("compare", a=name, b="digits-ce")
    assert not app.exception and labelled(app.selectbox, "First").value == name


def test_the_last_and_the_best_epoch_of_a_run_are_one_entry_with_a_switch(
    opened: Callable[..., AppTest], made: Callable[..., Run]
) -> None:
    made("once")
    app = opened("norms", teacher="digits-teacher", student="once-ce")
    picker = labelled(app.sidebar.selectbox, "Student")
    assert [name for name in picker.options if name.startswith("once")] == ["once-ce"]
    assert "digits-kd · shipped" in picker.options
    for on, name in ((True, "once-ce-best"), (False, "once-ce")):
        labelled(app.sidebar.toggle, "Best epoch").set_value(on)
        app.run()
        assert not app.exception and labelled(app.sidebar.selectbox, "Student").value == name
        assert link_of(app)["student"] == name
    app = opened("norms", teacher="digits-teacher", student="once-ce-best")
    assert labelled(app.sidebar.toggle, "Best epoch").value and link_of(app)["student"] == "once-ce-best"


def test_runs_that_differ_in_their_seed_alone_are_one_row_with_mean_and_sd_where_that_is_asked_for(
    opened: Callable[..., AppTest], made: Callable[..., Run]
) -> None:
    for seed in range(3):
        run = made(f"s{seed}", seed=seed)
        reached = REACHED | {"accuracy": 0.1 * seed}
        write_json(run.path / "results.json", {"last": reached, "best": reached, "best_on_test": None})
    made("other", epochs=2)
    app = opened("runs")
    assert shown(app) == ["other", "s2", "s1", "s0"]
    labelled(app.toggle, "Group by seeds").set_value(True)
    app.run()
    assert shown(app) == ["other", "ce over 3 seeds"] and link_of(app)["by_seeds"] == "yes"
    row = app.dataframe[0].value.iloc[1]
    assert row["test, last epoch"] == pytest.approx(0.1) and row["sd"] == pytest.approx(0.1)
    select(app, 1)
    assert not app.exception and shown(app, 1) == ["s2", "s1", "s0"]


def test_a_deviation_of_0_is_one_and_keeps_its_column(opened: Callable[..., AppTest], made: Callable[..., Run]) -> None:
    for seed in range(2):
        run = made(f"s{seed}", seed=seed)
        write_json(run.path / "results.json", {"last": REACHED, "best": REACHED, "best_on_test": None})
    table = opened("runs", by_seeds="yes").dataframe[0].value
    assert list(table["name"]) == ["ce over 2 seeds"] and list(table["sd"]) == [0]
    assert "test, best epoch" not in table
