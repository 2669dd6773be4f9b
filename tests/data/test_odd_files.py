"""Files that are odd or hostile: read where they can be, else named; never waited for, and never many at once."""

from __future__ import annotations

import io
import os
import struct
import threading
import time
import unicodedata
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from fnkd_core import cli
from fnkd_core.checkpoints.fits import misfit
from fnkd_core.checkpoints.importing.matching import match_by_name
from fnkd_core.checkpoints.library import find_checkpoint
from fnkd_core.data import batches, budget, check_data, dataset_info, decoding, load_split
from fnkd_core.data.similar import MOST_BYTES, class_groups, read_groups
from fnkd_core.errors import UserError
from tests.pictures import noise, write_folder

JPEG = io.BytesIO()
noise(16, 12, 0).save(JPEG, "JPEG")


def with_exif(payload: bytes) -> bytes:
    body = JPEG.getvalue()
    return body[:2] + b"\xff\xe1" + struct.pack(">H", len(payload) + 2) + payload + body[2:]


def directory(*entries: tuple[int, int, int, int], count: int | None = None) -> bytes:
    """An EXIF block of (tag, kind, number, value)."""
    rows = b"".join(struct.pack(">HHIHH", tag, kind, number, value, 0) for tag, kind, number, value in entries)
    return b"Exif\0\0MM\0*\0\0\0\x08" + struct.pack(">H", len(entries) if count is None else count) + rows + b"\0" * 4


CORRUPT = {
    "empty": b"Exif\0\0",
    "garbage": b"Exif\0\0\x00\x01garbage-not-tiff",
    "nowhere": b"Exif\0\0MM\0*\xff\xff\xff\xf0",
    "cut off": directory((0x0112, 3, 1, 6), count=32),
    "a text": directory((0x0112, 2, 5, 26)),
    "no value": directory((0x0112, 3, 0, 0)),
}


@pytest.mark.parametrize("suffix", [".jfif", ".jpe", ".tif", ".TIFF", ".gif"])
def test_pictures_of_the_rarer_suffixes_are_read(tmp_path: Path, suffix: str) -> None:
    forms = {".jfif": "JPEG", ".jpe": "JPEG", ".gif": "GIF"}
    root = tmp_path / "set"
    for name in ("ape", "bee"):
        (root / name).mkdir(parents=True)
        for i in range(3):
            noise(16, 16, i).save(root / name / f"{i}{suffix}", format=forms.get(suffix, "TIFF"))
    info = dataset_info("folder", root=str(root))
    assert sum(len(load_split(info, split)) for split in info.splits) == 6
    assert check_data(str(root), deep=True)["splits"]["all"]["unreadable"] == {}


def test_of_a_moving_picture_the_first_is_read() -> None:
    file = io.BytesIO()
    frames = [Image.new("RGB", (5, 5), colour) for colour in ("red", "blue", "green")]
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    assert decoding.decoded(file.getvalue(), 3).getpixel((2, 2)) == (255, 0, 0)


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "TIFF", "PNG"])
def test_pictures_are_turned_as_pillow_turns_them(form: str, turn: int) -> None:
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x0112] = turn
    noise(16, 12, 3).save(file, form, exif=exif)
    from PIL import ImageOps

    with Image.open(file) as image:
        expected = ImageOps.exif_transpose(image).convert("RGB")
    read = decoding.decoded(file.getvalue(), 3)
    assert read.size == expected.size and np.array_equal(np.asarray(read), np.asarray(expected))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_corrupt_exif_is_warned_of_once_by_name_and_the_picture_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    monkeypatch.setattr(batches, "RESIDENT_BYTES", 0)
    root = write_folder(tmp_path / "set", count=1, size=(16, 12))
    for name, exif in CORRUPT.items():
        (root / "train" / "ape" / f"{name}.jpg").write_bytes(with_exif(exif))
    images = load_split("folder", "train", root=str(root), image_size=12).images
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", decoding.CorruptExif)
        for _ in range(2):
            assert sum(map(len, batches.batches(images, 4, workers=workers))) == 2 + len(CORRUPT)
    names = sorted(str(each.message).split(" has corrupt EXIF")[0] for each in said)
    assert names == sorted(str(root / "train" / "ape" / f"{name}.jpg") for name in CORRUPT)
    seen = check_data(str(root))["splits"]["train"]
    assert len(seen["corrupt_exif"]) == len(CORRUPT) and seen["unreadable"] == {} and seen["turned"] == 1


def test_a_sound_exif_is_not_warned_of() -> None:
    for block in (directory((0x0112, 3, 1, 6)), directory((0x0112, 3, 1, 99)), directory((0x010F, 2, 4, 0))):
        decoding.decoded(with_exif(block), 3)


def test_large_texts_and_colour_profiles_do_not_make_a_picture_unreadable() -> None:
    picture, plain = noise(20, 10, 1), io.BytesIO()
    picture.save(plain, "PNG")
    text = PngImagePlugin.PngInfo()
    text.add_text("note", "a" * (3 << 20), zip=True)
    for options in ({"pnginfo": text}, {"icc_profile": b"\0" * (2 << 20)}):
        file = io.BytesIO()
        picture.save(file, "PNG", **options)
        assert np.array_equal(np.asarray(decoding.decoded(file.getvalue(), 3)), np.asarray(picture))
    body = zlib.compress(b"b" * (3 << 20))
    chunk = b"zTXtnote\0\0" + body
    after = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    end = plain.getvalue().rindex(b"IEND") - 4
    late = plain.getvalue()[:end] + after + plain.getvalue()[end:]
    assert np.array_equal(np.asarray(decoding.decoded(late, 3)), np.asarray(picture))
    assert decoding.problem(late[: end - 30]) is not None


def test_a_large_picture_is_converted_in_strips_to_the_same_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    pictures = [Image.fromarray(rng.integers(0, 256, (33, 21, 4), dtype=np.uint8), mode) for mode in ("RGBA", "CMYK")]
    pictures += [pictures[0].convert(mode) for mode in ("LA", "P", "1", "L", "RGB")]
    pictures.append(Image.fromarray(rng.integers(0, 65536, (33, 21), dtype=np.uint16)))
    files = []
    for picture in pictures:
        file = io.BytesIO()
        picture.save(file, "TIFF" if picture.mode == "CMYK" else "PNG")
        files.append(file.getvalue())
    whole = [np.asarray(decoding.decoded(file, channels)) for file in files for channels in (1, 3)]
    monkeypatch.setattr(decoding, "STRIP", 21 * 4)
    strips = [np.asarray(decoding.decoded(file, channels)) for file in files for channels in (1, 3)]
    assert all(np.array_equal(a, b) for a, b in zip(whole, strips, strict=True))


def test_pictures_are_held_no_more_at_once_than_the_budget_allows() -> None:
    """Those that take 40 of 64 units come one by one, of those that take 30 there are two; a larger one is alone."""
    shared, held, most = budget.Budget(), 0, dict.fromkeys((30, 40, 100), 0)
    lock, begun = threading.Lock(), threading.Barrier(4)

    def hold(units: int) -> None:
        nonlocal held
        with shared.of((units * budget.UNIT_BYTES // budget.PIXEL_BYTES - 1, 1)):
            with lock:
                held += 1
                most[units] = max(most[units], held)
            time.sleep(0.002)
            with lock:
                held -= 1

    def many(units: int) -> None:
        begun.wait(30)
        for _ in range(3):
            hold(units)

    for units in most:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(many, [units] * 4))
    assert most[40] == most[100] == 1 and most[30] <= 2


def test_worker_processes_share_one_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "RESIDENT_BYTES", 0)
    made: list[object] = []
    original = budget.Budget.__init__
    monkeypatch.setattr(budget.Budget, "__init__", lambda self, context: made.append(self) or original(self, context))
    images = load_split("folder", "train", root=str(write_folder(tmp_path / "set")), image_size=24).images
    assert sum(map(len, batches.batches(images, 4, workers=2))) == 12
    assert len(made) == 1 and made[0]._units.get_value() == budget.UNITS  # type: ignore[attr-defined]


@pytest.mark.timeout(60)
def test_a_pipe_by_the_name_of_a_picture_is_neither_opened_nor_waited_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_folder(tmp_path / "set")
    os.mkfifo(root / "train" / "ape" / "x.png")
    (root / "train" / "bee" / "y.png").symlink_to("../ape/x.png")
    assert cli.main(["data", "add", "apes", str(root)]) == 0
    assert "2 files left out: 2 no regular file." in capsys.readouterr().out
    assert cli.main(["data", "check", str(root), "--deep"]) == 0
    images = load_split("apes", "train", image_size=24).images
    assert len(images) == 12
    held = load_split("apes", "train", image_size=96).images
    os.unlink(root / "train" / "ape" / "000.jpg")
    os.mkfifo(root / "train" / "ape" / "000.jpg")
    assert decoding.problem(str(root / "train" / "ape" / "000.jpg")) == "it is no regular file"
    with pytest.raises(UserError, match="it is no regular file"):
        list(batches.batches(held, 12))


@pytest.mark.timeout(60)
def test_a_pipe_by_the_name_of_a_list_is_an_error(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "set")
    (root / "test" / "ape").rename(root / "test" / "images")
    os.mkfifo(root / "test" / "test_annotations.txt")
    (root / "groups.csv").symlink_to(root / "test" / "test_annotations.txt")
    assert dataset_info("folder", root=str(write_folder(tmp_path / "other"))).sizes == (12, 12)
    with pytest.raises(UserError, match="have different classes"):
        dataset_info("folder", root=str(root))
    with pytest.raises(UserError, match="Unknown source of similar classes"):
        class_groups(dataset_info("digits"), str(root / "groups.csv"))


def test_a_table_of_many_columns_is_read_in_the_time_of_its_size() -> None:
    """Pandas renames repeated columns one after the other, which took 19 s for 2 MB."""
    info = dataset_info("digits")
    wide = b"class,group," + b",".join([b"a"] * 500_000) + b"\n0,x\n1,x\n"
    assert read_groups(info, wide, "wide.csv")[:3] == ("x", "x", None)
    with pytest.raises(UserError) as error:
        read_groups(info, b"b" * 100_000 + b",c" * 500_000 + b"\n", "wide.csv")
    assert len(str(error.value)) < 300 and "must have the columns class and group" in str(error.value)
    for data, message in (
        (b"x" * (MOST_BYTES + 1), "is longer than 4 MB"),
        (b"class,group\n0,a,b\n", "more columns than its first"),
        (b'class,group\n"0,a\n', "is not a readable CSV file"),
        (b"\xff\xfe", "is not a readable CSV file"),
        (b"class,class,group\n", "must have the columns"),
    ):
        with pytest.raises(UserError, match=message):
            read_groups(info, data, "t.csv")


def test_class_names_are_the_same_however_unicode_writes_them() -> None:
    nfc, nfd = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    info = dataset_info("digits")
    info, other = replace(info, classes=(nfc, *info.classes[1:])), replace(info, classes=(nfd, *info.classes[1:]))
    card = find_checkpoint("digits-teacher").card
    assert card is not None
    assert misfit(replace(card, classes=other.classes), info) is None
    order = match_by_name(other.classes, info.classes)
    assert order is not None and order.tolist() == list(range(10))
    assert read_groups(info, f"class,group\n{nfd},a\n".encode(), "t.csv")[0] == "a"
