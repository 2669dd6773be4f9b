"""`--dry-run`: what a training command would do, and how long it would take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fnkd_core.cli.options import Parser, Result

if TYPE_CHECKING:
    from fnkd_core.training.planned import Asking
    from fnkd_core.training.resolve import Resolved


def add_dry_run(command: Parser) -> None:
    """The option for which `how_long` is the answer."""
    text = "say what would be done and how long it would take on this machine, and begin nothing"
    command.add_argument("--dry-run", action="store_true", help=text)


def how_long(found: Resolved | None, at_most: bool, num_runs: int, asking: Asking | None) -> Result:
    """Print how long so many runs would take whose steps cost what this one's do; None: of that nothing is known yet.

    at_most: whether there are several, none of which takes longer. asking: what teachers are asked of before, once for
    all of them.
    """
    from fnkd_core.jobs.words import time_line
    from fnkd_core.training.estimate import cost_of

    if not num_runs:
        return {"seconds": 0.0, "asking_seconds": 0.0}
    if found is None:
        print("How long it takes is not known: some runs wait for a teacher that is trained first.")
        return {"seconds": None, "asking_seconds": None}
    asked_s, other_s = cost_of(found.config).parts(found, num_runs, asking)
    print(time_line(asked_s, other_s, at_most=at_most, devices=found.config.devices))
    return {"seconds": asked_s + other_s, "asking_seconds": asked_s}
