"""Writes the reference of every public function from the docstrings, with warnings as errors.

make docs
"""

from __future__ import annotations

import importlib
import itertools
import pkgutil
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import pdoc
import pdoc.render

from fnkd_core.paths import project_dir

LEFT_OUT = ("fnkd_core.cli", "fnkd_core.ui", "fnkd_core.__main__")
"""The command line has a page of its own, and the pages of the dashboard are to be looked at."""


def modules(package: str = "fnkd_core") -> list[str]:
    """A package and what is in it, as pdoc has to be told: where a package says what it offers, it looks no further."""
    module = importlib.import_module(package)
    if not hasattr(module, "__all__"):
        return [package]
    inner = [f"{package}.{found.name}" for found in pkgutil.iter_modules(module.__path__)]
    packages = {name for name in inner if (project_dir() / name.replace(".", "/")).is_dir()}
    found = [name for name in inner if name not in LEFT_OUT]
    return [package, *itertools.chain.from_iterable(modules(n) if n in packages else [n] for n in found)]


def write(folder: Path, what: Sequence[str]) -> None:
    """Write a page for each of these modules, and an index with a search. Raises what would have been a warning."""
    for module in map(importlib.import_module, what):
        for name in getattr(module, "__all__", ()):
            setattr(module, name, getattr(module, name))  # what is imported when it is asked for is not seen else
    pdoc.render.configure(docformat="markdown", footer_text="FNKD Lab")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # What a NamedTuple makes of its annotations does not know the names of its module.
        warnings.filterwarnings("ignore", r"Error parsing type annotation ForwardRef\('NDArray")
        pdoc.pdoc(*what, output_directory=folder)


if __name__ == "__main__":
    place = Path(sys.argv[1]) if len(sys.argv) > 1 else project_dir() / "build" / "reference"
    write(place, modules())
    print(f"{len(list(place.rglob('*.html')))} pages in {place}")
