"""The weight of the hard term is said once: by the method's own parameter `hard` where it has one. No torch.

Elsewhere it is the setting `hard_weight`. Runs of before may have said it by the setting with any method; they stay
what they are, with their identity, and are resumed so.
"""

from __future__ import annotations

import dataclasses

from fnkd_core.errors import require
from fnkd_core.kd.objective import weighs_hard
from fnkd_core.training.config import RunConfig


def said_once(config: RunConfig) -> RunConfig:
    """The settings of a new run that trains the same, with this weight where new runs have it."""
    if config.hard_weight is None or not weighs_hard(config.method):
        return config
    parameters = dict(config.parameters) | {"hard": config.hard_weight}
    return dataclasses.replace(config, hard_weight=None, parameters=parameters)


def require_said_once(config: RunConfig) -> None:
    """`UserError` where the setting says what a parameter of the method says."""
    require(
        config == said_once(config),
        f"hard_weight is for methods without a weight of their own; {config.method} has hard: give --hard "
        f"{config.hard_weight} in its place.",
    )
