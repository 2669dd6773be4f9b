"""Folders of images to any depth: what is read of them, what is left out, and what is refused."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
import unicodedata
import zipfile
from collections import Counter
from pathlib import Path

import pytest

from fnkd_core import cli
from fnkd_core.data import add_folder, check_data, dataset_info, listing, load_split, tree
from fnkd_core.data.check import left_out_line
from fnkd_core.data.sources import folder
from fnkd_core.errors import UserError
from tests.data.test_layouts import SPLITS, classes, described, failing, home, put  # noqa: F401


@pytest.mark.parametrize("inside", ["part0/", "a/b/c/"])
def test_class_folders_are_read_to_any_depth(tmp_path: Path, inside: str) -> None:
    for part, count in SPLITS.items():
        classes(tmp_path / part, count, inside=inside)
        classes(tmp_path / part, 1)
    assert described(tmp_path) == (("train", "test"), (10, 6), "")
    assert f"train/cat/{inside}0.png" in load_split("folder", "train", root=str(tmp_path)).keys


def test_the_files_of_a_folder_that_was_read_before_keep_keys_order_and_identity(tmp_path: Path) -> None:
    """The digests are those that the folder had when only images right in a class folder were read."""
    for part, count in SPLITS.items():
        classes(tmp_path / part, count)
    for path in tmp_path.rglob("*.png"):
        path.write_bytes(b"1234567890")
        os.utime(path, ns=(10**18, 10**18))
    found = folder._look(str(tmp_path), "refuse", False)
    assert tuple(found.splits["test"].keys) == ("test/cat/0.png", "test/cat/1.png", "test/dog/0.png", "test/dog/1.png")
    assert found.identities == {"train": "a48878e686c554f6", "test": "b0bd4594bea0be86"}


def test_links_in_circles_are_read_once_and_end(tmp_path: Path) -> None:
    root = classes(tmp_path / "set")
    (root / "cat" / "round").symlink_to(root / "cat")
    (root / "cat" / "deep").mkdir()
    (root / "cat" / "deep" / "back").symlink_to("../..")
    (root / "dog" / "to cat").symlink_to(root / "cat" / "deep")
    info = dataset_info("folder", root=str(root))
    assert info.classes == ("cat", "dog")
    keys = [key for split in info.splits for key in load_split(info, split).keys]
    assert len(keys) == len(set(keys))


def test_a_folder_of_all_folders_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "MOST_FOLDERS", 5)
    for i in range(7):
        (tmp_path / "disk" / f"{i}").mkdir(parents=True)
    assert "more than 5 folders" in failing(tmp_path / "disk")
    assert described(classes(tmp_path / "set", 2))[1] == (2, 2)


def test_links_out_are_refused_and_read_when_they_are_allowed_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere = classes(tmp_path / "elsewhere", 3, ("owl",))
    root = classes(tmp_path / "set")
    (root / "owl").symlink_to(elsewhere / "owl")
    (root / "cat" / "more").symlink_to(elsewhere / "owl")
    assert "leads out of" in failing(root) and "`fnkd data add NAME DIR --follow-links`" in failing(root)
    assert check_data(str(root))["outside"] == ["cat/more", "owl"]
    assert cli.main(["data", "add", "birds", str(root), "--follow-links"]) == 0
    info = dataset_info("birds", image_size=8)
    assert info.classes == ("cat", "dog", "owl") and sum(info.sizes) == 12
    assert {"cat/more/0.png", "owl/0.png"} <= {key for split in info.splits for key in load_split(info, split).keys}
    assert check_data("birds")["outside"] == [] and check_data("birds")["splits"]["all"]["images"] == 12


def test_names_that_unicode_writes_in_two_ways_are_one_class(tmp_path: Path) -> None:
    nfc, nfd = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    classes(tmp_path / "train", 3, (nfd, "thé"))
    classes(tmp_path / "test", 2, (nfc, "thé"))
    info = dataset_info("folder", root=str(tmp_path))
    assert info.classes == (nfd, "thé") and info.sizes == (6, 4)
    assert load_split(info, "test").labels.bincount().tolist() == [2, 2]
    put(tmp_path / "train", f"{nfc}/new.png")
    info = dataset_info("folder", root=str(tmp_path))
    assert len(info.classes) == 2 and info.sizes == (7, 4)
    assert set(load_split(info, "train").keys) >= {f"train/{nfc}/new.png", f"train/{nfd}/0.png"}


def test_a_deep_change_is_noticed_though_the_look_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "LONG_S", -1.0)
    monkeypatch.setattr(listing, "KEPT", 1e6)
    for part in SPLITS:
        classes(tmp_path / part, 2, inside="a/b/")
    looks: list[str] = []
    recent = listing.Recent(lambda *a: looks.append(a[0]) or folder._look(*a), lambda found: found.stamps)
    monkeypatch.setattr(folder, "_folder", recent)
    monkeypatch.setattr(
        listing._Kept, "holds_until", property(lambda self: 0.0, lambda self, value: None), raising=False
    )
    for _ in range(3):
        assert dataset_info("folder", root=str(tmp_path)).sizes == (4, 4)
    assert len(looks) == 1
    deep = tmp_path / "train" / "cat" / "a" / "b"
    shutil.copy(deep / "0.png", deep / "new.png")
    os.utime(deep, ns=(1, 1))  # the clock's tick may be long
    assert dataset_info("folder", root=str(tmp_path)).sizes == (5, 4) and len(looks) == 2


def test_an_archive_is_called_one_and_unpacked_it_is_a_data_set(tmp_path: Path) -> None:
    root = classes(tmp_path / "set", 5)
    packed = shutil.make_archive(str(tmp_path / "flowers"), "zip", tmp_path, "set")
    (tmp_path / "given").mkdir()
    shutil.copy(packed, tmp_path / "given" / "flowers.zip")
    with tarfile.open(tmp_path / "flowers.tar", "w") as tar:
        tar.add(root, "set")
    assert "flowers.zip is a zip archive; unpack it" in failing(tmp_path / "flowers.zip")
    assert "flowers.tar is a tar archive; unpack it" in failing(tmp_path / "flowers.tar")
    assert "holds no images but flowers.zip, an archive; unpack it" in failing(tmp_path / "given")
    with pytest.raises(UserError, match="is a zip archive; unpack it"):
        check_data(packed)
    with zipfile.ZipFile(packed) as file:
        file.extractall(tmp_path / "given")
    assert sum(described(tmp_path / "given")[1]) == 10


def test_flat_images_are_to_be_moved_into_folders_of_classes(tmp_path: Path) -> None:
    put(tmp_path, *(f"train/{i}.png" for i in range(6)))
    (tmp_path / "labels.csv").write_text("id,label\n")
    message = failing(tmp_path)
    assert "train has 6 images and no folders of classes; move each image into a folder of its class" in message
    assert "train/<class>/ (labels.csv is not read)" in message
    seen = check_data(str(tmp_path))
    assert seen["problem"] == message and seen["left_out"] == {".csv": 1}
    for i in range(6):
        (tmp_path / "train" / f"c{i % 2}").mkdir(exist_ok=True)
        os.rename(tmp_path / "train" / f"{i}.png", tmp_path / "train" / f"c{i % 2}" / f"{i}.png")
    assert sum(described(tmp_path)[1]) == 6


@pytest.mark.parametrize("beside", [(), ("cat", "dog")])
def test_a_test_without_train_asks_for_it(tmp_path: Path, beside: tuple[str, ...]) -> None:
    classes(tmp_path / "test", 2)
    classes(tmp_path, 3, beside)
    assert "test and no folder to train on; put the folders of classes to train on into one called train" in failing(
        tmp_path
    )
    (tmp_path / "train").mkdir()
    for name in beside:
        os.rename(tmp_path / name, tmp_path / "train" / name)
    classes(tmp_path / "train", 3)
    assert described(tmp_path)[:2] == (("train", "test"), (6, 4))


def test_a_line_of_what_is_not_read_calls_no_folder_a_file() -> None:
    assert left_out_line(Counter({"hidden folder": 2})) == "2 hidden folders left out."
    assert left_out_line(Counter({".txt": 1})) == "1 file left out: 1 .txt."


def test_what_is_not_read_is_counted_by_kind_wherever_a_set_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = classes(tmp_path / "set")
    for i in range(8):
        (root / "cat" / f"{i}.HEIC").write_bytes(b"x")
    for i in range(4):
        (root / "dog" / f"{i}.txt").write_text("x")
    (root / ".git").mkdir()
    line = "12 files and 1 hidden folder left out: 8 .heic, 4 .txt."
    kinds = {".heic": 8, ".txt": 4, "hidden folder": 1}

    def run(*arguments: str) -> tuple[str, dict]:
        assert cli.main(["data", *arguments, "--json"]) == 0
        out, said = capsys.readouterr()
        return said, json.loads(out)

    said, answer = run("add", "pets", str(root))
    assert line in said and answer["left_out"] == kinds
    said, answer = run("list")
    assert line in said and next(row for row in answer["datasets"] if row["name"] == "pets")["left_out"] == kinds
    for what in ("pets", str(root)):
        said, answer = run("check", what)
        assert line in said and answer["left_out"] == kinds
    assert line in dataset_info("pets").note


def test_no_accepted_set_has_an_empty_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "LONG_S", -1)  # who adds a folder looks at it anew, however long the last look is kept
    monkeypatch.setattr(listing, "KEPT", 1e6)
    root = tmp_path / "set"
    for part, count in SPLITS.items():
        classes(root / part, count)
    for path in (root / "test").rglob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(
        UserError, match="set has 0 images in its test split; add some, mend those .* or take the split"
    ):
        add_folder("pets", str(root), "skip")
    for path in [*(root / "test").rglob("*.png")][:1]:
        shutil.copy(root / "train" / "cat" / "0.png", path)
    assert add_folder("mended", str(root), "skip").sizes == (8, 1)
    shutil.rmtree(root / "test")
    assert sum(add_folder("pets", str(root), "skip").sizes) == 8


def test_a_folder_of_classes_of_one_image_each_has_none_to_test_on(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="0 images in its test split; add some"):
        add_folder("pets", str(classes(tmp_path, 1)), "skip")
    classes(tmp_path, 2)
    assert add_folder("pets", str(tmp_path), "skip").sizes == (2, 2)
