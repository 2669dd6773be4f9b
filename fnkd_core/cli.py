"""`fnkd`: the core from the command line.

Every command takes `--json`, which makes its last line of standard output one JSON object. Wrong input ends
with exit code 2 and one line on standard error.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import io
import json
import math
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn, get_args, get_type_hints

from fnkd_core import __version__
from fnkd_core.checkpoints.library import EXPORTS
from fnkd_core.data.similar import SOURCES
from fnkd_core.errors import UserError
from fnkd_core.kd.methods import METHODS, Parameter, parameters
from fnkd_core.training.config import RunConfig
from fnkd_core.training.plan import PRESETS

Result = dict[str, Any]

SETTINGS = {
    "epochs": "passes over the training split",
    "batch_size": "samples per step",
    "optimizer": "sgd or adamw",
    "lr": "peak learning rate",
    "momentum": "of SGD",
    "nesterov": "Nesterov momentum",
    "weight_decay": "L2 weight decay",
    "decay_norm_and_bias": "let weight decay fall on biases and normalisation too",
    "schedule": "of the learning rate",
    "milestones": "fractions of the epochs at which multistep multiplies by gamma",
    "gamma": "factor of multistep",
    "warmup_epochs": "linear rise of the learning rate",
    "augment": "random shifts, from 96 pixels on random crops, and flips where the data set allows them",
    "seed": "of initialisation, order and augmentation",
    "precision": "auto is bfloat16 where it pays",
    "channels_last": "memory format of convolutions",
    "device": "auto is a GPU where there is one",
    "threads": "of torch; 0 leaves its choice",
    "name": "a name for the student",
    "per_class": "train on this many samples of each class only, drawn by the seed",
    "label_noise": "share of training labels replaced by a wrong one, drawn by the seed",
    "noise_kind": "wrong labels are any other class, or one of the similar classes",
    "similar": f"similar classes for alsd: auto, {', '.join(SOURCES)}, or a CSV file",
}


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, like everything else here."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message[:1].upper()}{message[1:]}; see `{self.prog} --help`.")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code."""
    try:
        arguments = _parser().parse_args(argv)
        result = arguments.run(arguments)
    except UserError as error:
        print(f"fnkd: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"fnkd: {error}; check that the path exists and can be written.", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    if arguments.json:
        # Strict JSON has no NaN; what is undefined is null.
        print(json.dumps(_plain(result.get("json", result))))
    return int(result.get("exit_code", 0)) if isinstance(result, dict) else 0


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


# --- the commands --------------------------------------------------------------------------------------------


def _info(a: argparse.Namespace) -> Any:
    from fnkd_core.data import dataset_info

    return dataset_info(a.dataset, root=a.data_root, labels=a.labels, image_size=a.image_size)


def _settings(a: argparse.Namespace) -> Result:
    """The settings of a run as they were given, `parameters` among them, with paths and the teacher made whole."""
    given = {k.removeprefix("p_"): v for k, v in vars(a).items() if k.startswith("p_") and v is not None}
    fields = {f.name for f in dataclasses.fields(RunConfig)}
    settings = {k: v for k, v in vars(a).items() if k in fields and v is not None}
    for path in ("data_root", "similar"):
        if settings.get(path) and Path(str(settings[path])).exists():
            settings[path] = str(Path(settings[path]).resolve())
    if a.teacher:
        from fnkd_core.checkpoints.library import find_checkpoint

        entry = find_checkpoint(a.teacher)
        named = find_checkpoint(entry.name) if Path(a.teacher).name != a.teacher else entry
        settings["teacher"] = entry.name if named.path == entry.path else str(entry.path)
    return settings | {"parameters": given}


def train(a: argparse.Namespace) -> Result:
    from fnkd_core.jobs.control import submit
    from fnkd_core.jobs.run import create_run

    config = RunConfig.from_dict(_settings(a))
    _info(a)  # a wrong data set is refused before a folder is made
    if a.background:
        run = submit(config.to_dict())
        print(f"Submitted {run.id}; `fnkd runs show {run.id}` tells how it goes.")
        return {"id": run.id, "path": str(run.path), "state": run.state}
    return _foreground(create_run(config.to_dict(), a.run_dir).path)


def _foreground(path: Path) -> Result:
    from fnkd_core.jobs.run import Run
    from fnkd_core.jobs.worker import work

    run = Run(path)
    bar = _Bar("training", 1)

    def show(event: Any) -> None:
        if hasattr(event, "eta_s"):
            bar.total = event.epochs * event.steps
            bar.show((event.epoch - 1) * event.steps + event.step)

    code = work(path, queue=False, on_event=show)
    bar.close()
    end = run.end or {}
    if end.get("status") == "failed" and code == 2:
        raise UserError(str(end.get("error")))
    print(f"{run.id}: {run.state} in {run.path}")
    metrics = run.metrics()
    best = max(metrics, key=lambda m: m["test_accuracy"], default=None)
    return {
        "json": {
            "id": run.id,
            "path": str(run.path),
            "state": run.state,
            "epochs": len(metrics),
            "last": metrics[-1] if metrics else None,
            "best": best,
            "model": str(run.path / "model.safetensors") if run.state == "finished" else None,
        },
        "exit_code": code,
    }


def compare(a: argparse.Namespace) -> Result:
    from fnkd_core.jobs import comparison as jobs
    from fnkd_core.training.plan import plan, preset, read_grid

    base = _settings(a)
    chosen = preset(a.preset) if a.preset else None
    methods = a.methods.split(",") if a.methods else list(chosen.methods) if chosen else ["ce", "lsd", "kd", "fn"]
    grid = dict(chosen.grid) if chosen else {}
    info = _info(a)
    if "noise_kind" in grid and not _has_similar(info, base):
        print(f"{info.name} has no similar classes, so its wrong labels are uniform only.")
        grid["noise_kind"] = ["uniform"]
    grid |= read_grid(a.grid or [], methods)
    more = {"teachers": chosen.teachers, "generations": chosen.generations} if chosen else {}
    cells = plan(base, methods, range(a.seeds), grid, **more)  # type: ignore[arg-type]
    comparison = jobs.create_comparison(cells, a.preset or a.dataset)
    found = jobs.standings(cells)
    todo = sum(s.state != "finished" for s in found)
    print(f"{comparison.id}: {len(cells)} runs, {len(cells) - todo} of them done")
    code = 0
    if todo and a.background:
        jobs.start(comparison)
        print("Started; the same command tells how it goes.")
    elif todo:
        (comparison.path / "cancel").unlink(missing_ok=True)
        code = _foreground_comparison(comparison, len(cells) - todo, len(cells))
    return _compared(comparison, Path(a.out) if a.out else comparison.path) | {"exit_code": code}


def _has_similar(info: Any, base: Result) -> bool:
    from fnkd_core.data import similar_classes

    return any(similar_classes(info, base.get("similar", "auto")))


def _foreground_comparison(comparison: Any, done: int, total: int) -> int:
    """Work on it here, with a bar over all its epochs."""
    from fnkd_core.jobs.comparison import work

    bar, finished = _Bar(comparison.id, total), {"": 0}

    def show(standing: Any, event: Any) -> None:
        if hasattr(event, "eta_s"):
            finished.setdefault(standing.run.id, len(finished) - 1)
            share = (event.epoch - 1 + event.step / event.steps) / event.epochs
            bar.show(round(done + finished[standing.run.id] + share, 2))

    with contextlib.redirect_stdout(io.StringIO()):  # what each run prints is in the runs' own numbers
        code = work(comparison.path, on_event=show)
    bar.close()
    return code


def _compared(comparison: Any, out: Path) -> Result:
    """Print what the runs say so far, and write it as CSV, Markdown and a plot."""
    from fnkd_core.analysis import comparison as analysis
    from fnkd_core.files import write_text
    from fnkd_core.jobs import comparison as jobs
    from fnkd_core.plots.comparison import intervals, norm_against_accuracy, sweep_lines, sweep_map
    from fnkd_core.plots.style import standalone

    found = jobs.standings(comparison.cells)
    runs = analysis.table(jobs.results(found))
    lines, square = analysis.summary(runs), analysis.beats(runs)
    shown = analysis.readable(lines)
    print(f"\n{shown.to_string(index=False)}")
    for s in found:
        if s.state == "failed" and s.run is not None:
            print(f"{s.cell.row}, seed {s.cell.seed}, failed: {(s.run.end or {}).get('error')}")
    more = square.map(lambda p: "" if math.isnan(p) else f"{p:.2f}").reset_index()
    text = (
        f"{analysis.markdown(shown)}\n\nProbability that the row's last-epoch accuracy is higher than the column's, "
        f"paired over seeds:\n\n{analysis.markdown(more)}\n"
    )
    files = {
        "results.csv": runs.to_csv(index=False),
        "results.md": text,
        "intervals.html": standalone(intervals(runs, lines)),
        "norm-accuracy.html": standalone(norm_against_accuracy(runs)),
    }
    for method in dict.fromkeys(runs["method"]):
        axes = sorted(analysis.axes(runs, method), key=lambda name: name != "tau")
        if not axes:
            continue
        x, *others = axes
        own = runs[runs["method"] == method]
        for y in others:
            grid = analysis.sweep(own[own[y].notna()].astype({y: float}), x, ("method", y))
            files[f"{method}-{x}-{y}.html"] = standalone(sweep_map(grid, x, y, analysis.teacher_norm(runs)))
        if not others:
            files[f"{method}-{x}.html"] = standalone(sweep_lines(analysis.sweep(own, x), x, ("method",)))
    for name, content in files.items():
        write_text(out / name, content)
    print(f"\n{', '.join(files)} in {out}")
    return {
        "json": {
            "id": comparison.id,
            "path": str(comparison.path),
            "state": jobs.state_of(comparison, found),
            "rows": lines.to_dict("records"),
            "probability_higher": square.to_dict("index"),
            "runs": runs.to_dict("records"),
            "files": [str(out / name) for name in files],
        }
    }


class _Bar:
    """A progress bar on a terminal's standard error; nothing where that is a file."""

    def __init__(self, what: str, total: int) -> None:
        from tqdm import tqdm

        self._bar = tqdm(total=total, desc=what, disable=None, leave=False)
        self.total = total

    def show(self, done: int) -> None:
        self._bar.total = self.total
        self._bar.n = done
        self._bar.refresh()

    def close(self) -> None:
        self._bar.close()


def _extracted(a: argparse.Namespace, again: bool) -> Any:
    from fnkd_core.analysis.extract import extract
    from fnkd_core.analysis.store import Store, store_path
    from fnkd_core.checkpoints.library import find_checkpoint

    entry, info = find_checkpoint(a.checkpoint), _info(a)
    bar = None
    for done, total in extract(entry, info, a.split, again=again):
        bar = bar or _Bar(f"{entry.name} on {info.name} {a.split}", total)
        bar.show(done)
    if bar:
        bar.close()
    return Store(store_path(entry, info, a.split))


def extract_(a: argparse.Namespace) -> Result:
    store = _extracted(a, a.again)
    print(f"{store.manifest['num_samples']:,} samples in {store.path}")
    return {"path": str(store.path), "num_samples": store.manifest["num_samples"]}


def eval_(a: argparse.Namespace) -> Result:
    m = _extracted(a, again=True).manifest
    norm = m["norm"]
    print(
        f"{m['checkpoint']['name']} on {m['dataset']} ({m['label_space']}), {m['split']}: {m['num_samples']:,} samples"
    )
    print(
        f"accuracy {m['accuracy']:.4f}   nll {m['nll']:.4f}   ece {m['ece']:.4f}   {m['samples_per_s']:,.0f} samples/s"
    )
    print(f"||f|| mean {norm['mean']:.3f}   sd {norm['sd']:.3f}   min {norm['min']:.3f}   max {norm['max']:.3f}")
    deciles = " ".join("  -  " if x is None else f"{x:.3f}" for x in m["accuracy_by_norm_decile"])
    print(f"accuracy by norm decile, lowest first: {deciles}")
    for k in m["dead_outputs"]:
        print(f"output {k} ({m['classes'][k]}) never passes 1 %: it is dead")
    return m


def stats(a: argparse.Namespace) -> Result:
    from fnkd_core.analysis.tables import by_class, by_decile, norm_summary

    store = _extracted(a, again=False)
    summary = norm_summary(store.samples)
    deciles, classes = by_decile(store.samples), by_class(store.samples, store.classes)
    print("   ".join(f"{k} {v:.3f}" for k, v in summary.items()))
    for title, table in (("by norm decile", deciles), ("by class", classes.sort_values("norm_mean"))):
        print(f"\n{title}\n{table.to_string(index=False, float_format=lambda x: f'{x:.3f}')}")
    return {
        "summary": summary,
        "by_decile": deciles.to_dict("records"),
        "by_class": classes.to_dict("records"),
    }


def runs_list(a: argparse.Namespace) -> Result:
    from fnkd_core.jobs.run import list_runs

    rows = []
    for run in list_runs():
        metrics = run.metrics()
        last = metrics[-1] if metrics else {}
        config = run.config if run.state != "broken" else {}
        rows.append(
            {
                "id": run.id,
                "state": run.state,
                "method": config.get("method"),
                "dataset": config.get("dataset"),
                "epochs": f"{len(metrics)}/{config.get('epochs')}",
                "test_accuracy": last.get("test_accuracy"),
            }
        )
        accuracy = f"{last['test_accuracy']:.4f}" if last else "-"
        print(f"{run.id}  {run.state:<12} {rows[-1]['dataset']}  {rows[-1]['epochs']} epochs  accuracy {accuracy}")
    if not rows:
        print("No runs yet; `fnkd train` makes one.")
    return {"runs": rows}


def runs_show(a: argparse.Namespace) -> Result:
    from fnkd_core.jobs.run import find_run

    run = find_run(a.run_ref)
    end = run.end or {}
    shown: Result = {"id": run.id, "path": str(run.path), "state": run.state, "config": run.config}
    shown |= {"progress": run.progress, "metrics": run.metrics(), "error": end.get("error")}
    print(f"{run.id}: {run.state}   {run.path}")
    for key, value in run.config.items():
        print(f"  {key:<20} {value}")
    for line in shown["metrics"]:
        print(
            f"  epoch {line['epoch']:>3}  loss {line['loss']:.4f}  test accuracy {line['test_accuracy']:.4f}"
            f"  ||f|| {line['test_norm']:.2f}"
        )
    if end.get("error"):
        print(f"  {end['error']}")
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
    return _foreground(run.path)


def runs_delete(a: argparse.Namespace) -> Result:
    from fnkd_core.jobs.run import delete_run, find_run

    run = find_run(a.run_ref)
    delete_run(run)
    print(f"{run.id}: deleted")
    return {"id": run.id, "deleted": True}


def runs_export(a: argparse.Namespace) -> Result:
    from fnkd_core.jobs.export import export_student
    from fnkd_core.jobs.run import find_run

    return _written(export_student(find_run(a.run_ref), a.to, a.weights, a.format.split(",")))


def _written(paths: Sequence[Path]) -> Result:
    for path in paths:
        print(path)
    return {"files": [str(p) for p in paths]}


def checkpoints_list(a: argparse.Namespace) -> Result:
    from fnkd_core.checkpoints.library import list_checkpoints

    rows = []
    for entry in list_checkpoints():
        card = entry.card
        row: dict[str, Any] = {"name": entry.name, "path": str(entry.path), "problem": entry.problem}
        if card:
            accuracy = card.metrics.get(card.metrics.get("weights", "last"), {}).get("accuracy")
            row |= {"architecture": card.architecture["name"], "dataset": card.dataset, "method": card.method}
            row |= {"accuracy": accuracy}
            shown = f"{accuracy:.4f}" if accuracy is not None else "-"
            print(f"{entry.name:<36} {card.architecture['name']:<20} {card.dataset:<10} {card.method:<6} {shown}")
        else:
            print(f"{entry.name:<36} {entry.problem}")
        rows.append(row)
    if not rows:
        print("No checkpoints; `fnkd train` makes one.")
    return {"checkpoints": rows}


def checkpoints_show(a: argparse.Namespace) -> Result:
    from fnkd_core.checkpoints.library import find_checkpoint

    entry = find_checkpoint(a.name)
    assert entry.card is not None
    print(json.dumps(entry.card.to_dict(), indent=2, ensure_ascii=False))
    return {"name": entry.name, "path": str(entry.path), "card": entry.card.to_dict()}


def checkpoints_import(a: argparse.Namespace) -> Result:
    from fnkd_core.checkpoints.importing import Imported, Wishes, import_checkpoint, read_classes

    wishes = Wishes(
        path=Path(a.path),
        name=a.name,
        architecture=a.arch,
        dataset=a.dataset,
        data_root=a.data_root,
        labels=a.labels,
        classes=read_classes(a.classes) if a.classes else None,
        mean=a.mean,
        std=a.std,
        image_size=a.image_size,
        part=a.part,
        prefer_ema=a.ema,
    )
    for event in import_checkpoint(wishes):
        if not isinstance(event, Imported):
            print(f"{event} ...")
            continue
        found = event
        for finding in found.card.findings:
            print(f"  {finding['level']:<8} {finding['text']}")
        print(f"{found.name}: in the library, {found.path}")
    return {"name": found.name, "path": str(found.path), "card": found.card.to_dict(), "measured": found.measured}


def checkpoints_export(a: argparse.Namespace) -> Result:
    from fnkd_core.checkpoints.export import export_checkpoint
    from fnkd_core.checkpoints.library import find_checkpoint

    return _written(export_checkpoint(find_checkpoint(a.name), a.to, a.format.split(",")))


def checkpoints_delete(a: argparse.Namespace) -> Result:
    from fnkd_core.checkpoints.library import delete_checkpoint

    delete_checkpoint(a.name)
    print(f"{a.name}: deleted")
    return {"name": a.name, "deleted": True}


def data_list(a: argparse.Namespace) -> Result:
    from fnkd_core.data import dataset_info, folders, list_datasets

    rows: list[Result] = []
    for name in list_datasets():
        try:
            info = dataset_info(name)
        except UserError as error:
            print(f"{name:<16} {error}")
            rows.append({"name": name, "problem": str(error)})
            continue
        print(f"{name:<16} {len(info.classes)} classes, {'x'.join(map(str, info.image[1:]))} pixels  {info.note}")
        rows.append({"name": name, "classes": len(info.classes), "root": folders().get(name)})
    return {"datasets": rows}


def data_add(a: argparse.Namespace) -> Result:
    from fnkd_core.data import add_folder

    info = add_folder(a.name, a.path, a.unreadable)
    print(f"{info.name}: {len(info.classes)} classes, {'x'.join(map(str, info.image[1:]))} pixels, {info.root}")
    if info.note:
        print(info.note)
    return {"name": info.name, "root": info.root, "classes": list(info.classes), "note": info.note}


def data_check(a: argparse.Namespace) -> Result:
    from fnkd_core.data import check_data

    found = check_data(a.what, a.deep)
    print(f"{found['classes']:,} classes")
    for split, seen in found["splits"].items():
        kinds = "   ".join(f"{k} {n:,}" for what in ("formats", "modes") for k, n in seen[what].items())
        print(f"{split}: {seen['images']:,} images   {kinds}   turned by EXIF {seen['turned']:,}")
        if seen["smallest"]:
            smallest, median, largest = ("x".join(map(str, seen[k])) for k in ("smallest", "median", "largest"))
            print(f"  {seen['sizes']:,} sizes: smallest {smallest}, median {median}, largest {largest}")
        for what in ("huge", "unreadable"):
            print(f"  {what}: {len(seen[what]):,}")
            for key, why in list(seen[what].items())[:20]:
                print(f"    {key}: {why}")
    for what, text in (("empty", "without images"), ("outside", "links that lead out of the folder")):
        print(f"{text}: {len(found[what]):,}" + "".join(f"\n  {name}" for name in found[what][:20]))
    for group in found["same_names"]:
        print(f"the same name but for case or Unicode form: {', '.join(group)}")
    if not a.deep:
        print("Headers were read; --deep decodes every image and finds those that are cut off.")
    return found


def data_remove(a: argparse.Namespace) -> Result:
    from fnkd_core.data import remove_folder

    remove_folder(a.name)
    print(f"{a.name}: removed from the list; its images stay.")
    return {"name": a.name, "removed": True}


def data_fetch(a: argparse.Namespace) -> Result:
    from fnkd_core.data.download import data_root, fetch, megabytes

    bar, total = _Bar(f"downloading {a.name}, MB", 1), 0
    try:
        for done, total in fetch(a.name, a.data_root):
            bar.total = round(total / 1e6)
            bar.show(round(done / 1e6))
    finally:
        bar.close()
    root = data_root(a.data_root)
    print(f"{a.name}: {f'{megabytes(total)} fetched into' if total else 'already in'} {root}")
    return {"name": a.name, "root": str(root), "num_bytes": total}


def data_similar(a: argparse.Namespace) -> Result:
    from fnkd_core.data.similar import class_groups, count_groups, default_similar, siblings

    info = _info(a)
    source = default_similar(info) if a.similar == "auto" else a.similar
    groups = class_groups(info, source)
    counts = count_groups(groups)
    alone: list[str] = []
    members: dict[str, list[str]] = {name: [] for name in sorted({g for g in groups if g is not None})}
    for name, group, similar in zip(info.classes, groups, siblings(groups), strict=True):
        (members[group] if group is not None and similar else alone).append(name)
    members = {group: names for group, names in members.items() if names}
    for group, names in members.items():
        print(f"{group}: {', '.join(names)}")
    print(f"{info.name} ({info.label_space}) by {source}: {counts}")
    if members and alone:
        print(f"alone: {', '.join(alone)}")
    found = {"dataset": info.name, "labels": info.label_space, "similar": source, **dataclasses.asdict(counts)}
    return found | {"groups": members, "alone": alone}


def app(a: argparse.Namespace) -> NoReturn:
    from fnkd_core.paths import project_dir

    program = [sys.executable, "-m", "streamlit", "run", str(project_dir() / "app.py")]
    if a.port:
        program += ["--server.port", str(a.port)]
    # The settings are read from the folder it starts in.
    os.chdir(project_dir())
    os.execv(sys.executable, program)


# --- the parser ------------------------------------------------------------------------------------------------


def _parser() -> Parser:
    width = min(shutil.get_terminal_size().columns, 110)
    formatter = lambda prog: argparse.HelpFormatter(prog, width=width, max_help_position=32)  # noqa: E731
    common = Parser(add_help=False)
    common.add_argument("--json", action="store_true", help="end with one line of JSON")
    data = Parser(add_help=False)
    data.add_argument(
        "--dataset",
        default="digits",
        metavar="NAME",
        help="as `fnkd data list` names it, or folder or hf with a data root",
    )
    data.add_argument("--data-root", metavar="DIR", help="where its files are; for folder and hf, the folder itself")
    data.add_argument("--labels", metavar="SPACE", help="label space, such as fine or coarse for cifar100")
    data.add_argument("--image-size", type=int, metavar="PX", help="pixels a side, where the images lie in files")
    model = Parser(add_help=False)
    model.add_argument("--checkpoint", required=True, metavar="NAME|PATH", help="a checkpoint's name or file")
    model.add_argument("--split", default="test", help="train or test")

    parser = Parser(prog="fnkd", description=__doc__.splitlines()[0] if __doc__ else None, formatter_class=formatter)
    parser.add_argument("--version", action="version", version=f"fnkd {__version__}")

    def add(to: Any, name: str, run: Callable[[argparse.Namespace], Any], text: str, *parents: Parser) -> Parser:
        command: Parser = to.add_parser(
            name, parents=[common, *parents], help=text, description=text, formatter_class=formatter
        )
        command.set_defaults(run=run)
        return command

    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser)
    command = add(commands, "train", train, "Train a student, with or without a teacher.", data)
    command.add_argument("--method", default="ce", choices=sorted(METHODS), help="how the student learns")
    command.add_argument("--teacher", metavar="NAME|PATH", help="checkpoint to learn from")
    command.add_argument("--student", default=RunConfig().student, metavar="ARCH", help="architecture to train")
    command.add_argument("--run-dir", metavar="DIR", help="the run's folder; a new one among the runs by default")
    command.add_argument("--background", action="store_true", help="hand it to the queue and return")
    _add_settings(command)
    _add_method_parameters(command)
    text = "Compare methods over seeds: runs what is missing, skips what is done."
    command = add(commands, "compare", compare, text, data)
    command.add_argument("--methods", metavar="A,B", help="methods to compare (ce,lsd,kd,fn)")
    command.add_argument("--preset", choices=sorted(PRESETS), help="a comparison that answers a question")
    command.add_argument("--teacher", metavar="NAME|PATH", help="checkpoint to learn from and to agree with")
    command.add_argument("--student", default=RunConfig().student, metavar="ARCH", help="architecture to train")
    command.add_argument("--seeds", type=int, default=5, metavar="N", help="seeds 0 to N-1 of each row (5)")
    text = "vary a setting or a parameter, such as tau=1,2,4; can be given again"
    command.add_argument("--grid", action="append", metavar="NAME=V,V", help=text)
    command.add_argument("--out", metavar="DIR", help="where the tables and the plot go; its own folder by default")
    command.add_argument("--background", action="store_true", help="start it and return")
    _add_settings(command, leave_out=("seed", "name"))
    _add_method_parameters(command)
    command = add(commands, "extract", extract_, "Extract a checkpoint's outputs into a store.", data, model)
    command.add_argument("--again", action="store_true", help="even where the store is there")
    add(commands, "eval", eval_, "Evaluate a checkpoint: accuracy, calibration, norms.", data, model)
    add(commands, "stats", stats, "Feature norms by decile and class.", data, model)

    group = commands.add_parser("runs", help="List, show and steer runs.").add_subparsers(
        metavar="COMMAND", required=True, parser_class=Parser
    )
    add(group, "list", runs_list, "All runs, newest first.")
    for name, run, text in (
        ("show", runs_show, "One run: configuration, epochs, log."),
        ("cancel", runs_cancel, "Ask a run to stop after the current step."),
        ("resume", runs_resume, "Go on with an interrupted, cancelled or failed run."),
        ("delete", runs_delete, "Remove a run's folder."),
        ("export", runs_export, "Copy a finished student and its card to a folder."),
    ):
        command = add(group, name, run, text)
        command.add_argument("run_ref", metavar="ID|DIR")
        if name == "show":
            command.add_argument("--log", action="store_true", help="with the end of its log")
        if name == "resume":
            command.add_argument("--background", action="store_true", help="hand it to the queue and return")
        if name == "export":
            command.add_argument("--to", required=True, metavar="DIR")
            command.add_argument("--weights", choices=("last", "best"), default="last")
            _add_format(command)
    group = commands.add_parser("checkpoints", help="Import, list, show and export checkpoints.").add_subparsers(
        metavar="COMMAND", required=True, parser_class=Parser
    )
    add(group, "list", checkpoints_list, "All checkpoints, with what is wrong with the broken ones.")
    add(group, "show", checkpoints_show, "One checkpoint's card.").add_argument("name", metavar="NAME|PATH")
    _add_import(add(group, "import", checkpoints_import, "Bring in a checkpoint that somebody else made."))
    command = add(group, "export", checkpoints_export, "Write a checkpoint and its card to a folder.")
    command.add_argument("name", metavar="NAME|PATH")
    command.add_argument("--to", required=True, metavar="DIR")
    _add_format(command)
    add(group, "delete", checkpoints_delete, "Remove an imported checkpoint.").add_argument("name")
    group = commands.add_parser(
        "data", help="List data sets; check their files; add and remove folders."
    ).add_subparsers(metavar="COMMAND", required=True, parser_class=Parser)
    add(group, "list", data_list, "All data sets.")
    command = add(group, "add", data_add, "Give a name to a folder of images, or one saved by Hugging Face datasets.")
    command.add_argument("name")
    command.add_argument("path")
    text = "broken images and classes without any: refuse is an error, skip leaves them out (refuse)"
    command.add_argument("--unreadable", choices=("refuse", "skip"), default="refuse", help=text)
    command = add(group, "check", data_check, "Count formats, modes, sizes and broken images of a data set's files.")
    command.add_argument("what", metavar="NAME|DIR")
    command.add_argument("--deep", action="store_true", help="decode every image, not the headers alone")
    add(group, "remove", data_remove, "Forget an image folder's name; its images stay.").add_argument("name")
    command = add(group, "fetch", data_fetch, "Download a published data set; goes on where it stopped.")
    command.add_argument("name")
    command.add_argument("--data-root", metavar="DIR", help="where to put its files; the home's data by default")
    command = add(group, "similar", data_similar, "Which classes count as similar, for alsd and for label noise.")
    command.add_argument("dataset", metavar="name")
    command.add_argument("--similar", default="auto", metavar="SOURCE", help=SETTINGS["similar"])
    command.add_argument("--data-root", metavar="DIR", help="where its files are")
    command.add_argument("--labels", metavar="SPACE", help="label space: fine or coarse for cifar100")
    command.set_defaults(image_size=None)
    command = add(commands, "app", app, "Start the dashboard.")
    command.add_argument("--port", type=int)
    return parser


def _add_format(command: Parser) -> None:
    text = f"{', '.join(EXPORTS)}; several with commas between them"
    command.add_argument("--format", default="safetensors", metavar="A,B", help=text)


def _add_import(command: Parser) -> None:
    command.add_argument("path", metavar="FILE", help="safetensors, a torch file of any suffix, or MXNet .params")
    command.add_argument("--name", help="its name in the library; the file's by default")
    command.add_argument("--arch", metavar="A", help="architecture, where several fit or none is recognised")
    command.add_argument(
        "--dataset", metavar="NAME", help="whose classes the outputs are; measured on it where it is here"
    )
    command.add_argument("--data-root", metavar="DIR", help="where its files are")
    command.add_argument("--labels", metavar="SPACE", help="label space: fine or coarse for cifar100")
    command.add_argument(
        "--classes", metavar="FILE", help="class names in the order of the outputs, a line each or JSON"
    )
    text = "input normalisation per channel, white is 1; measured or published ones by default"
    command.add_argument("--mean", type=float, nargs="+", metavar="X", help=text)
    command.add_argument("--std", type=float, nargs="+", metavar="X", help="likewise")
    command.add_argument("--image-size", type=int, metavar="PX", help="pixels a side")
    command.add_argument("--part", metavar="P", help="student or teacher, where the file holds a whole distiller")
    command.add_argument("--ema", action="store_true", help="averaged weights where the file has them")


def _add_settings(command: Parser, leave_out: Sequence[str] = ()) -> None:
    """An option for every setting of a run, with the type its record gives it."""
    defaults = {f.name: f.default for f in dataclasses.fields(RunConfig)}
    group = command.add_argument_group("settings of the run")
    for name, hint in get_type_hints(RunConfig).items():
        if name not in SETTINGS or name in leave_out:
            continue
        flag, default = "--" + name.replace("_", "-"), defaults[name]
        text = f"{SETTINGS[name]} ({default})" if default is not None else SETTINGS[name]
        if hint is bool:
            group.add_argument(flag, action=argparse.BooleanOptionalAction, default=None, help=text)
        elif name == "milestones":
            group.add_argument(flag, type=float, nargs="+", default=None, help="fractions at which lr drops (0.5 0.75)")
        elif all(isinstance(choice, str) for choice in get_args(hint)) and get_args(hint):
            group.add_argument(flag, choices=get_args(hint), default=None, help=text)
        else:
            kind = next((k for k in (int, float) if hint in (k, k | None)), str)
            group.add_argument(flag, type=kind, default=None, help=text, metavar="X")


def _add_method_parameters(command: Parser) -> None:
    """An option for every parameter of every method; which belongs to which is checked with the run."""
    seen: dict[str, list[str]] = {}
    found: dict[str, Parameter] = {}
    for method in METHODS:
        for parameter in parameters(method):
            seen.setdefault(parameter.name, []).append(method)
            found.setdefault(parameter.name, parameter)
    group = command.add_argument_group("parameters of the method")
    for name, parameter in found.items():
        flag, text = "--" + name.replace("_", "-"), f"{', '.join(seen[name])}: {parameter.help}".replace("%", "%%")
        if parameter.kind == "bool":
            group.add_argument(flag, dest=f"p_{name}", action=argparse.BooleanOptionalAction, default=None, help=text)
        elif parameter.kind == "choice":
            group.add_argument(flag, dest=f"p_{name}", choices=parameter.choices, default=None, help=text)
        else:
            group.add_argument(flag, dest=f"p_{name}", type=float, default=None, metavar="X", help=text)
