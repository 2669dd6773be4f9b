"""The card beside a checkpoint's weights: what the network is and where it comes from. No torch."""

from __future__ import annotations

import dataclasses
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

from fnkd_core.data.decoding import INTERPOLATIONS
from fnkd_core.data.types import DatasetInfo
from fnkd_core.errors import UserError, require, unknown
from fnkd_core.files import write_json
from fnkd_core.identity import digest
from fnkd_core.models.architecture import Architecture
from fnkd_core.records import read_json
from fnkd_core.shapes import AtLeast, Count, misfit, misnamed
from fnkd_core.wording import counted

FORMAT = 1
LARGEST = 4096
"""Pixels a side of the largest images that a checkpoint can be of."""
MOST_BYTES = 8 << 20
"""Of a card's file, which is read whenever checkpoints are listed: one of 20,000 classes takes a tenth of it."""
REMEDY = "restore it from a copy, or delete it with its weights and import these anew"
IMPORTED = "imported"
"""The method of checkpoints that somebody else has trained."""
LEVELS = ("bad", "warning", "good")


@dataclass(frozen=True)
class Finding:
    """One finding about a checkpoint. level: `good`, `warning` (numbers may mislead) or `bad` (numbers are wrong)."""

    level: str
    text: str

    def to_dict(self) -> dict[str, str]:
        """As a card holds it."""
        return dataclasses.asdict(self)


class FindingRecord(TypedDict):
    """A `Finding` as a card holds it."""

    level: Literal["good", "warning", "bad"]
    text: str


Measured = Mapping[str, float | None]
"""Name -> number of what was measured at an epoch."""


class Metrics(TypedDict, total=False):
    """What a card says of its weights' accuracy.

    ema: the file holds the moving average of the student's weights, of this decay, which all that is measured is of;
    raw: but for this, of the last epoch's own weights.
    """

    weights: str
    last: Measured
    best: Measured
    validation: Measured
    file: Measured
    ema: float
    raw: Measured


@dataclass(frozen=True)
class Card:
    """mean, std: the input normalisation the weights were trained with, per channel, white is 1.

    image_size: [H, W]. crop_pct, interpolation: how evaluation reads images in files: the middle square with this
    share of the shorter side, scaled so. metrics: `last` and `best` epoch on the test split, the best one chosen on
    validation, and `weights`, which of the two the file holds. sha256: of the weights' file. findings: what was found
    when others' weights were imported, as `Finding`s. provenance: identities of what it was made from: teacher, train,
    validation, test, and of the run itself. generation: how many teachers stand above each other over it.
    ancestry: each teacher above it that was itself taught -> its teachers, named as `teacher` is.
    """

    name: str
    architecture: Mapping[str, Any]
    dataset: str
    label_space: str
    classes: list[str]
    mean: list[float]
    std: list[float]
    image_size: list[Count]
    method: str = "unknown"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    metrics: Annotated[Mapping[str, Any], Metrics] = field(default_factory=dict)
    teacher: str | None = None
    seed: int | None = None
    epochs: int | None = None
    source: str = ""
    sha256: str = ""
    created: str = ""
    findings: Annotated[list[Mapping[str, str]], list[FindingRecord]] = field(default_factory=list)
    provenance: Mapping[str, str | None] = field(default_factory=dict)
    generation: Annotated[int, AtLeast(0)] = 0
    ancestry: Mapping[str, str] = field(default_factory=dict)
    crop_pct: float = 1.0
    interpolation: str = "bilinear"
    format: int = FORMAT

    def __post_init__(self) -> None:
        problem = misfit(vars(self), Card)
        require(problem is None, f"{problem}.")
        if self.method == "unknown" and self.findings:  # as cards of imported checkpoints once had it
            object.__setattr__(self, "method", IMPORTED)
        architecture = Architecture.from_dict(self.architecture)
        channels = architecture.in_channels
        require(
            len(self.classes) == architecture.num_classes,
            f"{len(self.classes)} class names for {architecture.num_classes} outputs; they must be as many.",
        )
        for key in ("mean", "std"):
            values = getattr(self, key)
            require(
                len(values) == channels and (key == "mean" or min(values) > 0),
                f"{key} must be {counted(channels, 'number')}{'' if key == 'mean' else ' > 0'}, got {values}.",
            )
        require(
            len(self.image_size) == 2 and max(self.image_size) <= LARGEST,
            f"image_size must be [height, width] of at most {LARGEST} pixels, got {self.image_size}.",
        )
        require(
            0 < self.crop_pct <= 1,
            f"crop_pct must be a share in (0, 1], got {self.crop_pct!r}.",
        )
        if self.interpolation not in INTERPOLATIONS:
            raise unknown("interpolation", self.interpolation, INTERPOLATIONS)

    def to_dict(self) -> dict[str, Any]:
        """As its file holds it."""
        return dataclasses.asdict(self)

    @cached_property
    def identity(self) -> str:
        """What decides this checkpoint's outputs: weights, architecture, classes, and how it reads images."""
        keys = ("sha256", "architecture", "classes", "mean", "std", "image_size", "crop_pct", "interpolation")
        return digest({key: getattr(self, key) for key in keys})

    @property
    def reached(self) -> Mapping[str, Any]:
        """What the card says of the weights that its file holds: accuracy and more on the test split, or nothing."""
        found = self.metrics.get(self.metrics.get("weights", "last"))
        return found if isinstance(found, Mapping) else {}

    def read_as(self, info: DatasetInfo) -> DatasetInfo:
        """The data as this checkpoint reads them: images in files at its size, with its crop and interpolation.

        Data that are not resizable stay what they are.
        """
        height, width = self.image_size
        if not info.resizable or height != width:
            return info
        return dataclasses.replace(
            info,
            image=(info.image[0], height, width),
            crop_pct=self.crop_pct,
            interpolation=self.interpolation,
            pad=max(1, height // 8),
        )


def card_path(weights: Path) -> Path:
    """Where the card of these weights lies: the same name, ending in .json."""
    return weights.with_suffix(".json")


def write_card(path: Path, card: Card) -> None:
    """Write a card's file, whole or not at all."""
    write_json(path, card.to_dict())


def read_card(path: Path) -> Card:
    """`UserError` that names the file where it is missing, not JSON, or does not fit."""
    values = read_json(path, dict[str, Any], REMEDY, MOST_BYTES)
    try:
        found = values.get("format")
        require(found == FORMAT, f"format must be {FORMAT}, got {reprlib.repr(found)}.")
        if problem := misnamed(values, Card):
            raise UserError(problem)
        return Card(**values)
    except UserError as error:
        raise UserError(f"{path} is damaged ({str(error).rstrip('.')}); {REMEDY}.") from None
