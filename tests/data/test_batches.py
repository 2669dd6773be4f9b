"""Images in files give what images in memory give, in the order that was asked for; odd ones are read on purpose."""

from __future__ import annotations

import dataclasses
import io
import multiprocessing
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fnkd_core.data import batches as in_batches
from fnkd_core.data import dataset_info, decoding, load_split
from fnkd_core.data import loader as in_loader
from fnkd_core.data.batches import ImageFiles, RandomCrops, batches
from fnkd_core.data.crops import RandomCrop
from fnkd_core.data.label_noise import few_labels
from fnkd_core.data.views import View
from fnkd_core.errors import UserError
from fnkd_core.paths import project_dir
from tests.pictures import noise, write_folder
from tests.waiting import is_at_work, until


@pytest.fixture
def root(tmp_path: Path) -> str:
    return str(write_folder(tmp_path / "set"))


@pytest.fixture
def streaming(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is small enough to be kept in memory."""
    monkeypatch.setattr(in_batches, "RESIDENT_BYTES", 0)


def bytes_of(image: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, **({"format": "PNG"} | options))  # type: ignore[arg-type]
    return file.getvalue()


def streamed(root: str, split: str = "train", size: int = 24) -> ImageFiles:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(in_batches, "RESIDENT_BYTES", 0)
        images = load_split("folder", split, root=root, image_size=size).images
    assert isinstance(images, ImageFiles)
    return images


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_files_give_the_pixels_of_memory_in_the_order_asked_for(root: str, workers: int) -> None:
    held = load_split("folder", "train", root=root, image_size=24)
    assert isinstance(held.images, torch.Tensor)
    files = streamed(root)
    assert tuple(files.shape) == tuple(held.images.shape)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(3))
    mine = list(batches(files, 5, order, workers=workers))
    theirs = list(batches(held.images, 5, order))
    assert [len(batch) for batch in mine] == [5, 5, 2]
    assert all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))
    assert torch.equal(torch.cat(list(batches(files, 4, workers=workers))), held.images)


@pytest.mark.parametrize("workers", [1, 2])
def test_random_crops_follow_from_seed_and_sample_and_not_from_workers_batches_or_order(
    root: str, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, crops = streamed(root, size=32), RandomCrops(View(7, 0), 0.1, True)
    straight = torch.cat(list(batches(files, 12, crops=crops, workers=0)))
    monkeypatch.setattr(in_loader, "PIECE_BYTES", 2 * 3 * 32 * 32)
    order = torch.arange(11, -1, -1)
    backwards = torch.cat(list(batches(files, 5, order, crops, workers=workers)))
    assert torch.equal(backwards.flip(0), straight)
    for other in (View(8, 0), View(7, 1)):
        again = torch.cat(list(batches(files, 12, crops=dataclasses.replace(crops, view=other), workers=0)))
        assert not any(torch.equal(a, b) for a, b in zip(straight, again, strict=True))
    part = torch.tensor([4, 9])
    assert torch.equal(torch.cat(list(batches(files[part], 2, crops=crops))), straight[part])


def test_reading_files_leaves_the_random_numbers_of_training_alone(root: str) -> None:
    files = streamed(root)
    torch.manual_seed(0)
    expected = torch.rand(3)
    for workers in (0, 1):
        torch.manual_seed(0)
        list(batches(files, 4, crops=RandomCrops(View(1, 0), 0.5, True), workers=workers))
        assert torch.equal(torch.rand(3), expected)


def test_small_sets_are_kept_in_memory_large_ones_and_those_to_be_cropped_are_not(root: str) -> None:
    kinds = {
        (split, size): isinstance(load_split("folder", split, root=root, image_size=size).images, torch.Tensor)
        for split in ("train", "test")
        for size in (64, 96)
    }
    assert kinds == {("train", 64): True, ("train", 96): False, ("test", 64): True, ("test", 96): True}


def test_pages_and_daemons_decode_without_new_processes() -> None:
    from concurrent.futures import ThreadPoolExecutor

    assert in_loader.num_workers(10_000) >= 1 and in_loader.num_workers(10) == 0
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(in_loader.num_workers, 10_000).result() == 0


DIES = """
import multiprocessing, os, sys
from fnkd_core.data import batches, load_split

images = load_split("folder", "train", root=sys.argv[1], image_size=96).images
for _ in batches.batches(images, 1, workers=2):
    print(*(p.pid for p in multiprocessing.active_children()), flush=True)
    os.kill(os.getpid(), 9)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="looks at processes through /proc")
def test_workers_end_with_a_process_that_was_killed(root: str) -> None:
    # Through a file: a pipe would wait for the workers that should have ended.
    said = Path(root) / "said.txt"
    with said.open("w") as file:
        code = subprocess.run(
            [sys.executable, "-c", DIES, root], stdout=file, cwd=project_dir(), check=False
        ).returncode
    workers = said.read_text().split()
    assert code == -9 and len(workers) == 2
    until(lambda: not any(map(is_at_work, workers)))


def test_few_labels_choose_among_files_without_reading_them(root: str, streaming: None) -> None:
    whole = load_split("folder", "train", root=root, image_size=24)
    some = few_labels(whole, 2, seed=0)
    for path in Path(root).glob("train/*/*.jpg"):
        if path.relative_to(root).as_posix() not in some.keys:
            path.unlink()
    index = [whole.keys.index(key) for key in some.keys]
    assert some.labels.tolist() == whole.labels[index].tolist() == [0, 0, 1, 1]
    assert sum(len(batch) for batch in batches(some.images, 3)) == 4


@pytest.mark.parametrize("workers", [0, 2])
def test_an_image_that_turns_out_broken_is_one_line_with_its_name(root: str, workers: int) -> None:
    files = streamed(root)
    path = Path(root) / "train" / "bee" / "002.jpg"
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(UserError, match="train/bee/002.jpg") as error:
        list(batches(files, 4, workers=workers))
    assert "\n" not in str(error.value) and "--unreadable skip" in str(error.value)


def test_a_worker_that_dies_is_one_line(root: str) -> None:
    reading_on = batches(streamed(root, size=96), 1, torch.arange(12).repeat(20), workers=1)
    next(reading_on)
    for worker in multiprocessing.active_children():
        worker.kill()
    with pytest.raises(UserError, match="A process that decodes images died") as error:
        list(reading_on)
    assert "\n" not in str(error.value)


def test_in_memory_all_broken_images_are_counted(root: str) -> None:
    for i in range(5):
        (Path(root) / "train" / "ape" / f"{i:03d}.jpg").write_bytes(b"\xff\xd8 torn")
    with pytest.raises(UserError, match=r"5 images of set \(train\) cannot be read: train/ape/000.jpg"):
        load_split("folder", "train", root=root)


def test_evaluation_scales_the_shorter_side_and_cuts_out_the_middle_as_torchvision_does() -> None:
    from torchvision.transforms import functional as F

    image = noise(300, 200, 1)
    mine = np.asarray(decoding.centre(image, 56, 0.875, "bilinear"), np.float64)
    resized = F.resize(image, 64, F.InterpolationMode.BILINEAR)
    theirs = np.asarray(F.center_crop(resized, [56, 56]), np.float64)
    assert np.abs(mine - theirs).mean() < 1
    assert np.abs(mine - np.asarray(F.center_crop(F.resize(image, 56), [56, 56]), np.float64)).mean() > 2


def test_what_evaluation_keeps_grows_with_crop_pct_and_the_interpolation_is_the_one_named(root: str) -> None:
    info = dataset_info("folder", root=root, image_size=24)
    views = [
        torch.cat(list(batches(load_split(dataclasses.replace(info, **how), "test").images, 99)))
        for how in ({}, {"crop_pct": 0.5}, {"interpolation": "bicubic"})  # type: ignore[arg-type]
    ]
    assert not torch.equal(views[0], views[1]) and not torch.equal(views[0], views[2])
    assert dataset_info("folder", root=root, image_size=224).crop_pct == 0.875
    assert info.crop_pct == 1.0


@given(st.integers(0, 10_000), st.integers(5, 300), st.integers(5, 300))
def test_a_random_crop_has_the_size_asked_for_whatever_the_shape(seed: int, width: int, height: int) -> None:
    image = noise(width, height, 0)
    cut = RandomCrop(16, 0.08, True, (seed, 1)).of(image)
    assert cut.size == (16, 16)
    assert cut.tobytes() == RandomCrop(16, 0.08, True, (seed, 1)).of(image).tobytes()


def test_random_crops_take_small_and_large_parts_from_all_over_the_image_half_of_them_mirrored() -> None:
    # Red rises to the right and green to the bottom, so that a crop tells where it was taken.
    ramp = np.arange(100, dtype=np.uint8) * 2
    image = Image.fromarray(np.stack(np.broadcast_arrays(ramp[None], ramp[:, None], np.uint8(0)), axis=2))
    cuts = [np.asarray(RandomCrop(8, 0.08, True, (0, i)).of(image), np.float64) for i in range(400)]
    across = np.array([cut[:, -1, 0].mean() - cut[:, 0, 0].mean() for cut in cuts]) / 200
    down = np.array([cut[-1, :, 1].mean() - cut[0, :, 1].mean() for cut in cuts]) / 200
    assert 0.4 < (across < 0).mean() < 0.6
    area = np.abs(across) * down / (7 / 8) ** 2
    assert area.min() < 0.15 and area.max() > 0.9 and 0.44 < area.mean() < 0.6
    middles = np.array([cut[:, :, 0].mean() for cut in cuts])
    assert middles.min() < 60 and middles.max() > 140


@pytest.mark.parametrize(
    ("image", "options", "pixel"),
    [
        (Image.new("L", (4, 4), 90), {}, (90, 90, 90)),
        (Image.new("1", (4, 4), 1), {}, (255, 255, 255)),
        (Image.new("RGBA", (4, 4), (200, 0, 0, 0)), {}, (255, 255, 255)),
        (Image.new("RGBA", (4, 4), (200, 0, 0, 255)), {}, (200, 0, 0)),
        (Image.new("LA", (4, 4), (0, 51)), {}, (204, 204, 204)),
        (Image.new("RGB", (4, 4), (9, 8, 7)).convert("P", palette=Image.Palette.ADAPTIVE), {}, (9, 8, 7)),
        (Image.new("P", (4, 4), 0), {"transparency": 0}, (255, 255, 255)),
        (Image.new("CMYK", (4, 4), (0, 255, 255, 0)), {"format": "JPEG", "quality": 100}, (255, 0, 0)),
        (Image.fromarray(np.full((4, 4), 51 * 257, np.uint16)), {}, (51, 51, 51)),
        (Image.fromarray(np.full((4, 4), 65535, np.uint16)), {}, (255, 255, 255)),
    ],
)
def test_every_mode_is_read_as_it_is_meant(image: Image.Image, options: dict[str, object], pixel: tuple) -> None:
    read = decoding.decoded(bytes_of(image, **options), 3)
    assert read.mode == "RGB" and np.abs(np.array(read.getpixel((1, 1))) - np.array(pixel)).max() <= 1
    grey = decoding.decoded(bytes_of(image, **options), 1)
    assert grey.mode == "L"


def test_sixteen_bit_pgm_is_scaled_and_not_clipped() -> None:
    body = np.full((3, 3), 32896, ">u2").tobytes()
    assert decoding.decoded(b"P5 3 3 65535\n" + body, 1).getpixel((0, 0)) == 128


def test_a_photograph_is_turned_upright() -> None:
    image = Image.fromarray(np.repeat([[[250] * 3] * 8 + [[0] * 3] * 8], 8, 0).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held a quarter turn
    read = decoding.decoded(bytes_of(image, format="JPEG", exif=exif, quality=100), 3)
    assert read.size == (8, 16)
    assert read.getpixel((4, 2))[0] > 200 and read.getpixel((4, 13))[0] < 50


def test_formats_beyond_the_list_and_pictures_of_gigabytes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    image = Image.new("RGB", (50, 50))
    assert decoding.problem(bytes_of(image, format="TGA")) == "no image of a format read here"
    assert decoding.problem(b"Pf 1 1 -1.0\n" + b"\0" * 4) == "its pixels are floating-point numbers"
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2000)
    assert "decompression bomb" in str(decoding.problem(bytes_of(image)))
