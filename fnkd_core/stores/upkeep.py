"""What stores take on the disk, and letting go of those that nobody needs. No torch."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterable
from pathlib import Path

from fnkd_core.checkpoints.library import Entry, delete_checkpoint, find_checkpoint, list_checkpoints
from fnkd_core.errors import UserError
from fnkd_core.files import is_locked, locked
from fnkd_core.paths import stores_dir
from fnkd_core.stores.store import FORMAT, Store, lock_of


def list_stores() -> list[Store]:
    """All of them, by folder name; the broken ones are left out (see `leftovers`)."""
    if not stores_dir().is_dir():
        return []
    folders = [p for p in stores_dir().iterdir() if not p.name.startswith(".") and (p / "manifest.json").exists()]
    found = []
    for store in map(Store, sorted(folders)):
        try:
            store.manifest["checkpoint"]["name"]
        except (UserError, KeyError, TypeError):
            continue
        found.append(store)
    return found


def leftovers() -> list[Path]:
    """What no process works on and no reader can open: folders of killed extractions, broken and outdated stores."""
    if not stores_dir().is_dir():
        return []
    kept = {store.path.name for store in list_stores() if store.path.name.endswith(f"-v{FORMAT}")}
    found = []
    for path in sorted(stores_dir().iterdir()):
        # A store's lock and the folder it is made in begin with its own name, after a dot.
        of = path.name.lstrip(".").partition(".")[0]
        if path.name not in kept and not is_locked(lock_of(path.with_name(of))):
            found.append(path)
    return found


def orphans(entries: Iterable[Entry]) -> list[Store]:
    """The stores of checkpoints that are not in the library any more."""
    living = {entry.identity for entry in entries if entry.card is not None}
    return [store for store in list_stores() if store.path.name.partition("-")[0] not in living]


def stores_of(entry: Entry) -> list[Store]:
    """The stores of one checkpoint, on whatever data."""
    if entry.card is None:
        return []
    return [store for store in list_stores() if store.path.name.partition("-")[0] == entry.identity]


def delete_store(store: Store) -> None:
    """Remove a store. Who has its files open keeps reading them. `UserError` while it is being made."""
    with locked(lock_of(store.path), wait=False, busy=f"{store.path.name} is being made; wait for it."):
        remove(store.path)


def remove(path: Path) -> None:
    """Take a folder or file out of the list in one step, then off the disk."""
    gone = path.with_name(f".{path.name.lstrip('.')}.deleted-{secrets.token_hex(2)}")
    os.replace(path, gone)
    if gone.is_dir():
        shutil.rmtree(gone, ignore_errors=True)
    else:
        gone.unlink(missing_ok=True)


def bytes_of(paths: Iterable[Path]) -> int:
    """What files and folders take on the disk."""
    files = (f for path in paths for f in (path.rglob("*") if path.is_dir() else [path]))
    return sum(f.stat().st_size for f in files if f.is_file())


def prune() -> int:
    """Remove what is left over and the stores of checkpoints that are gone; the bytes that are free now."""
    gone = [*leftovers(), *(store.path for store in orphans(list_checkpoints()))]
    freed = bytes_of(gone)
    for path in gone:
        remove(path)
    return freed


def delete_with_stores(name: str) -> int:
    """Remove an imported checkpoint and its stores; how many these were. `UserError` where it is not imported."""
    stores = stores_of(find_checkpoint(name)) if any(e.name == name and e.card for e in list_checkpoints()) else []
    delete_checkpoint(name)
    return let_go(stores)


def let_go(stores: Iterable[Store]) -> int:
    """Remove those of the stores whose checkpoint is in the library no more under any name; how many these were."""
    paths = {store.path for store in stores}
    gone = [store for store in orphans(list_checkpoints()) if store.path in paths]
    for store in gone:
        delete_store(store)
    return len(gone)
