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
        name = _name(path, root)
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
    now = {_name(path, root): line for path, line in found.items()}
    if now != known:
        remember(memory, now)
    return {path: line[2] for path, line in found.items() if line[2]}


def _name(path: str, root: Path) -> str:
    return os.path.relpath(path, root).encode(errors="replace").decode()


def report(sources: Sequence[str | bytes], keys: Sequence[str], deep: bool = False) -> dict[str, Any]:
    """Counts over images: formats, modes, sizes, turned (EXIF), huge and unreadable ones with the reason.

    Reads headers; `deep` decodes every image, which alone finds one that is cut off.
    """

    def look(i: int) -> dict[str, Any]:
        try:
            source = sources[i]
            with decoding.opened(source) as image:
                seen = {"format": image.format, "mode": image.mode, "size": image.size}
                seen["turned"] = image.getexif().get(0x0112, 1) != 1
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
            for what in ("huge", "unreadable")
        },
    }


def same_names(names: Sequence[str]) -> list[list[str]]:
    """Groups of class names that differ only by case or by how Unicode writes them."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(unicodedata.normalize("NFKC", name).casefold(), []).append(name)
    return [group for group in groups.values() if len(group) > 1]
