"""`fnkd runs`."""

from __future__ import annotations

import argparse
import dataclasses

from fnkd_core.cli.engine import add_engine, engine_of
from fnkd_core.cli.options import Commands, Result, add_format, written
from fnkd_core.cli.train import begin, foreground, training_bar
from fnkd_core.errors import UserError, one_line, require
from fnkd_core.jobs.words import parameters_line, soft_term_line, step_line
from fnkd_core.training.config import RunConfig
from fnkd_core.wording import counted, megabytes


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
        print(f"  norms, p_label and predictions of {counted(len(kept.numbers), 'epoch')} are kept in epochs/, {size}")
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
            begin(run, a)
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
        print(f"Goes along: {counted(stores, 'store')} of what its students say.")
    if students:
        print(f"It taught {', '.join(students)}; they stay, and can no longer be resumed.")
    delete_run(run)
    print(f"{run.id}: deleted")
    return {"id": run.id, "deleted": True, "stores": stores, "taught": students}


def runs_export(a: argparse.Namespace) -> Result:
    from fnkd_core.jobs.export import export_student
    from fnkd_core.jobs.run import find_run

    return written(export_student(find_run(a.run_ref), a.to, a.weights, a.format))


def runs_verify(a: argparse.Namespace) -> Result:
    from fnkd_core.experiments.comparison import find_comparison
    from fnkd_core.experiments.verify import pick, verify
    from fnkd_core.jobs.run import find_run

    require(bool(a.run_refs) != bool(a.of), "Name the runs to train again, or give --of COMPARISON; not both.")
    runs = pick(find_comparison(a.of), a.cells, a.seed) if a.of else [find_run(ref) for ref in a.run_refs]
    rows: list[Result] = []
    for run in runs:
        with training_bar() as show:
            found = verify(run, show)
        said = (
            f"{found.epochs} epochs, the test split and the weights are the same to the bit"
            if found.same
            else (found.other or "the weights differ")
        )
        print(f"{run.id}: {said}")
        rows.append(dataclasses.asdict(found) | {"same": found.same})
    same = all(row["same"] for row in rows)
    return {"json": {"runs": rows, "same": same}, "exit_code": 0 if same else 1}


def register(commands: Commands) -> None:
    """Add the commands of this file."""
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
    command = group.add("verify", runs_verify, "Train finished runs again, aside, and compare them to the bit.")
    command.add_argument("run_refs", metavar="ID|DIR", nargs="*")
    command.add_argument("--of", metavar="COMPARISON", help="runs picked at random from this one")
    command.add_argument("--cells", type=int, default=3, metavar="N", help="how many of them (3)")
    command.add_argument("--seed", type=int, default=0, metavar="N", help="of the picking (0)")
