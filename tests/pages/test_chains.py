"""A run's page and its command tell who stands above it, and a run that is gone still stands in the chain."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from fnkd_core import cli
from fnkd_core.jobs.run import Run, create_run, delete_run
from fnkd_core.jobs.worker import work
from fnkd_core.training.config import RunConfig
from tests.pages.tools import select
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
