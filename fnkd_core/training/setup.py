"""What a run works on, once its names have been looked up: networks, images, objective."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from fnkd_core.checkpoints.io import load_checkpoint, read_state
from fnkd_core.checkpoints.library import Entry
from fnkd_core.data import DatasetInfo, Samples, load_split, load_training
from fnkd_core.data.label_noise import few_labels, flip_labels, relabelled, selected
from fnkd_core.data.loader import Loader
from fnkd_core.data.similar import siblings
from fnkd_core.errors import UserError, require
from fnkd_core.identity import digest
from fnkd_core.kd import objective as by_name
from fnkd_core.kd.learnt import START
from fnkd_core.kd.losses import Objective
from fnkd_core.kd.outputs import Outputs
from fnkd_core.kd.targets import Smoothed
from fnkd_core.models.architecture import Architecture
from fnkd_core.models.classifier import Classifier
from fnkd_core.models.zoo import build
from fnkd_core.training.augmented import Augmented
from fnkd_core.training.average import Average
from fnkd_core.training.compiled import Compiled
from fnkd_core.training.config import RunConfig
from fnkd_core.training.distributed import ALONE, Group, shared
from fnkd_core.training.given import given_by, projector
from fnkd_core.training.optim import make_optimizer
from fnkd_core.training.planned import store_of
from fnkd_core.training.resolve import Resolved, reading_of, resolve
from fnkd_core.training.teacher import (
    CachedTeacher,
    LiveTeacher,
    Preparing,
    Teach,
    Together,
    make_plain,
    make_views,
    mean_of_means,
    means_of,
    norm_weights,
    reading,
)
from fnkd_core.wording import counted

READ_EVERY = 20


@dataclass(frozen=True)
class Data:
    """The splits of a run. validation: what the best epoch is chosen on, None where none is chosen."""

    train: Samples
    validation: Samples | None
    test: Samples

    def read_by(self, loader: Loader) -> Data:
        """The same; the images of it that lie in files are decoded by the loader's workers."""
        train, test = loader.serving(self.train), loader.serving(self.test)
        return Data(train, None if self.validation is None else loader.serving(self.validation), test)


@dataclass
class Setup:
    """A run's networks and optimiser.

    forward: the student as a step calls it, compiled or shared by several processes where the run is. unshared: while
    what it gives lasts, gradients stay with their process, and are averaged with those that come after it. learnt: the
    scalar that a method with a learnt temperature steps, else None. projector: stepped too, see `given.projector`.
    given: what else the method reads of its teacher. teach: what the teachers say of a batch, None where nothing is
    learnt from one. average: of the student's weights, None where the run keeps none.
    """

    resolved: Resolved
    student: Classifier
    teachers: list[Classifier]
    optimizer: torch.optim.Optimizer
    device: torch.device
    steps_per_epoch: int
    group: Group
    forward: Callable[[Tensor], Outputs]
    scaler: torch.amp.GradScaler
    learnt: torch.nn.Parameter | None = None
    projector: torch.nn.Linear | None = None
    given: dict[str, Any] = field(default_factory=dict)
    objective: Objective | None = None
    teach: Teach | Together | None = None
    average: Average | None = None
    unshared: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext

    @property
    def teacher(self) -> Classifier | None:
        """The first of the teachers, for what reads one; None without."""
        return self.teachers[0] if self.teachers else None

    @property
    def kept(self) -> Classifier:
        """What is evaluated and kept: the average of the student's weights where the run has one, else the student."""
        return self.student if self.average is None else self.average.network

    @property
    def beside(self) -> list[torch.nn.Parameter]:
        """What is learnt beside the student, and no part of it."""
        projected = [] if self.projector is None else list(self.projector.parameters())
        return [*([] if self.learnt is None else [self.learnt]), *projected]

    @property
    def read_every(self) -> int:
        """After how many steps the sums are read, which waits for the device and the other processes."""
        return 1 if self.device.type == "cpu" and self.group.size == 1 else READ_EVERY


def load_data(resolved: Resolved) -> Data:
    """The run's images, selected, relabelled, few or wrongly labelled as it asks. What is held out keeps its samples
    and labels, and is read as the student reads it; the training images as their views are made."""
    data = _load(resolved, resolved.info)
    if resolved.view == resolved.info:
        return data
    return dataclasses.replace(data, train=_load(resolved, resolved.view).train)


def load_read_by(resolved: Resolved, data: Data, teacher: Entry) -> Data:
    """The same samples as this teacher reads them in evaluation. data: the run's."""
    own = reading_of(teacher, resolved.info)
    return data if own == resolved.info == resolved.view else _load(resolved, own)


def _load(resolved: Resolved, info: DatasetInfo) -> Data:
    """The run's samples in this reading of the data."""
    config = resolved.config
    train, validation = load_training(info, config.validation)
    for how, selection in resolved.selections.items():
        if how != "relabel":
            train = selected(train, selection.keys, keep=how == "only")
    if "relabel" in resolved.selections:
        train = relabelled(train, resolved.selections["relabel"].labels)
    if config.per_class is not None:
        train = few_labels(train, config.per_class, config.seed)
    if config.label_noise:
        similar = siblings(resolved.groups) if resolved.groups is not None else ()
        train = flip_labels(train, config.label_noise, config.noise_kind, similar, config.seed)
    return Data(train, validation, load_split(info, "test"))


def prepare(resolved: Resolved, num_train: int, group: Group = ALONE) -> Setup:
    """Student, teacher and optimiser of a run, in each process of the group.

    `UserError` where a checkpoint cannot be loaded or does not fit, or there are fewer than two samples.
    """
    config, info = resolved.config, resolved.info
    device = torch.device(resolved.device)
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.allow_tf32 = True
    teachers = [load_checkpoint(e.path)[0].to(device).eval().requires_grad_(False) for e in resolved.teachers]
    torch.manual_seed(initial_seed(config.seed, resolved.generation))
    student = build(student_architecture(resolved), *resolved.normalisation, image_size=info.image[1:])
    if resolved.init is not None:
        begin_from(student, resolved.init, resolved.keeps_head)
    student = student.to(device)
    if config.channels_last and info.image[0] > 1:
        student = student.to(memory_format=torch.channels_last)
        teachers = [teacher.to(memory_format=torch.channels_last) for teacher in teachers]
    # Every process needs a sample of every batch, and batch norm two: of all, or of each process where it is its own.
    least = 2 * group.size if config.batch_norm == "local" else max(2, group.size)
    steps = -(-num_train // config.batch_size) - (0 < num_train % config.batch_size < least)
    require(steps >= 1, f"{info.name} has {counted(num_train, 'training sample')}; at least 2 are needed to train.")
    learnt = None
    if "learnt" in by_name.context_of(config.method):
        learnt = torch.nn.Parameter(torch.tensor(START, device=device))
    project = projector(config.method, student, teachers[0] if teachers else None)
    beside = [*([learnt] if learnt is not None else []), *(project.to(device).parameters() if project else [])]
    optimizer = make_optimizer(config, student, beside, fused=device.type == "cuda")
    average = Average(student, config.ema) if config.ema else None
    scaler = torch.amp.GradScaler(device.type, enabled=resolved.precision == "fp16")
    synchronised = config.batch_norm == "synchronised"
    forward = shared(student, synchronised, device, group, thawed=config.freeze > 0, compiled=resolved.compiled)
    unshared = forward.no_sync if isinstance(forward, DistributedDataParallel) else contextlib.nullcontext
    if resolved.compiled:
        forward = Compiled(forward)
    if resolved.view.image != info.image:
        forward = reading(forward, info.image[1:])
    return Setup(
        resolved, student, teachers, optimizer, device, steps, group, forward, scaler, learnt, project,
        average=average, unshared=unshared,
    )  # fmt: skip


def begin_from(student: Classifier, init: Entry, head: bool) -> None:
    """Give the student the weights of this checkpoint, its head's only if `head`. `UserError` where they do not fit."""
    state = read_state(init.path)
    try:
        student.load(state, head)
    except RuntimeError as error:
        why = " ".join(str(error).split())[:200]
        raise UserError(
            f"init {init.name} does not fit the student on images of {'x'.join(map(str, student.image_size))} pixels "
            f"({why}); set its image size, or choose another init."
        ) from None


def begin_epoch(setup: Setup, epoch: int) -> None:
    """Let the student learn, but for its body in the epochs that `freeze` it: that computes as in evaluation."""
    setup.student.train()
    if freeze := setup.resolved.config.freeze:
        learns = epoch >= freeze
        setup.student.body.train(learns).requires_grad_(learns)


def teach(setup: Setup, images: Augmented) -> Iterator[Preparing]:
    """Let the teachers be asked as the run wants it, which for the first run with these views takes as long as to make
    them.

    images: the training set. Nothing where the method learns from no teacher.
    """
    resolved, each = setup.resolved, list[Teach]()
    for entry, teacher in zip(resolved.teachers, setup.teachers, strict=True):
        ask = reading(Compiled(teacher) if resolved.compiled else teacher, teacher.image_size)
        if resolved.config.teacher_outputs == "live":
            each.append(LiveTeacher(ask, resolved.precision))
            continue
        store = store_of(resolved, count=len(images.samples), teacher=entry)
        yield from make_views(ask, store, images, resolved.views)
        setup.group.agreed(None)  # the others' last pieces
        each.append(CachedTeacher(store, teacher.head.bias, setup.device))
    setup.teach = each[0] if len(each) == 1 else Together(each)


def rehearse(config: RunConfig) -> Resolved:
    """What a run with this configuration would work on. `UserError` where it could not begin, before anything is made.

    Its names are looked up, its teacher is loaded and its student built, in this process, whose threads and random
    generator that changes. Images are not loaded.
    """
    resolved = resolve(config)
    prepare(dataclasses.replace(resolved, device="cpu"), resolved.num_images[0])
    return resolved


def initial_seed(seed: int, generation: int) -> int:
    """The seed of a student's initial weights: another one than its teacher's, whatever that was trained with.

    torch's generator on the CPU knows 32 bits of a seed, so that a sum could come round to where it began.
    """
    return seed if generation == 0 else int(digest(["initial weights", seed, generation])[:8], 16)


def student_architecture(resolved: Resolved) -> Architecture:
    """The student's network, with the head that its method wants."""
    config, info = resolved.config, resolved.info
    parameters = by_name.complete(config.method, config.parameters, by_name.ANY)
    scale = objective_of(resolved, parameters).cosine_scale
    begun = resolved.init.card.architecture if resolved.init and resolved.init.card else {}
    return Architecture(
        config.student,
        num_classes=len(info.classes),
        in_channels=info.image[0],
        head="cosine" if scale else "linear",
        scale=scale,
        replaced=tuple(begun.get("replaced", ())),
    )


def completed(setup: Setup, train: Samples, read_by: Callable[[Entry], Samples] | None = None) -> Iterator[Preparing]:
    """Set the method's open parameters: tau from the teacher's mean ||f|| over the training images, which is kept.

    Of several teachers each has its own, and the student that of the mean of their means. Also what else the method
    reads of its teacher. read_by: the training images as evaluation shows them to a teacher, where that is not `train`.
    """
    resolved, means = setup.resolved, list[dict[str, float]]()
    method, weighs = resolved.config.method, resolved.config.weight_by_norm != 0
    wanted = by_name.wanted(method, resolved.parameters)
    for entry, teacher in zip(resolved.teachers, setup.teachers, strict=True):
        if weighs or wanted:
            store = store_of(resolved, "train", len(train), entry)
            yield from make_plain(teacher, store, read_by(entry) if read_by else train)
            means.append(means_of(store))
    parameters, of_each = by_name.complete(method, resolved.parameters, mean_of_means(means)), resolved.of_each
    if wanted and len(means) > 1:
        of_each = tuple(by_name.complete(method, resolved.parameters, one) for one in means)
    setup.resolved = dataclasses.replace(resolved, parameters=parameters, of_each=of_each)
    if setup.teacher is not None:
        store, seen = store_of(resolved, "train", len(train)), train
        if read_by and "class_means" in by_name.context_of(method):
            seen = read_by(resolved.teachers[0])
        yield from given_by(setup.teacher, method, store, seen, setup.given)


def weights_of(setup: Setup, train: Samples) -> Tensor | None:
    """(N,) the weight of each training sample's loss by the teacher's norm, after `completed`; None without."""
    if exponent := setup.resolved.config.weight_by_norm:
        return norm_weights(store_of(setup.resolved, "train", len(train)), exponent)
    return None


def objective_at(setup: Setup, progress: float = 1.0) -> Objective:
    """What the student is trained towards when this share of the epochs has begun, in (0, 1]."""
    return objective_of(setup.resolved, None, progress, setup.learnt, project=setup.projector, **setup.given)


def objective_of(
    resolved: Resolved,
    parameters: Mapping[str, Any] | None = None,
    progress: float = 1.0,
    learnt: Tensor | None = None,
    **given: Any,
) -> Objective:
    """The run's objective, with these parameters or its own, and what else its method wants."""
    context: dict[str, Any] = {"progress": progress, "learnt": learnt, **given}
    if resolved.groups is not None:
        context["similar"] = siblings(resolved.groups)
    config = resolved.config
    objective = by_name.objective(config.method, parameters or resolved.parameters, **context)
    if resolved.of_each:
        each = [by_name.objective(config.method, own, **context).soft for own in resolved.of_each]
        rules = [tuple(term.temperature for term in terms) for terms in zip(*each, strict=True)]
        soft = zip(objective.soft, rules, strict=True)
        objective = dataclasses.replace(
            objective, soft=tuple(dataclasses.replace(term, of_each=own) for term, own in soft)
        )
    if config.smoothing:
        objective = dataclasses.replace(objective, targets=Smoothed(config.smoothing))
    if config.hard_weight is not None:
        objective = dataclasses.replace(objective, hard_weight=config.hard_weight)
    return objective
