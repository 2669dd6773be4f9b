"""A finished student leaves with its card, and with it its history."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from fnkd_core.checkpoints.library import find_checkpoint
from fnkd_core.errors import require
from fnkd_core.jobs.run import Run


def export_student(
    run: Run, folder: str | Path, weights: Literal["last", "best"] = "last", formats: Sequence[str] = ("safetensors",)
) -> list[Path]:
    """Write a finished run's student and card to `folder/<name>.*`; see `fnkd_core.checkpoints.export`.

    The name is the run's own, else its id, with `-best` for the best epoch's weights. `UserError` where the run
    has not finished or the files are there already.
    """
    from fnkd_core.checkpoints.export import export_checkpoint

    require(run.state == "finished", f"Run {run.id} is {run.state}; only a finished run has a student to export.")
    source = run.path / ("model.safetensors" if weights == "last" else "best.safetensors")
    require(
        source.exists(), f"Run {run.id} held nothing out, so that no best epoch was chosen; export its last weights."
    )
    name = (run.spec.get("name") or run.id) + ("-best" if weights == "best" else "")
    return export_checkpoint(find_checkpoint(source), folder, formats, name)
