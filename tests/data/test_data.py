"""Data sets, folders, augmentation and similar classes."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fnkd_core.data import (
    DATASETS,
    add_folder,
    dataset_info,
    folders,
    list_datasets,
    load_split,
    remove_folder,
)
from fnkd_core.data.augment import augment, draws, key_hashes
from fnkd_core.data.holdout import SPLIT_NAMES
from fnkd_core.data.sources.cifar import COARSE, FINE, SUPERCLASSES
from fnkd_core.data.views import View, key_hash
from fnkd_core.errors import UserError


def make(root: Path, parts: tuple[str, ...] = ("train", "test"), count: int = 5, size: int = 10) -> Path:
    """Folders of real little images; pixel (0, 0) tells class and number."""
    for part in parts:
        for k, name in enumerate(("ape", "bee")):
            (root / part / name).mkdir(parents=True, exist_ok=True)
            for i in range(count):
                pixels = np.full((size, size, 3), 10 * k + i, np.uint8)
                Image.fromarray(pixels).save(root / part / name / f"{i}.png")
    return root


def test_digits_are_split_once_and_for_all_and_stratified() -> None:
    train, test = load_split("digits", "train"), load_split("digits", "test")
    assert (len(train.labels), len(test.labels)) == dataset_info("digits").sizes == (1437, 360)
    assert not set(train.keys) & set(test.keys)
    assert test.images.dtype == torch.uint8 and tuple(test.images.shape) == (360, 1, 8, 8)
    share = torch.bincount(test.labels) / torch.bincount(torch.cat([train.labels, test.labels]))
    assert float(share.max() - share.min()) < 0.01
    assert torch.equal(load_split("digits", "test").images, test.images)
    assert int(test.images.max()) == 255


def test_the_statistics_that_digits_name_are_those_of_its_training_split() -> None:
    info, x = dataset_info("digits"), load_split("digits", "train").images.float() / 255
    assert float(x.mean()) == pytest.approx(info.mean[0], abs=1e-3)
    assert float(x.std()) == pytest.approx(info.std[0], abs=1e-3)


@pytest.mark.parametrize("name", [name for name, source in DATASETS.items() if source.files is None])
def test_a_data_set_describes_itself_without_being_loaded(name: str) -> None:
    info = dataset_info(name)
    assert info.name == name and info.classes and info.splits == ("train", "test")
    assert len(info.sizes) == 2 and len(info.mean) == len(info.std) == info.image[0]


def test_cifar_100_has_twenty_groups_of_five() -> None:
    assert len(FINE) == 100 and len(COARSE) == 20
    assert {len(members) for members in SUPERCLASSES.values()} == {5}
    assert dataset_info("cifar100", labels="coarse").classes == COARSE
    with pytest.raises(UserError, match="Available: fine, coarse"):
        dataset_info("cifar100", labels="finest")


@pytest.mark.parametrize("labels", ["fine", "coarse"])
def test_cifar_100_is_read_from_the_published_files(
    tmp_path: Path, labels: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pickle

    from torchvision.datasets import CIFAR100

    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    pixels = np.arange(4 * 3072, dtype=np.int64).reshape(4, 3072).astype(np.uint8)
    fine = [FINE.index(name) for name in ("apple", "bear", "cloud", "wolf")]
    for part in ("train", "test"):
        (folder / part).write_bytes(pickle.dumps({"data": pixels, "fine_labels": fine, "coarse_labels": [0] * 4}))
    (folder / "meta").write_bytes(pickle.dumps({"fine_label_names": list(FINE)}))
    monkeypatch.setattr(CIFAR100, "_check_integrity", lambda self: True)
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *a: True)
    samples = load_split("cifar100", "test", root=str(tmp_path), labels=labels)
    names = [samples.info.classes[k] for k in samples.labels]
    expected = {
        "fine": ["apple", "bear", "cloud", "wolf"],
        "coarse": ["fruit_and_vegetables", "large_carnivores", "large_natural_outdoor_scenes", "large_carnivores"],
    }
    assert names == expected[labels]
    assert samples.images[1].flatten().tolist() == pixels[1].tolist()


def test_a_folder_gives_every_image_once_with_its_class(tmp_path: Path) -> None:
    root = make(tmp_path / "set")
    samples = load_split("folder", "test", root=str(root))
    assert samples.info.classes == ("ape", "bee") and samples.info.image == (3, 10, 10)
    assert samples.info.sizes == (10, 10)
    assert samples.keys[0] == "test/ape/0.png"
    assert samples.images[:, 0, 0, 0].tolist() == [10 * int(k) + i % 5 for i, k in enumerate(samples.labels)]


def test_one_folder_is_split_once_and_for_all(tmp_path: Path) -> None:
    root = str(make(tmp_path / "b", ("",), count=40))
    train, test = load_split("folder", "train", root=root), load_split("folder", "test", root=root)
    assert (len(train), len(test)) == dataset_info("folder", root=root).sizes
    assert not set(train.keys) & set(test.keys) and len(train) + len(test) == 80
    assert 8 <= len(test) <= 24 and set(test.labels.tolist()) == {0, 1}


@pytest.mark.parametrize("name", SPLIT_NAMES["validation"])
def test_a_validation_folder_beside_test_chooses_and_alone_it_tests(tmp_path: Path, name: str) -> None:
    three = dataset_info("folder", root=str(make(tmp_path / "a", ("train", name, "test"))))
    assert three.splits == ("train", "validation", "test") and three.sizes == (10, 10, 10)
    assert three.chosen_on == "validation"
    assert load_split(three, "validation").keys[0].startswith(f"{name}/")
    two = dataset_info("folder", root=str(make(tmp_path / "b", ("train", name))))
    assert two.splits == ("train", "test") and two.chosen_on == "train"
    assert load_split(two, "test").keys[0].startswith(f"{name}/")


def test_grey_folders_have_one_channel_and_large_images_are_made_small(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "g" / name).mkdir(parents=True)
        for i in range(3):
            Image.fromarray(np.full((200, 300), 50, np.uint8)).save(tmp_path / "g" / name / f"{i}.png")
    assert dataset_info("folder", root=str(tmp_path / "g")).image == (1, 64, 64)
    samples = load_split("folder", "train", root=str(tmp_path / "g"), image_size=20)
    assert tuple(samples.images.shape[1:]) == (1, 20, 20) and int(samples.images.min()) == 50


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda root: (root / "train" / "ape" / "0.png").write_bytes(b"not an image"), "cannot be read"),
        (lambda root: [p.unlink() for p in (root / "test" / "bee").iterdir()], "has no images"),
        (lambda root: (root / "test" / "cat").mkdir(), "different classes: cat"),
        (lambda root: os.rename(root / "train", root / "elsewhere"), "has test and no folder to train on"),
    ],
)
def test_what_is_wrong_with_a_folder_is_one_line(tmp_path: Path, spoil: object, message: str) -> None:
    root = make(tmp_path / "set")
    spoil(root)  # type: ignore[operator]
    with pytest.raises(UserError, match=message) as error:
        _ = [load_split("folder", split, root=str(root)) for split in ("train", "test")]
    assert "\n" not in str(error.value)


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    root = make(tmp_path / "set")
    Image.fromarray(np.zeros((10, 10, 3), np.uint8)).save(tmp_path / "secret.png")
    (root / "train" / "ape" / "link.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(UserError, match="leads out of"):
        load_split("folder", "train", root=str(root))


def test_an_added_folder_is_a_data_set_like_the_others(tmp_path: Path) -> None:
    add_folder("mine", str(make(tmp_path / "set")))
    assert "mine" in list_datasets()
    assert load_split("mine", "train").info.name == "mine"
    assert add_folder("mine", str(tmp_path / "set")).root == folders()["mine"]
    make(tmp_path / "other")
    for name, path, message in (
        ("mine", "other", "already .*set; remove it first"), ("digits", "set", "built-in"),
        ("no/slash", "set", "letters"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=message):
            add_folder(name, str(tmp_path / path))
    remove_folder("mine")
    assert folders() == {}
    with pytest.raises(UserError, match="Unknown data set 'mine'"):
        dataset_info("mine")


@given(seed=st.integers(0, 1000), pad=st.integers(0, 3), flip=st.booleans())
def test_augmentation_shifts_and_mirrors_each_sample_for_itself(seed: int, pad: int, flip: bool) -> None:
    images = torch.randint(1, 255, (6, 3, 5, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
    hashes = key_hashes(f"{n}.png" for n in range(6))
    out = augment(images, pad, flip, hashes, View(seed, 0))
    assert out.shape == images.shape and out.dtype == torch.uint8
    padded = torch.nn.functional.pad(images, (pad,) * 4)
    for n in range(6):
        windows = [padded[n, :, y : y + 5, x : x + 5] for y in range(2 * pad + 1) for x in range(2 * pad + 1)]
        windows += [w.flip(2) for w in windows] if flip else []
        assert any(torch.equal(out[n], w) for w in windows)


@given(seed=st.integers(0, 1000), number=st.integers(0, 1000), order=st.permutations(range(8)))
def test_a_view_of_a_sample_is_the_same_in_any_order_and_any_company(seed: int, number: int, order: list[int]) -> None:
    images = torch.randint(1, 255, (8, 3, 5, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
    hashes, view = key_hashes(f"{n}.png" for n in range(8)), View(seed, number)
    whole = augment(images, 2, True, hashes, view)
    assert torch.equal(augment(images[order], 2, True, hashes[order], view), whole[order])
    few = torch.tensor(order[:3])
    assert torch.equal(augment(images[few], 2, True, hashes[few], view), whole[few])


def test_augmentation_draws_for_each_sample_and_each_view_and_evenly() -> None:
    one = torch.randint(0, 255, (1, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    hashes = key_hashes(str(n) for n in range(64))
    out = augment(one.expand(64, -1, -1, -1), 2, True, hashes, View(0, 0))
    assert len({tuple(x.flatten().tolist()) for x in out}) > 20
    for other in (View(0, 1), View(1, 0)):
        again = augment(one.expand(64, -1, -1, -1), 2, True, hashes, other)
        assert sum(torch.equal(a, b) for a, b in zip(out, again, strict=True)) < 10
    many = key_hashes(f"train/{n:05}.png" for n in range(20_000))
    for stream in range(3):
        counts = torch.bincount(draws(many, View(0, stream), stream) % 9, minlength=9)
        # 3.5 standard deviations of a fair count.
        assert ((counts - 20_000 / 9).abs() < 3.5 * (20_000 * 8 / 81) ** 0.5).all()


def test_random_numbers_are_those_of_splitmix64() -> None:
    def reference(state: int) -> int:
        mask = 2**64 - 1
        z = (state + 0x9E3779B97F4A7C15) & mask
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        return z ^ (z >> 31)

    keys = [f"{n}.png" for n in range(50)] + ["ä", "\udcff"]
    salt = key_hash("3 4 1")
    expected = [reference((reference(key_hash(k) % 2**64) + salt) % 2**64) >> 33 for k in keys]
    assert draws(key_hashes(keys), View(3, 4), 1).tolist() == expected
