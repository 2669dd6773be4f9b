"""How long a run will take, from a few of its own steps."""

from __future__ import annotations

import math
import time

import torch

from fnkd_core.data import DatasetInfo
from fnkd_core.kd import objective as by_name
from fnkd_core.models.inference import predict
from fnkd_core.training.config import RunConfig
from fnkd_core.training.prepare import data_seen, objective_of, prepare
from fnkd_core.training.step import train_step


def seconds_for(config: RunConfig, info: DatasetInfo, num_steps: int = 3) -> float:
    """Seconds the whole run would take on this machine as busy as it is now.

    Times `num_steps` real steps (after one to warm up) and one batch of evaluation, on random images of the
    data's size, and scales them to the epochs. Loading the data is not in it. `UserError` as in `prepare`.
    """
    info = data_seen(config, info)
    num_train, num_test = info.sizes
    if config.per_class is not None:
        num_train = min(num_train, config.per_class * len(info.classes))
    setup = prepare(config, info, num_train)
    # The time does not depend on tau; an open one is set to what a norm of 4 would give.
    parameters = by_name.complete(config.method, config.parameters, 4.0)
    setup.objective = objective_of(config, info, parameters, learnt=setup.learnt)
    generator = torch.Generator().manual_seed(0)
    batch = min(config.batch_size, num_train)
    images = torch.randint(0, 256, (batch, *info.image), dtype=torch.uint8, generator=generator).to(setup.device)
    labels = torch.randint(0, len(info.classes), (batch,), generator=generator).to(setup.device)
    setup.student.train()
    train_step(setup, images, labels, 1e-6)
    begun = time.perf_counter()
    for _ in range(num_steps):
        train_step(setup, images, labels, 1e-6)
    step = (time.perf_counter() - begun) / num_steps
    begun = time.perf_counter()
    for _ in predict(setup.student, images, bfloat16=setup.bfloat16):
        pass
    evaluation = (time.perf_counter() - begun) / batch * num_test
    return config.epochs * (math.ceil(num_train / config.batch_size) * step + evaluation)
