"""`fnkd extract`, `fnkd eval`, `fnkd stats` and `fnkd augmentations`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fnkd_core.cli.engine import add_engine, engine_of
from fnkd_core.cli.options import (
    Bar,
    Commands,
    Parser,
    Result,
    data_options,
    info_of,
)
from fnkd_core.errors import one_line, require
from fnkd_core.files import write_text


def _asked_of(a: argparse.Namespace) -> tuple[Any, Any]:
    """The checkpoint, and data that it can read."""
    from fnkd_core.checkpoints.fits import read_by
    from fnkd_core.checkpoints.library import find_checkpoint

    entry, info = find_checkpoint(a.checkpoint), info_of(a)
    read_by(entry, info)
    return entry, info


def _extracted(a: argparse.Namespace) -> Any:
    from fnkd_core.stores.store import Store, open_store, store_path

    entry, info = _asked_of(a)
    bar = None
    missing = open_store(entry, info, a.split) is None
    try:
        with engine_of(a, needed=missing, options=("address", "devices")) as cluster:
            for done, total in _going_on(cluster, entry, info, a):
                bar = bar or Bar(f"{entry.name} on {info.name} {a.split}", total)
                bar.show(done)
    except KeyboardInterrupt:
        print("\nWhat is done stays; `fnkd extract` goes on from there, and so does a page.", file=sys.stderr)
        raise
    if bar:
        bar.close()
    return Store(store_path(entry, info, a.split), entry.name)


def _going_on(cluster: Any, entry: Any, info: Any, a: argparse.Namespace) -> Iterator[tuple[int, int]]:
    """The extraction, on the cluster or in this process."""
    size = getattr(a, "batch_size", None)  # `fnkd extract` has it alone
    if cluster:
        from fnkd_core.jobs.cluster.sharing import extract_on

        return extract_on(cluster, entry, info, a.split, a.devices, size)
    from fnkd_core.stores.extract import extract

    return extract(entry, info, a.split, size=size)


def extract_(a: argparse.Namespace) -> Result:
    require(a.batch_size is None or a.batch_size >= 1, f"batch_size must be >= 1, got {a.batch_size}.")
    if a.background:
        return _begun(a)
    store = _extracted(a)
    print(f"{store.manifest['num_samples']:,} samples in {store.path}")
    return {"path": str(store.path), "num_samples": store.manifest["num_samples"]}


def _begun(a: argparse.Namespace) -> Result:
    from fnkd_core.jobs.tasks import start_extraction
    from fnkd_core.stores.store import open_store, store_path

    here = a.engine == "local" and a.address is None and a.devices is None
    require(here, "--background is one process on this machine; leave --engine, --address and --devices out.")
    entry, info = _asked_of(a)
    path = str(store_path(entry, info, a.split))
    if open_store(entry, info, a.split) is not None:
        print(f"It is there already: {path}")
        return {"path": path, "task": None}
    task = start_extraction(entry, info, a.split, a.batch_size)
    print("Begun. Every page that needs it shows how it goes, and the same command without --background joins in.")
    return {"path": path, "task": task.id}


def _measured(a: argparse.Namespace) -> Result:
    from fnkd_core.checkpoints.library import find_checkpoint
    from fnkd_core.stores.measure import measure

    entry, info = find_checkpoint(a.checkpoint), info_of(a)
    bar, found = Bar(f"{entry.name} on {info.name} {a.split}", 1), {}
    for event in measure(entry, info, a.split):
        if isinstance(event, tuple):
            bar.total = event[1]
            bar.show(event[0])
        else:
            found = dict(event)
    bar.close()
    return found


def eval_(a: argparse.Namespace) -> Result:
    m = _measured(a)
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
        print(f"output {k} ({one_line(m['classes'][k])}) never passes 1 %: it is dead")
    return m


def stats(a: argparse.Namespace) -> Result:
    from fnkd_core.analysis.tables import by_class, by_decile, norm_summary

    store = _extracted(a)
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


def augmentations(a: argparse.Namespace) -> Result:
    from fnkd_core.checkpoints.library import find_checkpoint
    from fnkd_core.plots.augmentations import spreads
    from fnkd_core.plots.style import standalone
    from fnkd_core.training import spread

    entry, info = find_checkpoint(a.checkpoint), info_of(a)
    if spread.found(entry, info, a.draws) is None:
        bar = None
        for done, total in spread.measure(entry, info, a.draws):
            bar = bar or Bar(f"{entry.name} on {info.name}", total)
            bar.show(done)
        if bar:
            bar.close()
    found = spread.found(entry, info, a.draws)
    assert found is not None
    print(f"Spread of {entry.name}'s mean probability over {found['draws']} draws of {found['images']} images:")
    print(f"{'augmentation':<18} {'spread':>9}  to the first, 95 %       entropy  mean ||f||")
    for row in found["rows"]:
        ratio = f"{row['ratio']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"
        print(f"{row['name']:<18} {row['spread']:>9.6f}  {ratio:<22} {row['entropy']:>8.3f}  {row['norm']:>8.3f}")
    print(spread.verdict(found))
    if a.out:
        write_text(Path(a.out), standalone(spreads(found["rows"])))
        print(a.out)
    return {"augmentations": dict(found), "verdict": spread.verdict(found)}


def register(commands: Commands) -> None:
    """Add the commands of this file."""
    model = Parser(add_help=False)
    model.add_argument("--checkpoint", required=True, metavar="NAME|PATH", help="a checkpoint's name or file")
    model.add_argument("--split", default="test", help="train, test, or validation where the data have one (test)")
    text = "Extract a checkpoint's outputs into a store."
    command = commands.add("extract", extract_, text, data_options(), model)
    text = "ray: processes that share it; by default one a graphics card, or one a node"
    add_engine(command).add_argument("--devices", type=int, metavar="N", help=text)
    text = "images that go through the network at once, where memory is scarce; by default as suits their size"
    command.add_argument("--batch-size", type=int, metavar="N", help=text)
    command.add_argument("--background", action="store_true", help="begin it and return")
    commands.add("eval", eval_, "Evaluate a checkpoint: accuracy, calibration, norms.", data_options(), model)
    commands.add("stats", stats, "Feature norms by decile and class.", data_options(), model)
    text = "Which augmentation suits a teacher: the spread of its mean probability, without a student."
    command = commands.add("augmentations", augmentations, text, data_options())
    command.add_argument("checkpoint", metavar="NAME|PATH")
    command.add_argument("--draws", type=int, default=60, metavar="N", help="draws of 320 images each (60)")
    command.add_argument("--out", metavar="FILE", help="where the chart goes, as HTML")
