"""What checkpoints there are: the user's, the shipped ones and those of finished runs. No torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from fnkd_core.checkpoints.card import Card, card_path, read_card
from fnkd_core.errors import UserError, require, unknown
from fnkd_core.files import stamp
from fnkd_core.identity import content_of
from fnkd_core.paths import checkpoint_dirs, runs_dir
from fnkd_core.records import recall

SUFFIX = ".safetensors"
# What others save. It may be read only through `gate`, which `fnkd checkpoints import` does.
FOREIGN = (".pth", ".pt", ".th", ".bin")
EXPORTS = {"safetensors": ".safetensors", "state_dict": ".pth", "torch_export": ".pt2", "onnx": ".onnx"}
"""Forms in which `fnkd_core.checkpoints.export` writes a checkpoint, and their suffixes."""
OF_A_STUDENT = ("end.json", "model.safetensors", "model.json", "best.safetensors", "best.json")
"""The files of a run that decide which checkpoints it has given."""


@dataclass(frozen=True)
class Entry:
    """A checkpoint under the name that pickers and URLs use. Without a card, `problem` says why in one line.

    card: with the file's own sum, where it names none.
    """

    name: str
    path: Path
    card: Card | None = None
    problem: str | None = None

    @property
    def identity(self) -> str:
        """What the checkpoint is (see `Card.identity`)."""
        assert self.card is not None
        return self.card.identity


def entry_of(path: Path, name: str) -> Entry:
    """The checkpoint in this file, whatever it is called in the library."""
    if path.suffix in FOREIGN:
        problem = f"{path.name} is not in the library yet; import it with `fnkd checkpoints import {path}`."
        return Entry(name, path, problem=problem)
    try:
        require(path.is_file(), f"{path} is no file; put the weights there, or delete it.")
        card = _card(card_path(path), stamp(card_path(path)))
        return Entry(name, path, card if card.sha256 else replace(card, sha256=content_of(path)))
    except OSError as error:
        return Entry(name, path, problem=f"{path} cannot be read ({error.strerror}); restore it from a copy.")
    except UserError as error:
        if not card_path(path).exists():
            return Entry(
                name,
                path,
                problem=f"{path.name} has no card; write {card_path(path).name} beside it (architecture, classes, "
                "normalisation: see README).",
            )
        return Entry(name, path, problem=str(error))


@lru_cache(maxsize=20_000)
def _card(path: Path, changed: object) -> Card:
    """The card, read once for all who list the checkpoints for as long as its file stays the same."""
    return read_card(path)


def list_checkpoints() -> list[Entry]:
    """All of them, by folder and name, then those of finished runs (newest first). Never raises.

    Last, each with a problem, the files of others that lie there and were not imported.
    A run's last weights go by its id, or by its name and the end of its id; its best ones have `-best` added.
    Where a name is taken, the user's own folder comes before the shipped one.
    """
    entries: dict[str, Entry] = {}
    for entry in (*_in_folders(), *_of_runs(), *_foreign()):
        entries.setdefault(entry.name, entry)
    return list(entries.values())


def _visible(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.glob("*")) if not path.name.startswith(".")] if folder.is_dir() else []


def _in_folders() -> Iterator[Entry]:
    for path in (path for folder in checkpoint_dirs() for path in _visible(folder)):
        if path.suffix == SUFFIX:
            yield entry_of(path, path.stem)
        elif path.suffix == ".json" and not any(path.with_suffix(s).exists() for s in (SUFFIX, *FOREIGN)):
            problem = f"{path.name} is a card without weights; put {path.stem}.safetensors beside it."
            yield Entry(path.stem, path, problem=problem)


def _of_runs() -> Iterator[Entry]:
    for run in reversed(_visible(runs_dir())):
        yield from _students(run, tuple(stamp(f"{run}/{name}") for name in OF_A_STUDENT))


@lru_cache(maxsize=20_000)
def _students(run: Path, changed: object) -> tuple[Entry, ...]:
    """The checkpoints of a run, looked at anew when one of its files that decide them has changed."""
    if not _finished(run):
        return ()
    found = []
    for file, suffix in (("model.safetensors", ""), ("best.safetensors", "-best")):
        if (run / file).exists():
            entry = entry_of(run / file, run.name + suffix)
            if entry.card is not None and entry.card.name != run.name:
                # The end of the id keeps a name that is given twice from changing what it stands for.
                entry = replace(entry, name=f"{entry.card.name}-{run.name.rpartition('-')[2]}{suffix}")
            found.append(entry)
    return tuple(found)


def _finished(run: Path) -> bool:
    return bool(recall(run / "end.json").get("status") == "finished")


def _foreign() -> Iterator[Entry]:
    for path in (path for folder in checkpoint_dirs() for path in _visible(folder)):
        if path.suffix in FOREIGN:
            yield entry_of(path, path.stem)


def of_run(folder: Path) -> Entry | None:
    """The checkpoint of a finished run's last epoch, or None."""
    return next((e for e in list_checkpoints() if e.path == folder / "model.safetensors"), None)


def find_checkpoint(ref: str | Path) -> Entry:
    """The checkpoint of this name or path. `UserError` where there is none or it has a problem."""
    path = Path(ref)
    if path.suffix in (SUFFIX, *FOREIGN) and path.is_file():
        known = [e for e in list_checkpoints() if e.path.resolve() == path.resolve()]
        found = known[0] if known else entry_of(path.resolve(), path.stem)
    else:
        entries = {e.name: e for e in list_checkpoints()}
        if str(ref) not in entries and (runs_dir() / str(ref)).is_dir():
            by_run = of_run(runs_dir() / str(ref))
            entries |= {str(ref): by_run} if by_run else {}
        if str(ref) not in entries:
            if path.suffix in (SUFFIX, *FOREIGN) or len(path.parts) > 1:
                raise UserError(f"Checkpoint {str(ref)!r} does not exist; give a file's path or a name from the list.")
            raise unknown("checkpoint", str(ref), entries, "fnkd checkpoints list")
        found = entries[str(ref)]
    if found.problem:
        raise UserError(found.problem)
    return found


def delete_checkpoint(name: str) -> None:
    """Remove an imported checkpoint and its card. `UserError` where it is not in the user's own folder."""
    entry = next((e for e in list_checkpoints() if e.name == name), None)
    if entry is None:
        raise unknown("checkpoint", name, [e.name for e in list_checkpoints()], "fnkd checkpoints list")
    imported = entry.path.parent == checkpoint_dirs()[0] and (entry.card is None or entry.card.findings)
    require(
        bool(imported),
        f"{name} was not imported: it is shipped, or the student of a run; delete the run instead.",
    )
    card_path(entry.path).unlink(missing_ok=True)
    entry.path.unlink(missing_ok=True)
