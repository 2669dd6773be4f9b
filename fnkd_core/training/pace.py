"""How long a run still takes, from how long its parts have taken so far."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean

RECENT = 4
"""So many epochs' evaluations and saves are averaged."""


@dataclass(frozen=True)
class Lap:
    """Steps that were timed together. is_new: whether there may be shapes among them that the session had not met."""

    steps: int
    seconds: float
    is_new: bool


class Pace:
    """The time that a session of a run has taken and will take, in seconds.

    An epoch is a wait for its first batch, its steps, an evaluation, and what is saved after it; after the last one the
    student is evaluated and saved again. Each part has its own estimate: steps from those of the last epoch's length,
    the others from the last few epochs. What a session does for the first time takes longer (kernels are chosen,
    networks compiled), so that its first epoch's first and last steps, in which shapes are new, count as no slower than
    the others, and only they.

    epochs: that are left, so that a resumed run has its own pace. steps: of an epoch. evaluation_steps: steps that an
    evaluation is worth, for as long as none was timed. closing: evaluations after the last epoch, in those of an epoch.
    """

    def __init__(
        self,
        epochs: int,
        steps: int,
        evaluation_steps: float = 0.0,
        closing: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.epochs, self.steps, self.evaluation_steps, self.closing = epochs, steps, evaluation_steps, closing
        self._clock = clock
        self._begun = self._mark = self._epoch_begun = clock()
        self._done, self._step = 0, 0
        self._recent: deque[Lap] = deque()
        self._parts: dict[str, list[float]] = {"wait": [], "evaluation": [], "save": []}

    @property
    def elapsed(self) -> float:
        """Seconds since the session began."""
        return self._clock() - self._begun

    @property
    def in_epoch(self) -> float:
        """Seconds since the epoch began."""
        return self._clock() - self._epoch_begun

    def begin_epoch(self) -> None:
        """An epoch begins: its first batch is waited for."""
        self._epoch_begun = self._mark = self._clock()
        self._step = 0

    def begin_steps(self) -> None:
        """The first batch is there."""
        self._parts["wait"].append(self._lap())

    def stepped(self, step: int) -> None:
        """So many steps of the epoch are done, and the device has come as far."""
        is_new = self._done == 0 and (self._step == 0 or step == self.steps)
        self._recent.append(Lap(step - self._step, self._lap(), is_new))
        self._step = step
        counted = sum(lap.steps for lap in self._recent)
        while counted - self._recent[0].steps >= self.steps:
            counted -= self._recent.popleft().steps

    def evaluated(self) -> None:
        """The epoch's student is evaluated."""
        self._parts["evaluation"].append(self._lap())

    def end_epoch(self) -> None:
        """The epoch is saved."""
        self._parts["save"].append(self._lap())
        self._done += 1
        self._step = 0

    @property
    def left(self) -> float:
        """Seconds that are left of the run, as long as each part goes on as it went."""
        step_s = self._step_s()
        evaluation, save = self._usual("evaluation", self.evaluation_steps * step_s), self._usual("save")
        epochs = self.epochs - self._done
        # The wait of an epoch whose steps have begun is over.
        waits = epochs - (self._step > 0)
        steps = epochs * self.steps - self._step
        return (
            steps * step_s
            + epochs * (evaluation + save)
            + waits * self._usual("wait")
            + self.closing * evaluation
            + save
        )

    def _usual(self, part: str, else_s: float = 0.0) -> float:
        """Seconds of a part of an epoch: of the first of a session only while there is no other."""
        timed = self._parts[part]
        return fmean(timed[1:][-RECENT:] or timed or [else_s])

    def _step_s(self) -> float:
        """Seconds of a step, by the last epoch's length of them."""
        laps = list(self._recent)
        if not laps:
            return 0.0
        usual = [lap for lap in laps if not lap.is_new] or laps[1:] or laps
        pace = sum(lap.seconds for lap in usual) / sum(lap.steps for lap in usual)
        taken = sum(min(lap.seconds, pace * lap.steps) if lap.is_new else lap.seconds for lap in laps)
        return taken / sum(lap.steps for lap in laps)

    def _lap(self) -> float:
        before, self._mark = self._mark, self._clock()
        return self._mark - before
