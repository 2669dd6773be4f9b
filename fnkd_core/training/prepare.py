"""What a run works on, once names have become things."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fnkd_core.checkpoints.fits import require_teacher
from fnkd_core.checkpoints.io import load_checkpoint
from fnkd_core.checkpoints.library import find_checkpoint
from fnkd_core.data import DatasetInfo
from fnkd_core.data.similar import similar_classes
from fnkd_core.errors import require
from fnkd_core.kd import objective as by_name
from fnkd_core.kd.learnt import START
from fnkd_core.kd.losses import Objective
from fnkd_core.models.architecture import Architecture
from fnkd_core.models.classifier import Classifier
from fnkd_core.models.inference import bfloat16_pays, predict
from fnkd_core.models.zoo import build
from fnkd_core.training.config import RunConfig
from fnkd_core.training.optim import make_optimizer


@dataclass
class Setup:
    """What a run works on once names have become things.

    learnt: the scalar that a method with a learnt temperature steps with the student, else None.
    """

    config: RunConfig
    info: DatasetInfo
    student: Classifier
    teacher: Classifier | None
    optimizer: torch.optim.Optimizer
    device: torch.device
    bfloat16: bool
    steps_per_epoch: int
    learnt: torch.nn.Parameter | None = None
    objective: Objective | None = None
    parameters: dict[str, Any] = dataclasses.field(default_factory=dict)


def prepare(config: RunConfig, info: DatasetInfo, num_train: int) -> Setup:
    """Student, teacher and optimiser of a run, with every check that can be made before the first step.

    `UserError` where the teacher's label space, channels or image size do not fit the data.
    """
    if config.threads:
        torch.set_num_threads(config.threads)
    has_gpu = torch.cuda.is_available()
    require(config.device != "cuda" or has_gpu, "device is 'cuda' but torch sees no GPU here; use 'cpu' or 'auto'.")
    device = torch.device("cuda" if has_gpu and config.device != "cpu" else "cpu")
    size = info.image[1:]
    bfloat16 = config.precision == "bf16" or (config.precision == "auto" and bfloat16_pays(device, size))

    teacher = None
    if config.teacher is not None:
        teacher, card = load_checkpoint(config.teacher)
        require_teacher(card, info, config.method)
        teacher = teacher.to(device).eval().requires_grad_(False)

    # The head does not depend on tau; an open one is set to what a norm of 4 would give.
    scale = objective_of(config, info, by_name.complete(config.method, config.parameters, 4.0)).cosine_scale
    architecture = Architecture(
        config.student,
        num_classes=len(info.classes),
        in_channels=info.image[0],
        head="cosine" if scale else "linear",
        scale=scale,
    )
    torch.manual_seed(config.seed)
    student = build(architecture, info.mean, info.std, image_size=size).to(device)
    if config.channels_last and info.image[0] > 1:
        student = student.to(memory_format=torch.channels_last)
        teacher = teacher.to(memory_format=torch.channels_last) if teacher is not None else None
    steps = -(-num_train // config.batch_size) - (num_train % config.batch_size == 1)
    require(steps >= 1, f"{info.name} has {num_train} training sample(s); at least 2 are needed to train.")
    learnt = None
    if "learnt" in by_name.context_of(config.method):
        learnt = torch.nn.Parameter(torch.tensor(START, device=device))
    optimizer = make_optimizer(config, [*student.parameters(), *([learnt] if learnt is not None else [])])
    return Setup(config, info, student, teacher, optimizer, device, bfloat16, steps, learnt)


def data_seen(config: RunConfig, info: DatasetInfo) -> DatasetInfo:
    """The data as the run reads them: images in files as the teacher does, unless the run names an image size."""
    if config.teacher is None or config.image_size is not None:
        return info
    card = find_checkpoint(config.teacher).card
    return card.read_as(info) if card is not None else info


def set_objective(setup: Setup, train_images: Tensor | Iterable[Tensor]) -> None:
    """Fill in the method's open parameters (tau from the teacher's mean ||f||) and make its objective at full rise."""
    config, info = setup.config, setup.info
    mean_norm = None
    if setup.teacher is not None and None in config.parameters.values():
        total, count = 0.0, 0
        for outputs in predict(setup.teacher, train_images, bfloat16=setup.bfloat16):
            total += float(outputs.norms.double().sum())
            count += len(outputs)
        mean_norm = total / count
    setup.parameters = by_name.complete(config.method, config.parameters, mean_norm)
    setup.objective = objective_of(config, info, setup.parameters, learnt=setup.learnt)


def objective_of(
    config: RunConfig,
    info: DatasetInfo,
    parameters: Mapping[str, Any],
    progress: float = 1.0,
    learnt: Tensor | None = None,
) -> Objective:
    """The run's objective with these parameters, and what else its method wants (see `by_name.objective`)."""
    context: dict[str, Any] = {"progress": progress, "learnt": learnt}
    if "similar" in by_name.context_of(config.method):
        context["similar"] = similar_classes(info, config.similar)
    return by_name.objective(config.method, parameters, **context)
