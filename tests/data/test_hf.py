"""Data sets that Hugging Face `datasets` saved are read from the disk."""

from __future__ import annotations

import builtins
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fnkd_core.data import add_folder, batches, check_data, dataset_info, list_datasets, load_split
from fnkd_core.data.batches import batches as in_order
from fnkd_core.data.sources import hf
from fnkd_core.errors import UserError
from tests.pictures import noise

datasets = pytest.importorskip("datasets")


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """Six images to train and three to validate, with two columns of labels."""
    features = datasets.Features(
        {
            "img": datasets.Image(),
            "fine": datasets.ClassLabel(names=["ape", "bee", "cat"]),
            "coarse": datasets.ClassLabel(names=["mammal", "insect"]),
        }
    )

    def rows(first: int, count: int) -> datasets.Dataset:
        numbers = range(first, first + count)
        columns = {"img": [noise(30, 20, i) for i in numbers], "fine": [i % 3 for i in numbers]}
        return datasets.Dataset.from_dict(columns | {"coarse": [int(i % 3 == 1) for i in numbers]}, features=features)

    datasets.DatasetDict({"train": rows(0, 6), "validation": rows(6, 3)}).save_to_disk(tmp_path / "saved")
    return tmp_path / "saved"


def test_it_is_a_data_set_whose_label_columns_are_label_spaces(saved: Path) -> None:
    info = dataset_info("hf", root=str(saved), labels="coarse", image_size=16)
    assert info.classes == ("mammal", "insect") and info.label_spaces == ("fine", "coarse")
    assert info.sizes == (6, 3) and info.image == (3, 16, 16)
    test = load_split(info, "test")
    assert test.labels.tolist() == [0, 1, 0] and test.keys == ["test/0", "test/1", "test/2"]
    for i, image in zip((6, 7, 8), test.images, strict=True):  # type: ignore[arg-type]
        middle = noise(30, 20, i).resize((16, 16), Image.Resampling.BILINEAR, box=(5, 0, 25, 20))
        assert torch.equal(image.permute(1, 2, 0), torch.from_numpy(np.array(middle)))
    with pytest.raises(UserError, match="Available: fine, coarse"):
        dataset_info("hf", root=str(saved), labels="finest")


def test_it_streams_to_worker_processes(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = load_split("hf", "train", root=str(saved), image_size=16).images
    monkeypatch.setattr(batches, "RESIDENT_BYTES", 0)
    streamed = load_split("hf", "train", root=str(saved), image_size=16).images
    assert torch.equal(torch.cat(list(in_order(streamed, 4, workers=2))), held)  # type: ignore[arg-type]


def test_it_can_be_added_by_name_and_checked(saved: Path) -> None:
    info = add_folder("pets", str(saved))
    assert "pets" in list_datasets() and "hf" not in list_datasets()
    assert info.name == "pets" and info.classes == ("ape", "bee", "cat")
    assert load_split("pets", "test").info.name == "pets"
    found = check_data("pets", deep=True)
    assert found["splits"]["train"]["images"] == 6 and found["splits"]["train"]["unreadable"] == {}


def test_what_it_lacks_is_one_line(saved: Path, tmp_path: Path) -> None:
    whole = datasets.load_from_disk(saved)
    whole["train"].save_to_disk(tmp_path / "one")
    whole.remove_columns(["fine", "coarse"]).save_to_disk(tmp_path / "plain")
    for root, message in (
        (tmp_path / "one", "has the splits none"),
        (tmp_path / "plain", "needs a column of images and one of class labels"),
        (tmp_path, "was not made by save_to_disk"),
    ):
        with pytest.raises(UserError, match=message):
            dataset_info("hf", root=str(root))
    with pytest.raises(UserError, match="give the data root"):
        dataset_info("hf")


def test_without_the_package_the_error_is_the_command_that_installs_it(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = builtins.__import__

    def without(name: str, *rest: object) -> object:
        if name == "datasets":
            raise ImportError(name)
        return original(name, *rest)  # type: ignore[arg-type]

    hf._saved.cache_clear()
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match='`pip install "datasets>=3"` installs it'):
        dataset_info("hf", root=str(saved))


def test_splits_are_known_by_their_names_and_those_without_labels_are_left_out_and_named(
    saved: Path, tmp_path: Path
) -> None:
    whole = datasets.load_from_disk(saved)
    train, dev = whole["train"], whole["validation"]
    unlabelled = dev.map(lambda row: {"fine": -1, "coarse": None}, features=dev.features)
    datasets.DatasetDict({"Training": train, "dev": dev, "test": unlabelled}).save_to_disk(tmp_path / "contest")
    info = add_folder("contest", str(tmp_path / "contest"))
    assert info.sizes == (6, 3) and info.splits == ("train", "test")
    assert info.note == "test has no labels in fine; it is left out. dev is the split to test on."
    assert load_split(info, "test").labels.tolist() == load_split("hf", "test", root=str(saved)).labels.tolist()
    assert dataset_info("contest", labels="coarse").sizes == (6, 3)


def test_an_empty_split_is_refused_and_without_it_the_set_is_taken(saved: Path, tmp_path: Path) -> None:
    whole = datasets.load_from_disk(saved)
    whole["test"] = whole["validation"].select([])
    whole.save_to_disk(tmp_path / "empty")
    with pytest.raises(UserError, match="empty has 0 images in its test split; add some, .* or take the split away"):
        add_folder("pets", str(tmp_path / "empty"))
    del whole["test"]
    whole.save_to_disk(tmp_path / "without")
    assert add_folder("pets", str(tmp_path / "without")).sizes == (6, 3)


@pytest.mark.timeout(60)
def test_a_pipe_in_a_saved_set_is_not_waited_for(saved: Path) -> None:
    file = next((saved / "train").glob("*.arrow"))
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(UserError, match="is no regular file; remove it, or save the set anew"):
        dataset_info("hf", root=str(saved))
