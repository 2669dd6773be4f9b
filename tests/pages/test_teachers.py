"""Several teachers in the form and in its link; a run's page tells who stands above it, also when that is gone."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from fnkd_core import cli
from fnkd_core.jobs.run import Run, create_run, delete_run
from fnkd_core.jobs.worker import work
from fnkd_core.training.config import RunConfig
from tests.pages.tools import labelled, link_of, select, sentences
from tests.training.tools import QUICK


def test_a_run_teaches_by_its_id_and_its_page_and_command_tell_the_chain(
    opened: Callable[..., AppTest], capsys: pytest.CaptureFixture[str]
) -> None:
    def made(teacher: str) -> Run:
        run = create_run(RunConfig(**(QUICK | {"method": "kd", "teacher": teacher, "epochs": 1})).to_dict())
        work(run.path)
        assert run.state == "finished", run.log_tail()
        return run

    first = made("digits-teacher")
    second = made(first.id)
    assert second.taught_by == f"{first.id}, which was taught by digits-teacher"
    assert cli.main(["runs", "show", second.id]) == 0
    assert f"{second.taught_by}\n" in capsys.readouterr().out
    delete_run(first)
    app = opened("runs")
    select(app, 0)
    assert f"Taught by {second.taught_by}." in [caption.value.replace("\\", "") for caption in app.caption]


def test_a_link_chooses_several_teachers_and_the_form_says_what_they_are_asked_of(
    opened: Callable[..., AppTest],
) -> None:
    asked = {"method": "fn", "teacher": "digits-teacher+digits-ce", "teacher_outputs": "cached", "epochs": 3}
    app = opened("distill", teacher="digits-teacher", settings=json.dumps(asked))
    further = labelled(app.multiselect, "Further teachers")
    assert further.value == ["digits-ce"] and "digits-teacher" not in further.options
    assert "--teacher digits-teacher+digits-ce" in app.code[0].value
    assert "First the 2 teachers are asked of 6 of 6 views" in sentences(app)
    assert json.loads(link_of(app)["settings"])["teacher"] == "digits-teacher+digits-ce"
    labelled(app.selectbox, "Method").set_value("wkd")
    app.run()
    assert not [box for box in app.multiselect if box.label == "Further teachers"]
    assert "so it takes one teacher" in sentences(app) and "+digits-ce" not in app.code[0].value
    labelled(app.selectbox, "Method").set_value("fn")
    app.run()
    assert labelled(app.multiselect, "Further teachers").value == ["digits-ce"]
    labelled(app.selectbox, "Teacher").set_value("digits-ce")
    app.run()
    assert labelled(app.multiselect, "Further teachers").value == [] and not app.error and not app.exception


def test_a_comparison_is_taught_by_several_where_each_of_its_methods_can(opened: Callable[..., AppTest]) -> None:
    app = opened("compare", what="methods", teacher="digits-teacher")
    labelled(app.multiselect, "Methods").set_value(["ce", "kd"])
    app.run()
    labelled(app.multiselect, "Further teachers").set_value(["digits-ce"])
    app.run()
    assert "teacher digits-teacher+digits-ce" in sentences(app) and not app.error and not app.exception
    labelled(app.multiselect, "Methods").set_value(["kd", "nd"])  # nd reads its teacher's features
    app.run()
    assert not [box for box in app.multiselect if box.label == "Further teachers"]
    assert "+digits-ce" not in sentences(app) and not app.error and not app.exception
