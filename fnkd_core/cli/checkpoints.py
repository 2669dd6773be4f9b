"""`fnkd checkpoints`."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fnkd_core.cli.options import (
    Commands,
    Items,
    Parser,
    Result,
    add_format,
    written,
)
from fnkd_core.errors import one_line
from fnkd_core.wording import counted


def checkpoints_list(a: argparse.Namespace) -> Result:
    from fnkd_core.checkpoints.library import list_checkpoints

    rows = []
    for entry in list_checkpoints():
        card = entry.card
        row: dict[str, Any] = {"name": entry.name, "path": str(entry.path), "problem": entry.problem}
        if card:
            accuracy = card.reached.get("accuracy")
            row |= {"architecture": card.architecture["name"], "dataset": card.dataset, "method": card.method}
            row |= {"accuracy": accuracy}
            shown = f"{accuracy:.4f}" if accuracy is not None else "-"
            words = f"{entry.name:<36} {card.architecture['name']:<20} {card.dataset:<10} {card.method:<6} {shown}"
        else:
            words = f"{entry.name:<36} {entry.problem}"
        print(one_line(words))
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
    from fnkd_core.checkpoints.importing.importer import Imported, import_checkpoint
    from fnkd_core.checkpoints.importing.request import ImportRequest, read_classes

    request = ImportRequest(
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
        measure_on=a.measure_on,
    )
    if a.background:
        from fnkd_core.jobs.tasks import start_import

        task = start_import(asdict(request))
        print("Begun. Overview shows how it goes, and what is found.")
        return {"task": task.id, "path": str(task.path)}
    for event in import_checkpoint(request):
        if not isinstance(event, Imported):
            print(f"{event} ...")
            continue
        found = event
        for finding in found.card.findings:
            print(f"  {finding['level']:<8} {one_line(finding['text'])}")
        print(f"{found.name}: in the library, {found.path}")
    return {"name": found.name, "path": str(found.path), "card": found.card.to_dict(), "measured": found.measured}


def checkpoints_export(a: argparse.Namespace) -> Result:
    from fnkd_core.checkpoints.export import export_checkpoint
    from fnkd_core.checkpoints.library import find_checkpoint

    return written(export_checkpoint(find_checkpoint(a.name), a.to, a.format))


def checkpoints_delete(a: argparse.Namespace) -> Result:
    from fnkd_core.stores.upkeep import delete_with_stores

    stores = delete_with_stores(a.name)
    print(f"{a.name}: deleted" + (f", with its {counted(stores, 'store')}" if stores else ""))
    return {"name": a.name, "deleted": True, "stores": stores}


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
    command.add_argument("--mean", action=Items, kind=float, metavar="X,X", help=text)
    command.add_argument("--std", action=Items, kind=float, metavar="X,X", help="likewise")
    command.add_argument("--image-size", type=int, metavar="PX", help="pixels a side")
    text = "images on which candidates that lie close after 1024 are told apart (8192 up to 64 pixels, else 1024)"
    command.add_argument("--measure-on", type=int, metavar="N", help=text)
    text = "which network, where the file holds several: student, teacher, or its name as the error lists it"
    command.add_argument("--part", metavar="P", help=text)
    command.add_argument("--ema", action="store_true", help="averaged weights where the file has them")
    command.add_argument("--background", action="store_true", help="begin it and return")


def register(commands: Commands) -> None:
    """Add the commands of this file."""
    group = commands.group("checkpoints", "Import, list, show and export checkpoints.")
    group.add("list", checkpoints_list, "All checkpoints, with what is wrong with the broken ones.")
    group.add("show", checkpoints_show, "One checkpoint's card.").add_argument("name", metavar="NAME|PATH")
    _add_import(group.add("import", checkpoints_import, "Bring in a checkpoint that somebody else made."))
    command = group.add("export", checkpoints_export, "Write a checkpoint and its card to a folder.")
    command.add_argument("name", metavar="NAME|PATH")
    command.add_argument("--to", required=True, metavar="DIR")
    add_format(command)
    group.add("delete", checkpoints_delete, "Remove an imported checkpoint.").add_argument("name")
