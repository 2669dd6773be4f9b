"""What is shown is the picture: small files as they are, others scaled down, with the part that a network reads."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fnkd_core.checkpoints.card import card_path, read_card
from fnkd_core.checkpoints.library import find_checkpoint
from fnkd_core.data import dataset_info, decoding
from fnkd_core.data.catalogue import files_of
from fnkd_core.data.crops import region
from fnkd_core.data.pictures import SHOWN, THUMBNAIL, in_full, part_read, thumbnail
from fnkd_core.stores import thumbnails
from fnkd_core.stores.extract import extracted
from fnkd_core.stores.thumbnails import are_pictures
from fnkd_core.training.config import RunConfig
from fnkd_core.training.loop import train
from tests.pages.tools import make_folder


def file_of(path: Path, size: tuple[int, int], mode: str = "RGB", **how: object) -> str:
    pixels = np.random.default_rng(0).integers(0, 255, (size[1] // 8 + 1, size[0] // 8 + 1, 4), dtype=np.uint8)
    image = Image.fromarray(pixels, "RGBA").resize(size).convert(mode)
    image.save(path, **how)
    return str(path)


def thumbnail_of(source: str) -> bytes:
    with decoding.reading(source, 3) as image:
        return thumbnail(source, image)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp"])
def test_a_small_file_is_its_own_thumbnail_byte_for_byte(tmp_path: Path, name: str) -> None:
    source = file_of(tmp_path / name, (96, 80))
    assert thumbnail_of(source) == Path(source).read_bytes()
    assert thumbnail(Path(source).read_bytes(), decoding.decoded(source, 3)) == Path(source).read_bytes()


@pytest.mark.parametrize(
    ("name", "mode", "how"),
    [("a.bmp", "RGB", {}), ("a.png", "RGBA", {}), ("a.jpg", "CMYK", {}), ("a.tif", "L", {}), ("a.gif", "P", {})],
)
def test_a_small_file_of_another_kind_loses_nothing(
    tmp_path: Path, name: str, mode: str, how: dict[str, object]
) -> None:
    source = file_of(tmp_path / name, (100, 60), mode, **how)
    held = Image.open(io.BytesIO(thumbnail_of(source))).convert("RGB")
    assert np.array_equal(np.asarray(held), np.asarray(decoding.decoded(source, 3)))


def test_a_large_file_is_scaled_down_upright(tmp_path: Path) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6
    source = file_of(tmp_path / "a.jpg", (1200, 800), exif=turned)
    held = Image.open(io.BytesIO(thumbnail_of(source)))
    assert held.size == (round(THUMBNAIL * 800 / 1200), THUMBNAIL)
    whole, size = in_full(source)
    assert size == (800, 1200) and Image.open(io.BytesIO(whole)).size == (800, 1200)


def test_a_picture_in_full_is_the_file_itself_unless_that_is_too_large(tmp_path: Path) -> None:
    source = file_of(tmp_path / "a.jpg", (1000, 700))
    assert in_full(source) == (Path(source).read_bytes(), (1000, 700))
    large = file_of(tmp_path / "b.jpg", (2400, 900))
    shown, size = in_full(large)
    assert size == (2400, 900) and Image.open(io.BytesIO(shown)).size == (SHOWN, round(900 * SHOWN / 2400))


@pytest.mark.parametrize("size", [(300, 200), (200, 300), (250, 250)])
@pytest.mark.parametrize("box", [None, (20.0, 30.0, 180.0, 150.0)])
@pytest.mark.parametrize("crop_pct", [1.0, 0.875, 0.5])
def test_the_part_outlined_is_the_part_that_evaluation_reads(
    size: tuple[int, int], box: tuple[float, float, float, float] | None, crop_pct: float
) -> None:
    # Each pixel tells where it is: red from the left, green from the top.
    x, y = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    image = Image.fromarray(np.stack([x % 256, y % 256, x // 256 * 16 + y // 256], -1).astype(np.uint8))
    used = image.crop(region(image.size, box)) if box else image
    left, top, width, height = part_read(size, box, crop_pct)
    side = round(width * size[0])
    assert side == round(height * size[1])
    read = np.asarray(decoding.centre(used, side, crop_pct, "nearest")).astype(int)
    first, last = read[0, 0], read[-1, -1]
    where = [p[0] + 256 * (p[2] // 16) for p in (first, last)], [p[1] + 256 * (p[2] % 16) for p in (first, last)]
    assert abs(where[0][0] - left * size[0]) <= 1 and abs(where[0][1] + 1 - (left + width) * size[0]) <= 1
    assert abs(where[1][0] - top * size[1]) <= 1 and abs(where[1][1] + 1 - (top + height) * size[1]) <= 1


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Two classes of JPEG files of 120 x 90 pixels, far larger than they are read."""
    for split, count in (("train", 4), ("test", 3)):
        for name in ("cat", "dog"):
            folder = tmp_path / "photographs" / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                file_of(folder / f"{i}.jpg", (120, 90))
    return tmp_path / "photographs"


def test_a_store_shows_the_photographs_and_not_what_was_read_of_them(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = RunConfig(
        dataset="folder", data_root=str(photographs), image_size=16, epochs=1, validation=0.0, batch_size=4, threads=1
    )
    for _ in train(asked, tmp_path / "run"):
        pass
    entry, info = (
        find_checkpoint(str(tmp_path / "run" / "model.safetensors")),
        dataset_info("folder", root=str(photographs)),
    )
    assert read_card(card_path(entry.path)).image_size == [16, 16]
    store = extracted(entry, info, "test")
    files = files_of(info, "test")
    assert files is not None and store.manifest["image"] == [3, 16, 16]
    for i, source in enumerate(files.sources):
        assert isinstance(source, str)
        assert store.thumbnail(i) == Path(source).read_bytes()
    store.check(deep=True)


def test_small_pictures_that_are_read_as_they_are_are_kept_as_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert are_pictures(dataset_info("digits"), "test")
    info = dataset_info("folder", root=str(make_folder(tmp_path / "small")))
    assert info.image == (3, 12, 12) and are_pictures(info, "test")
    monkeypatch.setattr(thumbnails, "PIXELS", 8)
    assert not are_pictures(info, "test")
    monkeypatch.undo()
    assert not are_pictures(dataset_info("folder", root=str(tmp_path / "small"), image_size=8), "test")
