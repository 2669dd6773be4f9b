"""`fnkd stores`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from fnkd_core.cli.options import Commands, Result
from fnkd_core.wording import counted, megabytes


def stores_list(a: argparse.Namespace) -> Result:
    from fnkd_core.checkpoints.library import named_by_identity
    from fnkd_core.stores.upkeep import bytes_of, holdings

    names = named_by_identity()
    found = holdings(names.keys(), deep=True)
    gone, left = {store.path for store in found.orphans}, found.leftovers
    rows = []
    for store in found.stores:
        m, size = store.manifest, bytes_of([store.path])
        row = {"checkpoint": store.name, "dataset": m["dataset"], "split": m["split"], "num_samples": m["num_samples"]}
        rows.append(row | {"path": str(store.path), "num_bytes": size, "orphan": store.path in gone})
        words = "  its checkpoint is gone" if store.path in gone else ""
        print(
            f"{store.name:<36} {m['dataset']} ({m['label_space']}) {m['split']:<10} {m['num_samples']:>9,} samples  "
            f"{megabytes(size):>8}{words}"
        )
    outputs = [_outputs(path, names, path in found.unheard) for path in found.outputs]
    if left:
        print(f"{len(left)} left over of what did not end, or damaged, {megabytes(bytes_of(left))}")
    if found.unneeded:
        print("`fnkd stores prune` removes what nothing needs any more.")
    if not rows and not outputs:
        print("No stores; looking at a model on a page makes one, or `fnkd extract`.")
    return {"stores": rows, "teacher_outputs": outputs, "leftovers": [str(path) for path in left]}


def _outputs(path: Path, names: Mapping[str, str], unheard: bool) -> Result:
    """Print and return what a teacher has said of some images, and what that takes."""
    from fnkd_core.records import recall
    from fnkd_core.stores.teacher_outputs import teacher_of
    from fnkd_core.stores.upkeep import bytes_of

    about, size, views = recall(path / "about.json"), bytes_of([path]), len(list(path.glob("view-*")))
    name, title = names.get(teacher_of(path), teacher_of(path)), str(about.get("title", "?"))
    words = "  its teacher is gone" if unheard else ""
    print(f"{name:<36} said of {title}, {counted(views, 'view')}  {megabytes(size):>8}{words}")
    row = {"teacher": name, "images": title, "views": views, "path": str(path)}
    return row | {"num_bytes": size, "orphan": unheard}


def stores_prune(a: argparse.Namespace) -> Result:
    from fnkd_core.jobs.control import forget_teacher_outputs, prune_stores

    freed = forget_teacher_outputs() if a.teacher_outputs else 0  # first, since it may be refused
    freed += prune_stores()
    print(f"{megabytes(freed)} are free now.")
    return {"num_bytes": freed}


def register(commands: Commands) -> None:
    """Add the commands of this file."""
    group = commands.group(
        "stores", "What was extracted, and what teachers were asked: list it, and remove what is not needed."
    )
    group.add("list", stores_list, "All stores, with what they take on the disk.")
    text = "Remove what is kept of deleted checkpoints, and what killed extractions, imports and measurements left."
    command = group.add("prune", stores_prune, text)
    text = "also what teachers that are here have said of training images; they are asked again when a run wants it"
    command.add_argument("--teacher-outputs", action="store_true", help=text)
