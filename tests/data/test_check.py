"""Broken images and empty classes: counted, listed, left out or refused, as the user chose."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fnkd_core import cli
from fnkd_core.data import add_folder, check, check_data, dataset_info, decoding, load_split
from fnkd_core.errors import UserError
from tests.pictures import noise, write_folder


@pytest.fixture
def spoilt(tmp_path: Path) -> Path:
    """Two sound classes with a torn, a foreign and an empty file among them, and a class without images."""
    root = write_folder(tmp_path / "set")
    torn = root / "train" / "ape" / "001.jpg"
    torn.write_bytes(torn.read_bytes()[:-40])
    (root / "train" / "bee" / "000.jpg").write_text("not a picture")
    (root / "test" / "bee" / "003.jpg").write_bytes(b"")
    for part in ("train", "test"):
        (root / part / "cat").mkdir()
        (root / part / "cat" / "readme.txt").write_text("pictures to come")
    return root


def test_refused_by_default_with_the_way_out(spoilt: Path) -> None:
    with pytest.raises(UserError, match="cat has no images.*--unreadable skip"):
        add_folder("mine", str(spoilt))
    for part in ("train", "test"):
        shutil.rmtree(spoilt / part / "cat")
    add_folder("mine", str(spoilt))
    with pytest.raises(UserError, match=r"2 images of mine \(train\) cannot be read: train/ape/001.jpg"):
        load_split("mine", "train")


def test_a_folder_that_is_named_again_says_what_becomes_of_broken_images_now(
    spoilt: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(*options: str) -> str:
        assert cli.main(["data", "add", "mine", str(spoilt), *options]) == 0
        return capsys.readouterr().out

    assert "Broken images" not in said("--unreadable", "skip") + said("--unreadable", "skip")
    for part in ("train", "test"):
        shutil.rmtree(spoilt / part / "cat")
    assert "Broken images, which were left out, are refused now" in said()
    assert "Broken images are refused when they are met; `fnkd data check mine` finds them." in said()
    with pytest.raises(UserError, match="'mine' is already"):
        add_folder("mine", str(shutil.copytree(spoilt, spoilt.with_name("other"))))


def test_skipped_where_the_user_says_so_and_said_on_the_pages(spoilt: Path) -> None:
    info = add_folder("mine", str(spoilt), "skip")
    assert info.classes == ("ape", "bee") and info.sizes == (10, 11)
    assert "Left out: 3 unreadable images, 2 class folders without images." in info.note
    train, test = load_split("mine", "train"), load_split("mine", "test")
    assert (len(train.labels), len(test.labels)) == info.sizes
    left_out = {"train/ape/001.jpg", "train/bee/000.jpg", "test/bee/003.jpg"}
    assert not left_out & {*train.keys, *test.keys}
    assert dataset_info("mine", image_size=224).unreadable == "skip"


def test_a_class_whose_training_images_are_all_broken_is_left_out_of_both_splits(spoilt: Path) -> None:
    for path in (spoilt / "train" / "bee").iterdir():
        path.write_bytes(b"")
    with pytest.raises(UserError, match="1 class folder"):
        add_folder("mine", str(spoilt), "skip")
    (spoilt / "train" / "cat" / "0.png").write_bytes((spoilt / "train" / "ape" / "000.jpg").read_bytes())
    info = add_folder("mine", str(spoilt), "skip")
    assert info.classes == ("ape", "cat")
    assert {key.split("/")[1] for key in load_split("mine", "test").keys} == {"ape"}


def test_a_class_of_which_one_image_is_left_keeps_it_to_train_on(tmp_path: Path) -> None:
    for name, count in (("ape", 5), ("bee", 2)):
        (tmp_path / "set" / name).mkdir(parents=True)
        for i in range(count):
            noise(9, 9, i).save(tmp_path / "set" / name / f"{i}.png")
    (tmp_path / "set" / "bee" / "1.png").write_bytes(b"")
    info = add_folder("mine", str(tmp_path / "set"), "skip")
    assert sum(info.sizes) == 6 and 1 in load_split("mine", "train").labels
    assert set(load_split("mine", "test").labels.tolist()) == {0}
    (tmp_path / "set" / "bee" / "1.png").unlink()
    with pytest.raises(UserError, match="has 1 image; 2 are needed"):
        dataset_info("folder", root=str(tmp_path / "set"))


def test_a_file_is_decoded_once_until_it_changes(spoilt: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[str] = []

    original = decoding.problem
    monkeypatch.setattr(check.decoding, "problem", lambda path: decoded.append(path) or original(path))
    paths = sorted(str(p) for p in (spoilt / "train").glob("*/*.jpg"))
    broken = check.unreadable(paths, spoilt / "train")
    assert sorted(decoded) == paths and len(broken) == 2
    decoded.clear()
    assert check.unreadable(paths, spoilt / "train") == broken and decoded == []
    mended = next(iter(broken))
    noise(40, 30, 0).save(mended)
    assert mended not in check.unreadable(paths, spoilt / "train") and decoded == [mended]


def test_a_check_counts_what_headers_tell_and_decoding_finds_the_torn(
    spoilt: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["data", "check", str(spoilt), "--json"]) == 0
    out, said = capsys.readouterr()
    found = json.loads(out)
    assert found["classes"] == 3 and found["empty"] == ["train/cat", "test/cat"]
    train = found["splits"]["train"]
    assert train["images"] == 12 and train["formats"] == {"JPEG": 11} and train["modes"] == {"RGB": 11}
    assert train["smallest"] == train["largest"] == [40, 30] and train["sizes"] == 1
    assert list(train["unreadable"]) == ["train/bee/000.jpg"]
    assert "train/bee/000.jpg" in said and "--deep decodes" in said
    deep = check_data(str(spoilt), deep=True)["splits"]
    assert set(deep["train"]["unreadable"]) == {"train/bee/000.jpg", "train/ape/001.jpg"}
    assert set(deep["test"]["unreadable"]) == {"test/bee/003.jpg"}


def test_a_check_finds_bombs_links_out_odd_modes_and_names_that_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "set"
    for name in ("Ape", "ape", "b\u00e9e", "be\u0301e"):
        (root / name).mkdir(parents=True)
    Image.new("RGBA", (9, 9)).save(root / "ape" / "0.png")
    Image.fromarray(np.zeros((9, 9), np.uint16)).save(root / "ape" / "1.png")
    exif = Image.Exif()
    exif[0x0112] = 3
    noise(9, 9, 0).save(root / "ape" / "2.jpg", exif=exif)
    Image.new("L", (100, 100)).save(root / "ape" / "3.png")
    Image.new("L", (9, 9)).save(tmp_path / "secret.png")
    (root / "ape" / "4.png").symlink_to(tmp_path / "secret.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4000)
    found = check_data(str(root))
    seen = found["splits"]["all"]
    assert seen["modes"] == {"RGBA": 1, "I;16": 1, "RGB": 1} and seen["turned"] == 1
    assert list(seen["huge"]) == ["ape/3.png"] and found["outside"] == ["ape/4.png"]
    assert found["same_names"] == [["Ape", "ape"], ["be\u0301e", "b\u00e9e"]]


def test_what_has_no_files_cannot_be_checked(tmp_path: Path) -> None:
    for what, message in (("digits", "does not lie in image files"), ("nothing", "neither a data set nor a folder")):
        with pytest.raises(UserError, match=message):
            check_data(what)


def test_two_thousand_classes_with_names_of_any_script_are_a_data_set_like_the_others(tmp_path: Path) -> None:
    picture = tmp_path / "0.png"
    Image.new("L", (4, 4), 7).save(picture)
    names = [f"Vögel {i:04d} 鳥" for i in range(1999)]
    for name in (os.fsencode(name) for name in names):
        folder = os.path.join(os.fsencode(tmp_path), b"set", name)
        os.makedirs(folder)
        for i in range(2):
            os.link(picture, os.path.join(folder, b"%d.png" % i))
    latin = os.path.join(os.fsencode(tmp_path), b"set", b"caf\xe9")  # a name that is not UTF-8
    os.makedirs(latin)
    for i in range(2):
        os.link(picture, os.path.join(latin, b"%d.png" % i))
    info = add_folder("birds", str(tmp_path / "set"))
    assert len(info.classes) == 2000 and info.sizes == (2000, 2000) and info.image == (1, 4, 4)
    assert {*names, "caf?"} == set(info.classes)
    test = load_split("birds", "test")
    assert test.labels.tolist() == list(range(2000)) and int(test.images.min()) == 7
    assert all(key.encode() for key in test.keys)
