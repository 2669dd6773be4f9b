"""Folders as people lay them out are read as they are meant, and what a message advises works."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from fnkd_core.data import add_folder, check_data, dataset_info, load_split
from fnkd_core.errors import UserError

SPLITS = {"train": 4, "test": 2}


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty FNKD_HOME that does not lie in the folder to be read."""
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("FNKD_HOME", str(folder))
    return folder


def put(root: Path, *paths: str, side: int = 6) -> Path:
    for i, path in enumerate(paths):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (side, side), (i, 2 * i, 90)).save(root / path)
    return root


def classes(root: Path, count: int = 3, names: tuple[str, ...] = ("cat", "dog"), inside: str = "") -> Path:
    return put(root, *(f"{name}/{inside}{i}.png" for name in names for i in range(count)))


def described(root: Path) -> tuple[tuple[str, ...], tuple[int, ...], str]:
    """Splits, their sizes and the note of a folder, every split of which has been read."""
    info = dataset_info("folder", root=str(root))
    for split, size in zip(info.splits, info.sizes, strict=True):
        assert len(load_split(info, split)) == size
    return info.splits, info.sizes, info.note


def failing(root: Path) -> str:
    with pytest.raises(UserError) as error:
        dataset_info("folder", root=str(root))
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("train", "test"),
    [("Train", "Test"), ("training", "testing"), ("training_set", "test_set"), ("TRAIN", "Testing Set")],
)
def test_train_and_test_are_known_by_their_other_names(tmp_path: Path, train: str, test: str) -> None:
    classes(tmp_path / train, 4)
    classes(tmp_path / test, 2)
    assert described(tmp_path) == (("train", "test"), (8, 4), "")
    assert load_split("folder", "test", root=str(tmp_path)).keys[0] == f"{test}/cat/0.png"


@pytest.mark.parametrize("name", ["eval", "Validation", "dev_set"])
def test_what_is_there_to_choose_by_chooses_beside_test_and_alone_it_tests(tmp_path: Path, name: str) -> None:
    classes(tmp_path / "train", 4)
    classes(tmp_path / name, 2)
    assert described(tmp_path) == (("train", "test"), (8, 4), f"{name} is the split to test on.")
    classes(tmp_path / "test", 1)
    assert described(tmp_path) == (("train", "validation", "test"), (8, 4, 2), "")


def test_of_two_names_for_one_split_the_one_of_the_table_counts_and_the_other_is_named(tmp_path: Path) -> None:
    for name in ("train", "Train", "val", "dev", "sketches"):
        classes(tmp_path / name, 2)
    _, _, note = described(tmp_path)
    assert note == "val is the split to test on. Not read: folders Train, dev, sketches."
    assert load_split("folder", "train", root=str(tmp_path)).keys[0].startswith("train/")


@pytest.mark.parametrize("flat", ["test", "test/unknown", "test/images"])
def test_a_test_without_labels_leaves_the_labelled_split_to_test_on(tmp_path: Path, flat: str) -> None:
    classes(tmp_path / "train", 5)
    put(tmp_path, *(f"{flat}/{i}.jpg" for i in range(5)))
    splits, sizes, note = described(tmp_path)
    assert splits == ("train", "test") and sum(sizes) == 10
    assert note == (
        "Only train has classes: 20% of each, by the hash of its name, to test. test has no folders of classes, so no "
        "labels; it is left out. 5 files left out: 5 .jpg without a label."
    )
    classes(tmp_path / "val", 2)
    splits, sizes, note = described(tmp_path)
    assert (splits, sizes) == (("train", "test"), (10, 4))
    assert note.startswith("val is the split to test on. test has no folders of classes")
    assert load_split("folder", "test", root=str(tmp_path)).keys[0] == "val/cat/0.png"


@pytest.mark.parametrize("inside", ["", "part/"])
@pytest.mark.parametrize("name", ["train", "test"])
def test_a_class_may_be_called_as_a_split(tmp_path: Path, name: str, inside: str) -> None:
    names = ("apple", "bus", "sea", name)
    info = dataset_info("folder", root=str(classes(tmp_path, 3, names, inside)))
    assert info.classes == tuple(sorted(names)) and sum(info.sizes) == 12
    assert info.note.startswith(f"{name} is a class here. One folder of classes: 20% of each")


def test_a_split_called_train_is_a_split_whatever_lies_beside_it(tmp_path: Path) -> None:
    classes(tmp_path / "train", 4)
    classes(tmp_path / "test", 2)
    classes(tmp_path, 1, ("extra", "sketches", "raw"))
    (tmp_path / "notes.txt").write_text("x")
    put(tmp_path, "train/logo.png")
    assert described(tmp_path)[1:] == (
        (8, 4), "Not read: folders extra, raw, sketches. 2 files left out: 1 .png without a label, 1 .txt.",
    )  # fmt: skip


def tiny_imagenet(root: Path, words: str | None = None) -> Path:
    wnids = ("n01443537", "n01629819", "n01641577")
    for wnid in wnids:
        put(root, *(f"train/{wnid}/images/{wnid}_{i}.JPEG" for i in range(3)))
        (root / "train" / wnid / f"{wnid}_boxes.txt").write_text("x\n")
    put(root, *(f"val/images/val_{i}.JPEG" for i in range(7)), "test/images/test_0.JPEG")
    rows = [f"val_{i}.JPEG\t{wnids[2 - i % 3]}\t0\t0\t9\t9\n" for i in range(6)]
    (root / "val" / "val_annotations.txt").write_text("".join(rows))
    (root / "wnids.txt").write_text("\n".join(wnids))
    if words is not None:
        (root / "words.txt").write_text(words)
    return root


def test_tiny_imagenet_is_read_as_it_is_published(tmp_path: Path) -> None:
    root = tiny_imagenet(tmp_path / "set")
    info = dataset_info("folder", root=str(root))
    assert info.classes == ("n01443537", "n01629819", "n01641577") and info.sizes == (9, 6)
    assert dict(info.left_out) == {".jpeg without a label": 2, ".txt": 4}
    test = load_split(info, "test")
    assert {key: int(k) for key, k in zip(test.keys, test.labels, strict=True)} == {
        f"val/images/val_{i}.JPEG": 2 - i % 3 for i in range(6)
    }
    assert load_split(info, "train").keys[0] == "train/n01443537/images/n01443537_0.JPEG"
    assert check_data(str(root), deep=True)["splits"]["val"]["images"] == 6


def test_tiny_imagenets_words_name_its_classes_apart(tmp_path: Path) -> None:
    words = "n01443537\tcrane, a bird\nn01629819\tcrane, a machine\nn01641577\tbullfrog, Rana\nn9\tother\n"
    info = dataset_info("folder", root=str(tiny_imagenet(tmp_path / "a", words)))
    assert info.classes == ("crane, a bird", "crane, a machine", "bullfrog")
    assert dict(info.left_out)[".txt"] == 4
    fewer = dataset_info("folder", root=str(tiny_imagenet(tmp_path / "b", "n01443537\tgoldfish\n")))
    assert fewer.classes[0] == "n01443537" and dict(fewer.left_out)[".txt"] == 5


def test_a_list_of_labels_that_train_lacks_is_an_error(tmp_path: Path) -> None:
    root = tiny_imagenet(tmp_path)
    (root / "val" / "val_annotations.txt").write_text("val_0.JPEG\tn000\n")
    assert "train and val" in failing(root) and "different classes: n000" in failing(root)


@pytest.mark.parametrize("wrapper", ["flowers", "a/b", "train/train"])
def test_wrappers_around_splits_and_classes_are_looked_through(tmp_path: Path, wrapper: str) -> None:
    (tmp_path / "__MACOSX" / "cat").mkdir(parents=True)
    (tmp_path / "__MACOSX" / "cat" / "._0.png").write_bytes(b"\0\5\x16\7")
    classes(tmp_path / wrapper, 5)
    info = dataset_info("folder", root=str(tmp_path))
    assert info.classes == ("cat", "dog") and sum(info.sizes) == 10
    if wrapper != "train/train":
        assert info.root == str(tmp_path / wrapper) and f"Read from {wrapper} in it." in info.note
    assert add_folder("flowers", str(tmp_path)).identities == info.identities


def test_what_systems_leave_is_neither_read_nor_counted(tmp_path: Path) -> None:
    root = classes(tmp_path / "set")
    before = dataset_info("folder", root=str(root))
    put(root, "cat/@eaDir/0.jpg/THUMB.jpg", "__MACOSX/cat/0.png", ".ipynb_checkpoints/a.png", "cat/.trash.png")
    for name in ("Thumbs.db", ".DS_Store", "desktop.ini", "._0.png"):
        (root / "cat" / name).write_bytes(b"x")
    after = dataset_info("folder", root=str(root))
    assert after.identities == before.identities
    assert dict(after.left_out) == {"hidden folder": 1, "hidden": 1}
