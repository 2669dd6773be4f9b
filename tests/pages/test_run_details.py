"""Runs shows what was watched of a run, and says so where nothing was."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from fnkd_core.jobs.control import end_run
from fnkd_core.jobs.run import Run, create_run
from fnkd_core.jobs.worker import work
from fnkd_core.training.config import RunConfig
from tests.pages.tools import press, select, sentences


def trained(**changes: object) -> Run:
    settings = {"method": "kd", "teacher": "digits-teacher", "epochs": 2, "batch_size": 60, "per_class": 12}
    run = create_run(RunConfig(**(settings | changes)).to_dict())  # type: ignore[arg-type]
    assert work(run.path, queue=False) == 0
    return run


def charts(app: AppTest) -> int:
    return len(app.get("plotly_chart"))


def test_a_run_shows_its_steps_its_norms_and_whether_its_soft_term_does_anything(
    opened: Callable[..., AppTest],
) -> None:
    run = trained(tensorboard=True, keep_epochs=True)
    app = opened("runs")
    select(app, 0)
    text = sentences(app)
    assert "Is the soft term doing anything?** Yes: in epoch 1" in text and "Loss by step" in text
    assert charts(app) == 1 + 6, "the loss once"
    assert any(f'tensorboard --logdir "{run.path}/tensorboard"' in block.value for block in app.code)
    (run.path / "steps.jsonl").write_text("{}\n{}\n")
    app.run()
    assert "steps.jsonl is damaged" in sentences(app) and not app.exception
    (run.path / "steps.jsonl").unlink()
    app.run()
    assert "Loss by step" not in sentences(app) and charts(app) == 1 + 2
    assert "are kept of 2 epochs, " in sentences(app)
    press(app, "Norms through training")
    app.switch_page("pages/norms.py").run()
    assert not app.exception and "2 epochs, 120 training samples" in sentences(app)


def test_a_run_of_an_older_version_says_what_newer_ones_show(opened: Callable[..., AppTest]) -> None:
    run = create_run(RunConfig(epochs=1).to_dict())
    end_run(run, "failed", "It broke.")
    app = opened("runs")
    select(app, 0)
    assert "Nothing was written between this run's epochs" in sentences(app) and charts(app) == 0


@pytest.mark.parametrize("there", [True, False])
def test_the_form_offers_tensorboard_where_it_is_installed(
    there: bool, opened: Callable[..., AppTest], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fnkd_core.ui.settings.has_tensorboard", lambda: there)
    app = opened("distill")
    (toggle,) = [one for one in app.toggle if one.label == "Write for TensorBoard"]
    assert toggle.disabled != there and ("pip install" in toggle.help) != there
    assert toggle.value is False
