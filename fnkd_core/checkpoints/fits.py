"""Does this checkpoint fit these data: the one answer, for pickers, extraction and teachers. No torch."""

from __future__ import annotations

from fnkd_core.checkpoints.card import Card
from fnkd_core.checkpoints.library import Entry
from fnkd_core.data.listing import same_name
from fnkd_core.data.types import DatasetInfo
from fnkd_core.errors import UserError


def misfit(card: Card, info: DatasetInfo) -> str | None:
    """Why this checkpoint cannot be used with these data, in one line; None where it can.

    Channels, number and order of the classes, and image size have to be equal. Images in files are read at the
    checkpoint's size where `info` is `card.read_as(info)`.
    """
    outputs, data = int(card.architecture["num_classes"]), f"{info.name} ({info.label_space})"
    channels = int(card.architecture.get("in_channels", 3))
    if channels != info.image[0]:
        return (
            f"{card.name} takes {channels}-channel images, {data} has {info.image[0]}; choose a checkpoint made for it."
        )
    if outputs != len(info.classes):
        return (
            f"{card.name} has {outputs} outputs ({card.label_space}), {data} has {len(info.classes)} classes; "
            "choose a checkpoint or a label space that fits."
        )
    if tuple(card.image_size) != tuple(info.image[1:]):
        wanted, have = "x".join(map(str, card.image_size)), "x".join(map(str, info.image[1:]))
        remedy = "set that image size, or choose another checkpoint" if info.resizable else "choose another checkpoint"
        return f"{card.name} was trained on {wanted} images, {data} has {have}; {remedy}."
    for k, (mine, theirs) in enumerate(zip(card.classes, info.classes, strict=True)):
        if not _same(mine, theirs):
            return (
                f"{card.name} calls class {k} {mine!r}, {data} calls it {theirs!r}; classes must have the same names "
                "in the same order, so choose another checkpoint or label space."
            )
    return None


def _same(mine: str, theirs: str) -> bool:
    return mine == theirs or same_name(mine) == same_name(theirs)


def unfit(entry: Entry, info: DatasetInfo) -> str | None:
    """Why these data cannot be looked at with this checkpoint, in one line: it is broken, or a misfit. None else."""
    if entry.card is None:
        return entry.problem or f"{entry.name} has no card."
    return misfit(entry.card, entry.card.read_as(info))


def read_by(entry: Entry, info: DatasetInfo) -> DatasetInfo:
    """The data as this checkpoint reads them. `UserError` where it is unfit for them."""
    problem = unfit(entry, info)
    if entry.card is None or problem is not None:
        raise UserError(str(problem))
    return entry.card.read_as(info)


def has_classes(card: Card, info: DatasetInfo) -> bool:
    """Whether its head tells these data's classes apart: as many, of the same names, in the same order."""
    if card.architecture.get("head", "linear") != "linear" or len(card.classes) != len(info.classes):
        return False
    return all(_same(mine, theirs) for mine, theirs in zip(card.classes, info.classes, strict=True))


def require_init(card: Card, info: DatasetInfo, student: str) -> None:
    """`UserError` unless a student of this architecture can start from the checkpoint's body on these data."""
    name, channels = card.architecture["name"], int(card.architecture.get("in_channels", 3))
    if name != student:
        raise UserError(f"init {card.name} is a {name}, the student a {student}; choose {name}, or another init.")
    if channels != info.image[0]:
        raise UserError(
            f"init {card.name} takes {channels}-channel images, {info.name} has {info.image[0]}; choose another init."
        )


def require_teacher(card: Card, info: DatasetInfo, method: str) -> None:
    """`UserError` unless the checkpoint can teach by this method on these data."""
    problem = misfit(card, info)
    if problem is None and method == "fn" and card.architecture.get("head", "linear") != "linear":
        problem = (
            f"{card.name} has a cosine head: its logits do not grow with ||f||, so fn has nothing to correct. "
            "Choose a teacher with a linear head, or method kd."
        )
    if problem is not None:
        raise UserError(problem)
