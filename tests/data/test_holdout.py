"""What is held out stays held out: an image's split follows from its name, however many are added."""

from __future__ import annotations

import string
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fnkd_core.data import dataset_info, load_split, load_training
from fnkd_core.data.holdout import TEST_SHARE, to_test, to_validate
from fnkd_core.errors import UserError
from tests.pictures import noise

names = st.lists(st.text(string.ascii_letters + string.digits, min_size=1, max_size=12), unique=True, min_size=10)


@given(names, names)
def test_an_image_that_was_trained_on_is_never_tested_on_later(before: list[str], added: list[str]) -> None:
    whole = list(dict.fromkeys([*before, *added]))
    first, then = to_test(before), to_test(whole)
    assert then & set(before) <= first
    assert 0 < len(then) < len(whole)
    # Only the stand-in of a class that had none to test on is given back.
    assert len(first - then) <= 1


def test_of_many_images_the_share_is_for_testing() -> None:
    keys = [f"cat/{i}.jpg" for i in range(5000)]
    assert len(to_test(keys)) / 5000 == pytest.approx(TEST_SHARE, abs=0.02)


def test_a_folder_without_splits_that_grows_moves_no_image_from_train_to_test(tmp_path: Path) -> None:
    root = tmp_path / "set"

    def add(first: int, count: int) -> None:
        for name in ("ape", "bee"):
            (root / name).mkdir(parents=True, exist_ok=True)
            for i in range(first, first + count):
                noise(8, 8, i).save(root / name / f"{i}.png")

    add(0, 12)
    before = {split: set(load_split("folder", split, root=str(root)).keys) for split in ("train", "test")}
    add(12, 12)
    after = {split: set(load_split("folder", split, root=str(root)).keys) for split in ("train", "test")}
    assert before["train"] <= after["train"]
    assert not after["test"] & before["train"] and len(after["test"]) > len(before["test"])


@given(st.integers(2, 60), st.integers(1, 40), st.floats(0.05, 0.5), st.integers(0, 100))
def test_validation_takes_its_share_of_each_class_and_hardly_moves_when_the_set_grows(
    size: int, grown: int, share: float, seed: int
) -> None:
    keys = [f"{seed}/{k}/{i}" for i in range(size) for k in (0, 1)]
    labels = torch.tensor([k for _ in range(size) for k in (0, 1)])
    held = to_validate(keys, labels, share)
    assert labels[held].bincount(minlength=2).tolist() == [min(max(1, round(share * size)), size - 1)] * 2
    more = keys + [f"{seed}/0/new{i}" for i in range(grown)]
    later = to_validate(more, torch.cat([labels, torch.zeros(grown, dtype=torch.long)]), share)
    changed = {keys[i] for i in held} ^ {more[i] for i in later if i < len(keys)}
    assert len(changed) <= grown


def test_digits_keep_a_tenth_of_each_class_to_choose_by_and_with_0_nothing() -> None:
    info = dataset_info("digits")
    train, validation = load_training(info, 0.1)
    assert validation is not None
    assert len(train) + len(validation) == 1437 and not set(train.keys) & set(validation.keys)
    sizes = load_split(info, "train").labels.bincount()
    assert validation.labels.bincount().tolist() == [round(0.1 * n) for n in sizes.tolist()]
    whole, nothing = load_training(info, 0)
    assert len(whole) == 1437 and nothing is None


def test_a_set_of_one_image_a_class_cannot_hold_one_back(tmp_path: Path) -> None:
    for part in ("train", "test"):
        for name in ("ape", "bee"):
            (tmp_path / part / name).mkdir(parents=True)
            noise(8, 8, 0).save(tmp_path / part / name / "a.png")
    info = dataset_info("folder", root=str(tmp_path))
    with pytest.raises(UserError, match="none to validate on; set it to 0"):
        load_training(info, 0.1)
    assert load_training(info, 0)[1] is None
