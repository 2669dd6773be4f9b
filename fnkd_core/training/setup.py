"""What a run works on, once its names have been looked up: networks, images, objective."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fnkd_core.checkpoints.io import load_checkpoint
from fnkd_core.data import Samples, load_split, load_training
from fnkd_core.data.batches import batches
from fnkd_core.data.label_noise import few_labels, flip_labels
from fnkd_core.data.similar import siblings
from fnkd_core.errors import require
from fnkd_core.identity import digest
from fnkd_core.kd import objective as by_name
from fnkd_core.kd.learnt import START
from fnkd_core.kd.losses import Objective
from fnkd_core.models.architecture import Architecture
from fnkd_core.models.classifier import Classifier
from fnkd_core.models.inference import predict
from fnkd_core.models.zoo import build
from fnkd_core.training.config import RunConfig
from fnkd_core.training.optim import make_optimizer
from fnkd_core.training.resolve import Resolved, resolve

EVALUATED = 512
"""Images at a time where nothing is learnt from them."""


@dataclass(frozen=True)
class Data:
    """The splits of a run. validation: what the best epoch is chosen on, None where none is chosen."""

    train: Samples
    validation: Samples | None
    test: Samples


@dataclass
class Setup:
    """A run's networks and optimiser. learnt: the scalar that a method with a learnt temperature steps, else None."""

    resolved: Resolved
    student: Classifier
    teacher: Classifier | None
    optimizer: torch.optim.Optimizer
    device: torch.device
    steps_per_epoch: int
    learnt: torch.nn.Parameter | None = None
    objective: Objective | None = None

    @property
    def bfloat16(self) -> bool:
        """Whether the bodies run in bfloat16 while training. Heads, losses and evaluation are in float32."""
        return self.resolved.precision == "bf16"


def load_data(resolved: Resolved) -> Data:
    """The run's images, few or wrongly labelled as it asks. What is held out keeps its labels."""
    config, info = resolved.config, resolved.info
    train, validation = load_training(info, config.validation)
    if config.per_class is not None:
        train = few_labels(train, config.per_class, config.seed)
    if config.label_noise:
        similar = siblings(resolved.groups) if resolved.groups is not None else ()
        train = flip_labels(train, config.label_noise, config.noise_kind, similar, config.seed)
    return Data(train, validation, load_split(info, "test"))


def prepare(resolved: Resolved, num_train: int) -> Setup:
    """Student, teacher and optimiser of a run."""
    config, info = resolved.config, resolved.info
    device = torch.device(resolved.device)
    teacher = None
    if resolved.teacher is not None:
        teacher = load_checkpoint(resolved.teacher.path)[0].to(device).eval().requires_grad_(False)
    torch.manual_seed(initial_seed(config.seed, resolved.generation))
    student = build(student_architecture(resolved), info.mean, info.std, image_size=info.image[1:]).to(device)
    if config.channels_last and info.image[0] > 1:
        student = student.to(memory_format=torch.channels_last)
        teacher = teacher.to(memory_format=torch.channels_last) if teacher is not None else None
    steps = -(-num_train // config.batch_size) - (num_train % config.batch_size == 1)
    require(steps >= 1, f"{info.name} has {num_train} training sample(s); at least 2 are needed to train.")
    learnt = None
    if "learnt" in by_name.context_of(config.method):
        learnt = torch.nn.Parameter(torch.tensor(START, device=device))
    optimizer = make_optimizer(config, [*student.parameters(), *([learnt] if learnt is not None else [])])
    return Setup(resolved, student, teacher, optimizer, device, steps, learnt)


def rehearse(config: RunConfig) -> None:
    """`UserError` where a run with this configuration could not begin, found before anything is made for it.

    Its names are looked up, its teacher is loaded and its student built, in this process, whose threads and random
    generator that changes. Images are not loaded.
    """
    resolved = resolve(config)
    prepare(dataclasses.replace(resolved, device="cpu"), resolved.num_images[0])


def initial_seed(seed: int, generation: int) -> int:
    """The seed of a student's initial weights: another one than its teacher's, whatever that was trained with.

    torch's generator on the CPU knows 32 bits of a seed, so that a sum could come round to where it began.
    """
    return seed if generation == 0 else int(digest(["initial weights", seed, generation])[:8], 16)


def student_architecture(resolved: Resolved) -> Architecture:
    """The student's network, with the head that its method wants."""
    config, info = resolved.config, resolved.info
    # The head does not depend on tau; an open one is set to what a norm of 4 would give.
    parameters = by_name.complete(config.method, config.parameters, 4.0)
    scale = objective_of(resolved, parameters).cosine_scale
    return Architecture(
        config.student,
        num_classes=len(info.classes),
        in_channels=info.image[0],
        head="cosine" if scale else "linear",
        scale=scale,
    )


def completed(setup: Setup, train: Samples) -> Resolved:
    """The record with the method's open parameters set: tau from the teacher's mean ||f|| over the training images."""
    resolved, mean_norm = setup.resolved, None
    if setup.teacher is not None and None in resolved.parameters.values():
        total, count = 0.0, 0
        for outputs in predict(setup.teacher, batches(train.images, EVALUATED)):
            total += float(outputs.norms.double().sum())
            count += len(outputs)
        mean_norm = total / count
    parameters = by_name.complete(resolved.config.method, resolved.parameters, mean_norm)
    return dataclasses.replace(resolved, parameters=parameters)


def objective_of(
    resolved: Resolved,
    parameters: Mapping[str, Any] | None = None,
    progress: float = 1.0,
    learnt: Tensor | None = None,
) -> Objective:
    """The run's objective, with these parameters or its own, and what else its method wants."""
    context: dict[str, Any] = {"progress": progress, "learnt": learnt}
    if resolved.groups is not None:
        context["similar"] = siblings(resolved.groups)
    return by_name.objective(resolved.config.method, parameters or resolved.parameters, **context)
