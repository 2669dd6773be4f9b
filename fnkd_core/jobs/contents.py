"""What a run's files hold, as far as anybody reads it."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired, TypedDict

from fnkd_core.shapes import AtLeast, Count


class Config(TypedDict):
    """Of a `RunConfig`; one of another version has other settings as well."""

    method: str
    student: str
    dataset: str
    epochs: Count
    lr: float
    parameters: dict[str, Any]
    teacher: NotRequired[str | None]
    seed: NotRequired[int]


class Spec(TypedDict):
    """`spec.json`: what was asked. comparison: whose run it is. identity: of what it would have trained then."""

    config: Config
    id: NotRequired[str]
    name: NotRequired[str | None]
    created: NotRequired[str]
    comparison: NotRequired[str | None]
    identity: NotRequired[str | None]


class End(TypedDict):
    """`end.json`: how it ended, when, and of a failed one why. kind: name of the error's class."""

    status: Literal["finished", "failed", "cancelled"]
    error: NotRequired[str | None]
    traceback: NotRequired[str | None]
    kind: NotRequired[str | None]
    ended: NotRequired[str]


class Progress(TypedDict):
    """`progress.json`; see `fnkd_core.training.loop.Progress`."""

    epoch: Count
    epochs: Count
    step: int
    steps: Count
    eta_s: float
    samples_per_s: float


class Preparing(TypedDict):
    """`progress.json` before the first step; see `fnkd_core.training.teacher.Preparing`."""

    what: str
    done: int
    total: Count
    eta_s: float


class Epoch(TypedDict):
    """A line of `metrics.jsonl`; see `fnkd_core.training.loop.Metrics`."""

    epoch: int
    loss: float
    hard: float
    soft: float
    evaluated_on: str
    accuracy: float
    seconds: float
    lr: NotRequired[float]
    train_accuracy: NotRequired[float]
    nll: NotRequired[float]
    ece: NotRequired[float]
    norm: NotRequired[float]
    samples_per_s: NotRequired[float]
    agreement: NotRequired[float | None]
    temperature: NotRequired[float | None]
    gradient_hard: NotRequired[float | None]
    gradient_soft: NotRequired[float | None]
    gradient_cosine: NotRequired[float | None]
    soft_share: NotRequired[float | None]
    raw_accuracy: NotRequired[float | None]


class Step(TypedDict):
    """A line of `steps.jsonl`: loss, hard, soft, temperature are means since the line before within the epoch, in which
    so many steps are done; lr of the last of them; memory in bytes, now and the most so far, of the process and of the
    tensors on its device, of the first process where several share the run. See `fnkd_core.training.telemetry`."""

    epoch: Count
    step: Count
    loss: float
    hard: float
    soft: float
    lr: float
    samples_per_s: float
    temperature: NotRequired[float]
    memory: NotRequired[int | None]
    memory_peak: NotRequired[int | None]
    device_memory_peak: NotRequired[int | None]


class Norms(TypedDict):
    """A line of `norms.jsonl`: how many samples of the split have ||f|| in each bin; low < high bound them all."""

    epoch: Count
    split: str
    low: float
    high: float
    counts: list[Annotated[int, AtLeast(0)]]


class Reached(TypedDict):
    """What the weights of an epoch reached on a split."""

    epoch: int
    accuracy: float
    nll: float
    ece: float
    norm: float
    agreement: float | None


class Flattering(TypedDict):
    """The epoch that was best on the test split itself."""

    epoch: int
    accuracy: float


class Results(TypedDict):
    """`results.json`; see `fnkd_core.training.state.Results`."""

    last: Reached
    best: Reached | None
    best_on_test: Flattering | None
    raw: NotRequired[Reached | None]


class Session(TypedDict):
    """A line of `sessions.jsonl`: a time at which the run was worked on."""

    started: NotRequired[str]
    device: str | None
    processor: NotRequired[str]
    precision: str | None
    threads: int
    processes: NotRequired[int]
    torch: NotRequired[str]
