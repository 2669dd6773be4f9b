"""Whether a store is whole, found out once for all processes. No torch."""

from __future__ import annotations

from pathlib import Path

from fnkd_core.files import sha256, stamp
from fnkd_core.records import recall, remember
from fnkd_core.stores.maps import FILE as MAP
from fnkd_core.stores.store import Store, is_store

FILE = "checked.json"


def check_once(store: Store, note: bool = True) -> None:
    """`Damaged` as by `Store.check(deep=True)`, but curves that were found whole before are not read again.

    They are told by size, time of change and number on the disk: of a million samples they take a second to read, and
    much longer where they are not in memory. What is read of them later is checked where it is read. note: that they
    were found whole may be written down.
    """
    noted, now = store.path / FILE, stamp(store.path / "curves.npz")
    known = now is not None and recall(noted).get("curves") == list(now)
    store.check(deep=True, curves=not known)
    if note and not known and now is not None and is_store(store.path):
        remember(noted, {"curves": list(now)})


def digests(store: Path) -> dict[str, str]:
    """Name -> SHA-256 of each file of the store that an extraction makes, but for its manifest.

    Of two stores of the same outputs they are the same; the manifest says when and how fast it was made, other files
    what was done with it since.
    """
    own = ("manifest.json", FILE, MAP)
    return {path.name: sha256(path) for path in sorted(store.iterdir()) if path.name not in own}
