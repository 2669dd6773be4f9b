"""`fnkd data`."""

from __future__ import annotations

import argparse
import dataclasses
from collections import Counter

from fnkd_core.cli.options import (
    Bar,
    Commands,
    Result,
    info_of,
)
from fnkd_core.data.types import DatasetInfo
from fnkd_core.errors import UserError, one_line
from fnkd_core.training.described import SETTINGS
from fnkd_core.wording import megabytes

HOW = {True: "refused", False: "left out"}
"""What becomes of broken images, by whether they are refused."""


def data_list(a: argparse.Namespace) -> Result:
    from fnkd_core.data import dataset_info, folders, list_datasets
    from fnkd_core.data.download.addresses import can_fetch, data_root, folder_of

    rows: list[Result] = []
    for name in list_datasets():
        try:
            info = dataset_info(name)
        except UserError as error:
            print(f"{name:<16} not here    {error}")
            rows.append({"name": name, "here": False, "problem": str(error)})
            continue
        here = not info.download
        size = f"{len(info.classes)} classes, {_size(info)}"
        print(f"{name:<16} {'here' if here else 'not here':<8}    {size}  {info.note}")
        row = {"name": name, "here": here, "classes": len(info.classes), "root": folders().get(name)}
        rows.append(row | {"note": info.note, "left_out": dict(info.left_out)})
    if not all(row["here"] for row in rows):
        folders_of = ", ".join(f"{folder_of(name)}/" for name in ("cifar10", "cifar100", "cub200"))
        fetched = ", ".join(row["name"] for row in rows if not row["here"] and can_fetch(row["name"]))
        if fetched:
            print(f"`fnkd data fetch NAME` downloads into {data_root(None)}: {fetched}.")
        print(f"Have you its files already? --data-root DIR reads them: DIR is what holds {folders_of} and so on.")
    return {"datasets": rows}


def _size(info: DatasetInfo) -> str:
    """The images' size; of those in files, at which they are read where nothing else is said."""
    return f"{'read at ' * info.resizable}{'x'.join(map(str, info.image[1:]))} pixels"


def data_add(a: argparse.Namespace) -> Result:
    from fnkd_core.data import add_folder, list_datasets, refuses_broken

    before = refuses_broken(a.name) if a.name in list_datasets() else None
    info = add_folder(a.name, a.path, a.unreadable, a.follow_links)
    images = ", ".join(f"{size:,} images to {split}" for split, size in zip(info.splits, info.sizes, strict=True))
    print(f"{info.name}: {len(info.classes)} classes, {images}, {_size(info)}, {info.root}")
    if info.note:
        print(info.note)
    refused = refuses_broken(info.name)
    if before is not None and refused is not before:
        print(f"Broken images, which were {HOW[before]}, are {HOW[refused]} now: these are other data than before.")
    elif refused:
        print(f"Broken images are {HOW[refused]} when they are met; `fnkd data check {info.name}` finds them.")
    classes, left_out = list(info.classes), dict(info.left_out)
    return {"name": info.name, "root": info.root, "classes": classes, "note": info.note, "left_out": left_out}


def data_check(a: argparse.Namespace) -> Result:
    from fnkd_core.data import check_data
    from fnkd_core.data.check import left_out_line

    found = check_data(a.what, a.deep)
    print(f"{found['classes']:,} classes")
    for line in filter(None, [found["problem"], *found["notes"]]):
        print(line)
    for split, seen in found["splits"].items():
        kinds = "   ".join(f"{k} {n:,}" for what in ("formats", "modes") for k, n in seen[what].items())
        print(f"{split}: {seen['images']:,} images   {kinds}   turned by EXIF {seen['turned']:,}")
        if seen["smallest"]:
            smallest, median, largest = ("x".join(map(str, seen[k])) for k in ("smallest", "median", "largest"))
            print(f"  {seen['sizes']:,} sizes: smallest {smallest}, median {median}, largest {largest}")
        for what, text in (("huge", "huge"), ("unreadable", "unreadable"), ("corrupt_exif", "corrupt EXIF")):
            print(f"  {text}: {len(seen[what]):,}")
            for key, why in list(seen[what].items())[:20]:
                print(f"    {one_line(key)}: {one_line(why)}")
    for what, text in (("empty", "without images"), ("outside", "links that lead out of the folder")):
        print(f"{text}: {len(found[what]):,}" + "".join(f"\n  {one_line(name)}" for name in found[what][:20]))
    for group in found["same_names"]:
        print(f"the same name but for case or Unicode form: {', '.join(map(one_line, group))}")
    if found["left_out"]:
        print(left_out_line(Counter(found["left_out"])))
    if not a.deep:
        print("Headers were read; --deep decodes every image and finds those that are cut off.")
    return found


def data_remove(a: argparse.Namespace) -> Result:
    from fnkd_core.data import remove_folder

    remove_folder(a.name)
    print(f"{a.name}: removed from the list; its images stay.")
    return {"name": a.name, "removed": True}


def data_fetch(a: argparse.Namespace) -> Result:
    from fnkd_core.data.download.addresses import data_root
    from fnkd_core.data.download.fetch import fetch

    bar, total = Bar(f"downloading {a.name}, MB", 1), 0
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

    info = info_of(a)
    source = default_similar(info) if a.similar == "auto" else a.similar
    groups = class_groups(info, source)
    counts = count_groups(groups)
    alone: list[str] = []
    members: dict[str, list[str]] = {name: [] for name in sorted({g for g in groups if g is not None})}
    for name, group, similar in zip(info.classes, groups, siblings(groups), strict=True):
        (members[group] if group is not None and similar else alone).append(name)
    members = {group: names for group, names in members.items() if names}
    for group, names in members.items():
        print(f"{one_line(group)}: {', '.join(map(one_line, names))}")
    if source == "none":
        print(
            f"{info.name} ({info.label_space}): no similar classes are known, so each stands alone. Say them on the "
            "page Similar classes, or in a CSV of class and group for --similar."
        )
    else:
        print(f"{info.name} ({info.label_space}) by {source}: {counts}")
    if members and alone:
        print(f"alone: {', '.join(map(one_line, alone))}")
    found = {"dataset": info.name, "labels": info.label_space, "similar": source, **dataclasses.asdict(counts)}
    return found | {"groups": members, "alone": alone}


def register(commands: Commands) -> None:
    """Add the commands of this file."""
    group = commands.group("data", "List data sets; check their files; add and remove folders.")
    group.add("list", data_list, "All data sets.")
    text = "Give a name to a folder of images, or one saved by Hugging Face datasets."
    command = group.add("add", data_add, text)
    command.add_argument("name")
    command.add_argument("path")
    text = "broken images and classes without any: refuse is an error, skip leaves them out (refuse)"
    command.add_argument("--unreadable", choices=("refuse", "skip"), default="refuse", help=text)
    text = "read what links in it lead to outside of it, which is an error else"
    command.add_argument("--follow-links", action="store_true", help=text)
    command = group.add("check", data_check, "Count formats, modes, sizes and broken images of a data set's files.")
    command.add_argument("what", metavar="NAME|DIR")
    command.add_argument("--deep", action="store_true", help="decode every image, not the headers alone")
    group.add("remove", data_remove, "Forget an image folder's name; its images stay.").add_argument("name")
    command = group.add("fetch", data_fetch, "Download a published data set; goes on where it stopped.")
    command.add_argument("name")
    command.add_argument("--data-root", metavar="DIR", help="where to put its files; the home's data by default")
    command = group.add("similar", data_similar, "Which classes count as similar, for alsd and for label noise.")
    command.add_argument("dataset", metavar="name")
    command.add_argument("--similar", default="auto", metavar="SOURCE", help=SETTINGS["similar"])
    command.add_argument("--data-root", metavar="DIR", help="where its files are")
    command.add_argument("--labels", metavar="SPACE", help="label space: fine or coarse for cifar100")
    command.set_defaults(image_size=None)
