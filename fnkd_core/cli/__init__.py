"""`fnkd`: the core from the command line. A file for each group of commands; no logic of the core."""

from __future__ import annotations

from fnkd_core.cli.program import main

__all__ = ["main"]
