"""`fnkd train`."""

from __future__ import annotations

import argparse
import contextlib
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from fnkd_core.cli.dry_run import add_dry_run, how_long
from fnkd_core.cli.engine import add_engine, engine_of
from fnkd_core.cli.options import (
    Bar,
    Commands,
    Result,
    add_method_parameters,
    add_settings,
    add_teacher,
    data_options,
    settings_of,
)
from fnkd_core.data.listing import one_look
from fnkd_core.errors import UserError, require
from fnkd_core.files import expanded
from fnkd_core.kd.methods import METHODS
from fnkd_core.training.config import RunConfig
from fnkd_core.training.hard_term import require_said_once
from fnkd_core.training.recipes import with_recipe


def train(a: argparse.Namespace) -> Result:
    from fnkd_core.jobs.run import create_run, require_no_run
    from fnkd_core.training.planned import to_ask
    from fnkd_core.training.setup import rehearse

    needed = {"--dataset NAME (`fnkd data list`)": a.dataset, "--method NAME (`fnkd methods`)": a.method}
    lacking = [option for option, given in needed.items() if not given]
    if lacking and a.run_dir:  # somebody who means to go on with it
        require_no_run(expanded(a.run_dir).resolve())
    require(
        not lacking, f"A training needs {' and '.join(lacking)}, such as `fnkd train --dataset digits --method ce`."
    )
    given = settings_of(a)
    config = RunConfig.from_dict(with_recipe(a.recipe, given) if a.recipe else given)
    require_said_once(config)
    with one_look(), engine_of(a, needed=not a.dry_run) as cluster:
        found = rehearse(config)
        asking = to_ask([found])
        for line in filter(None, (found.beginning, asking)):
            print(line)
        nodes = _nodes(a)
        if a.dry_run:
            of = f"{config.epochs:,} epochs of {found.num_images[0]:,} images"
            print(f"{config.method} of {config.student} on {config.dataset}, {of}, lr {config.lr:g}.")
            if a.run_dir:
                require_no_run(expanded(a.run_dir).resolve())
            return how_long(found, False, 1, asking)
        if a.background:
            run = create_run(config.to_dict())
            begin(run, a)
            print(f"Submitted {run.id}; `fnkd runs show {run.id}` tells how it goes.")
            return {"id": run.id, "path": str(run.path), "state": run.state}
        if nodes is not None:
            return _with_others(_shared_run(config, a.run_dir), config.devices, nodes)
        return foreground(create_run(config.to_dict(), a.run_dir).path, cluster)


def _nodes(a: argparse.Namespace) -> Any:
    """The machines that share the run, where there are several. `UserError` where they have no common folder."""
    from fnkd_core.jobs.launch.torchrun import Nodes

    if a.nodes == 1 and not a.rdzv_endpoint:
        return None
    nodes = Nodes(a.nodes, a.rdzv_endpoint or "")
    require(nodes.count > 1, "--rdzv-endpoint would be ignored: give --nodes N, or leave it out.")
    require(a.run_dir is not None, f"{nodes.count} nodes work in one folder; give --run-dir, on storage they share.")
    require(a.engine == "local" and not a.background, "--nodes is for torchrun in the foreground; leave the other out.")
    return nodes


def _with_others(path: Path, devices: int, nodes: Any) -> Result:
    """Own the run, as the first of its machines, or take part in it."""
    from fnkd_core.jobs.launch.torchrun import train_together
    from fnkd_core.jobs.run import Run
    from fnkd_core.locks import is_locked

    run = Run(path)
    try:
        return foreground(path, nodes=nodes)
    except UserError:
        if not is_locked(run.lock):
            raise
    print(f"{run.id} is owned by another node; taking part in it.")
    train_together(run, devices, nodes, owned=False)
    return {"id": run.id, "path": str(run.path), "state": run.state}


def _shared_run(config: RunConfig, folder: str) -> Path:
    """The folder of the run, which the first of the machines makes."""
    from fnkd_core.jobs.control import reopen
    from fnkd_core.jobs.launch.torchrun import settled
    from fnkd_core.jobs.run import create_run

    try:
        return create_run(config.to_dict(), folder).path
    except UserError:
        run = settled(config, folder)
    if run.state in ("failed", "cancelled"):  # as after a lost machine; the same command goes on from the last epoch
        with contextlib.suppress(UserError):  # another of the machines has done so
            reopen(run)
    return run.path


def begin(run: Any, a: argparse.Namespace) -> None:
    """Have the run trained without this command: by this machine's queue, or on a cluster, which has its own."""
    from fnkd_core.jobs.control import detached, start

    if a.engine == "local":
        start(run)
        return
    from fnkd_core.jobs.cluster.together import command

    detached(run.path, run.lock, command(a.address))


@contextlib.contextmanager
def training_bar() -> Iterator[Callable[[Any], None]]:
    """A progress bar of a training; what it gives is to be shown each event."""
    bar = Bar("training", 1)

    def show(event: Any) -> None:
        if hasattr(event, "what"):
            bar.words, bar.total = event.what, event.total
            bar.show(event.done)
        elif hasattr(event, "eta_s"):
            bar.words, bar.total = "training", event.epochs * event.steps
            bar.show((event.epoch - 1) * event.steps + event.step)

    try:
        yield show
    finally:
        bar.close()


def foreground(path: Path, cluster: Any = None, nodes: Any = None) -> Result:
    from fnkd_core.jobs.run import Run
    from fnkd_core.jobs.worker import work

    run = Run(path)
    with training_bar() as show:
        code = work(path, queue=False, on_event=show, engine=_trainer(cluster), nodes=nodes)
    end = run.end or {}
    if end.get("status") == "failed" and code == 2:
        raise UserError(str(end.get("error")))
    print(f"{run.id}: {run.state} in {run.path}")
    metrics, results = run.metrics(), run.results
    for name, words in (("last", "last epoch"), ("best", "best on validation")):
        if reached := results.get(name):
            print(f"test accuracy {reached['accuracy']:.4f}, {words} ({reached['epoch']})")
    return {
        "json": {
            "id": run.id,
            "path": str(run.path),
            "state": run.state,
            "epochs": len(metrics),
            "last": results.get("last"),
            "best": results.get("best"),
            "best_on_test": results.get("best_on_test"),
            "parameters": run.parameters,
            "model": str(run.path / "model.safetensors") if run.state == "finished" else None,
        }
        | ({"error": end["error"]} if end.get("error") else {}),
        "exit_code": code,
    }


def _trainer(cluster: Any) -> Any:
    """What trains a run on the cluster; None without one."""
    if cluster is None:
        return None
    from fnkd_core.jobs.cluster.together import train_on

    return functools.partial(train_on, cluster)


def register(commands: Commands) -> None:
    """Add the commands of this file."""
    command = commands.add("train", train, "Train a student, with or without a teacher.", data_options(usual=None))
    command.add_argument("--method", metavar="NAME", help=f"how the student learns: {', '.join(sorted(METHODS))}")
    add_teacher(command, "checkpoint to learn from")
    command.add_argument("--student", default=RunConfig().student, metavar="ARCH", help="architecture to train")
    command.add_argument("--run-dir", metavar="DIR", help="the run's folder; a new one among the runs by default")
    text = "machines that share the run, each with --devices; the same command on each of them"
    command.add_argument("--nodes", type=int, default=1, metavar="N", help=text)
    text = "where they meet: a port of the first of them"
    command.add_argument("--rdzv-endpoint", metavar="HOST:PORT", help=text)
    command.add_argument("--background", action="store_true", help="hand it to the queue and return")
    add_dry_run(command)
    add_engine(command)
    add_settings(command)
    add_method_parameters(command)
