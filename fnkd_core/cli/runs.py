"""`fnkd train` and `fnkd runs`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from fnkd_core.cli.options import (
    Bar,
    Commands,
    Result,
    add_format,
    add_method_parameters,
    add_settings,
    data_options,
    settings_of,
    written,
)
from fnkd_core.errors import UserError, one_line, require
from fnkd_core.jobs.words import parameters_line
from fnkd_core.kd.methods import METHODS
from fnkd_core.training.config import RunConfig


def train(a: argparse.Namespace) -> Result:
    from fnkd_core.jobs.control import submit
    from fnkd_core.jobs.run import create_run
    from fnkd_core.training.setup import rehearse

    needed = {"--dataset NAME (`fnkd data list`)": a.dataset, "--method NAME (`fnkd methods`)": a.method}
    lacking = [option for option, given in needed.items() if not given]
    require(
        not lacking, f"A training needs {' and '.join(lacking)}, such as `fnkd train --dataset digits --method ce`."
    )
    config = RunConfig.from_dict(settings_of(a))
    rehearse(config)
    if a.background:
        run = submit(config.to_dict())
        print(f"Submitted {run.id}; `fnkd runs show {run.id}` tells how it goes.")
        return {"id": run.id, "path": str(run.path), "state": run.state}
    return foreground(create_run(config.to_dict(), a.run_dir).path)


def foreground(path: Path) -> Result:
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

    code = work(path, queue=False, on_event=show)
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


def runs_list(a: argparse.Namespace) -> Result:
    from fnkd_core.jobs.reading import read
    from fnkd_core.jobs.run import list_runs

    rows = []
    for one in map(read, list_runs()):
        config, last = one.config, one.results.get("last") or {}
        rows.append(
            {
                "id": one.run.id,
                "state": one.state,
                "method": config.get("method"),
                "dataset": config.get("dataset"),
                "epochs": f"{len(one.metrics)}/{config.get('epochs')}",
                "test_accuracy": last.get("accuracy"),
                "parameters": dict(one.parameters),
                "problem": one.problem,
            }
        )
        accuracy = f"{last['accuracy']:.4f}" if last else "-"
        shown = parameters_line(one.parameters)
        words = f"{rows[-1]['dataset']}  {rows[-1]['epochs']} epochs  test accuracy {accuracy}  {shown}"
        print(f"{one.run.id}  {one.state:<12} {one.problem or words}".rstrip())
    if not rows:
        print("No runs yet; `fnkd train` makes one.")
    return {"runs": rows}


def runs_show(a: argparse.Namespace) -> Result:
    from fnkd_core.jobs.run import find_run

    run = find_run(a.run_ref)
    end = run.end or {}
    shown: Result = {"id": run.id, "path": str(run.path), "state": run.state, "config": run.config}
    shown |= {"parameters": run.parameters, "progress": run.progress, "metrics": run.metrics(), "results": run.results}
    shown |= {"sessions": run.sessions(), "error": end.get("error")}
    print(f"{run.id}: {run.state}   {run.path}")
    for key, value in (run.config | {"parameters": run.parameters}).items():
        print(f"  {key:<20} {one_line(value)}")
    for line in shown["metrics"]:
        norm = f"  ||f|| {line['norm']:.2f}" if "norm" in line else ""
        print(
            f"  epoch {line['epoch']:>3}  loss {line['loss']:.4f}  {line['evaluated_on']} accuracy "
            f"{line['accuracy']:.4f}{norm}"
        )
    for name, reached in run.results.items():
        if reached:
            print(f"  test accuracy {reached['accuracy']:.4f}, {name.replace('_', ' ')} (epoch {reached['epoch']})")
    if end.get("error"):
        print(f"  {one_line(end['error'])}")
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
    from fnkd_core.jobs.control import reopen, resume
    from fnkd_core.jobs.run import find_run

    run = find_run(a.run_ref)
    if a.background:
        resume(run)
        print(f"{run.id}: {run.state}")
        return {"id": run.id, "state": run.state}
    reopen(run)
    return foreground(run.path)


def runs_delete(a: argparse.Namespace) -> Result:
    from fnkd_core.jobs.run import delete_run, find_run, stores_of_run, taught_by

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
    command.add_argument("--teacher", metavar="NAME|PATH", help="checkpoint to learn from")
    command.add_argument("--student", default=RunConfig().student, metavar="ARCH", help="architecture to train")
    command.add_argument("--run-dir", metavar="DIR", help="the run's folder; a new one among the runs by default")
    command.add_argument("--background", action="store_true", help="hand it to the queue and return")
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
        if name == "export":
            command.add_argument("--to", required=True, metavar="DIR")
            command.add_argument("--weights", choices=("last", "best"), default="last")
            add_format(command)
