"""The card beside a checkpoint's weights: what the network is and where it comes from. No torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fnkd_core.data.decoding import INTERPOLATIONS
from fnkd_core.data.types import DatasetInfo
from fnkd_core.errors import UserError, require, unknown
from fnkd_core.files import read_json, write_json
from fnkd_core.identity import digest
from fnkd_core.models.architecture import Architecture

FORMAT = 1


@dataclass(frozen=True)
class Finding:
    """One finding about a checkpoint. level: `good`, `warning` (numbers may mislead) or `bad` (numbers are wrong)."""

    level: str
    text: str

    def to_dict(self) -> dict[str, str]:
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class Card:
    """mean, std: the input normalisation the weights were trained with, per channel, white is 1.

    image_size: [H, W]. crop_pct, interpolation: how evaluation reads images in files: the middle square with this
    share of the shorter side, scaled so. metrics: `last` and `best` epoch on the test split, the best one chosen on
    validation, and `weights`, which of the two the file holds. sha256: of the weights' file. findings: what was found
    when others' weights were imported, as `Finding`s. provenance: identities of what it was made from: teacher, train,
    validation, test, and of the run itself. generation: how many teachers stand above each other over it.
    """

    name: str
    architecture: Mapping[str, Any]
    dataset: str
    label_space: str
    classes: list[str]
    mean: list[float]
    std: list[float]
    image_size: list[int]
    method: str = "unknown"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    teacher: str | None = None
    seed: int | None = None
    epochs: int | None = None
    source: str = ""
    sha256: str = ""
    created: str = ""
    findings: list[Mapping[str, str]] = field(default_factory=list)
    provenance: Mapping[str, str | None] = field(default_factory=dict)
    generation: int = 0
    crop_pct: float = 1.0
    interpolation: str = "bilinear"
    format: int = FORMAT

    def __post_init__(self) -> None:
        architecture = Architecture.from_dict(self.architecture)
        channels = architecture.in_channels
        require(
            len(self.classes) == architecture.num_classes,
            f"{len(self.classes)} class names for {architecture.num_classes} outputs; they must be as many.",
        )
        for key in ("mean", "std"):
            values = getattr(self, key)
            numbers = all(isinstance(v, int | float) for v in values)
            require(
                len(values) == channels and numbers and (key == "mean" or min(values) > 0),
                f"{key} must be {channels} number(s){'' if key == 'mean' else ' > 0'}, got {values}.",
            )
        require(
            len(self.image_size) == 2 and all(isinstance(v, int) and v > 0 for v in self.image_size),
            f"image_size must be [height, width] in pixels, got {self.image_size}.",
        )
        require(
            isinstance(self.crop_pct, int | float) and 0 < self.crop_pct <= 1,
            f"crop_pct must be a share in (0, 1], got {self.crop_pct!r}.",
        )
        if self.interpolation not in INTERPOLATIONS:
            raise unknown("interpolation", self.interpolation, INTERPOLATIONS)

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @property
    def identity(self) -> str:
        """What decides this checkpoint's outputs: weights, architecture, classes, and how it reads images."""
        keys = ("sha256", "architecture", "classes", "mean", "std", "image_size", "crop_pct", "interpolation")
        return digest({key: getattr(self, key) for key in keys})

    @property
    def reached(self) -> Mapping[str, Any]:
        """What the card says of the weights that its file holds: accuracy and more on the test split, or nothing."""
        found: Mapping[str, Any] = self.metrics.get(self.metrics.get("weights", "last"), {})
        return found

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
    write_json(path, card.to_dict())


def read_card(path: Path) -> Card:
    """`UserError` that names the file where it is missing, not JSON, or does not fit."""
    values = read_json(path)
    fields = dataclasses.fields(Card)
    problem = None
    if not isinstance(values, dict):
        problem = "it must be an object"
    elif values.get("format") != FORMAT:
        problem = f"format must be {FORMAT}, got {values.get('format')!r}"
    else:
        missing = [
            f.name for f in fields if f.name not in values and f.default is f.default_factory is dataclasses.MISSING
        ]
        strange = sorted(set(values) - {f.name for f in fields})
        if missing:
            problem = f"it lacks {', '.join(missing)}"
        elif strange:
            problem = f"it has unknown keys {', '.join(strange)}"
    if problem is None:
        for key in ("classes", "mean", "std", "image_size", "findings"):
            if not isinstance(values.get(key, []), list):
                problem = f"{key} must be a list, got {values[key]!r}"
        for key in ("architecture", "parameters", "metrics", "provenance"):
            if not isinstance(values.get(key, {}), dict):
                problem = f"{key} must be an object, got {values[key]!r}"
    if problem is None:
        try:
            return Card(**values)
        except UserError as error:
            problem = str(error).rstrip(".")
    raise UserError(f"Card {path} does not fit: {problem}.")
