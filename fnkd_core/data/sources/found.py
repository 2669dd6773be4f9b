"""What was found in a folder of images, left behind for the next process. No torch."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fnkd_core.data.listing import Stamp
from fnkd_core.data.texts import Texts, joined
from fnkd_core.data.types import Listing, Unreadable
from fnkd_core.errors import UserError
from fnkd_core.files import replacing
from fnkd_core.identity import digest
from fnkd_core.paths import cache_dir


@dataclass(frozen=True)
class Folder:
    """A folder as it is now.

    base: what the keys begin at. splits: split -> its images, by class and path, which may be read when they are asked
    for (see `Left`). sizes: split -> how many. identities: what each split is. left_out: kind -> how many files are not
    read. stamps: of what this follows from.
    """

    base: str
    classes: tuple[str, ...]
    splits: Mapping[str, Listing]
    sizes: dict[str, int]
    identities: dict[str, str]
    channels: int
    native: int | None
    note: str
    left_out: tuple[tuple[str, int], ...]
    stamps: tuple[Stamp, ...]


class Torn(Exception):
    """What was left behind cannot be read."""


@dataclass
class Left(Mapping[str, Listing]):
    """Split -> its images, which are unpacked when they are asked for: most pages show none of a million paths.

    arrays: the file as it was read, packed. `Torn` where it cannot be unpacked.
    """

    arrays: Any
    sizes: dict[str, int]
    read: dict[str, Listing] = field(default_factory=dict)

    def __getitem__(self, split: str) -> Listing:
        if split not in self.read:
            k, count = list(self.sizes).index(split), self.sizes[split]
            try:
                keys, sources = (Texts(self.arrays[f"{name}{k}"].tobytes()) for name in ("keys", "sources"))
                listing = Listing(sources, self.arrays[f"labels{k}"].tolist(), keys)
            except Exception as error:  # whatever is made of a file that is none of ours
                raise Torn from error
            if not len(listing.sources) == len(listing.labels) == len(listing.keys) == count:
                raise Torn
            self.read[split] = listing
        return self.read[split]

    def __iter__(self) -> Iterator[str]:
        return iter(self.sizes)

    def __len__(self) -> int:
        return len(self.sizes)


def _left_at(root: str, unreadable: str, follow_links: bool) -> Path:
    return cache_dir() / "listings" / f"{digest([root, unreadable, follow_links])}-2.npz"


def leave(found: Folder, asked: Any) -> None:
    """Leave what was found for the next process: to look at a million files anew takes it half a minute."""
    facts = dataclasses.asdict(dataclasses.replace(found, splits={}))
    arrays: dict[str, Any] = {"facts": np.frombuffer(json.dumps(facts).encode(), np.uint8)}
    for k, listing in enumerate(found.splits.values()):
        for name, texts in (("keys", listing.keys), ("sources", listing.sources)):
            arrays[f"{name}{k}"] = np.frombuffer(joined(texts), np.uint8)  # type: ignore[arg-type]
        arrays[f"labels{k}"] = np.asarray(listing.labels, np.int32)
    with contextlib.suppress(OSError, UserError), replacing(_left_at(*asked)) as path, path.open("wb") as file:
        np.savez_compressed(file, **arrays)


def last(root: str, unreadable: Unreadable, follow_links: bool) -> Folder | None:
    """What the last process that looked has left behind, or None."""
    try:
        arrays = np.load(io.BytesIO(_left_at(root, unreadable, follow_links).read_bytes()))
        facts = json.loads(arrays["facts"].tobytes())
        stamps = tuple(Stamp(**stamp) for stamp in facts["stamps"])
        tuples = {"classes": tuple(facts["classes"]), "left_out": tuple((kind, n) for kind, n in facts["left_out"])}
        return Folder(**(facts | tuples | {"splits": Left(arrays, facts["sizes"]), "stamps": stamps}))
    except Exception:  # whatever is made of a file that is none of ours
        return None
