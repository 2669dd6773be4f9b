"""What can be seen of a run while it trains: lines in its folder, and event files where it wants them.

steps.jsonl   loss, throughput and memory between steps, a line for every few of them
norms.jsonl   a histogram of the student's ||f|| on the split of an epoch's accuracy
tensorboard/  TensorBoard's event files

Which steps and epochs have a line is a function of their number alone, and a run that goes on keeps the lines of its
finished epochs only; so a run that was killed ends with those of one that was not.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from torch import Tensor

from fnkd_core.errors import UserError
from fnkd_core.files import append_json, write_text
from fnkd_core.records import read_lines
from fnkd_core.training.events import Events
from fnkd_core.training.memory import device_memory, process_memory
from fnkd_core.training.setup import Setup

MOST_AN_EPOCH = 200
MOST_STEPS = 2000
"""Lines of steps in a run, about: of more than these many epochs not each has one."""
MOST_HISTOGRAMS = 500
BINS = 40
WAIT_S = 1.0
"""So long a line may wait to be written."""
MEMORY_S = 0.25
"""So old the memory in a line may be: asking the system takes as long as a line."""


def steps_between(epochs: int, steps: int) -> int:
    """Steps between two lines of `steps.jsonl`, of a run of so many epochs with so many steps each."""
    return max(1, math.ceil(steps / MOST_AN_EPOCH), math.ceil(epochs * steps / MOST_STEPS))


def histogram(norms: Tensor, bins: int = BINS) -> dict[str, Any]:
    """low and high of the norms (N,), and counts (bins,) in bins of equal width between them."""
    counts, edges = np.histogram(norms.double().numpy(), bins)
    return {"low": _short(edges[0]), "high": _short(edges[-1]), "counts": counts.tolist()}


class Telemetry:
    """Writes down how a session of a run goes. Without a folder, and in all processes but the first, it does nothing.

    done: epochs that are finished.
    """

    def __init__(self, setup: Setup, folder: Path | None, done: int) -> None:
        config, self._steps, self._device = setup.resolved.config, setup.steps_per_epoch, setup.device
        self._between = steps_between(config.epochs, self._steps)
        self._epochs_between = math.ceil(config.epochs / MOST_HISTOGRAMS)
        self._folder = folder if setup.group.leads else None
        self._waiting: list[dict[str, Any]] = []
        self._written, self._asked = time.monotonic(), -math.inf
        self._memory: dict[str, int | None] = {}
        self._events: Events | None = None
        if self._folder is not None:
            for name in ("steps.jsonl", "norms.jsonl"):
                _keep(self._folder / name, done)
            if config.tensorboard:
                self._events = Events(self._folder / "tensorboard", self._steps, done)
        self.begin_epoch(done)

    def __enter__(self) -> Telemetry:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._write()
        if self._events is not None:
            self._events.close()

    def begin_epoch(self, epoch: int) -> None:
        """An epoch begins, counted from 0."""
        self._epoch, self._step = epoch, 0
        self._seen, self._since, self._totals = 0, time.monotonic(), dict[str, float]()

    def stepped(self, step: int, totals: Mapping[str, float], seen: int, lr: float) -> None:
        """So many steps of the epoch are done. totals: sums of the loss's terms over the samples seen in it so far."""
        before, now = (self._epoch * self._steps + n for n in (self._step, step))
        self._step = step
        if self._folder is None or now // self._between == before // self._between:
            return
        moment, count = time.monotonic(), seen - self._seen
        if moment - self._asked > MEMORY_S:
            self._asked = moment
            self._memory = dict(zip(("memory", "memory_peak"), process_memory(), strict=True))
        means = {k: _short((totals[k] - self._totals.get(k, 0.0)) / count) for k in totals if k != "correct"}
        line: dict[str, Any] = {"epoch": self._epoch + 1, "step": step} | means
        line |= {"lr": _short(lr), "samples_per_s": _short(count / max(moment - self._since, 1e-9))}
        line |= self._memory | {"device_memory_peak": device_memory(self._device)}
        self._seen, self._since, self._totals = seen, moment, dict(totals)
        self._waiting.append(line)
        if self._events is not None:
            self._events.step(line)
        if moment - self._written > WAIT_S:
            self._write()

    def end_epoch(self, line: Mapping[str, Any], norms: Tensor) -> None:
        """The epoch's metrics, and its student's norms (N,); before the epoch is saved."""
        if self._folder is None:
            return
        self._write()
        found = None
        if (line["epoch"] - 1) % self._epochs_between == 0:
            found = {"epoch": line["epoch"], "split": line["evaluated_on"]} | histogram(norms)
            append_json(self._folder / "norms.jsonl", found, durable=False)
        if self._events is not None:
            self._events.epoch(line, found)

    def _write(self) -> None:
        if self._folder is not None and self._waiting:
            append_json(self._folder / "steps.jsonl", *self._waiting, durable=False)
        self._waiting, self._written = [], time.monotonic()


def _keep(path: Path, done: int) -> None:
    """Leave the lines of finished epochs; of a file that cannot be read, none."""
    try:
        lines = read_lines(path, dict[str, Any], whole=False)
    except UserError:
        lines = []
    kept = [line for line in lines if isinstance(line.get("epoch"), int) and line["epoch"] <= done]
    if path.exists():
        write_text(path, "".join(json.dumps(line, allow_nan=False) + "\n" for line in kept))


def _short(value: float) -> float:
    """Six digits of it."""
    return float(f"{value:.6g}")
