"""What was found in a folder of images, left behind for the next process. No torch."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fnkd_core.data.listing import Stamp
from fnkd_core.data.types import Listing, Unreadable
from fnkd_core.errors import UserError
from fnkd_core.files import replacing
from fnkd_core.identity import digest
from fnkd_core.paths import cache_dir


@dataclass(frozen=True)
class Folder:
    """A folder as it is now.

    base: what the keys begin at. splits: split -> its images, by class and path. identities: what each split is.
    left_out: kind -> how many files are not read. stamps: of what this follows from.
    """

    base: str
    classes: tuple[str, ...]
    splits: dict[str, Listing]
    identities: dict[str, str]
    channels: int
    native: int | None
    note: str
    left_out: tuple[tuple[str, int], ...]
    stamps: tuple[Stamp, ...]


def _left_at(root: str, unreadable: str, follow_links: bool) -> Path:
    return cache_dir() / "listings" / f"{digest([root, unreadable, follow_links])}.npz"


def leave(found: Folder, asked: Any) -> None:
    """Leave what was found for the next process: to look at a million files anew takes it half a minute."""
    facts = dataclasses.asdict(dataclasses.replace(found, splits={})) | {"splits": list(found.splits)}
    arrays: dict[str, Any] = {"facts": np.frombuffer(json.dumps(facts).encode(), np.uint8)}
    for k, listing in enumerate(found.splits.values()):
        for name, texts in (("keys", listing.keys), ("sources", listing.sources)):
            arrays[f"{name}{k}"] = np.frombuffer("\0".join(texts).encode(errors="surrogateescape"), np.uint8)  # type: ignore[arg-type]
        arrays[f"labels{k}"] = np.asarray(listing.labels, np.int32)
    with contextlib.suppress(OSError, UserError), replacing(_left_at(*asked)) as path, path.open("wb") as file:
        np.savez_compressed(file, **arrays)


def last(root: str, unreadable: Unreadable, follow_links: bool) -> Folder | None:
    """What the last process that looked has left behind, or None."""

    def texts(array: Any) -> list[str]:
        return array.tobytes().decode(errors="surrogateescape").split("\0")

    try:
        with _left_at(root, unreadable, follow_links).open("rb") as file, np.load(file) as arrays:
            facts = json.loads(arrays["facts"].tobytes())
            splits = {
                split: Listing(texts(arrays[f"sources{k}"]), arrays[f"labels{k}"].tolist(), texts(arrays[f"keys{k}"]))
                for k, split in enumerate(facts["splits"])
            }
        whole = all(len(held.sources) == len(held.labels) == len(held.keys) for held in splits.values())
        stamps = tuple(Stamp(**stamp) for stamp in facts["stamps"])
        tuples = {"classes": tuple(facts["classes"]), "left_out": tuple((kind, n) for kind, n in facts["left_out"])}
        return Folder(**(facts | tuples | {"splits": splits, "stamps": stamps})) if whole else None
    except Exception:  # whatever is made of a file that is none of ours
        return None
