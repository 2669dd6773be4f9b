"""Where things are kept. `FNKD_HOME` moves runs, stores, imported checkpoints and data elsewhere."""

from __future__ import annotations

import os
from pathlib import Path


def project_dir() -> Path:
    """The folder that holds `fnkd_core`, `app.py` and the shipped `checkpoints`."""
    return Path(__file__).resolve().parent.parent


def home() -> Path:
    """Where the user's runs, stores, checkpoints and data are: `FNKD_HOME`, else the project folder."""
    return Path(os.environ.get("FNKD_HOME") or project_dir()).expanduser().resolve()


def runs_dir() -> Path:
    return home() / "runs"


def comparisons_dir() -> Path:
    return home() / "comparisons"


def stores_dir() -> Path:
    return home() / "stores"


def data_dir() -> Path:
    return home() / "data"


def checkpoint_dirs() -> list[Path]:
    """Folders searched for checkpoints, the user's own first, then the shipped ones."""
    own, shipped = home() / "checkpoints", project_dir() / "checkpoints"
    return [own] if own == shipped else [own, shipped]
