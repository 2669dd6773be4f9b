"""A run's images in files are read by a few processes that stay, hold no list of them, and end with the run."""

from __future__ import annotations

import dataclasses
import gc
import multiprocessing
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fnkd_core.data import batches as in_batches
from fnkd_core.data import load_split
from fnkd_core.data import loader as in_loader
from fnkd_core.data.batches import ImageFiles, RandomCrops, batches
from fnkd_core.data.loader import Loader, num_workers, piece_length
from fnkd_core.data.packed import Packed
from fnkd_core.data.types import Listing
from fnkd_core.data.views import View
from fnkd_core.errors import UserError
from fnkd_core.paths import cache_dir, project_dir
from tests.pictures import write_folder
from tests.waiting import is_at_work, until

needs_proc = pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="looks at processes through /proc")


@pytest.fixture
def root(tmp_path: Path) -> str:
    return str(write_folder(tmp_path / "set"))


@pytest.fixture
def splits(root: str, monkeypatch: pytest.MonkeyPatch) -> list[ImageFiles]:
    monkeypatch.setattr(in_batches, "RESIDENT_BYTES", 0)
    return [load_split("folder", split, root=root, image_size=32).images for split in ("train", "test")]  # type: ignore[misc]


def pids() -> set[int | None]:
    return {process.pid for process in multiprocessing.active_children()}


def test_the_same_processes_read_all_splits_epochs_and_views_to_the_bits_of_threads(splits: list[ImageFiles]) -> None:
    views = [None, RandomCrops(View(7, 0), 0.1, True), RandomCrops(View(7, 1), 0.1, True)]
    some = torch.tensor([8, 3])
    with Loader(workers=2) as loader:
        train, test = map(loader.reading, splits)
        assert pids() == set()  # nothing was asked for yet
        met = set()
        for crops in views:
            for mine, alone in ((train, splits[0]), (test, splits[1]), (train[some], splits[0][some])):
                read, expected = list(batches(mine, 5, crops=crops)), list(batches(alone, 5, crops=crops, workers=0))
                assert all(torch.equal(a, b) for a, b in zip(read, expected, strict=True))
                met |= pids()
        assert len(met) == 2
    assert pids() == set()


def test_what_was_left_in_the_middle_does_not_come_up_in_the_next_reading(
    splits: list[ImageFiles], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(in_loader, "PIECE_BYTES", 3 * 32 * 32)
    with Loader(workers=2) as loader:
        train = loader.reading(splits[0])
        for order in (torch.arange(12), torch.arange(11, -1, -1)):
            left = batches(train, 2, order)
            next(left)
            left.close()
        read = torch.cat(list(batches(train, 5)))
    assert torch.equal(read, torch.cat(list(batches(splits[0], 12, workers=0))))


def test_a_broken_image_and_a_dead_worker_are_a_line_each_and_the_loader_goes_on(
    root: str, splits: list[ImageFiles]
) -> None:
    path = Path(root) / "train" / "bee" / "002.jpg"
    whole = path.read_bytes()
    with Loader(workers=2) as loader:
        train = loader.reading(splits[0])
        path.write_bytes(whole[:300])
        with pytest.raises(UserError, match="train/bee/002.jpg"):
            list(batches(train, 4))
        path.write_bytes(whole)
        for worker in multiprocessing.active_children():
            worker.kill()
        with pytest.raises(UserError, match="A process that decodes images died"):
            list(batches(train, 4))
        assert sum(map(len, batches(train, 4))) == 12


def private_mb(pid: int | None) -> float:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(kb) for kb in re.findall(r"^Private_\w+:\s+(\d+) kB", text, re.MULTILINE)) / 1024


@needs_proc
def test_a_workers_memory_does_not_grow_with_the_listing(splits: list[ImageFiles]) -> None:
    taken = []
    for count in (12, 200_000):
        listing = splits[0].listing
        more = [f"/nowhere/{'a long path' * 10}/{i}.jpg" for i in range(count - 12)]
        listing = Listing([*listing.sources, *more], [0] * count, [*listing.keys, *more])
        with Loader(workers=1) as loader:
            images = loader.reading(dataclasses.replace(splits[0], listing=listing, index=torch.arange(count)))
            assert next(batches(images, 12, torch.arange(12))).shape == (12, 3, 32, 32)
            taken.append(max(private_mb(pid) for pid in pids()))
    assert taken[1] - taken[0] < 10  # the listing itself takes 60


LEFT = """
import multiprocessing, os, sys
from fnkd_core.data import batches, load_split, loader

if __name__ == "__main__":
    held = loader.Loader(workers=2)
    images = held.reading(load_split("folder", "train", root=sys.argv[1], image_size=96).images)
    list(batches.batches(images, 4))
    print(*(p.pid for p in multiprocessing.active_children()), flush=True)
    os.kill(os.getpid(), 9)
"""


@needs_proc
def test_processes_that_wait_for_the_next_epoch_end_with_a_run_that_is_killed_and_leave_no_file(root: str) -> None:
    # Through a file: a pipe would wait for the workers that should have ended.
    said = Path(root) / "said.txt"
    with said.open("w") as file:
        command = [sys.executable, "-c", LEFT, root]
        assert subprocess.run(command, stdout=file, cwd=project_dir(), check=False).returncode == -9
    workers = said.read_text().split()
    assert len(workers) == 2
    until(lambda: not any(map(is_at_work, workers)))
    assert [path for path in cache_dir().glob("*") if path.is_file() and path.suffix != ".lock"] == []


@given(st.lists(st.text() | st.just("\udcff"), max_size=20), st.data())
def test_what_was_packed_is_read_back_by_place(values: list[str], data: st.DataObject) -> None:
    packed = Packed(values, "text")
    assert list(packed) == values and len(packed) == len(values)
    part = data.draw(st.slices(len(values)))
    assert packed[part] == values[part]
    with pytest.raises(IndexError):
        packed[len(values)]


def test_images_and_boxes_are_packed_too_and_their_files_closed() -> None:
    assert list(Packed([b"", b"\0one", b"2"], "bytes")) == [b"", b"\0one", b"2"]
    boxes = [(0.0, 1.5, 2.0, 1e9), (0.1, 0.2, 0.3, 0.4)]
    packed = Packed(boxes, "box")
    assert list(packed) == boxes
    file = packed._file
    del packed
    gc.collect()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(file)


def test_a_process_for_each_core_unless_several_share_them_or_somebody_says_how_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("FNKD_CORES", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(8), raising=False)
    for beside, workers in (("1", 8), ("2", 4), ("16", 1)):
        monkeypatch.setenv("LOCAL_WORLD_SIZE", beside)
        assert num_workers(10_000) == workers
    monkeypatch.setenv("FNKD_CORES", "3")  # a slot's share, whatever else is there
    assert [num_workers(10_000), num_workers(10_000, 5), num_workers(10, 5), num_workers(10)] == [3, 5, 5, 0]
    monkeypatch.setenv("FNKD_CORES", "all")
    with pytest.raises(UserError, match="FNKD_CORES must be a whole number >= 1, got 'all'."):
        num_workers(10_000)


def test_a_page_s_thread_starts_no_processes_and_one_of_a_process_that_trains_with_others_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("RANK", raising=False)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(num_workers, 10_000, 2).result() == 0
        monkeypatch.setenv("RANK", "1")  # as Ray trains
        assert pool.submit(num_workers, 10_000, 2).result() == 2


@pytest.mark.parametrize("workers", [1, 2, 16, 96])
def test_what_is_on_its_way_fits_into_the_shared_memory_of_a_container(splits: list[ImageFiles], workers: int) -> None:
    for size in (32, 224, 384):
        images = dataclasses.replace(splits[0], size=size)
        on_its_way = in_loader.AHEAD * workers * piece_length(images, workers) * 3 * size**2
        assert on_its_way <= 2**25 or piece_length(images, workers) == 1
