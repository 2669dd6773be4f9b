"""`fnkd extract --engine ray` on a cluster of two nodes."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from fnkd_core.checkpoints.library import find_checkpoint
from fnkd_core.data import dataset_info
from fnkd_core.stores import pieces
from fnkd_core.stores.checked import digests
from fnkd_core.stores.extract import extracted
from fnkd_core.stores.store import store_path
from tests.ray.tools import Cluster, Fnkd, answer
from tests.waiting import until

SIZE = 2
PIECES = ("--batch-size", str(SIZE))
pytestmark = [pytest.mark.ray, pytest.mark.xdist_group("ray")]


def files(fnkd: Fnkd, split: str, where: tuple[str, ...]) -> dict[str, str]:
    """Name -> digest of the files of digits-teacher's store, which the command makes first, in ninety pieces of
    train."""
    done = answer(fnkd.start("extract", "--checkpoint", "digits-teacher", "--split", split, *PIECES, *where, "--json"))
    return digests(Path(done["path"]))


def alone(home: Path, split: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The same of a store that this process makes under another home."""
    with monkeypatch.context() as patch:
        patch.setenv("FNKD_HOME", str(home.with_name("local")))
        return digests(extracted(find_checkpoint("digits-teacher"), dataset_info("digits"), split, size=SIZE).path)


def test_an_extraction_that_two_nodes_share_is_that_of_one_process(
    fnkd: Fnkd, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = files(fnkd, "train", ("--engine", "ray", "--address", fnkd.cluster.address))
    assert shared == alone(home, "train", monkeypatch) and "features.npy" in shared
    assert files(fnkd, "train", ("--engine", "ray")) == shared, "where it is there, no cluster is needed"


def test_what_a_lost_task_was_to_extract_is_extracted(
    fnkd: Fnkd, cluster: Cluster, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = ("--engine", "ray", "--address", cluster.address, "--devices", "1")
    child = fnkd.start("extract", "--checkpoint", "digits-teacher", "--split", "train", *PIECES, *where, "--json")
    final = store_path(find_checkpoint("digits-teacher"), dataset_info("digits"), "train")
    killed: list[int] = []

    def in_the_middle() -> bool:
        if (pieces.progress(final) or (0, 0))[0] > 0:
            killed.extend(cluster.named("extract_share"))
        return bool(killed) or child.poll() is not None

    until(in_the_middle)
    os.kill(killed[0], signal.SIGKILL)
    answer(child)
    assert files(fnkd, "train", ("--engine", "local")) == alone(home, "train", monkeypatch)
