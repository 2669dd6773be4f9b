"""The weight of the hard term is said once, and a run that said it twice over stays what it is."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from fnkd_core import cli
from fnkd_core.jobs.run import list_runs
from fnkd_core.kd.methods import METHODS
from fnkd_core.kd.objective import complete, weighs_hard
from fnkd_core.training.command import command
from fnkd_core.training.config import RunConfig, unused
from fnkd_core.training.described import SETTINGS
from fnkd_core.training.hard_term import require_said_once, said_once
from fnkd_core.training.resolve import identity_of, resolve
from fnkd_core.training.setup import objective_of
from tests.training.tools import KD, QUICK, metrics, stopped

BEFORE = RunConfig(**QUICK, **KD, hard_weight=0.25)
OWN = [name for name in METHODS if weighs_hard(name)]
IDENTITIES = {"kd": "6c4250e26d98b794", "lskd": "d644ea4205092aa7"}
"""Of runs with the setting, as they were before it was refused."""


@pytest.mark.parametrize("name", OWN)
def test_the_setting_is_refused_for_methods_that_have_hard_and_the_remedy_works(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    train = ["train", "--dataset", "digits", "--method", name, "--teacher", "digits-teacher", "--epochs", "1"]
    train += ["--per-class", "4", "--batch-size", "20", "--threads", "1"]
    assert cli.main([*train, "--hard-weight", "0.25"]) == 2
    assert f"{name} has hard: give --hard 0.25 in its place." in capsys.readouterr().err and not list_runs()
    assert cli.main([*train, "--hard", "0.25"]) == 0
    assert "hard_weight" in unused(RunConfig(method=name, teacher="digits-teacher"))


def test_kd_and_lskd_have_it_and_the_settings_say_so() -> None:
    assert OWN == ["kd", "lskd"] and "kd and lskd have hard for it" in SETTINGS["hard_weight"]


@pytest.mark.parametrize("name", OWN)
def test_a_run_of_before_keeps_its_identity_and_trains_what_it_did(name: str) -> None:
    before = dataclasses.replace(BEFORE, method=name, parameters={})
    assert RunConfig.from_dict(before.to_dict()) == before and before.hard_weight == 0.25
    assert identity_of(before) == IDENTITIES[name]
    now = said_once(before)
    assert (now.hard_weight, now.parameters["hard"]) == (None, 0.25)
    objectives = [objective_of(resolve(one), complete(name, one.parameters)) for one in (before, now)]
    assert objectives[0] == objectives[1] and objectives[0].hard_weight == 0.25


def test_a_run_of_before_goes_on_as_it_began(tmp_path: Path) -> None:
    whole = metrics(BEFORE)
    stopped(BEFORE, tmp_path)
    assert json.loads((tmp_path / "resolved.json").read_text())["config"]["hard_weight"] == 0.25
    assert metrics(RunConfig.from_dict(BEFORE.to_dict()), tmp_path) == whole[1:]
    assert metrics(said_once(BEFORE)) == whole


def test_its_command_says_it_as_new_runs_do() -> None:
    words = command(BEFORE)
    assert "--hard-weight" not in words and words[words.index("--hard") + 1] == "0.25"
    for config in (RunConfig(), said_once(BEFORE), RunConfig(method="fn", teacher="x", hard_weight=0.25)):
        assert said_once(config) is config
        require_said_once(config)
