"""An extraction that tasks of a cluster share: each makes pieces of the store, wherever it lies on shared storage."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

from fnkd_core.checkpoints.library import Entry
from fnkd_core.data import DatasetInfo
from fnkd_core.errors import UserError
from fnkd_core.jobs.cluster.ray import Cluster
from fnkd_core.jobs.cluster.tasks import extract_share
from fnkd_core.stores.pieces import progress
from fnkd_core.stores.store import open_store, store_path

LOOK_S = 1.0


def extract_on(
    cluster: Cluster,
    entry: Entry,
    info: DatasetInfo,
    split: str,
    devices: int | None = None,
    size: int | None = None,
) -> Iterator[tuple[int, int]]:
    """Make the store of a checkpoint on a split; yields (samples done, samples in all) as it goes.

    devices: how many tasks share it; by default one a graphics card of the cluster, or one a node where it has none.
    What a lost one was at is done by the others. size: images at once, as in `fnkd_core.stores.extract`. `UserError` as
    there, or where all were lost.
    """
    final, total, problem = store_path(entry, info, split), info.size(split), None
    count, cpus, gpus = cluster.division(devices)
    if info.root:  # tasks begin in another folder
        info = dataclasses.replace(info, root=str(Path(info.root).resolve()))
    for _ in range(count):
        cluster.give(final, extract_share, str(entry.path.resolve()), info, split, size, cpus=cpus, gpus=gpus)
    while count:
        for _, said in cluster.ended(LOOK_S):
            count, problem = count - 1, said or problem
        yield progress(final) or (0, total)
    if open_store(entry, info, split) is None:
        raise UserError(problem or f"{final} was not made.")
    yield total, total
