"""`fnkd stores`."""

from __future__ import annotations

import argparse

from fnkd_core.cli.options import Commands, Result
from fnkd_core.data.download.addresses import megabytes


def stores_list(a: argparse.Namespace) -> Result:
    from fnkd_core.checkpoints.library import identities
    from fnkd_core.stores.upkeep import bytes_of, holdings

    found = holdings(identities(), deep=True)
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
    if left:
        print(f"{len(left)} left over of extractions that did not end or damaged, {megabytes(bytes_of(left))}")
    if gone or left:
        print("`fnkd stores prune` removes what nothing needs any more.")
    if not rows:
        print("No stores; looking at a model on a page makes one, or `fnkd extract`.")
    return {"stores": rows, "leftovers": [str(path) for path in left]}


def stores_prune(a: argparse.Namespace) -> Result:
    from fnkd_core.stores.upkeep import prune

    freed = prune()
    print(f"{megabytes(freed)} are free now.")
    return {"num_bytes": freed}


def register(commands: Commands) -> None:
    """Add the commands of this file."""
    group = commands.group("stores", "What was extracted: list it, and remove what nothing needs.")
    group.add("list", stores_list, "All stores, with what they take on the disk.")
    group.add("prune", stores_prune, "Remove stores of deleted checkpoints and what killed extractions left.")
