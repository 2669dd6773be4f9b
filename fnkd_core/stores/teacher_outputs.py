"""What a teacher says of a training set, kept: a folder a view, made once and read by every run. No torch.

`teacher_outputs/IDENTITY-GROUP/` is of one teacher and one list of images, read and augmented in one way:

about.json     what that is, for people
view-0007/     logits.npy (N, K) float16 and norms.npy (N,) float32 of view 7 of each image
plain/         predictions.npy (N,) int32, norms.npy, stds.npy and maxima.npy (N,) float32 of the images as evaluation
               sees them: the teacher's class, ||f||, std(v) and max v
means-LABELS/  class_means.npy (K, D) float32: the mean feature of the images of each class, 0 where it has none; LABELS
               says which labels those were

Each view is made in pieces, by any number of processes (see `fnkd_core.stores.pieces`), and whole or absent.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fnkd_core.errors import Damaged
from fnkd_core.files import discard, write_json
from fnkd_core.identity import digest
from fnkd_core.locks import in_use, locked
from fnkd_core.paths import teacher_outputs_dir
from fnkd_core.records import recall
from fnkd_core.stores.arrays import Rows
from fnkd_core.stores.pieces import Pieces, Row, lock_of

PIECE = 4096
"""Images a piece."""
PLAIN = "plain"


@dataclass(frozen=True)
class TeacherOutputs:
    """A handle on the folder of one teacher on one list of images.

    count: N images. num_classes: K. about: what `about.json` says.
    """

    path: Path
    count: int
    num_classes: int
    about: dict[str, Any]

    def view(self, number: int) -> Path:
        """The folder of this view."""
        return self.path / f"view-{number:04d}"

    @property
    def plain(self) -> Path:
        """The folder of the images as evaluation sees them."""
        return self.path / PLAIN

    def means(self, labels: NDArray[np.integer]) -> Path:
        """Where the mean features of the classes lie, were these the labels (N,)."""
        return self.path / f"means-{hashlib.sha256(np.asarray(labels, np.int64).tobytes()).hexdigest()[:16]}"

    def class_means(self, labels: NDArray[np.integer], num_features: int) -> Rows:
        """(K, D) float32."""
        return Rows(self.means(labels) / "class_means.npy", np.float32, self.num_classes, num_features)

    def missing(self, views: int) -> list[int]:
        """Which of the first views are not there yet."""
        return [number for number in range(views) if not self.view(number).exists()]

    def drop_damaged(self) -> None:
        """Remove what is there and cannot be read, for who makes it anew."""
        for folder in [self.plain, *self.path.glob("view-*")]:
            try:
                if folder.exists():
                    _ = self.norms(folder)
                    _ = (self.predictions(), self.plain_statistics()) if folder == self.plain else self._logits(folder)
            except Damaged:
                with contextlib.suppress(FileNotFoundError):
                    discard(folder)

    def claim(self, keys: Sequence[str]) -> None:
        """Note that the rows are of the samples with these keys; what was kept of other rows under this name goes."""
        about = self.about | {"keys": digest(list(keys))}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with locked(lock_of(self.path)):  # others claim it too, and make its views at once
            if recall(self.path / "about.json").get("keys") != about["keys"]:
                if self.path.exists():
                    discard(self.path)
                write_json(self.path / "about.json", about)
            self.drop_damaged()
            lock_of(self.path).unlink()

    def num_bytes(self, views: int) -> int:
        """What so many views take on the disk."""
        return views * self.count * (2 * self.num_classes + 4)

    def pieces(self, folder: Path, piece: int = PIECE) -> Pieces:
        """How a view's folder is made."""
        self.path.mkdir(parents=True, exist_ok=True)
        row: dict[str, Row] = {"logits": (np.float16, (self.num_classes,))}
        if folder == self.plain:
            row = {"predictions": (np.int32, ()), "stds": (np.float32, ()), "maxima": (np.float32, ())}
        return Pieces(folder, self.count, piece, {**row, "norms": (np.float32, ())})

    def pieces_of_means(self, labels: NDArray[np.integer], num_features: int) -> Pieces:
        """How the mean features of the classes are made: from all features, which are kept no longer than that."""
        self.path.mkdir(parents=True, exist_ok=True)
        scratch: dict[str, Row] = {"features": (np.float16, (num_features,))}
        return Pieces(self.means(labels), self.count, PIECE, {}, scratch)

    def logits(self, number: int) -> Rows:
        """(N, K) float16."""
        return self._logits(self.view(number))

    def _logits(self, folder: Path) -> Rows:
        return Rows(folder / "logits.npy", np.float16, self.count, self.num_classes)

    def norms(self, folder: Path) -> Rows:
        """(N,) float32 ||f||."""
        return Rows(folder / "norms.npy", np.float32, self.count)

    def plain_statistics(self) -> dict[str, Rows]:
        """`std` and `max`, each (N,) float32: std(v), divisor K - 1, and max v of the images as evaluation does."""
        return {
            name: Rows(self.plain / f"{file}.npy", np.float32, self.count)
            for name, file in (("std", "stds"), ("max", "maxima"))
        }

    def predictions(self) -> Rows:
        """(N,) int32 the teacher's classes of the images as evaluation sees them."""
        return Rows(self.plain / "predictions.npy", np.int32, self.count)


def teacher_outputs(teacher: str, what: Mapping[str, Any], count: int, num_classes: int, title: str) -> TeacherOutputs:
    """The folder for a teacher on some images.

    teacher: its identity. what: which images these are, and how they are read, augmented and computed, whatever decides
    an answer besides the number of the view. title: of the images, for people.
    """
    about = {"title": title, "num_samples": count, "num_classes": num_classes, **what}
    return TeacherOutputs(teacher_outputs_dir() / f"{teacher}-{digest(what)}", count, num_classes, about)


def list_teacher_outputs() -> list[Path]:
    """The folders there are."""
    folder = teacher_outputs_dir()
    return sorted(p for p in folder.iterdir() if (p / "about.json").exists()) if folder.is_dir() else []


def teacher_of(path: Path) -> str:
    """The identity of the teacher whose outputs lie in this folder."""
    return path.name.partition("-")[0]


def unneeded(teachers: Iterable[str]) -> list[Path]:
    """Folders of teachers that are not among these, by identity, and what no process goes on making of the others'."""
    known, gone = set(teachers), list[Path]()
    for path in list_teacher_outputs():
        parts = [part for part in path.glob(".*.parts") if not in_use(lock_of(_final(part)))]
        making = len(parts) < len(list(path.glob(".*.parts")))
        gone += parts if teacher_of(path) in known or making else [path]
    return gone


def _final(parts: Path) -> Path:
    return parts.with_name(parts.name.removeprefix(".").removesuffix(".parts"))
