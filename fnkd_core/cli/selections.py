"""`fnkd selections`."""

from __future__ import annotations

import argparse

from fnkd_core.cli.options import Commands, Result


def selections_list(a: argparse.Namespace) -> Result:
    from fnkd_core.data.selections import list_selections

    found, problems = list_selections()
    for one in found:
        note = f"  {one.note}" if one.note else ""
        given = f", {len(one.labels):,} with a new label" if one.labels else ""
        count = f"{len(one.keys):>9,} samples{given}{note}"
        print(f"{one.name:<32} {one.dataset} ({one.label_space}) {one.split:<10} {count}")
    for problem in problems:
        print(problem)
    if not found and not problems:
        print("No selections; tagging images on the page Gallery makes one.")
    rows = [
        {k: v for k, v in vars(one).items() if k not in ("keys", "labels")}
        | {"num_samples": len(one.keys), "num_relabelled": len(one.labels), "identity": one.identity}
        for one in found
    ]
    return {"selections": rows, "problems": problems}


def selections_export(a: argparse.Namespace) -> Result:
    import pandas as pd

    from fnkd_core.data import dataset_info, load_split
    from fnkd_core.data.selections import find_selection, rows_of
    from fnkd_core.errors import unknown
    from fnkd_core.files import replacing
    from fnkd_core.spreadsheets import csv_of

    selection = find_selection(a.selection)
    info = dataset_info(selection.dataset, root=a.data_root, labels=selection.label_space)
    samples = load_split(info, selection.split, in_memory=False)
    table = pd.DataFrame(rows_of(selection, info, samples.keys, samples.labels.tolist()))
    kinds = ("csv", "parquet", "txt")
    kind = a.out.rpartition(".")[2].lower()
    if kind not in kinds:
        raise unknown("ending of a file to export to", kind, kinds)
    with replacing(a.out) as path:
        if kind == "parquet":
            table.to_parquet(path, index=False)
        elif kind == "csv":
            path.write_text(csv_of(table), newline="")
        else:
            lines = table["path" if "path" in table else "key"]
            path.write_bytes("".join(f"{line}\n" for line in lines).encode(errors="surrogateescape"))
    print(f"{len(table):,} samples in {a.out}")
    return {"path": a.out, "num_samples": len(table)}


def selections_delete(a: argparse.Namespace) -> Result:
    from fnkd_core.data.selections import delete_selection

    delete_selection(a.selection)
    print(f"{a.selection} is deleted; the images stay.")
    return {"deleted": a.selection}


def register(commands: Commands) -> None:
    """Add the commands of this file."""
    group = commands.group("selections", "Samples saved under a name: list, export and delete them.")
    group.add("list", selections_list, "All saved selections.")
    export = group.add("export", selections_export, "Write one as .csv, .parquet, or .txt with a file a line.")
    export.add_argument("selection", help="its name")
    export.add_argument("out", help="the file to write, whose ending says its kind")
    export.add_argument("--data-root", help="where the data set's files are")
    delete = group.add("delete", selections_delete, "Forget one; the images stay.")
    delete.add_argument("selection", help="its name")
