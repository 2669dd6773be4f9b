"""A run resolved: every name looked up once, with what it stands for. No torch at import.

`RunConfig` is what was asked; `Resolved` is what that was when the run began. It lies in the run's folder as
`resolved.json` before the first step, the loop sees nothing else, and resuming demands the same.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from fnkd_core.checkpoints.fits import require_teacher
from fnkd_core.checkpoints.library import Entry, find_checkpoint
from fnkd_core.data import DatasetInfo, dataset_info, look_again
from fnkd_core.data.selections import Selection, find_selection, require_of
from fnkd_core.data.similar import Groups, class_groups
from fnkd_core.errors import UserError
from fnkd_core.files import write_json
from fnkd_core.identity import digest
from fnkd_core.kd.objective import complete, deciding
from fnkd_core.models.architecture import require_known
from fnkd_core.records import read_json
from fnkd_core.training.config import FREE, RunConfig, reads_similar
from fnkd_core.training.events import require_tensorboard

COMPILED_STEPS = 4000
"""From so many steps on compiling, which takes a minute, is worth it."""
NAMES = ("dataset", "data_root", "labels", "teacher", "similar", "image_size", "only", "exclude")
"""Settings that name something; identities stand for what they named."""


@dataclass(frozen=True)
class Resolved:
    """What a run works on.

    info: the data as the run reads them. teacher: the checkpoint, or None. groups: the similar classes, where the run
    reads them. generation: 0 without a teacher, else one more than the teacher's, so that no student begins at its
    teacher's initial weights. selections: `only` and `exclude`, those that the run has. parameters: of
    the method; those left open are None until the teacher has been measured. device, precision, compiled, threads:
    where and how it is computed. world_size: processes that share it.
    """

    config: RunConfig
    info: DatasetInfo
    teacher: Entry | None
    groups: Groups | None
    generation: int
    parameters: Mapping[str, Any]
    selections: Mapping[str, Selection] = field(default_factory=dict)
    device: str = ""
    precision: str = ""
    compiled: bool = False
    threads: int = 0
    world_size: int = 1

    @property
    def identities(self) -> dict[str, str | None]:
        """What the run is made from: teacher and splits."""
        held = f"{self.config.validation:g} of train" if self.config.validation else None
        own = self.info.identity("validation") if "validation" in self.info.splits else held
        teacher = self.teacher.identity if self.teacher else None
        found = {
            "teacher": teacher,
            "train": self.info.identity("train"),
            "validation": own,
            "test": self.info.identity("test"),
        }
        # Runs without selections are what they were before there were any.
        return found | {how: selection.identity for how, selection in self.selections.items()}

    @property
    def identity(self) -> str:
        """What the run trains, whatever things are called and wherever it is computed."""
        settings = {k: v for k, v in self.config.deciding().items() if k not in NAMES}
        what = {"settings": settings, "image": self.info.image, "groups": self.groups, "generation": self.generation}
        return digest(what | self.identities)

    @property
    def views(self) -> int:
        """How many distinct views of each sample there are."""
        config = self.config
        return min(config.views or config.epochs, config.epochs) if config.augment else 1

    @property
    def view_seed(self) -> int:
        """The seed of the views."""
        config = self.config
        if config.view_seed is not None:
            return config.view_seed
        return 0 if config.teacher_outputs == "cached" else config.seed

    @property
    def divides_train(self) -> bool:
        """Whether a share of train is held out for choosing: the data have no validation split of their own."""
        return self.config.validation > 0 and "validation" not in self.info.splits

    @property
    def num_images(self) -> tuple[int, int]:
        """How many images an epoch trains on, and how many it is then evaluated on.

        Where a share of train is held out, they are off by at most one image a class: each class is divided by itself;
        and by as many images of a selection as are held out.
        """
        config, info = self.config, self.info
        train, held_out = info.size("train"), info.size("validation") if "validation" in info.splits else 0
        if not config.validation:
            train, held_out = train + held_out, info.size("test")
        elif self.divides_train:
            held_out = round(train * config.validation)
            train -= held_out
        if "only" in self.selections:
            train = min(train, len(self.selections["only"].keys))
        if "exclude" in self.selections:
            train = max(0, train - len(self.selections["exclude"].keys))
        if config.per_class is not None:
            train = min(train, config.per_class * len(info.classes))
        return train, held_out

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON holds it."""
        info = dataclasses.asdict(self.info)
        data = {k: info[k] for k in ("name", "root", "label_space", "classes", "image", "crop_pct", "interpolation")}
        return {
            "identity": self.identity,
            "config": self.config.to_dict(),
            "data": data,
            "teacher": {"name": self.teacher.name, "path": str(self.teacher.path)} if self.teacher else None,
            "identities": self.identities,
            "groups": list(self.groups) if self.groups is not None else None,
            "generation": self.generation,
            "parameters": dict(self.parameters),
            "device": self.device,
            "precision": self.precision,
            "compiled": self.compiled,
            "threads": self.threads,
            "world_size": self.world_size,
        }


@dataclass
class Memo:
    """What names were found to stand for, for those that look up many configurations at once."""

    data: dict[tuple[Any, ...], DatasetInfo] = field(default_factory=dict)
    teachers: dict[str, Entry | UserError] = field(default_factory=dict)

    def info(self, config: RunConfig) -> DatasetInfo:
        """What the configuration's data set is."""
        key = (config.dataset, config.data_root, config.labels, config.image_size)
        if key not in self.data:
            root, labels, size = key[1:]
            self.data[key] = dataset_info(config.dataset, root=root, labels=labels, image_size=size)
        return self.data[key]

    def teacher(self, name: str) -> Entry:
        """The checkpoint of this name or path."""
        if name not in self.teachers:
            try:
                self.teachers[name] = find_checkpoint(name)
            except UserError as error:
                self.teachers[name] = error
        found = self.teachers[name]
        if isinstance(found, UserError):
            raise found
        return found


def look_up(config: RunConfig, memo: Memo | None = None) -> Resolved:
    """What the configuration's names stand for now, without loading a model, data or torch.

    memo: what was looked up before. `UserError` where one stands for nothing, or the teacher does not fit the data.
    """
    memo = memo or Memo()
    require_known(config.student)
    info = memo.info(config)
    teacher = memo.teacher(config.teacher) if config.teacher is not None else None
    generation = 0
    if teacher is not None and teacher.card is not None:
        if config.image_size is None:
            info = teacher.card.read_as(info)
        require_teacher(teacher.card, info, config.method)
        generation = teacher.card.generation + 1
    reads = reads_similar(config.method, config.parameters, config.label_noise, config.noise_kind)
    groups = class_groups(info, config.similar) if reads else None
    return Resolved(config, info, teacher, groups, generation, config.parameters, selections_of(config, info))


def selections_of(config: RunConfig, info: DatasetInfo) -> dict[str, Selection]:
    """`only` and `exclude`, those that there are. `UserError` where one is not of this training split."""
    names = {"only": config.only, "exclude": config.exclude}
    found = {how: find_selection(name) for how, name in names.items() if name is not None}
    for selection in found.values():
        require_of(selection, info, "train")
    return found


def resolve(config: RunConfig) -> Resolved:
    """What a run that begins now works on, device and precision among it. Nothing found on the disk before counts."""
    import torch

    from fnkd_core.models.inference import best_device, fastest_precision

    if config.tensorboard:
        require_tensorboard()
    look_again()
    found = look_up(config)
    if config.threads:
        torch.set_num_threads(config.threads)
    device = best_device(config.device)
    if device.index is not None:
        torch.cuda.set_device(device)
    precision: str = config.precision
    if precision == "auto":
        precision = fastest_precision(device, min(found.info.image[1:]))
    steps = config.epochs * found.num_images[0] / config.batch_size
    worth_it = device.type == "cuda" and steps >= COMPILED_STEPS
    return dataclasses.replace(
        found,
        device=str(device),
        precision=precision,
        compiled=config.compile == "on" or (config.compile == "auto" and worth_it),
        threads=torch.get_num_threads(),
    )


def identity_of(config: RunConfig, memo: Memo | None = None) -> str | None:
    """The identity of a run with this configuration, were it to begin now; None where a name stands for nothing."""
    try:
        return look_up(config, memo).identity
    except (UserError, OSError):
        return None


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
    settings = now.config.deciding()
    # It may have begun before there were some of the parameters.
    began = before["config"] | {"parameters": _known(now.config.method, before["config"]["parameters"])}
    differing = [
        f"another {key} ({value!r}, now {settings.get(key)!r})"
        for key, value in began.items()
        if key not in (*FREE, *NAMES) and settings.get(key) != value
    ]
    words = {"teacher": "another teacher", "train": "other training images", "validation": "other validation images"}
    words |= {"test": "other test images", "only": "another selection to train on"}
    words["exclude"] = "another selection to leave out"
    differing += [
        f"{words[what]}{f' ({now.teacher.name} is not what it was)' if what == 'teacher' and now.teacher else ''}"
        for what in words
        if before["identities"].get(what) != now.identities.get(what)
    ]
    if differing:
        raise UserError(
            f"{folder} holds a run that began with {', '.join(differing)}; restore that to go on, or start a new run."
        )
    groups = tuple(before["groups"]) if before.get("groups") is not None else None
    kept = {"parameters": complete(now.config.method, before["parameters"]), "precision": before["precision"]}
    return dataclasses.replace(now, groups=groups, compiled=before.get("compiled", False), **kept)
