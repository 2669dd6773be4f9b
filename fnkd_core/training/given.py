"""What a method reads of its teacher besides the outputs: mean features of the classes, and how far classes lie apart.

Both follow from the teacher and the training labels alone: the means are made once and kept for all runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fnkd_core.data import Samples
from fnkd_core.kd import objective as by_name
from fnkd_core.kd.transport import head_distances
from fnkd_core.models.classifier import Classifier
from fnkd_core.stores.teacher_outputs import TeacherOutputs
from fnkd_core.training.teacher import Preparing, making_means


def projector(method: str, student: Classifier, teacher: Classifier | None) -> nn.Linear | None:
    """From the student's features to as many as the teacher's, learnt with the student and no part of it; None where a
    method needs none, or both have as many."""
    wants = "project" in by_name.context_of(method) and teacher is not None
    if not wants or teacher is None or teacher.num_features == student.num_features:
        return None
    return nn.Linear(student.num_features, teacher.num_features, bias=False)


def given_by(
    teacher: Classifier, method: str, store: TeacherOutputs, train: Samples, given: dict[str, Any]
) -> Iterator[Preparing]:
    """Fill in what the method reads of this teacher. store: of its outputs on these training images."""
    wanted, device = by_name.context_of(method), teacher.head.weight.device
    if "distances" in wanted:
        given["distances"] = head_distances(teacher.head.weight)
    if "class_means" in wanted:
        yield from making_means(teacher, store, train)
        found = np.asarray(store.class_means(train.labels.numpy(), teacher.num_features))
        given["class_means"] = torch.from_numpy(found).to(device)


def any_given(teacher: Classifier, method: str) -> dict[str, Any]:
    """What is as large as the real thing, for those that only take the time."""
    shapes = {"distances": teacher.num_classes, "class_means": teacher.num_features}
    wanted = by_name.context_of(method)
    weight: Tensor = teacher.head.weight
    return {k: weight.new_ones(teacher.num_classes, n) for k, n in shapes.items() if k in wanted}
