"""What checkpoints there are: the user's, the shipped ones and those of finished runs. No torch."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TypedDict

from fnkd_core.checkpoints.card import Card, card_path, read_card
from fnkd_core.errors import UserError, require, unknown
from fnkd_core.files import sha256, stamp
from fnkd_core.identity import content_of
from fnkd_core.index import Index
from fnkd_core.paths import checkpoint_dirs, runs_dir
from fnkd_core.records import recall

SUFFIX = ".safetensors"
# What others save. It may be read only through `gate`, which `fnkd checkpoints import` does.
FOREIGN = (".pth", ".pt", ".th", ".bin")
EXPORTS = {"safetensors": ".safetensors", "state_dict": ".pth", "torch_export": ".pt2", "onnx": ".onnx"}
"""Forms in which `fnkd_core.checkpoints.export` writes a checkpoint, and their suffixes."""
WEIGHTS = {"model.safetensors": "", "best.safetensors": "-best"}
"""A finished run's weights -> what its name has added for them: of the last epoch, and of the best one."""
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

    def require_its_file(self, sum_of: Callable[[Path], str] = sha256) -> None:
        """`UserError` where the file is another than the one that the card describes.

        sum_of: `content_of` where its weights are not read, and a sum of before is enough.
        """
        assert self.card is not None
        require(
            not self.card.sha256 or sum_of(self.path) == self.card.sha256,
            f"{self.name}: {self.path.name} is not the file its card describes (sha256 differs); restore both, or "
            "make it anew.",
        )


def entry_of(path: Path, name: str) -> Entry:
    """The checkpoint in this file, whatever it is called in the library.

    A `UserError` of its card is the entry's `problem`.
    """
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
                "normalisation: see docs/files.md).",
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
    try:
        return [folder / name for name in sorted(os.listdir(folder)) if not name.startswith(".")]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _in_folders() -> Iterator[Entry]:
    for path in (path for folder in checkpoint_dirs() for path in _visible(folder)):
        if path.suffix == SUFFIX:
            yield entry_of(path, path.stem)
        elif path.suffix == ".json" and not any(path.with_suffix(s).exists() for s in (SUFFIX, *FOREIGN)):
            problem = f"{path.name} is a card without weights; put {path.stem}.safetensors beside it."
            yield Entry(path.stem, path, problem=problem)


def _of_runs() -> Iterator[Entry]:
    for run in reversed(_visible(runs_dir())):
        yield from students_of(run)


def students_of(run: Path) -> tuple[Entry, ...]:
    """The checkpoints of a finished run: of its last epoch, and of its best one where one was chosen."""
    return _students(run, tuple(stamp(f"{run}/{name}") for name in OF_A_STUDENT))


@lru_cache(maxsize=20_000)
def _students(run: Path, changed: object) -> tuple[Entry, ...]:
    """The checkpoints of a run, looked at anew when one of its files that decide them has changed."""
    if not _finished(run):
        return ()
    found = []
    for file, suffix in WEIGHTS.items():
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


class StudentRow(TypedDict):
    """A student in the index: its name, its file in the run's folder, and its identity, None where it has a problem.

    changed: when its card was, in ns.
    """

    name: str
    file: str
    identity: str | None
    changed: int


class RunRow(TypedDict):
    """What the index says of a run. comparison: whose run it is, or None."""

    comparison: str | None
    students: list[StudentRow]


def _run_row(run: Path) -> RunRow:
    comparison = recall(run / "spec.json").get("comparison")
    found: list[StudentRow] = [
        {"name": e.name, "file": e.path.name, "identity": e.identity if e.card else None, "changed": _changed(e.path)}
        for e in students_of(run)
    ]
    return {"comparison": comparison if isinstance(comparison, str) else None, "students": found}


def _changed(weights: Path) -> int:
    return (stamp(card_path(weights)) or (0, 0, 0))[1]


_index = Index("students", RunRow, _run_row)


def student_rows() -> dict[str, RunRow]:
    """Name of a run's folder -> its students as the index has them, newest first; those without any are left out."""
    return {name: row for name, row in _index.rows().items() if row["students"]}


def in_folders() -> list[Entry]:
    """The user's own checkpoints and the shipped ones, and last those of others that were not imported."""
    entries: dict[str, Entry] = {}
    for entry in (*_in_folders(), *_foreign()):
        entries.setdefault(entry.name, entry)
    return list(entries.values())


def names() -> list[str]:
    """Of all checkpoints, as the index has them."""
    own = [entry.name for entry in in_folders()]
    return [*own, *(one["name"] for row in student_rows().values() for one in row["students"])]


def identities() -> set[str]:
    """Of all checkpoints that are in the library."""
    return set(named_by_identity())


def named_by_identity() -> dict[str, str]:
    """Identity -> name of all checkpoints that are in the library; of the same under several names, one."""
    known = {one["identity"]: one["name"] for row in student_rows().values() for one in row["students"]}
    own = {entry.identity: entry.name for entry in reversed(in_folders()) if entry.card is not None}
    return {identity: name for identity, name in (known | own).items() if identity is not None}


def of_run(folder: Path) -> Entry | None:
    """The checkpoint of a finished run's last epoch, or None."""
    return next((e for e in students_of(folder) if e.path == folder / "model.safetensors"), None)


def named(name: str) -> Entry | None:
    """The checkpoint of this name, or None. The index says where to look, its own files what it is."""
    own = {entry.name: entry for entry in reversed([*_in_folders()])}
    if name in own:
        return own[name]
    for run, row in student_rows().items():
        if any(one["name"] == name for one in row["students"]):
            found = next((e for e in students_of(runs_dir() / run) if e.name == name), None)
            if found is not None:
                return found
    return _overwritten(name) or next((entry for entry in _foreign() if entry.name == name), None)


def _overwritten(name: str) -> Entry | None:
    """The student of this name whose card was overwritten in place, which its folder does not tell."""
    for run, row in student_rows().items():
        folder = runs_dir() / run
        if all(_changed(folder / one["file"]) == one["changed"] for one in row["students"]):
            continue
        if found := next((e for e in students_of(folder) if e.name == name), None):
            return found
    return None


def find_checkpoint(ref: str | Path) -> Entry:
    """The checkpoint of this name or path. `UserError` where there is none or it has a problem.

    A run stands for its last epoch: by its id, by the name that it was given, if no other run was, and by its folder.
    """
    path = Path(ref)
    if path.suffix in (SUFFIX, *FOREIGN) and path.is_file():
        found = _at(path.resolve()) or entry_of(path.resolve(), path.stem)
    else:
        by_name = named(str(ref)) or (of_run(runs_dir() / path) if len(path.parts) == 1 else None)
        by_name = by_name or _of_run_called(str(ref)) or of_run(path.resolve())
        if by_name is None:
            if path.suffix in (SUFFIX, *FOREIGN) or len(path.parts) > 1:
                raise UserError(f"Checkpoint {str(ref)!r} does not exist; give a file's path or a name from the list.")
            raise unknown("checkpoint", str(ref), names(), "fnkd checkpoints list")
        found = by_name
    if found.problem:
        raise UserError(found.problem)
    return found


def runs_called(name: str) -> list[Path]:
    """The folders of the runs that were given this name, newest first, whatever state they are in."""
    return [run for run in reversed(_visible(runs_dir())) if recall(run / "spec.json").get("name") == name]


def _of_run_called(name: str) -> Entry | None:
    """The last epoch of the run that was given this name, or None. `UserError` where several were."""
    found = [entry for entry in map(of_run, runs_called(name)) if entry is not None]
    text = f"{name!r} is the name of {len(found)} runs; choose one: {', '.join(entry.name for entry in found)}."
    require(len(found) < 2, text)
    return found[0] if found else None


def _at(path: Path) -> Entry | None:
    """The checkpoint of the library in this file, or None."""
    run = runs_dir() / path.parent.name
    entries = students_of(run) if path.parent == run.resolve() else in_folders()
    return next((e for e in entries if e.path.resolve() == path), None)


def delete_checkpoint(name: str) -> None:
    """Remove an imported checkpoint and its card. `UserError` where it is not in the user's own folder."""
    entry = named(name)
    if entry is None:
        raise unknown("checkpoint", name, names(), "fnkd checkpoints list")
    imported = entry.path.parent == checkpoint_dirs()[0] and (entry.card is None or entry.card.findings)
    require(
        bool(imported),
        f"{name} was not imported: it is shipped, or the student of a run; delete the run instead.",
    )
    card_path(entry.path).unlink(missing_ok=True)
    entry.path.unlink(missing_ok=True)
