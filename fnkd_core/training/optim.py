"""The optimiser and its learning rate as a plain function of the step, so that resuming needs no scheduler."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from fnkd_core.models.classifier import Classifier
from fnkd_core.training.config import RunConfig


def learning_rate(config: RunConfig, step: float, steps_per_epoch: int) -> float:
    """The learning rate at a step, counted from 0 over all epochs.

    cosine: from lr to min_lr. multistep: lr * gamma^(milestones passed). onecycle: cosine from lr/25 up to lr over
    the first 30 %, then down to lr/10^4 (Smith & Topin, 2019). Warm-up of n steps: lr * i / (n + 1) in step i.
    """
    total = config.epochs * steps_per_epoch
    warmup = config.warmup_epochs * steps_per_epoch
    if config.schedule == "onecycle":
        peak = 0.3 * total
        if step < peak:
            return _cosine(config.lr / 25, config.lr, step / peak)
        return _cosine(config.lr, config.lr / 1e4, (step - peak) / max(total - peak, 1))
    if step < warmup:
        return config.lr * (step + 1) / (warmup + 1)
    if config.schedule == "cosine":
        return _cosine(config.lr, config.min_lr, (step - warmup) / max(total - warmup, 1))
    if config.schedule == "multistep":
        return config.lr * config.gamma ** sum(step >= m * total for m in config.milestones)
    return config.lr


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * min(max(share, 0.0), 1.0))) / 2


def make_optimizer(
    config: RunConfig, student: Classifier, beside: Sequence[nn.Parameter] = (), fused: bool = False
) -> torch.optim.Optimizer:
    """SGD or AdamW over the student's weights; vectors (biases, norms) without weight decay if so configured.

    Each group's `share` is that of the learning rate which it has. beside: what is stepped too. fused: one
    kernel for all weights, as GPUs have it.
    """
    if config.body_lr == 1:
        groups = _groups(config, [*student.parameters(), *beside], 1.0)
    else:
        groups = _groups(config, [*student.body.parameters()], config.body_lr)
        groups += _groups(config, [*student.head.parameters(), *beside], 1.0)
    if config.optimizer == "adamw":
        adamw: torch.optim.Optimizer = _uncompiled(torch.optim.AdamW)(groups, lr=config.lr, fused=fused)
        return adamw
    nesterov = config.nesterov and config.momentum > 0
    settings = {"momentum": config.momentum, "nesterov": nesterov, "fused": fused}
    sgd: torch.optim.Optimizer = _uncompiled(torch.optim.SGD)(groups, lr=config.lr, **settings)
    if fused and config.momentum > 0:
        _begin_at_rest(sgd)
        sgd.register_load_state_dict_post_hook(_begin_at_rest)
    return sgd


def _begin_at_rest(sgd: torch.optim.Optimizer) -> None:
    """Give every weight that has no momentum yet one of 0, with which the first step is what it is without any.

    Of itself the fused kernel begins in memory that nobody has written to, and leaves it so where a step in float16
    overflows; and it ends with an error where only some weights of a group have one, as after `freeze`.
    """
    for group in sgd.param_groups:
        for p in group["params"]:
            if sgd.state[p].get("momentum_buffer") is None:
                sgd.state[p]["momentum_buffer"] = torch.zeros_like(p)


def _uncompiled(kind: type[torch.optim.Optimizer]) -> type[Any]:
    """The optimiser without what keeps torch.compile out of it, for which torch imports the compiler at the first step.

    That is half of the start of a short run, and nothing here compiles a step. Where torch does it otherwise one day,
    it imports as it did.
    """
    for method in vars(torch.optim.Optimizer).values():
        plain = getattr(method, "__wrapped__", None)
        if plain is not None and not hasattr(plain, "__dynamo_disable"):
            plain.__dynamo_disable = plain
    return type(kind.__name__, (kind,), {"step": torch.no_grad()(inspect.unwrap(kind.step))})


def _groups(config: RunConfig, parameters: list[nn.Parameter], share: float) -> list[dict[str, Any]]:
    trained = [p for p in parameters if p.requires_grad]
    matrices, vectors = [p for p in trained if p.ndim > 1], [p for p in trained if p.ndim <= 1]
    groups = [
        {"params": matrices, "weight_decay": config.weight_decay, "share": share},
        {"params": vectors, "weight_decay": config.weight_decay if config.decay_norm_and_bias else 0.0, "share": share},
    ]
    return [group for group in groups if group["params"]]
