"""What stores take on the disk, and letting go of those that nobody needs. No torch."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Container, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fnkd_core.checkpoints.library import Entry, delete_checkpoint, identities, named
from fnkd_core.errors import UserError
from fnkd_core.files import discard
from fnkd_core.locks import in_use, locked_if_free
from fnkd_core.paths import importing_dir, spreads_dir, stores_dir, tasks_dir
from fnkd_core.stores.pieces import discard_if, lock_of
from fnkd_core.stores.store import FORMAT, Store, is_store
from fnkd_core.stores.teacher_outputs import list_teacher_outputs, unneeded


@dataclass(frozen=True)
class Holdings:
    """What the stores' folder holds.

    stores: those that can be opened. orphans: those of them whose checkpoint is not in the library any more. leftovers:
    what no process works on and no reader can open: extractions and imports that did not end well, or whose outcome
    nobody took note of, what imports and measurements have begun, broken and outdated stores. outputs: what teachers
    have said of training images, see `fnkd_core.stores.teacher_outputs`. unheard: what of that nobody will read, since
    its teacher is not in the library any more, or no process goes on making it.
    """

    stores: list[Store]
    orphans: list[Store]
    leftovers: list[Path]
    outputs: list[Path]
    unheard: list[Path]

    @property
    def unneeded(self) -> list[Path]:
        """What `prune` removes."""
        return [*self.unheard, *self.leftovers, *(store.path for store in self.orphans)]


def holdings(living: Collection[str], deep: bool = False) -> Holdings:
    """What there is, and what of it nothing needs. living: identities of the whole library. deep: see `Store.check`."""
    # Of one look at the folder: a store that appears after it is neither a store here nor left over.
    there = _there()
    stores = _sound(there, deep)
    kept = {store.path for store in stores if _is_current(store)}
    leftovers = [path for path in [*there, *_tasks(), *_begun()] if path not in kept and not in_use(_lock(path))]
    return Holdings(stores, _orphans(stores, living), leftovers, list_teacher_outputs(), unneeded(living))


def _tasks() -> list[Path]:
    """Folders of extractions and imports; see `fnkd_core.jobs.tasks`."""
    return sorted(tasks_dir().iterdir()) if tasks_dir().is_dir() else []


def _begun() -> list[Path]:
    """Folders of what networks have said for imports, and for measurements of augmentations that are not done."""
    return [*sorted(path for path in importing_dir().glob("[!.]*")), *sorted(spreads_dir().glob(".*.parts"))]


def _lock(path: Path) -> Path:
    """What is owned while somebody works on this: a task, an import, or what belongs to a store, a teacher's outputs or
    a view of them and begins with its name."""
    if path.parent == tasks_dir():
        return path / "lock"
    if path.parent == importing_dir():
        return lock_of(path)
    return lock_of(path.with_name(path.name.lstrip(".").partition(".")[0]))


def list_stores() -> list[Store]:
    """All of them, by folder name; the broken ones are left out (see `Holdings`)."""
    return _sound(_there())


def _is_current(store: Store) -> bool:
    return store.path.name.endswith(f"-v{FORMAT}")


def _there() -> list[Path]:
    return sorted(stores_dir().iterdir()) if stores_dir().is_dir() else []


def _sound(paths: Iterable[Path], deep: bool = False) -> list[Store]:
    found = []
    for path in paths:
        if path.name.startswith(".") or not is_store(path):
            continue
        store = Store(path)
        try:
            store.check(deep)
        except (UserError, OSError):
            continue
        found.append(store)
    return found


def _orphans(stores: Iterable[Store], living: Container[str]) -> list[Store]:
    return [store for store in stores if store.checkpoint not in living]


def stores_of(entry: Entry) -> list[Store]:
    """The stores of one checkpoint, on whatever data."""
    if entry.card is None:
        return []
    return _sound(path for path in _there() if path.name.startswith(f"{entry.identity}-"))


def delete_store(store: Store) -> None:
    """Remove a store. Who has its files open keeps reading them. `UserError` while it is being made."""
    _delete(store.path, lambda: True)


def delete_damaged(path: Path) -> None:
    """Remove the store in this folder, unless it has been made anew meanwhile."""

    def is_damaged() -> bool:
        try:
            Store(path).check(deep=True)
        except (UserError, OSError):
            return True
        return False

    if path.exists():
        _delete(path, is_damaged)


def _delete(path: Path, useless: Callable[[], bool]) -> None:
    discard_if(path, useless, busy=f"{path.name} is being made; wait for it.")


def bytes_of(paths: Iterable[Path]) -> int:
    """What files and folders take on the disk."""
    files = (f for path in paths for f in (path.rglob("*") if path.is_dir() else [path]))
    return sum(f.stat().st_size for f in files if f.is_file())


def prune(read: Iterable[str] = ()) -> int:
    """Remove what is left over, and what is kept of checkpoints that are gone; the bytes that are free now.

    read: identities of checkpoints whose outputs somebody reads, gone or not.
    """
    living = identities() | set(read)

    def is_kept(path: Path) -> bool:
        stores = _sound([path] if path.parent == stores_dir() else [], deep=True)
        return any(_is_current(store) and store.checkpoint in living for store in stores)

    return _remove(holdings(living, deep=True).unneeded, is_kept)


def delete_teacher_outputs() -> int:
    """Remove what teachers have said of training images, but for what is being made; the bytes that are free now.

    A run that is about to read it would end: see `fnkd_core.jobs.control.forget_teacher_outputs`.
    """
    return _remove(list_teacher_outputs())


def _remove(paths: Sequence[Path], is_kept: Callable[[Path], bool] = lambda path: False) -> int:
    freed = 0
    for path in paths:
        # Somebody may have begun with it, or ended, or made it anew, since the look.
        with locked_if_free(_lock(path)) as mine, contextlib.suppress(FileNotFoundError):
            if mine and not is_kept(path) and not any(in_use(lock) for lock in path.glob(".*.lock")):
                size = bytes_of([path])
                discard(path)
                freed += size
                _lock(path).unlink()
    return freed


def delete_with_stores(name: str) -> int:
    """Remove an imported checkpoint and its stores; how many these were. `UserError` where it is not imported."""
    entry = named(name)
    stores = stores_of(entry) if entry is not None else []
    delete_checkpoint(name)
    return let_go(stores)


def let_go(stores: Iterable[Store]) -> int:
    """Remove those of the stores whose checkpoint is in the library no more under any name; how many these were."""
    paths = {store.path for store in stores}
    gone = _orphans([store for store in list_stores() if store.path in paths], identities()) if paths else []
    for store in gone:
        delete_store(store)
    return len(gone)
