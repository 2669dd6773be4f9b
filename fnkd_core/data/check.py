"""What is wrong with files of images: counted, listed, and remembered by each file's stamp. No torch."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from PIL import Image

from fnkd_core.data import decoding
from fnkd_core.paths import data_dir
from fnkd_core.records import recall, remember
from fnkd_core.shapes import misfit

MOST_BYTES = 1 << 30
"""Of what is remembered of a folder: a million images take a tenth of it."""
Seen = tuple[int, int, str]
"""Time of change in ns and size of an image's file, and why it cannot be read, or nothing."""


def unreadable(paths: Sequence[str], root: Path) -> dict[str, str]:
    """Path -> reason of the images that cannot be decoded.

    Each file is decoded once; what was found is kept under the data folder with the file's time and size, and a
    file that has changed is decoded again.
    """
    memory = data_dir() / "checked" / f"{hashlib.sha256(os.fsencode(root)).hexdigest()[:16]}.json"
    known = recall(memory, MOST_BYTES)

    def look(path: str) -> list[Any]:
        name = key_of(root, path)
        try:
            stat = os.stat(path)
        except OSError as error:
            return [0, 0, decoding.reason(error)]
        stamp = [stat.st_mtime_ns, stat.st_size]
        before: Any = known.get(name)
        if misfit(before, Seen) is None and before[:2] == stamp:
            return list(before)
        return [*stamp, decoding.problem(path) or ""]

    with ThreadPoolExecutor(4) as pool:
        found = dict(zip(paths, pool.map(look, paths), strict=True))
    now = {key_of(root, path): line for path, line in found.items()}
    if now != known:
        remember(memory, now)
    return {path: line[2] for path, line in found.items() if line[2]}


def printable(name: str) -> str:
    """A name that is not UTF-8 on the disk, with question marks for what cannot be written down."""
    return name if name.isascii() else name.encode(errors="replace").decode()


def key_of(root: str | os.PathLike[str], path: str) -> str:
    """What an image of a folder is called everywhere: its path from there, with / between the parts."""
    base = os.fspath(root).rstrip(os.sep) + os.sep
    inside = path[len(base) :] if path.startswith(base) else os.path.relpath(path, root)
    return printable(inside.replace(os.sep, "/"))


HIDDEN_FOLDER = "hidden folder"
"""A kind of what is not read, of folders and not of files."""


def suffix(path: str) -> str:
    """The kind of a file, as files that are not read are counted: .heic."""
    return os.path.splitext(path)[1].lower() or "without a suffix"


def most_first(kinds: Counter[str]) -> list[tuple[str, int]]:
    """(kind, how many) of files, the most first."""
    return sorted(((printable(kind), count) for kind, count in kinds.items()), key=lambda each: (-each[1], each[0]))


def counted(kinds: Counter[str]) -> str:
    """8 .heic, 4 .txt."""
    return ", ".join(f"{count:,} {kind}" for kind, count in most_first(kinds))


def left_out_line(kinds: Counter[str]) -> str:
    """12 files and 1 hidden folder left out: 8 .heic, 4 .txt."""
    of_files = Counter({kind: count for kind, count in kinds.items() if kind != HIDDEN_FOLDER})
    both = (of_files.total(), "file"), (kinds[HIDDEN_FOLDER], HIDDEN_FOLDER)
    what = " and ".join(f"{count:,} {name}{'s' if count > 1 else ''}" for count, name in both if count)
    return f"{what} left out{f': {counted(of_files)}' if of_files else ''}."


def report(sources: Sequence[str | bytes], keys: Sequence[str], deep: bool = False) -> dict[str, Any]:
    """Counts over images: formats, modes, sizes, turned (EXIF), huge and unreadable ones with the
    reason, and those whose EXIF is corrupt.

    Reads headers; `deep` decodes every image, which alone finds one that is cut off.
    """

    def look(i: int) -> dict[str, Any]:
        try:
            source = sources[i]
            with decoding.opened(source) as image:
                seen: dict[str, Any] = {"format": image.format, "mode": image.mode, "size": image.size}
                turn, corrupt = decoding.orientation(image)
                seen["turned"] = turn is not None
                if corrupt:
                    seen["corrupt_exif"] = "the image is read all the same"
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            return {"huge": decoding.reason(error)}
        except Exception as error:
            return {"unreadable": decoding.reason(error)}
        problem = decoding.problem(source) if deep else None
        return seen | ({"unreadable": problem} if problem else {})

    with ThreadPoolExecutor(4) as pool:
        seen = list(pool.map(look, range(len(keys))))
    areas = sorted((s["size"] for s in seen if "size" in s), key=lambda wh: wh[0] * wh[1])
    return {
        "images": len(seen),
        "formats": dict(Counter(s["format"] for s in seen if "format" in s).most_common()),
        "modes": dict(Counter(s["mode"] for s in seen if "mode" in s).most_common()),
        "sizes": len(set(areas)),
        "smallest": list(areas[0]) if areas else None,
        "median": list(areas[len(areas) // 2]) if areas else None,
        "largest": list(areas[-1]) if areas else None,
        "turned": sum(s.get("turned", False) for s in seen),
        "decoded": deep,
        **{
            what: {key: s[what] for key, s in zip(keys, seen, strict=True) if what in s}
            for what in ("huge", "unreadable", "corrupt_exif")
        },
    }


def same_names(names: Sequence[str]) -> list[list[str]]:
    """Groups of class names that differ only by case or by how Unicode writes them."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(unicodedata.normalize("NFKC", name).casefold(), []).append(name)
    return [group for group in groups.values() if len(group) > 1]
