"""A folder is listed once for a run that begins, and what has changed since the last one is seen."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fnkd_core.cli import main
from fnkd_core.data import dataset_info, listing, look_again
from fnkd_core.data.listing import one_look
from fnkd_core.data.sources import folder, found
from fnkd_core.data.texts import Texts, joined
from fnkd_core.identity import digest, digest_of_rows
from tests.pictures import write_folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "set")


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The folders that were listed, each of which takes so long that it is kept for a minute."""
    monkeypatch.setattr(listing, "LONG_S", 0.0)
    monkeypatch.setattr(listing, "KEPT", 1e6)
    seen: list[str] = []
    look = folder._folder.look

    def counted(root: str, *how: Any) -> Any:
        seen.append(root)
        return look(root, *how)

    look_again()
    monkeypatch.setattr(folder._folder, "look", counted)
    return seen


def identity(root: Path) -> str:
    return dataset_info("folder", root=str(root), image_size=24).identity("train")


def overwrite(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")


def test_who_checks_a_run_and_begins_it_looks_once(root: Path, looks: list[str]) -> None:
    with one_look():
        look_again()
        first = identity(root)
        look_again()
        assert identity(root) == first and len(looks) == 1
    overwrite(root / "train" / "ape" / "000.jpg")
    look_again()
    assert identity(root) != first and len(looks) == 2


def test_an_image_that_comes_or_goes_between_check_and_beginning_is_seen(root: Path, looks: list[str]) -> None:
    image = root / "train" / "ape" / "000.jpg"
    with one_look():
        look_again()
        met = {identity(root)}
        shutil.copy(image, image.with_name("new.jpg"))
        look_again()
        met.add(identity(root))
        image.unlink()
        look_again()
        met.add(identity(root))
    assert len(met) == 3


def train(root: Path, run: Path) -> None:
    what = f"train --dataset folder --data-root {root} --image-size 24 --method ce --student cifar_resnet8"
    assert main([*what.split(), "--epochs", "1", "--batch-size", "4", "--threads", "1", "--run-dir", str(run)]) == 0


def test_a_training_lists_its_folder_once_and_the_next_sees_what_was_overwritten(
    root: Path, looks: list[str], tmp_path: Path
) -> None:
    train(root, tmp_path / "first")
    assert looks == [str(root)]
    overwrite(root / "train" / "ape" / "000.jpg")
    train(root, tmp_path / "second")
    assert looks == [str(root)] * 2
    first, second = (json.loads((tmp_path / run / "resolved.json").read_text()) for run in ("first", "second"))
    assert first["identities"]["test"] == second["identities"]["test"]
    assert first["identities"]["train"] != second["identities"]["train"]


@given(st.lists(st.tuples(st.text(), st.integers(), st.integers(0, 2**63), st.integers())))
def test_the_digest_of_rows_is_that_of_lists(rows: list[tuple[str, int, int, int]]) -> None:
    assert digest_of_rows(iter(rows)) == digest([list(row) for row in rows])


@pytest.fixture
def left(root: Path, looks: list[str], monkeypatch: pytest.MonkeyPatch) -> str:
    """What a process has left behind of the folder, for one that is new; its identity."""
    monkeypatch.setattr(listing, "LEFT_S", -1.0)
    first = identity(root)
    folder._folder.forget()
    looks.clear()
    monkeypatch.setattr(folder._folder, "_first", True)
    return first


def test_a_new_process_reads_what_the_last_one_left_behind_of_a_folder_and_looks_at_it_no_more(
    root: Path, looks: list[str], left: str
) -> None:
    whole = folder._look(str(root.resolve()), "refuse", False)
    assert identity(root) == left and looks == []
    again_found = folder._folder(str(root.resolve()), "refuse", False)
    assert again_found == dataclasses.replace(whole, splits=again_found.splits)
    for split, listed in whole.splits.items():
        again = again_found.splits[split]
        same = [list(again.keys), list(again.labels), list(again.sources)]
        assert same == [list(listed.keys), list(listed.labels), list(listed.sources)]


def test_a_folder_is_known_without_reading_the_million_paths_that_were_left_behind_of_it(
    root: Path, looks: list[str], left: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    whole = found.Left.__getitem__
    monkeypatch.setattr(found.Left, "__getitem__", lambda self, split: read.append(split) or whole(self, split))
    info = folder.describe(str(root), None, None)
    assert info.sizes == tuple(len(folder.files(info, split).keys) for split in info.splits)
    assert read == list(info.splits) and looks == []


def test_it_looks_where_the_paths_that_were_left_behind_are_torn(
    root: Path, looks: list[str], left: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = folder.describe(str(root), None, None)
    monkeypatch.setattr(found, "Texts", lambda data: Texts(data[:-20]))
    assert looks == [] and len(folder.files(info, "train").keys) == info.size("train") and len(looks) == 1


NAMES = st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))


@given(NAMES, st.lists(st.binary().map(lambda name: name.replace(b"\0", b"").decode(errors="surrogateescape"))))
def test_texts_in_one_piece_are_those_of_a_list(names: list[str], odd: list[str]) -> None:
    names = names + odd
    kept = Texts(joined(names))
    assert list(kept) == names == [kept[i] for i in range(len(names))] and len(kept) == len(names)
    assert kept[1:-1] == names[1:-1] and [*reversed(kept)] == names[::-1]
    for beyond in (len(names), -len(names) - 1):
        with pytest.raises(IndexError):
            kept[beyond]


@pytest.mark.parametrize("why", ["a file more", "asked to look again", "no file of ours", "cut short"])
def test_it_looks_where_what_was_left_behind_does_not_hold_or_is_not_enough(
    root: Path, looks: list[str], left: str, home: Path, why: str
) -> None:
    (kept,) = (home / "cache" / "listings").iterdir()
    if why == "a file more":
        shutil.copy(root / "train" / "ape" / "000.jpg", root / "train" / "ape" / "more.jpg")
    elif why == "asked to look again":
        overwrite(root / "train" / "ape" / "000.jpg")
        look_again()
    else:
        kept.write_bytes(b"" if why == "no file of ours" else kept.read_bytes()[:-100])
    changed = why in ("a file more", "asked to look again")
    assert (identity(root) != left) == changed and len(looks) == 1
