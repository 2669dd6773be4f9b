"""Folders of images, a folder for each class.

`root/train/<class>/*` with `root/test/<class>/*` or `root/val/<class>/*`; or `root/<class>/*` alone, which
is then split here, four to one and always the same.
"""

from __future__ import annotations

import hashlib
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from fnkd_core.data.info import DatasetInfo, Samples
from fnkd_core.errors import UserError, require

if TYPE_CHECKING:
    import numpy as np

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".ppm", ".pgm"}
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "PPM")
LARGEST_NATIVE = 96
MOST_BYTES = 4 * 2**30


def describe(root: str | None, labels: str | None, image_size: int | None) -> DatasetInfo:
    """`UserError` where there is no such folder, no class in it, a class without images, or splits differ."""
    if root is None:
        raise UserError("An image folder needs its path; give the data root.")
    path = Path(root).expanduser().resolve()
    require(path.is_dir(), f"{root} is not a folder; give the folder that holds train/<class>/ or <class>/.")
    if labels not in (None, "folder"):
        raise UserError(f"An image folder has one label space, 'folder', got {labels!r}.")
    parts = _parts(path)
    classes = _classes(parts["train"])
    if parts["test"] != parts["train"]:
        other = _classes(parts["test"])
        differing = sorted(set(classes) ^ set(other))
        require(
            not differing,
            f"{parts['train'].name} and {parts['test'].name} in {path} have different classes: "
            f"{', '.join(differing[:5])}{' ...' if len(differing) > 5 else ''}; make them the same.",
        )
    found = _files(str(parts["train"]), _stamp(parts["train"]))
    channels, size = _shape([p for p, _ in found])
    size = image_size or size
    together = parts["test"] == parts["train"]
    stamps = "".join(_stamp(p) for p in dict.fromkeys(parts.values()))
    return DatasetInfo(
        name="folder",
        title=path.name,
        classes=classes,
        label_space="folder",
        label_spaces=("folder",),
        splits=("train", "test"),
        image=(channels, size, size),
        mean=(0.5,) * channels,
        std=(0.25,) * channels,
        pad=max(1, size // 8),
        flip=True,
        note="One folder of classes: a fixed stratified split of 80 % to train and 20 % to test." if together else "",
        root=str(path),
        sizes=tuple(
            len(_split_files(str(parts[split]), _stamp(parts[split]), split if together else None)) for split in parts
        ),
        fingerprint=hashlib.sha256(stamps.encode()).hexdigest()[:12],
    )


def _parts(path: Path) -> dict[str, Path]:
    """Where each split lies; both are the root itself where there is no train folder."""
    if not (path / "train").is_dir():
        return {"train": path, "test": path}
    for name in ("test", "val"):
        if (path / name).is_dir():
            return {"train": path / "train", "test": path / name}
    raise UserError(f"{path} has a train folder but neither test nor val; add one, or give {path / 'train'} itself.")


def _class_folders(part: Path) -> list[Path]:
    return sorted(p for p in part.iterdir() if p.is_dir() and not p.name.startswith("."))


def _classes(part: Path) -> tuple[str, ...]:
    names = tuple(p.name for p in _class_folders(part))
    require(len(names) >= 2, f"{part} has {len(names)} class folder(s); at least 2 are needed, one for each class.")
    return names


def _stamp(part: Path) -> str:
    """Changes when a class or an image is added, renamed or removed."""
    folders = [part, *_class_folders(part)]
    return hashlib.sha256("".join(f"{p}{p.stat().st_mtime_ns}" for p in folders).encode()).hexdigest()


@lru_cache(maxsize=8)
def _files(part: str, stamp: str) -> tuple[tuple[Path, int], ...]:
    """(path, label) of every image, by class and name. Links that lead out of the folder are refused."""
    root = Path(part)
    found = []
    for label, folder in enumerate(_class_folders(root)):
        paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
        require(bool(paths), f"Class folder {folder} has no images ({', '.join(sorted(SUFFIXES))}); fill or remove it.")
        for p in [folder, *(p for p in paths if p.is_symlink())]:
            require(
                p.resolve().is_relative_to(root.resolve()),
                f"{p} is a link that leads out of {root}; replace it by the files themselves.",
            )
        found += [(p, label) for p in paths]
    return tuple(found)


def _shape(paths: list[Path]) -> tuple[int, int]:
    """Channels and side in pixels, from 64 images spread over the folder."""
    from PIL import Image

    sizes, modes = set(), set()
    for path in paths[:: max(1, len(paths) // 64)]:
        try:
            with Image.open(path, formats=FORMATS) as image:
                sizes.add(image.size)
                modes.add(image.mode)
        except Exception as error:
            raise _unreadable(path, error) from None
    width, height = next(iter(sizes))
    native = len(sizes) == 1 and width == height <= LARGEST_NATIVE
    return (1 if modes <= {"1", "L"} else 3), (width if native else 64)


def _unreadable(path: Path, error: Exception) -> UserError:
    what = str(error).splitlines()[0] if str(error) else type(error).__name__
    return UserError(f"Image {path} cannot be read ({what[:120]}); repair or remove it.")


def _decode(path: Path, channels: int, size: int) -> np.ndarray:
    """(C, size, size) uint8: the shorter side scaled to size, the middle cut out."""
    import numpy as np
    from PIL import Image, ImageOps

    try:
        with Image.open(path, formats=FORMATS) as opened:
            image = opened.convert("L" if channels == 1 else "RGB")
        if image.size != (size, size):
            image = ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)
    except Exception as error:
        raise _unreadable(path, error) from None
    pixels = np.asarray(image)
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def load(info: DatasetInfo, split: str) -> Samples:
    import numpy as np
    import torch

    assert info.root is not None
    parts = _parts(Path(info.root))
    part = parts[split]
    together = parts["train"] == parts["test"]
    files = _split_files(str(part), _stamp(part), split if together else None)
    channels, size = info.image[0], info.image[1]
    needed = len(files) * channels * size * size
    require(
        needed <= MOST_BYTES,
        f"{len(files):,} images at {size} pixels need {needed / 2**30:.1f} GiB of memory, the limit is "
        f"{MOST_BYTES / 2**30:.0f}; choose a smaller image size.",
    )
    images = np.empty((len(files), channels, size, size), np.uint8)

    def read(i: int) -> None:
        images[i] = _decode(files[i][0], channels, size)

    # Decoding lets go of the interpreter lock. A picture that would unpack to gigabytes is an error, not a warning.
    with warnings.catch_warnings(), ThreadPoolExecutor(4) as pool:
        from PIL import Image

        warnings.simplefilter("error", Image.DecompressionBombWarning)
        for _ in pool.map(read, range(len(files)), chunksize=64):
            pass
    labels = torch.tensor([label for _, label in files])
    keys = [p.relative_to(info.root).as_posix() for p, _ in files]
    return Samples(info, split, torch.from_numpy(images), labels, keys)


@lru_cache(maxsize=8)
def _split_files(part: str, stamp: str, split: str | None) -> list[tuple[Path, int]]:
    """(path, label) of a split; with a name, of that share of a folder that holds both.

    Every fifth image of a class, by the hash of its name, is for testing; at least one of each.
    """
    files = _files(part, stamp)
    if split is None:
        return list(files)
    chosen: list[tuple[Path, int]] = []
    for label in sorted({label for _, label in files}):
        members = sorted(
            (f for f in files if f[1] == label), key=lambda f: hashlib.sha256(f[0].name.encode()).hexdigest()
        )
        require(len(members) >= 2, f"Class folder {members[0][0].parent} has 1 image; 2 are needed to split it.")
        cut = max(1, len(members) // 5)
        chosen += members[:cut] if split == "test" else members[cut:]
    return sorted(chosen, key=lambda f: (f[1], f[0]))
