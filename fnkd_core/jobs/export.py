"""A finished student leaves with its card, and with it its history."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Literal

from fnkd_core.errors import require
from fnkd_core.files import read_json, replacing, write_json
from fnkd_core.jobs.run import Run


def export_student(run: Run, folder: str | Path, weights: Literal["last", "best"] = "last") -> list[Path]:
    """Copy a finished run's weights and card to `folder/<name>.safetensors` and `.json`.

    The name is the run's own, else its id, with `-best` for the best epoch's weights. `UserError` where the run
    has not finished or the files are there already.
    """
    require(run.state == "finished", f"Run {run.id} is {run.state}; only a finished run has a student to export.")
    source = run.path / ("model" if weights == "last" else "best")
    name = (run.spec.get("name") or run.id) + ("-best" if weights == "best" else "")
    target = Path(folder).expanduser()
    require(not target.exists() or target.is_dir(), f"{target} is a file; give a folder.")
    paths = [target / f"{name}.safetensors", target / f"{name}.json"]
    for path in paths:
        require(not path.exists(), f"{path} exists already; remove it, or export to another folder.")
    with replacing(paths[0]) as temporary:
        shutil.copyfile(source.with_suffix(".safetensors"), temporary)
    write_json(paths[1], read_json(source.with_suffix(".json")) | {"name": name})
    return paths
