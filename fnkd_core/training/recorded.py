"""What a run was resolved to when it began, as its folder has it, and whether it may go on as it is now. No torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from fnkd_core.errors import UserError
from fnkd_core.files import write_json
from fnkd_core.kd.objective import complete, deciding
from fnkd_core.records import read_json
from fnkd_core.training.config import FREE, usual_later
from fnkd_core.training.resolve import NAMES, Resolved


class TeacherRecord(TypedDict):
    """One of several teachers. parameters: its own, {} where all teachers have the run's."""

    name: str
    path: str
    parameters: dict[str, Any]


class Recorded(TypedDict):
    """`resolved.json`, as far as it is read again; see `Resolved.to_dict`."""

    identity: str
    config: dict[str, Any]
    identities: dict[str, str | None]
    groups: NotRequired[list[str | None] | None]
    parameters: dict[str, Any]
    device: NotRequired[str]
    precision: str
    compiled: NotRequired[bool]
    teachers: NotRequired[list[TeacherRecord]]
    ancestry: NotRequired[dict[str, str]]


def _known(method: str, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
    """The parameters as a run is decided by them; as they are where this version does not know them."""
    try:
        return deciding(method, complete(method, parameters))
    except UserError:
        return parameters


def path_of(folder: Path) -> Path:
    """Where a run's `resolved.json` is."""
    return folder / "resolved.json"


def recorded(folder: Path) -> dict[str, Any] | None:
    """What was resolved when the run in this folder began, or None where it has not."""
    if not path_of(folder).exists():
        return None
    return dict(read_json(path_of(folder), Recorded, "delete the run"))


def record(resolved: Resolved, folder: Path) -> None:
    """Write a run's `resolved.json`, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(path_of(folder), resolved.to_dict())


def resumed(now: Resolved, before: Mapping[str, Any], folder: Path) -> Resolved:
    """What goes on: as it is now, with the parameters, groups, precision and compilation it began with.

    `UserError` in one line that says what differs.
    """
    settings = now.config.to_dict() | {"parameters": deciding(now.config.method, now.config.parameters)}
    # It may have begun before there were some of the settings and parameters.
    began = usual_later() | before["config"]
    began["parameters"] = _known(now.config.method, began["parameters"])
    differing = [
        f"another {key} ({value!r}, now {settings.get(key)!r})"
        for key, value in began.items()
        if key not in (*FREE, *NAMES) and settings.get(key) != value
    ]
    image = before.get("data", {}).get("image", now.info.image)
    if tuple(image) != tuple(now.info.image):
        differing.append(f"another image size ({image[-1]}, now {now.info.image[-1]})")
    words = {"teacher": "another teacher", "train": "other training images", "validation": "other validation images"}
    words |= {"test": "other test images", "only": "another selection to train on"}
    words |= {"exclude": "another selection to leave out", "init": "other weights that it started from"}
    words |= {"relabel": "other labels from a selection"}
    words |= {"normalisation": "another mean and deviation of its pixels"}
    differing += [
        f"{words[what]}{f' ({now.taught_by} is not what it was)' if what == 'teacher' and now.teachers else ''}"
        for what in words
        if before["identities"].get(what) != now.identities.get(what)
    ]
    if differing:
        raise UserError(
            f"{folder} holds a run that began with {', '.join(differing)}; restore that to go on, or start a new run."
        )
    groups = tuple(before["groups"]) if before.get("groups") is not None else None
    kept = {"parameters": complete(now.config.method, before["parameters"]), "precision": before["precision"]}
    of_each = tuple(one["parameters"] for one in before.get("teachers", []) if one["parameters"])
    return dataclasses.replace(now, groups=groups, compiled=before.get("compiled", False), of_each=of_each, **kept)
