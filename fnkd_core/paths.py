"""Where things are kept. `FNKD_HOME` moves runs, stores, imported checkpoints and data elsewhere."""

from __future__ import annotations

import functools
import os
from pathlib import Path

from platformdirs import user_data_path

_PACKAGE = Path(__file__).resolve().parent


def import_root() -> Path:
    """The folder that holds `fnkd_core`, for processes that are to find it as this one did."""
    return _PACKAGE.parent


@functools.cache
def is_installed() -> bool:
    """Whether the package comes from a wheel; else from a checkout."""
    return (_PACKAGE / "_app").is_dir()


def environment() -> dict[str, str]:
    """The environment of a process that is to find this package and this home."""
    paths = os.pathsep.join(filter(None, [str(import_root()), os.environ.get("PYTHONPATH")]))
    return os.environ | {"FNKD_HOME": str(home()), "PYTHONPATH": paths}


def project_dir() -> Path:
    """The folder that holds `app.py`, `pages` and the shipped `checkpoints`: the checkout, or its part of the wheel."""
    return _PACKAGE / "_app" if is_installed() else _PACKAGE.parent


def home() -> Path:
    """Where the user's runs, stores, checkpoints and data are: `FNKD_HOME`, else the checkout, else, installed from a
    wheel, the user's data folder."""
    named = os.environ.get("FNKD_HOME")
    if not named:
        return user_data_path("fnkd-lab", appauthor=False).resolve() if is_installed() else _PACKAGE.parent
    return _resolved(os.path.abspath(os.path.expanduser(named)))


@functools.cache  # a look at each folder above it, for each path that a page asks for
def _resolved(path: str) -> Path:
    return Path(path).resolve()


def runs_dir() -> Path:
    """A folder for each training."""
    return home() / "runs"


def comparisons_dir() -> Path:
    """A folder for each comparison."""
    return home() / "comparisons"


def stores_dir() -> Path:
    """A folder for each model on each split."""
    return home() / "stores"


def teacher_outputs_dir() -> Path:
    """A folder for each teacher on each list of images."""
    return home() / "teacher_outputs"


def tasks_dir() -> Path:
    """Extractions and imports that are under way, or ended without what was asked."""
    return home() / "tasks"


def data_dir() -> Path:
    """Downloaded data sets, and the names of image folders."""
    return home() / "data"


def selections_dir() -> Path:
    """A file for each saved selection."""
    return home() / "selections"


def cache_dir() -> Path:
    """What can be made anew, and what is in the making."""
    return home() / "cache"


def importing_dir() -> Path:
    """By the name that a checkpoint is to have, what networks have said meanwhile, and the lock of who imports it."""
    return cache_dir() / "importing"


def spreads_dir() -> Path:
    """A folder for each teacher whose augmentations were measured, see `fnkd_core.training.spread`."""
    return cache_dir() / "augmentations"


def checkpoint_dirs() -> list[Path]:
    """Folders searched for checkpoints, the user's own first, then the shipped ones."""
    own, shipped = home() / "checkpoints", project_dir() / "checkpoints"
    return [own] if own == shipped else [own, shipped]
