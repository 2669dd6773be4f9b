"""A run resolved: every name looked up once, with what it stands for. No torch at import.

`RunConfig` is what was asked; `Resolved` is what that was when the run began. It lies in the run's folder as
`resolved.json` before the first step, the loop sees nothing else, and resuming demands the same.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fnkd_core.checkpoints.fits import has_classes, require_init, require_teacher
from fnkd_core.checkpoints.library import Entry, find_checkpoint
from fnkd_core.checkpoints.several import joined, names_of
from fnkd_core.data import DatasetInfo, dataset_info, look_again
from fnkd_core.data.selections import Selection, find_selection, require_of
from fnkd_core.data.similar import Groups, class_groups
from fnkd_core.data.sources import usual
from fnkd_core.errors import UserError
from fnkd_core.identity import digest
from fnkd_core.models.architecture import require_known
from fnkd_core.training.config import RunConfig, reads_similar
from fnkd_core.training.events import require_tensorboard

COMPILED_STEPS = 4000
"""From so many steps on compiling, which takes a minute, is worth it."""
NAMES = ("dataset", "data_root", "labels", "teacher", "similar", "image_size", "only", "exclude", "relabel", "init")
"""Settings that name something; identities stand for what they named."""


@dataclass(frozen=True)
class Resolved:
    """What a run works on.

    info: the data as the student reads them. teachers: the checkpoints, by identity, so that the order in which they
    were named changes no bit. groups: the similar classes, where the run reads them. init: the checkpoint that the
    student starts from, or None. generation: 0 without a teacher, else one more than the highest of theirs, so that no
    student begins at its teacher's initial weights. selections: `only`, `exclude`, `relabel`, those that the run has.
    parameters: of the method; those left open are None until the teacher has been measured. of_each: of several
    teachers, the parameters with what was open as each has it for itself; `parameters` then has it for the student,
    from the mean of the teachers' means; () where nothing was open. ancestry: as of a `Card`. device, precision,
    compiled, threads: where and how it is computed. world_size: processes that share it.
    """

    config: RunConfig
    info: DatasetInfo
    teachers: tuple[Entry, ...]
    groups: Groups | None
    generation: int
    parameters: Mapping[str, Any]
    selections: Mapping[str, Selection] = field(default_factory=dict)
    device: str = ""
    precision: str = ""
    compiled: bool = False
    threads: int = 0
    world_size: int = 1
    init: Entry | None = None
    of_each: tuple[Mapping[str, Any], ...] = ()
    ancestry: Mapping[str, str] = field(default_factory=dict)

    @property
    def view(self) -> DatasetInfo:
        """The data as the views of training are made: at the largest size that one of the networks reads."""
        return max([self.info, *(reading_of(entry, self.info) for entry in self.teachers)], key=_size)

    @property
    def taught_by(self) -> str:
        """The teachers' names, as a sentence has them."""
        return " and ".join(entry.name for entry in self.teachers)

    @property
    def normalisation(self) -> tuple[Sequence[float], Sequence[float]]:
        """Mean and standard deviation per channel that the student reads images with: those its weights began with."""
        of = self.init.card if self.init is not None and self.init.card is not None else self.info
        return of.mean, of.std

    @property
    def keeps_head(self) -> bool:
        """Whether the student starts with the head of `init` too: for the same classes."""
        return self.init is not None and self.init.card is not None and has_classes(self.init.card, self.info)

    @property
    def beginning(self) -> str:
        """What the student starts from, in a sentence; empty without `init`."""
        if self.init is None:
            return ""
        head = "with its head" if self.keeps_head else "with a new head: the classes differ"
        return f"The student starts from {self.init.name}, {head}."

    @property
    def identities(self) -> dict[str, str | None]:
        """What the run is made from: teacher and splits, and what else they do not say."""
        held = f"{self.config.validation:g} of train" if self.config.validation else None
        own = self.info.identity("validation") if "validation" in self.info.splits else held
        found = {
            "teacher": joined(entry.identity for entry in self.teachers),
            "train": self.info.identity("train"),
            "validation": own,
            "test": self.info.identity("test"),
        }
        if self.init is not None:
            found["init"] = self.init.identity
        elif self.info.label_space == "folder" and self.normalisation != usual.others(self.info.image[0]):
            # Of a folder it is found by the classes' names, and once was the same for all; other data have their own.
            found["normalisation"] = digest(self.normalisation)
        # Runs without selections are what they were before there were any.
        return found | {
            how: one.identity_of_labels if how == "relabel" else one.identity for how, one in self.selections.items()
        }

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
            "teacher": self._of_teacher(self.teachers[0]) if len(self.teachers) == 1 else None,
            "init": self.init and {"name": self.init.name, "path": str(self.init.path), "head": self.keeps_head},
            "identities": self.identities,
            "groups": list(self.groups) if self.groups is not None else None,
            "generation": self.generation,
            "ancestry": dict(self.ancestry),
            "parameters": dict(self.parameters),
            "device": self.device,
            "precision": self.precision,
            "compiled": self.compiled,
            "threads": self.threads,
            "world_size": self.world_size,
            **self._of_several(),
        }

    def _of_several(self) -> dict[str, Any]:
        if len(self.teachers) < 2:
            return {}
        own = self.of_each or ({},) * len(self.teachers)
        return {
            "teachers": [self._of_teacher(e) | {"parameters": dict(p)} for e, p in zip(self.teachers, own, strict=True)]
        }

    @staticmethod
    def _of_teacher(entry: Entry) -> dict[str, Any]:
        return {"name": entry.name, "path": str(entry.path)}


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
    taught_by = {name: memo.teacher(name) for name in names_of(config.teacher)}
    teachers = tuple(sorted((taught_by[name] for name in names_of(config.teacher)), key=lambda entry: entry.identity))
    init = memo.teacher(config.init) if config.init is not None else None
    if init is not None and init.card is not None:
        require_init(init.card, info, config.student)
        if config.image_size is None and not teachers:
            info = init.card.read_as(info)
    generation = 0
    if teachers:
        info = _as_taught(info, teachers, config.image_size is not None)
    for entry in teachers:
        assert entry.card is not None
        require_teacher(entry.card, entry.card.read_as(info), config.method)
        generation = max(generation, entry.card.generation + 1)
    reads = reads_similar(config.method, config.parameters, config.label_noise, config.noise_kind)
    groups = class_groups(info, config.similar) if reads else None
    selections = selections_of(config, info)
    return Resolved(
        config, info, teachers, groups, generation, config.parameters, selections, init=init, ancestry=_above(taught_by)
    )


def reading_of(entry: Entry, info: DatasetInfo) -> DatasetInfo:
    """The data as this checkpoint reads them; these where it reads them at the same size."""
    assert entry.card is not None
    own = entry.card.read_as(info)
    return info if own.image == info.image else own


def _as_taught(info: DatasetInfo, teachers: Sequence[Entry], has_size: bool) -> DatasetInfo:
    """The data as the student of these teachers reads them: as the largest of them does, or one of the student's size,
    so that in evaluation too it sees what the views show. has_size: whether it keeps its size."""
    readings = [entry.card.read_as(info) for entry in teachers if entry.card is not None]
    same = [one for one in readings if has_size and one.image == info.image]
    lead = same[0] if same else max(readings, key=_size)
    return dataclasses.replace(lead, image=info.image, pad=info.pad) if has_size else lead


def _size(info: DatasetInfo) -> int:
    return min(info.image[1:])


def _above(taught_by: Mapping[str, Entry]) -> dict[str, str]:
    """Who taught these teachers, and so on, by the names that they are given here and on their cards."""
    found: dict[str, str] = {}
    for name, entry in taught_by.items():
        if entry.card is not None and entry.card.teacher:
            found |= {**entry.card.ancestry, name: entry.card.teacher}
    return found


def selections_of(config: RunConfig, info: DatasetInfo) -> dict[str, Selection]:
    """`only`, `exclude` and `relabel`, those that there are. `UserError` where one is not of this training split."""
    names = {"only": config.only, "exclude": config.exclude, "relabel": config.relabel}
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
