"""The command that makes a run again, written from the settings' own record. No torch."""

from __future__ import annotations

import dataclasses
import shlex
from typing import Any

from fnkd_core.errors import UserError
from fnkd_core.kd.objective import complete
from fnkd_core.training.config import RunConfig
from fnkd_core.training.hard_term import said_once

ALWAYS = ("dataset", "method")


def given(config: RunConfig) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings and the parameters of the method that are not as usual; with the others they are this record.

    Of a run of before, see `hard_term`, those of a new one that trains the same.
    """
    config = said_once(config)
    usual = {f.name: f.default for f in dataclasses.fields(config) if f.name != "parameters"}
    settings = {
        name: getattr(config, name)
        for name, default in usual.items()
        if name in ALWAYS or not _is_usual(config, name, default)
    }
    own = complete(config.method, {})
    return settings, {name: value for name, value in config.parameters.items() if value != own[name]}


def command(config: RunConfig) -> list[str]:
    """`fnkd train` with the options that give exactly this configuration (see `given`); those left out are as usual."""
    settings, parameters = given(config)
    return [
        "fnkd",
        "train",
        *(word for name, value in (settings | parameters).items() for word in _option(name, value)),
    ]


def command_line(config: RunConfig) -> str:
    """`command` as one line for a shell."""
    return shlex.join(command(config))


def _is_usual(config: RunConfig, name: str, default: Any) -> bool:
    """Whether leaving the setting out gives the same: it may be completed from others, as the learning rate is."""
    if getattr(config, name) == default:
        return True
    try:
        return bool(dataclasses.replace(config, **{name: default}) == config)
    except UserError:
        return False  # without it the others do not fit


def _option(name: str, value: Any) -> list[str]:
    flag = name.replace("_", "-")
    if isinstance(value, bool):
        return [f"--{flag}" if value else f"--no-{flag}"]
    text = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    # What begins with a dash would be read as an option of its own.
    return [f"--{flag}={text}"] if text.startswith("-") else [f"--{flag}", text]
