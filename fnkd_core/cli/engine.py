"""`--engine`: where the work of a command is done."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from fnkd_core.cli.options import Parser
from fnkd_core.errors import require

ENGINES = {"local": "this machine", "ray": "a Ray cluster that is running, over FNKD_HOME on storage its nodes share"}
OPTIONS = ("address", "cpus_per_run", "gpus_per_run")


def add_engine(command: Parser, each: bool = False) -> Any:
    """The options that say where; the group of them. each: whether many runs share a cluster."""
    group = command.add_argument_group("where it is done")
    text = "; ".join(f"{name}: {where}" for name, where in ENGINES.items())
    group.add_argument("--engine", choices=list(ENGINES), default="local", help=f"{text} (local)")
    group.add_argument(
        "--address", metavar="HOST:PORT", help="ray: of the cluster's head, as `ray start --head` says it"
    )
    if each:
        text = "ray: processors a run reserves; by default as many as it has threads, else 1"
        group.add_argument("--cpus-per-run", type=float, metavar="C", help=text)
        text = "ray: graphics cards a run reserves, a share of one among them; by default 1 where there are any"
        group.add_argument("--gpus-per-run", type=float, metavar="G", help=text)
    return group


@contextlib.contextmanager
def engine_of(a: argparse.Namespace, needed: bool = True, options: Sequence[str] = OPTIONS) -> Iterator[Any]:
    """The cluster that was asked for, connected to until the block ends; None for this machine, or where not needed.

    options: those that belong to clusters alone. `UserError` in one line where the cluster cannot be used, or one of
    them was given without it.
    """
    engine = getattr(a, "engine", "local")
    if engine == "local":
        given = ["--" + name.replace("_", "-") for name in options if getattr(a, name, None) is not None]
        require(not given, f"{', '.join(given)} would be ignored: add --engine ray, or leave it out.")
    if engine == "local" or not needed:
        yield None
        return
    from fnkd_core.jobs.cluster.ray import connected

    with connected(a.address) as cluster:
        yield cluster.sharing(getattr(a, "cpus_per_run", None), getattr(a, "gpus_per_run", None))
