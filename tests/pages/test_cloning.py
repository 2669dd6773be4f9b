"""A run's command, and its settings in the form of Distill."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from fnkd_core.jobs.control import end_run, wait
from fnkd_core.jobs.run import create_run, list_runs
from fnkd_core.kd.objective import parameters
from fnkd_core.training.command import command_line
from fnkd_core.training.config import RunConfig
from tests.pages.tools import fields, labelled, select, sentences

CONFIGS: dict[str, dict[str, Any]] = {
    "fn": {
        "method": "fn", "teacher": "digits-ce", "parameters": {"tau": 2.25, "lambda": 3.5}, "epochs": 1, "seed": 7,
        "batch_size": 64, "name": "mine", "lr": 0.0123, "validation": 0.2, "per_class": 9, "augment": False,
    },
    "every other setting": {
        "method": "alsd", "similar": "none", "epochs": 3, "schedule": "multistep", "milestones": (0.25, 0.5, 0.9),
        "gamma": 0.3, "warmup_epochs": 1.5, "momentum": 0.8, "nesterov": False, "weight_decay": 0.0021,
        "decay_norm_and_bias": False, "label_noise": 0.25, "noise_kind": "similar", "precision": "fp32",
        "channels_last": False, "device": "cpu", "threads": 2,
    },
    "a recipe": {
        "method": "kd", "teacher": "digits-teacher", "init": "digits-kd", "freeze": 1, "body_lr": 0.25, "epochs": 3,
        "mixup": 0.3, "cutmix": 1.0, "trivial_augment": True, "erasing": 0.2, "smoothing": 0.15,
        "parameters": {"hard": 0.5}, "weight_by_norm": -0.5,
        "ema": 0.99, "min_lr": 0.001, "clip_norm": 2.0, "accumulate": 2,
    },
    "several teachers": {"method": "fn", "teacher": "digits-teacher+digits-ce+digits-kd", "epochs": 2},
    "ce beside several teachers": {"method": "ce", "teacher": "digits-teacher+digits-kd", "epochs": 2},
    "a hard weight": {"method": "fn", "teacher": "digits-teacher", "hard_weight": 0.25, "epochs": 2},
    "ce beside a teacher": {"method": "ce", "teacher": "digits-teacher", "optimizer": "adamw", "epochs": 2},
}  # fmt: skip


def cloned(opened: Callable[..., AppTest], config: RunConfig) -> AppTest:
    run = create_run(config.to_dict())
    end_run(run, "failed", "It broke.")
    app = opened("runs")
    select(app, 0)
    assert any(code.value == command_line(config) for code in app.code)
    labelled(app.button, "Clone").click()
    app.run()
    app._page_hash = ""
    app.switch_page("pages/distill.py").run()
    assert not app.exception and not app.error
    return app


@pytest.mark.parametrize("name", CONFIGS)
def test_a_clone_s_form_describes_the_same_run_and_each_setting_can_be_changed(
    name: str, opened: Callable[..., AppTest], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = RunConfig(**({"threads": 1} | CONFIGS[name]))
    app = cloned(opened, config)
    submitted: list[dict[str, Any]] = []

    class Submitted:
        id = "none"

    monkeypatch.setattr("fnkd_core.ui.starting.submit", lambda config: submitted.append(config) or Submitted())
    assert "unchanged." in sentences(app)
    labelled(app.button, "Start").click()
    app.run()
    assert submitted == [config.to_dict()]
    labelled(app.number_input, "Epochs").set_value(11)
    app.run()
    assert f"now with epochs 11 (was {config.epochs})" in sentences(app)
    labelled(app.button, "Start").click()
    app.run()
    assert submitted[1:] == [dataclasses.replace(config, epochs=11).to_dict()]
    next(b for b in app.button if b.key == "not cloned").click()
    app.run()
    assert "Filled from" not in sentences(app)
    assert labelled(app.number_input, "Epochs").value == RunConfig().epochs
    method = labelled(app.selectbox, "Method").value
    assert fields(app, method) == {p.name: p.default for p in parameters(method)}
    assert not app.exception


def test_what_was_changed_is_told_in_words(opened: Callable[..., AppTest]) -> None:
    app = cloned(opened, RunConfig(method="fn", teacher="digits-ce", parameters={"tau": 2.25}, epochs=1))
    labelled(app.selectbox, "Method").set_value("dkd").run()
    assert "now with method dkd (was fn); parameters T 4, alpha 1, " in sentences(app)
    assert "(was tau 2.25, lambda 3, variant paper)" in sentences(app) and "{'" not in sentences(app)


def test_a_clone_is_trained_to_the_same_weights(opened: Callable[..., AppTest]) -> None:
    config = RunConfig(method="kd", teacher="digits-teacher", epochs=1, per_class=4, threads=1, seed=3)
    app = cloned(opened, config)
    for _ in range(2):
        labelled(app.button, "Start").click()
        app.run()
    runs = [run for run in list_runs() if run.state != "failed"]
    assert [wait(run, 240) for run in runs] == ["finished"] * 2
    first, second = ((run.path / "model.safetensors").read_bytes() for run in runs)
    assert first == second and {run.identity for run in list_runs()} == {runs[0].identity}


def test_a_run_that_said_a_weight_by_the_setting_is_cloned_as_new_runs_say_it(opened: Callable[..., AppTest]) -> None:
    app = cloned(opened, RunConfig(method="kd", teacher="digits-teacher", hard_weight=0.5, epochs=2, threads=1))
    assert labelled(app.number_input, "hard").value == 0.5
    assert labelled(app.number_input, "Hard weight").disabled and "unchanged" in sentences(app)
