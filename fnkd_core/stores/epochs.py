"""Kept epochs: what a student said of each of a run's training samples, every time that it learnt from it. No torch.

epochs/samples.parquet  key and label of each, as they were trained on, in the order of the run's training set
epochs/0003.npy         of epoch 3 a row for each: norm and p_label in float16, prediction in uint16 (uint32 of very
                        many classes)

The values are those of the augmented view that the step learnt from, before that step: no image is looked at once more.
A sample that an epoch left out, which at most the rest of its last batch is, has the prediction `unseen` there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from fnkd_core.errors import Damaged, UserError
from fnkd_core.files import replacing, stamp
from fnkd_core.records import read_json
from fnkd_core.stores.arrays import Rows, save_array

if TYPE_CHECKING:
    import pandas as pd

FOLDER = "epochs"
_EPOCH = re.compile(r"(\d{4,})\.npy")
LARGEST_NORM = 65504.0
"""Of float16; a larger one is kept as this."""
LEAVE_OUT = "delete it to leave that epoch out"


def row_type(num_classes: int) -> np.dtype[Any]:
    """A row of an epoch."""
    prediction = "<u2" if num_classes < np.iinfo(np.uint16).max else "<u4"
    return np.dtype([("norm", "<f2"), ("p_label", "<f2"), ("prediction", prediction)])


def unseen(num_classes: int) -> int:
    """The prediction of a sample that an epoch left out."""
    return int(np.iinfo(row_type(num_classes)["prediction"]).max)


def num_bytes(epochs: int, samples: int, num_classes: int) -> int:
    """What so many epochs take on the disk, without the names of the samples."""
    return epochs * samples * row_type(num_classes).itemsize


def epoch_path(run: Path, epoch: int) -> Path:
    """The file of one epoch of a run."""
    return run / FOLDER / f"{epoch:04d}.npy"


def write_samples(run: Path, keys: list[str], labels: NDArray[np.integer]) -> None:
    """Write down whom the rows of every epoch are of."""
    import pandas as pd

    table = pd.DataFrame({"key": keys, "label": labels.astype(np.int32)})
    with replacing(_samples(run)) as temporary:
        table.to_parquet(temporary, compression="zstd", index=False, write_page_checksum=True)


def write_epoch(run: Path, epoch: int, norms: NDArray[Any], p_label: NDArray[Any], predictions: NDArray[Any]) -> None:
    """Write an epoch (from 1), whole or not at all.

    norms, p_label: (N,), NaN of a sample that it left out. predictions: (N,), of such a one `unseen`, which also says
    how many bytes a prediction has.
    """
    wide = predictions.dtype.itemsize > 2
    rows = np.empty(len(norms), row_type(2**31 if wide else 2))
    rows["norm"] = np.minimum(norms, LARGEST_NORM)
    rows["p_label"], rows["prediction"] = p_label, predictions
    with replacing(epoch_path(run, epoch)) as temporary:
        save_array(temporary, rows)


def forget_after(run: Path, done: int) -> None:
    """Let go of epochs after the last finished one, and of everything where none is."""
    for number, path in _epochs(run).items():
        if number > done:
            path.unlink(missing_ok=True)
    if done == 0:
        _samples(run).unlink(missing_ok=True)


def _samples(run: Path) -> Path:
    return run / FOLDER / "samples.parquet"


def _epochs(run: Path) -> dict[int, Path]:
    """Number -> file of the epochs that there are, by number."""
    found = {int(m[1]): path for path in (run / FOLDER).glob("*.npy") if (m := _EPOCH.fullmatch(path.name))}
    return dict(sorted(found.items()))


class _Data(TypedDict):
    classes: list[str]


class _Resolved(TypedDict):
    """`resolved.json`, as far as it is read here."""

    data: _Data
    config: dict[str, Any]
    identities: dict[str, str | None]


@dataclass(frozen=True)
class KeptEpochs:
    """The kept epochs of a run. Whatever is wrong with a file is a `UserError` in one line that names it.

    run: its folder. numbers: of the epochs that there are, from 1, rising.
    """

    run: Path
    numbers: tuple[int, ...]

    @property
    def num_bytes(self) -> int:
        """What they take on the disk."""
        files = (*_epochs(self.run).values(), _samples(self.run))
        return sum(path.stat().st_size for path in files if path.is_file())

    @property
    def changed(self) -> tuple[tuple[int, int, int] | None, ...]:
        """What changes with any of its files."""
        return tuple(stamp(path) for path in (_samples(self.run), *_epochs(self.run).values()))

    @cached_property
    def _made(self) -> dict[str, Any]:
        return dict(read_json(self.run / "resolved.json", _Resolved, "delete the run"))

    @property
    def classes(self) -> list[str]:
        return list(self._made["data"]["classes"])

    @property
    def split_identity(self) -> str | None:
        """What the training split was that the samples are of."""
        identity: str | None = self._made["identities"].get("train")
        return identity

    @property
    def num_epochs(self) -> int | None:
        """How many epochs the run has, once it is finished."""
        epochs = self._made["config"].get("epochs")
        return epochs if isinstance(epochs, int) else None

    @cached_property
    def samples(self) -> pd.DataFrame:
        """key and label (N,) of the training samples, in the order of the rows."""
        import pandas as pd

        path = _samples(self.run)
        remedy = f"delete {path.parent} to do without, or train again with --keep-epochs"
        if not path.is_file():
            raise UserError(f"{path} is missing, so nobody knows whose values these are; {remedy}.")
        try:
            table = pd.read_parquet(path, page_checksum_verification=True)
            labels = table["label"].to_numpy()
            whole = len(table) > 0 and labels.min() >= 0 and labels.max() < len(self.classes)
            whole = whole and "key" in table
        except UserError:
            raise
        except Exception:  # whatever a library makes of bytes that are no table
            whole = False
        if not whole:
            raise UserError(f"{path} is damaged; {remedy}.")
        return table

    def read(self, epoch: int, part: slice = slice(None)) -> NDArray[Any]:
        """(n,) rows of norm, p_label and prediction of an epoch, in the order of `samples`: all, or this part."""
        path, classes = epoch_path(self.run, epoch), len(self.classes)
        try:
            rows = Rows(path, row_type(classes), len(self.samples))[part]  # type: ignore[arg-type]
        except Damaged as error:
            raise UserError(f"{path} {error.problem}; {LEAVE_OUT}.") from None
        seen = rows["prediction"] != unseen(classes)
        p = rows["p_label"][seen]
        norms = rows["norm"][seen]
        if (rows["prediction"][seen] >= classes).any() or not ((p >= 0) & (p <= 1) & (norms >= 0)).all():
            raise UserError(f"{path} holds what no training writes; {LEAVE_OUT}.")
        return rows


def kept_epochs(run: Path) -> KeptEpochs | None:
    """The epochs that the run in this folder has kept so far, or None where there are none."""
    numbers = tuple(_epochs(run))
    return KeptEpochs(run, numbers) if numbers else None
