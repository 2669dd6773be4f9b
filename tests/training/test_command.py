"""The command of a run gives exactly its configuration, when the command line reads it."""

from __future__ import annotations

import dataclasses
import shlex
from typing import Any, get_args, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fnkd_core import cli
from fnkd_core.cli.options import settings_of
from fnkd_core.cli.program import _parser
from fnkd_core.errors import UserError
from fnkd_core.jobs.run import create_run
from fnkd_core.kd.methods import METHODS
from fnkd_core.kd.objective import parameters
from fnkd_core.kd.parameters import Parameter
from fnkd_core.training.command import command, command_line
from fnkd_core.training.config import RunConfig
from fnkd_core.training.hard_term import said_once

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
OWN: dict[str, st.SearchStrategy[Any]] = {
    "dataset": st.sampled_from(["digits", "cifar10", "folder"]),
    "method": st.sampled_from(sorted(METHODS)),
    "student": st.sampled_from(["cifar_resnet8", "resnet18"]),
    "data_root": st.sampled_from([None, "/no/such folder's", "-odd", "/x;y"]),
    "labels": st.sampled_from([None, "fine"]),
    "similar": st.sampled_from(["auto", "none", "no such file.csv"]),
    "name": st.none() | NAMES,
    "milestones": st.lists(st.floats(0.01, 0.99), min_size=1, max_size=3, unique=True).map(sorted).map(tuple),
}
"""What a type does not tell of a setting's values."""


def of_type(name: str, hint: Any) -> st.SearchStrategy[Any]:
    """Values of a setting by its type; those that the record refuses are left out later."""
    if name in OWN:
        return OWN[name]
    options = get_args(hint) or (hint,)
    if all(isinstance(option, str) for option in options):
        return st.sampled_from(options)
    kinds = {bool: st.booleans(), int: st.integers(0, 40), float: st.floats(0, 0.99), type(None): st.none()}
    return st.one_of(
        *(kinds[option] for option in options if option in kinds), *([st.none()] if str in options else [])
    )


def of_parameter(parameter: Parameter) -> st.SearchStrategy[Any]:
    if parameter.kind == "bool":
        return st.booleans()
    return st.sampled_from(parameter.choices) if parameter.kind == "choice" else st.floats(-2, 20)


@st.composite
def configs(draw: st.DrawFn) -> RunConfig:
    hints = get_type_hints(RunConfig)
    settings: dict[str, Any] = {"teacher": draw(st.sampled_from([None, "digits-teacher", "digits-teacher+digits-ce"]))}
    config = RunConfig()
    for name in draw(st.permutations([name for name in hints if name not in ("parameters", "teacher")])):
        if draw(st.booleans()):
            settings[name] = draw(of_type(name, hints[name]))
    for parameter in parameters(settings.get("method", "ce")):
        if draw(st.booleans()):
            settings.setdefault("parameters", {})[parameter.name] = draw(of_parameter(parameter))
    # Setting after setting, so that one that does not fit the others is left out and the rest stays.
    kept: dict[str, Any] = {}
    for name in sorted(settings, key=lambda name: (name != "teacher", name != "method")):
        try:
            config = RunConfig(**kept | {name: settings[name]})
            kept[name] = settings[name]
        except UserError:
            continue
    return config


def read_back(words: list[str]) -> RunConfig:
    return RunConfig.from_dict(settings_of(_parser().parse_args(words[1:])))


@given(configs())
def test_the_command_line_reads_a_run_s_command_as_that_run(config: RunConfig) -> None:
    # A hard weight of before, for a method that has `hard`, is said by that.
    assert read_back(command(config)) == said_once(config)
    assert shlex.split(command_line(config)) == command(config)


@pytest.mark.parametrize("name", [f.name for f in dataclasses.fields(RunConfig) if f.name != "parameters"])
def test_every_setting_has_an_option(name: str) -> None:
    (train,) = [a for a in _parser()._actions if a.dest == "==SUPPRESS=="]
    options = train.choices["train"]._option_string_actions  # type: ignore[index]
    assert f"--{name.replace('_', '-')}" in options


def test_what_is_as_usual_is_left_out() -> None:
    assert command_line(RunConfig()) == "fnkd train --dataset digits --method ce"
    config = RunConfig(method="fn", teacher="digits-teacher", parameters={"tau": 2.5}, optimizer="adamw", nesterov=True)
    assert command_line(config) == (
        "fnkd train --dataset digits --method fn --teacher digits-teacher --optimizer adamw --tau 2.5"
    )
    assert command_line(RunConfig(lr=0.1, channels_last=False)) == (
        "fnkd train --dataset digits --method ce --lr 0.1 --no-channels-last"
    )


def test_runs_show_says_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    config = RunConfig(epochs=3, threads=1)
    run = create_run(config.to_dict())
    assert cli.main(["runs", "show", run.id]) == 0
    assert f"again: {command_line(config)}" in capsys.readouterr().out
