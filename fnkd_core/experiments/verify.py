"""Training a finished run again, to see whether every number and weight comes out to the bit."""

from __future__ import annotations

import contextlib
import io
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fnkd_core.errors import UserError, require
from fnkd_core.experiments.comparison import Comparison
from fnkd_core.experiments.status import statuses_of
from fnkd_core.files import discard
from fnkd_core.jobs.following import OnEvent
from fnkd_core.jobs.run import Run, create_run
from fnkd_core.jobs.worker import work
from fnkd_core.locks import locked
from fnkd_core.paths import cache_dir

OF_THE_CLOCK = ("seconds", "samples_per_s")
"""What an epoch says of the machine and not of the student."""


@dataclass(frozen=True)
class Verified:
    """What became of a run that was trained again.

    epochs: how many were compared. other: the first number that came out otherwise, in words, or None. weights: whether
    those of the last epoch are the same to the bit.
    """

    run: str
    epochs: int
    other: str | None
    weights: bool

    @property
    def same(self) -> bool:
        """Whether all of it is the same to the bit."""
        return self.other is None and self.weights


def verify(run: Run, on_event: OnEvent | None = None) -> Verified:
    """Train a finished run again as its record says, aside, and compare: each epoch's numbers, the test's, the weights.

    Nothing of the run is changed, and what is trained is deleted. on_event: sees each event of the training. The same
    bits can be expected of a processor with the same torch and number of threads. `UserError` where the run has not
    finished, what it was trained on is another by now, or it fails or is stopped.
    """
    require(run.state == "finished", f"Run {run.id} is {run.state}; only what has finished can be trained again.")
    folder = cache_dir() / "verifying" / run.id
    folder.parent.mkdir(parents=True, exist_ok=True)
    busy = f"Run {run.id} is being trained again by another process; wait for it."
    with locked(lock := folder.with_name(f".{run.id}.lock"), wait=False, busy=busy):
        try:
            if folder.exists():  # of a process that was killed
                discard(folder)
            return _again(run, create_run(run.config, folder), on_event)
        finally:
            with contextlib.suppress(FileNotFoundError):
                discard(folder)
            lock.unlink()


def _again(run: Run, again: Run, on_event: OnEvent | None) -> Verified:
    with contextlib.redirect_stdout(io.StringIO()):
        work(again.path, queue=False, on_event=on_event)
    end = again.end or {"status": "stopped"}
    if end["status"] != "finished":
        require(end.get("error") is None, f"Run {run.id} failed when trained again: {end.get('error')}")
        so_far = f"{len(again.metrics())} of {len(run.metrics())} epochs"
        raise UserError(f"Run {run.id}, trained again, was {end['status']} after {so_far}: that tells nothing yet.")
    if again.identity != run.identity:
        raise UserError(
            f"Run {run.id} would be another one today: its teacher, its data or how they are read have changed."
        )
    return Verified(run.id, len(run.metrics()), _other(run, again), _same_weights(run, again))


def pick(comparison: Comparison, count: int, seed: int) -> Sequence[Run]:
    """So many finished runs of a comparison, at random. `UserError` where fewer have finished."""
    found = [one.run for one in statuses_of(comparison.cells) if one.run is not None and one.state == "finished"]
    require(
        1 <= count <= len(found),
        f"Got {count} runs to pick of {comparison.id}, {len(found)} of which have finished; choose 1 to {len(found)}.",
    )
    return random.Random(seed).sample(found, count)


def _other(run: Run, again: Run) -> str | None:
    before, after = run.metrics(), again.metrics()
    if len(before) != len(after):
        return f"{len(after)} epochs, not {len(before)}"
    for was, now in zip(before, after, strict=True):
        for key in was:
            if key not in OF_THE_CLOCK and was[key] != now.get(key):
                return f"{key} of epoch {was['epoch']}: {now.get(key)}, was {was[key]}"
    was, now = _reached(run), _reached(again)
    return next(
        (f"{key} on the test split: {now.get(key)}, was {was[key]}" for key in was if was[key] != now.get(key)), None
    )


def _reached(run: Run) -> dict[str, Any]:
    return {key: value for key, value in run.results["last"].items() if key not in OF_THE_CLOCK}


def _same_weights(run: Run, again: Run) -> bool:
    import torch

    from fnkd_core.checkpoints.io import read_state

    was, now = (read_state(one.path / "model.safetensors") for one in (run, again))
    return was.keys() == now.keys() and all(torch.equal(was[name], now[name]) for name in was)
