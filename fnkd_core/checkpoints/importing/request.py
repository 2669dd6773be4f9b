"""What the user says of a file that is to come in."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fnkd_core.checkpoints.card import card_path, read_card
from fnkd_core.checkpoints.library import named
from fnkd_core.data import list_datasets
from fnkd_core.errors import UserError, require
from fnkd_core.files import check_name
from fnkd_core.models.architecture import Architecture


def require_file(path: str | Path) -> None:
    """`UserError` where there is no file at this path."""
    require(Path(path).expanduser().is_file(), f"{path} is not a file; give the checkpoint's path.")


@dataclass(frozen=True)
class ImportRequest:
    """What the user says of the file. All but the path may be left open.

    architecture: a name of the zoo, or the whole record that a card holds. dataset, data_root, labels: the data whose
    classes the outputs are, as in `fnkd_core.data`. classes: names in the order of the outputs. mean, std: per channel,
    white is 1. image_size: pixels a side. measure_on: labelled images on which the closest candidates are told apart.
    part, prefer_ema: as in `fnkd_core.checkpoints.importing.gate`.
    """

    path: Path
    name: str | None = None
    architecture: str | Architecture | None = None
    dataset: str | None = None
    data_root: str | None = None
    labels: str | None = None
    classes: Sequence[str] | None = None
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None
    image_size: int | None = None
    part: str | None = None
    prefer_ema: bool = False
    measure_on: int | None = None


def read_classes(path: str | Path) -> tuple[str, ...]:
    """Class names of a file: a JSON list, or a name a line. `UserError` where it is neither."""
    try:
        text = Path(path).expanduser().read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path} cannot be read as class names ({type(error).__name__}); give a text file, a name a line."
        ) from None
    return named_classes(text, str(path))


def named_classes(text: str, what: str) -> tuple[str, ...]:
    """Class names of a text: a JSON list, or a name a line. what: how an error calls it.

    `UserError` where it is neither.
    """
    names: Any = [line.strip() for line in text.splitlines() if line.strip()]
    if text.lstrip().startswith("["):
        try:
            names = json.loads(text)
        except ValueError as error:
            raise UserError(f"{what}: no JSON list of class names ({error}).") from None
    require(
        isinstance(names, list) and bool(names) and all(isinstance(name, str) for name in names),
        f"{what}: class names must be a line each, or a JSON list of strings.",
    )
    return tuple(names)


def name_of(request: ImportRequest, source: Path) -> str:
    """What the checkpoint will be called in the library: as the user says, else as its file as far as it can.

    `UserError` where neither gives a name that a checkpoint can have.
    """
    if request.name:
        return check_name("checkpoint", request.name)
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", source.stem).strip("-._")[:64]
    lost = any(letter.isalpha() and not letter.isascii() for letter in source.stem)
    require(
        bool(name) and not (lost and not re.search("[A-Za-z]", name)),
        f"{source.name} has no letters that a checkpoint's name can have (A to Z, digits, dots, - and _); "
        "give it a name (--name).",
    )
    return check_name("checkpoint", name)


def require_free(name: str, source: Path) -> None:
    """`UserError` where another checkpoint than the one in this file goes by the name."""
    taken = named(name)
    free = taken is None or taken.path.resolve() == source.resolve()
    require(free, f"A checkpoint {name!r} is in the library already; give another name (--name).")


def _from_card(request: ImportRequest, source: Path) -> ImportRequest:
    """The request with what a card of ours beside the file says of it, where they leave it open."""
    if not card_path(source).exists():
        return request
    card = read_card(card_path(source))
    known: dict[str, Any] = {
        "architecture": Architecture.from_dict(card.architecture), "classes": tuple(card.classes), "mean": card.mean,
        "std": card.std, "image_size": card.image_size[0],
    }  # fmt: skip
    if card.dataset in list_datasets():
        known |= {"dataset": card.dataset, "labels": card.label_space}
    return dataclasses.replace(request, **{k: v for k, v in known.items() if getattr(request, k) is None})
