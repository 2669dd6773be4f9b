"""`fnkd train` and `fnkd runs`."""

from __future__ import annotations

import argparse
import functools
from pathlib import Path
from typing import Any

from fnkd_core.cli.engine import add_engine, engine_of
from fnkd_core.cli.options import (
    Bar,
    Commands,
    Result,
    add_format,
    add_method_parameters,
    add_settings,
    add_teacher,
    data_options,
    settings_of,
    written,
)
from fnkd_core.data.listing import one_look
from fnkd_core.errors import UserError, one_line, require
from fnkd_core.jobs.words import parameters_line, soft_term_line, step_line
from fnkd_core.kd.methods import METHODS
from fnkd_core.training.config import RunConfig
from fnkd_core.training.hard_term import require_said_once
from fnkd_core.training.recipes import with_recipe


def train(a: argparse.Namespace) -> Result:
    from fnkd_core.jobs.run import create_run
    from fnkd_core.training.setup import rehearse

    needed = {"--dataset NAME (`fnkd data list`)": a.dataset, "--method NAME (`fnkd methods`)": a.method}
    lacking = [option for option, given in needed.items() if not given]
    require(
        not lacking, f"A training needs {' and '.join(lacking)}, such as `fnkd train --dataset digits --method ce`."
    )
    given = settings_of(a)
    config = RunConfig.from_dict(with_recipe(a.recipe, given) if a.recipe else given)
    require_said_once(config)
    with one_look(), engine_of(a) as cluster:
        if beginning := rehearse(config).beginning:
            print(beginning)
        if a.background:
            run = create_run(config.to_dict())
            _begin(run, a)
            print(f"Submitted {run.id}; `fnkd runs show {run.id}` tells how it goes.")
            return {"id": run.id, "path": str(run.path), "state": run.state}
        nodes = _nodes(a)
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
    from fnkd_core.jobs.launch.torchrun import settled
    from fnkd_core.jobs.run import create_run

    try:
        return create_run(config.to_dict(), folder).path
    except UserError:
        return settled(config, folder).path


def _begin(run: Any, a: argparse.Namespace) -> None:
    """Have the run trained without this command: by this machine's queue, or on a cluster, which has its own."""
    from fnkd_core.jobs.control import detached, start

    if a.engine == "local":
        start(run)
        return
    from fnkd_core.jobs.cluster.together import command

    detached(run.path, run.lock, command(a.address))


def foreground(path: Path, cluster: Any = None, nodes: Any = None) -> Result:
    from fnkd_core.jobs.run import Run
    from fnkd_core.jobs.worker import work

    run = Run(path)
    bar = Bar("training", 1)

    def show(event: Any) -> None:
        if hasattr(event, "what"):
            bar.words, bar.total = event.what, event.total
            bar.show(event.done)
        elif hasattr(event, "eta_s"):
            bar.words, bar.total = "training", event.epochs * event.steps
            bar.show((event.epoch - 1) * event.steps + event.step)

    code = work(path, queue=False, on_event=show, engine=_trainer(cluster), nodes=nodes)
    bar.close()
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


def runs_list(a: argparse.Namespace) -> Result:
    from fnkd_core.jobs.control import tend
    from fnkd_core.jobs.summary import outline, summaries

    rows, found = [], summaries()
    tend(outline(name, one).run for name, one in found.items() if one["state"] == "queued")
    for name, one in found.items():
        epochs = f"{one['epochs_done']}/{one['epochs']}"
        rows.append(
            {
                "id": name,
                "state": one["state"],
                "method": one["method"],
                "dataset": one["dataset"],
                "epochs": epochs,
                "test_accuracy": one["accuracy"],
                "parameters": one["parameters"],
                "problem": one["problem"],
            }
        )
        accuracy = f"{one['accuracy']:.4f}" if one["accuracy"] is not None else "-"
        shown = parameters_line(one["parameters"])
        words = f"{one['dataset']}  {epochs} epochs  test accuracy {accuracy}  {shown}"
        print(f"{name}  {one['state']:<12} {one['problem'] or words}".rstrip())
    if not rows:
        print("No runs yet; `fnkd train` makes one.")
    return {"runs": rows}


def runs_show(a: argparse.Namespace) -> Result:
    from fnkd_core.data.download.addresses import megabytes
    from fnkd_core.jobs.control import tend
    from fnkd_core.jobs.run import find_run
    from fnkd_core.stores.epochs import kept_epochs
    from fnkd_core.training.command import command_line

    run = find_run(a.run_ref)
    tend([run])
    end = run.end or {}
    try:
        again = command_line(RunConfig.from_dict(run.config))
    except UserError:  # of a version with other settings
        again = None
    shown: Result = {"id": run.id, "path": str(run.path), "state": run.state, "config": run.config}
    shown |= {"parameters": run.parameters, "progress": run.progress, "metrics": run.metrics(), "results": run.results}
    newest = {name: lines[-1] if lines else None for name, lines in (("step", run.steps()), ("norms", run.norms()))}
    shown |= {"sessions": run.sessions(), "error": end.get("error"), "command": again} | newest
    shown["taught_by"] = run.taught_by or None
    kept = kept_epochs(run.path)
    shown["kept_epochs"] = {"epochs": len(kept.numbers), "bytes": kept.num_bytes} if kept else None
    print(f"{run.id}: {run.state}   {run.path}")
    for key, value in (run.config | {"parameters": run.parameters, "taught by": shown["taught_by"]}).items():
        print(f"  {key:<20} {one_line(value)}")
    for line in shown["metrics"]:
        norm = f"  ||f|| {line['norm']:.2f}" if "norm" in line else ""
        print(
            f"  epoch {line['epoch']:>3}  loss {line['loss']:.4f}  {line['evaluated_on']} accuracy "
            f"{line['accuracy']:.4f}{norm}"
        )
    if newest["step"]:
        print(f"  {step_line(newest['step'])}")
    if any(line.get("gradient_hard") is not None for line in shown["metrics"]):
        print(f"  Is the soft term doing anything? {soft_term_line(shown['metrics'])}")
    for name, reached in run.results.items():
        if reached:
            print(f"  test accuracy {reached['accuracy']:.4f}, {name.replace('_', ' ')} (epoch {reached['epoch']})")
    if kept:
        size = megabytes(kept.num_bytes)
        print(f"  norms, p_label and predictions of {len(kept.numbers)} epoch(s) are kept in epochs/, {size}")
    if end.get("error"):
        print(f"  {one_line(end['error'])}")
    if again:
        print(f"  again: {again}")
    if a.log:
        print(run.log_tail())
    return shown


def runs_cancel(a: argparse.Namespace) -> Result:
    from fnkd_core.jobs.control import cancel
    from fnkd_core.jobs.run import find_run

    run = find_run(a.run_ref)
    cancel(run)
    print(f"{run.id}: {run.state}")
    return {"id": run.id, "state": run.state}


def runs_resume(a: argparse.Namespace) -> Result:
    from fnkd_core.jobs.control import reopen
    from fnkd_core.jobs.run import find_run

    run = find_run(a.run_ref)
    with engine_of(a) as cluster:
        if a.background:
            reopen(run)
            _begin(run, a)
            print(f"{run.id}: {run.state}")
            return {"id": run.id, "state": run.state}
        reopen(run)
        return foreground(run.path, cluster)


def runs_delete(a: argparse.Namespace) -> Result:
    from fnkd_core.jobs.run import delete_run, find_run, stores_of_run
    from fnkd_core.jobs.summary import taught_by

    run = find_run(a.run_ref)
    stores, students = len(stores_of_run(run)), [other.id for other in taught_by(run)]
    if stores:
        print(f"Goes along: {stores} store(s) of what its students say.")
    if students:
        print(f"It taught {', '.join(students)}; they stay, and can no longer be resumed.")
    delete_run(run)
    print(f"{run.id}: deleted")
    return {"id": run.id, "deleted": True, "stores": stores, "taught": students}


def runs_export(a: argparse.Namespace) -> Result:
    from fnkd_core.jobs.export import export_student
    from fnkd_core.jobs.run import find_run

    return written(export_student(find_run(a.run_ref), a.to, a.weights, a.format))


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
    add_engine(command)
    add_settings(command)
    add_method_parameters(command)
    group = commands.group("runs", "List, show and steer runs.")
    group.add("list", runs_list, "All runs, newest first.")
    for name, run, text in (
        ("show", runs_show, "One run: configuration, epochs, log."),
        ("cancel", runs_cancel, "Ask a run to stop after the current step."),
        ("resume", runs_resume, "Go on with an interrupted, cancelled or failed run."),
        ("delete", runs_delete, "Remove a run's folder."),
        ("export", runs_export, "Copy a finished student and its card to a folder."),
    ):
        command = group.add(name, run, text)
        command.add_argument("run_ref", metavar="ID|DIR")
        if name == "show":
            command.add_argument("--log", action="store_true", help="with the end of its log")
        if name == "resume":
            command.add_argument("--background", action="store_true", help="hand it to the queue and return")
            add_engine(command)
        if name == "export":
            command.add_argument("--to", required=True, metavar="DIR")
            command.add_argument("--weights", choices=("last", "best"), default="last")
            add_format(command)
