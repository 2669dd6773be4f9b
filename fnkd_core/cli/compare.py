"""`fnkd compare`."""

from __future__ import annotations

import argparse
import contextlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fnkd_core.cli.dry_run import add_dry_run, how_long
from fnkd_core.cli.engine import add_engine, engine_of
from fnkd_core.cli.options import (
    Bar,
    Commands,
    Items,
    Result,
    add_method_parameters,
    add_settings,
    add_teacher,
    data_options,
    info_of,
    settings_of,
)
from fnkd_core.errors import UserError
from fnkd_core.experiments.plan import Cell
from fnkd_core.experiments.presets import PRESETS, USUAL_METHODS
from fnkd_core.training.config import RunConfig
from fnkd_core.wording import counted


def compare(a: argparse.Namespace) -> Result:
    from fnkd_core.experiments import comparison as jobs
    from fnkd_core.experiments import status
    from fnkd_core.experiments.plan import plan, read_grid, read_rows, settled
    from fnkd_core.experiments.presets import preset
    from fnkd_core.experiments.sharing import asking_once, standing_for, to_be_asked
    from fnkd_core.jobs.slots import rounds

    base = settings_of(a)
    chosen = preset(a.preset) if a.preset else None
    own = read_rows(a.row or [])
    methods, rows = chosen.asked(a.methods) if chosen else (a.methods or ([] if own else list(USUAL_METHODS)), [])
    asked = read_grid(a.grid or [], methods)
    grid = settled(base | base["parameters"], chosen.grid if chosen else {}, asked)
    info = info_of(a)
    if "noise_kind" in grid.keys() - asked.keys() and not _has_similar(info, base):
        print(f"{info.name} has no similar classes, so its wrong labels are uniform only.")
        grid["noise_kind"] = ["uniform"]
    recipe = a.recipe or (chosen.recipe if chosen else None)
    more = chosen.more if chosen else {}
    cells = plan(base, methods, range(a.seeds), grid, rows=[*rows, *own], recipe=recipe, **more)
    if "teacher_outputs" not in base:
        cells = asking_once(cells)
    made = jobs.comparison_of if a.dry_run else jobs.create_comparison
    asked_best = list(dict.fromkeys(name.replace("-", "_") for name in a.at_best or ()))
    at_best = asked_best or (chosen.chosen_of(cells) if chosen else [])
    if chosen and not at_best and (why := chosen.not_chosen(cells)):
        print(why)
    comparison = made(cells, a.called or a.preset or a.dataset, at_best)
    found = status.statuses_of(cells)
    left = [s.cell for s in found if s.state != "finished"]
    todo = len(left)
    print(f"{comparison.id}: {counted(len(cells), 'run')}, {len(cells) - todo} of them done")
    if a.dry_run:
        print(f"{', '.join(dict.fromkeys(cell.row for cell in cells))}; all with {status.settings_line(cells)}.")
    if asking := to_be_asked(left):
        print(asking)
    code, working = 0, todo > 0 and comparison.working
    to_begin = todo > 0 and not working
    with engine_of(a, needed=to_begin and not a.dry_run) as cluster:
        if cluster:
            cluster.say_room([cell.config for cell in cells])
        if to_begin and not cluster:
            _say_turns(found)
        if working:
            print("It is being worked on; the same command tells how it goes.")
        if a.dry_run:
            turns = rounds(todo) if a.engine == "local" else todo
            return how_long(*standing_for(left), turns, asking) | {"runs": len(cells), "done": len(cells) - todo}
        if to_begin and a.background:
            jobs.start(comparison, _background(a) if cluster else None)
            print("Started; the same command tells how it goes.")
        elif to_begin:
            (comparison.path / "cancel").unlink(missing_ok=True)
            code = _foreground_comparison(comparison, len(cells) - todo, len(cells), cluster)
    return _compared(comparison, cells, Path(a.out) if a.out else comparison.path, at_best) | {"exit_code": code}


def _say_turns(found: Sequence[Any]) -> None:
    """Print that others have the slots of this machine, where they do: nothing moves until it is these runs' turn."""
    from fnkd_core.jobs.slots import slots
    from fnkd_core.jobs.summary import living, summaries

    own = {status.run.id for status in found if status.run is not None}
    others = living(summaries()).keys() - own
    if len(others) >= len(slots()):
        few = "One other run is" if len(others) == 1 else f"{len(others)} other runs are"
        print(f"{few} under way or waiting; `fnkd runs list` shows them, and these take turns with them.")


def _background(a: argparse.Namespace) -> Sequence[str]:
    """What works on a comparison over a cluster when this command has returned."""
    from fnkd_core.experiments.on_ray import command

    return command({"address": a.address, "cpus": a.cpus_per_run, "gpus": a.gpus_per_run})


def _has_similar(info: Any, base: Result) -> bool:
    from fnkd_core.data import similar_classes

    return any(similar_classes(info, base.get("similar", "auto")))


def _foreground_comparison(comparison: Any, done: int, total: int, cluster: Any = None) -> int:
    """See it through, with a bar over all its epochs."""
    from fnkd_core.experiments.comparison import work
    from fnkd_core.jobs.words import share_of

    bar, shares = Bar(comparison.id, total), dict[str, float]()

    def show(status: Any, event: Any) -> None:
        if hasattr(event, "epochs"):
            shares[status.run.id] = 1.0 if status.state == "finished" else share_of(vars(event))
            bar.show(round(done + sum(shares.values()), 2))

    with contextlib.redirect_stdout(io.StringIO()):  # what each run prints is in the runs' own numbers
        code = work(comparison.path, on_event=show, cluster=cluster, on_look=lambda runs: bar.show(round(runs, 2)))
    bar.close()
    return code


def _compared(comparison: Any, cells: Sequence[Cell], out: Path, at_best: Sequence[str] = ()) -> Result:
    """Print what the runs say so far, and write it as CSV, Markdown and a plot. at_best: see `Comparison`."""
    from fnkd_core.experiments import comparison as jobs
    from fnkd_core.experiments import seeds as analysis
    from fnkd_core.experiments import status
    from fnkd_core.experiments.report import as_text, report
    from fnkd_core.files import write_text
    from fnkd_core.plots.seeds import intervals, norm_against_accuracy, sweep_lines, sweep_map
    from fnkd_core.plots.style import standalone
    from fnkd_core.spreadsheets import csv_of

    found = status.statuses_of(cells)
    runs = analysis.table(status.results(found))
    best = analysis.at_best(runs, at_best)
    choice = analysis.chosen_line(at_best, runs, best)
    lines, square = analysis.summary(best), analysis.beats(best)
    which = as_text(square)
    shown = analysis.readable(lines)
    settings = status.settings_line(cells)
    print(f"\n{shown.to_string(index=False)}\n\n{choice + ' ' if choice else ''}All runs: {settings}.")
    if square.notna().any(axis=None):
        print(f"\nProbability that the row's accuracy is higher than the column's:\n{which.to_string()}")
    if notes := status.computed(found):
        print(notes)
    for s in found:
        if s.state in ("failed", "broken"):
            print(f"{s.cell.row}, seed {s.cell.seed}, {s.state}: {s.result()['error']}")
    files = {
        "results.csv": csv_of(runs),
        "results.md": report(best, which, settings, notes, choice),
        "intervals.html": standalone(intervals(best, lines)),
        "norm-accuracy.html": standalone(norm_against_accuracy(best)),
    }
    for method in dict.fromkeys(runs["method"]):
        axes = sorted(analysis.axes(runs, method), key=lambda name: name != "tau")
        if not axes:
            continue
        x, *others = axes
        own = runs[runs["method"] == method]
        if words := analysis.words(runs, method):
            also = ("method", *words, *others)  # a map would average over what is no number
            files[f"{method}-{x}.html"] = standalone(sweep_lines(analysis.sweep(own, x, also), x, also))
            continue
        for y in others:
            grid = analysis.over_two(runs, method, x, y)
            files[f"{method}-{x}-{y}.html"] = standalone(sweep_map(grid, x, y, analysis.teacher_norm(runs)))
        if not others:
            files[f"{method}-{x}.html"] = standalone(sweep_lines(analysis.sweep(own, x), x, ("method",)))
    for name, content in files.items():
        write_text(out / name, content)
    any_done = (runs["state"] == "finished").any()
    print(f"\n{', '.join(files)} in {out}" if any_done else "\nNo run is finished yet.")
    return {
        "json": {
            "id": comparison.id,
            "path": str(comparison.path),
            "state": jobs.state_of(comparison, found),
            "settings": status.shared_settings(cells),
            "rows": lines.to_dict("records"),
            "probability_higher": square.to_dict("index"),
            "runs": runs.to_dict("records"),
            "files": [str(out / name) for name in files],
        }
    }


def demo(a: argparse.Namespace) -> Result:
    from fnkd_core.experiments import comparison as jobs
    from fnkd_core.experiments import status
    from fnkd_core.experiments.demo import DIGITS, NAME, PHOTOGRAPHS, demo_cells

    dataset = PHOTOGRAPHS if a.what == "cifar" and _could_fetch(PHOTOGRAPHS) else DIGITS
    cells = demo_cells(dataset)
    comparison = jobs.create_comparison(cells, NAME)
    done = sum(s.state == "finished" for s in status.statuses_of(cells))
    print(f"{comparison.id}: {counted(len(cells), 'run')} on {dataset}, {done} of them done")
    code = _foreground_comparison(comparison, done, len(cells)) if done < len(cells) else 0
    found = _compared(comparison, cells, comparison.path)
    print(f"`fnkd app` shows them: choose {dataset} on the left; Compare has this comparison.")
    return {"json": found["json"] | {"dataset": dataset}, "exit_code": code}


def _could_fetch(name: str) -> bool:
    """Whether the data are here now; where the network or the disk says no, that is said."""
    from fnkd_core.data.download.fetch import ensure

    try:
        ensure(name)
    except (UserError, OSError) as error:
        print(f"{error} The demo goes on with digits, which come along.")
        return False
    return True


def register(commands: Commands) -> None:
    """Add the commands of this file."""
    text = "A teacher and two students in minutes: on 5,000 photographs of CIFAR-10 (170 MB), else on digits."
    what = commands.add("demo", demo, text)
    text = "cifar fetches CIFAR-10 where the network allows; digits come along (cifar)"
    what.add_argument("what", choices=("cifar", "digits"), nargs="?", default="cifar", help=text)
    text = "Compare methods over seeds: runs what is missing, skips what is done."
    command = commands.add("compare", compare, text, data_options())
    command.add_argument(
        "--methods", action=Items, metavar="A,B", help=f"methods to compare ({','.join(USUAL_METHODS)})"
    )
    command.add_argument(
        "--preset", choices=sorted(PRESETS), help="a comparison that answers a question; see docs/reference/settings.md"
    )
    add_teacher(command, "checkpoint to learn from and to agree with")
    command.add_argument("--student", default=RunConfig().student, metavar="ARCH", help="architecture to train")
    command.add_argument("--seeds", type=int, default=5, metavar="N", help="seeds 0 to N-1 of each row (5)")
    text = "vary a setting or a parameter, such as tau=1,2,4; can be given again"
    command.add_argument("--grid", action=Items, again=True, metavar="NAME=V,V", help=text)
    text = "a row besides, with a grid of its own, such as 'dkd policy=norm lr=0.1,0.2'; can be given again"
    command.add_argument("--row", action="append", metavar="'METHOD NAME=V,V'", help=text)
    text = "show each row at the value of these that is best on validation, such as lr of --grid lr=0.1,0.2"
    command.add_argument("--at-best", action=Items, again=True, metavar="NAME", help=text)
    text = "what to call it: letters, digits, dots, - and _; by default as its preset or its data"
    command.add_argument("--name", dest="called", metavar="NAME", help=text)
    command.add_argument("--out", metavar="DIR", help="where the tables and the plot go; its own folder by default")
    command.add_argument("--background", action="store_true", help="start it and return")
    add_dry_run(command)
    add_engine(command, each=True)
    add_settings(command, leave_out=("seed", "name"))
    add_method_parameters(command)
