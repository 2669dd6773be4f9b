"""Images that are held in memory are decoded once."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fnkd_core.data import dataset_info, load_split, load_training, look_again, resident
from fnkd_core.data.types import ImageFiles, RandomCrops
from fnkd_core.errors import UserError


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of 2 x 8 images to train on, of which even so few are worth a file."""
    monkeypatch.setattr(resident, "WORTH_IT", 4)
    generator = np.random.default_rng(0)
    for split, count in (("train", 8), ("val", 4), ("test", 3)):
        for name in ("ape", "bee"):
            folder = tmp_path / "set" / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                Image.fromarray(generator.integers(0, 256, (16, 16, 3), np.uint8)).save(folder / f"{i}.png")
    return tmp_path / "set"


@pytest.fixture
def decodings(monkeypatch: pytest.MonkeyPatch) -> list[str | bytes]:
    """What was decoded."""
    seen: list[str | bytes] = []
    read = ImageFiles.read

    def counted(images: ImageFiles, i: int, *crops: RandomCrops) -> np.ndarray:
        seen.append(images.listing.sources[i])
        return read(images, i, *crops)

    monkeypatch.setattr(ImageFiles, "read", counted)
    return seen


def pixels(root: Path, split: str = "train", size: int | None = None) -> torch.Tensor:
    look_again()
    images = load_split("folder", split, root=str(root), image_size=size).images
    assert isinstance(images, torch.Tensor)
    return images


def kept(home: Path) -> list[Path]:
    return sorted((home / "cache" / "pixels").glob("*.npy"))


def test_a_split_is_decoded_once_for_each_size_and_reads_the_same_after_it(root: Path, decodings: list[str]) -> None:
    first = pixels(root)
    assert len(decodings) == 16
    assert torch.equal(pixels(root), first) and len(decodings) == 16
    assert pixels(root, size=8).shape == (16, 3, 8, 8) and len(decodings) == 32


def test_images_that_have_changed_are_decoded_anew(root: Path, decodings: list[str]) -> None:
    first = pixels(root)
    image = root / "train" / "ape" / "3.png"
    Image.new("RGB", (16, 16), "red").save(image)
    os.utime(image, ns=(1, 1))
    second = pixels(root)
    assert len(decodings) == 32 and not torch.equal(second[3], first[3])
    assert torch.equal(second[[i for i in range(16) if i != 3]], first[[i for i in range(16) if i != 3]])


def test_train_with_validation_notices_a_change_in_either(root: Path) -> None:
    def whole() -> torch.Tensor:
        look_again()
        images = load_training(dataset_info("folder", root=str(root)), 0.0)[0].images
        assert isinstance(images, torch.Tensor)
        return images.clone()

    before = whole()
    for part in ("train", "val"):
        Image.new("RGB", (16, 16), "red").save(root / part / "bee" / "0.png")
        os.utime(root / part / "bee" / "0.png", ns=(1, 1))
        after = whole()
        assert not torch.equal(after, before)
        before = after


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY", b"[1, 2]"])
def test_a_damaged_file_is_made_anew(root: Path, home: Path, decodings: list[str], damage: bytes) -> None:
    first = pixels(root)
    (file,) = kept(home)
    file.write_bytes(damage)
    assert torch.equal(pixels(root), first) and len(decodings) == 32
    file.write_bytes(file.read_bytes()[:-1])
    assert torch.equal(pixels(root), first) and len(decodings) == 48


def test_a_file_that_cannot_be_written_stops_nobody(root: Path, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    first = pixels(root).clone()
    for file in kept(home):
        file.unlink()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    assert torch.equal(pixels(root), first) and not kept(home)


def test_the_files_that_were_not_used_for_longest_go_first(
    root: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def of(size: int) -> Path:
        before = set(kept(home))
        pixels(root, size=size)
        (new,) = set(kept(home)) - before
        return new

    small, middle = of(8), of(12)
    os.utime(small, ns=(1, 1))
    os.utime(middle, ns=(2, 2))
    pixels(root, size=8)  # used again
    monkeypatch.setattr(resident, "KEPT_BYTES", small.stat().st_size + 16 * 3 * 16**2)
    large = of(16)
    assert set(kept(home)) == {small, large}


def test_images_that_cannot_be_read_are_named_and_nothing_is_kept(root: Path, home: Path) -> None:
    (root / "train" / "ape" / "5.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"1 image of set \(train\) cannot be read: train/ape/5.png"):
        pixels(root)
    assert not kept(home)
