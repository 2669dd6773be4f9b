"""TensorBoard's event files of a run, where it wants them. No torch at import."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fnkd_core.errors import require

INSTALL = "pip install 'fnkd-lab[tensorboard]'"
STEP = ("loss", "hard", "soft", "temperature", "lr", "samples_per_s", "memory", "memory_peak", "device_memory_peak")
EPOCH = (
    "loss", "hard", "soft", "temperature", "train_accuracy", "accuracy", "nll", "ece", "norm", "agreement", "seconds",
    "gradient_hard", "gradient_soft", "gradient_cosine", "soft_share",
)  # fmt: skip


def has_tensorboard() -> bool:
    """Whether the package that writes event files is installed."""
    return importlib.util.find_spec("tensorboard") is not None


def require_tensorboard() -> None:
    """`UserError` that says how to install it, where it is not."""
    require(
        has_tensorboard(),
        f"tensorboard needs the package tensorboard, which is not installed; `{INSTALL}` installs it, or leave the "
        "setting out.",
    )


class Events:
    """Scalars `step/...` and `epoch/...` and the histogram of ||f||, all at the run's own count of steps.

    steps: of an epoch. done: epochs that count; what an earlier session wrote of later ones is void.
    """

    def __init__(self, folder: Path, steps: int, done: int) -> None:
        require_tensorboard()
        from torch.utils.tensorboard import SummaryWriter

        self._steps = steps
        self._writer: Any = SummaryWriter(str(folder), purge_step=done * steps + 1)

    def step(self, line: Mapping[str, Any]) -> None:
        """A line of `steps.jsonl`."""
        self._scalars("step", STEP, line, (line["epoch"] - 1) * self._steps + line["step"])

    def epoch(self, line: Mapping[str, Any], norms: Mapping[str, Any] | None) -> None:
        """A line of `metrics.jsonl`, and one of `norms.jsonl`. On the disk when this returns."""
        now = line["epoch"] * self._steps
        self._scalars("epoch", EPOCH, line, now)
        if norms is not None:
            counts, low, high = norms["counts"], norms["low"], norms["high"]
            width = (high - low) / len(counts)
            middles = [low + (i + 0.5) * width for i in range(len(counts))]
            self._writer.add_histogram_raw(
                f"norm on {norms['split']}",
                min=low,
                max=high,
                num=sum(counts),
                sum=sum(n * x for n, x in zip(counts, middles, strict=True)),
                sum_squares=sum(n * x * x for n, x in zip(counts, middles, strict=True)),
                bucket_limits=[low + (i + 1) * width for i in range(len(counts))],
                bucket_counts=counts,
                global_step=now,
            )
        self._writer.flush()

    def _scalars(self, kind: str, names: tuple[str, ...], line: Mapping[str, Any], now: int) -> None:
        for name in names:
            if line.get(name) is not None:
                self._writer.add_scalar(f"{kind}/{name}", line[name], now)

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()
