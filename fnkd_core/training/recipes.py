"""Recipes: named sets of settings that a run begins with, each with its source. No torch."""

from __future__ import annotations

import math
import types
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from fnkd_core.errors import UserError, unknown
from fnkd_core.training.config import RunConfig, unused


@dataclass(frozen=True)
class Recipe:
    """settings: of a run. parameters: of methods, by their names. needs: settings that it is nothing without, and that
    only who trains can give.
    """

    title: str
    purpose: str
    source: str
    settings: Mapping[str, Any]
    parameters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    needs: tuple[str, ...] = ()


_SHORT: dict[str, Any] = {
    "batch_size": 64, "optimizer": "sgd", "lr": 0.2, "momentum": 0.9, "nesterov": True, "weight_decay": 5e-4,
    "schedule": "onecycle", "validation": 0.1, "teacher_outputs": "cached", "views": 4, "view_seed": 0,
}  # fmt: skip
RECIPES: dict[str, Recipe] = {
    "quick": Recipe(
        "a first look",
        "What a method does, in a short run.",
        "this project's defaults",
        {
            "epochs": 20, "batch_size": 128, "optimizer": "sgd", "lr": 0.05, "momentum": 0.9, "nesterov": True,
            "weight_decay": 5e-4, "schedule": "cosine", "validation": 0.1,
        },
    ),
    "short": Recipe(
        "fifteen epochs, few views",
        "Fifteen epochs of one cycle, and a teacher that is asked once of four views of each image, for all runs that "
        "learn from it. At twice this rate FN diverges on CIFAR-100; KD takes it.",
        "the budget of this project's docs/results/cifar100-15.md",
        {"epochs": 15, **_SHORT},
    ),
    "shortest": Recipe(
        "four epochs, few views",
        "As short, in four epochs: what a method does, in minutes. Accuracy is far from where it would end.",
        "the budget of this project's docs/results/cifar100-short.md",
        {"epochs": 4, **_SHORT},
    ),
    "crd240": Recipe(
        "the field's 240 epochs",
        "What the tables of most papers on CIFAR-100 were made with; MobileNet and ShuffleNet take lr 0.01.",
        "Tian, Krishnan and Isola, Contrastive representation distillation, ICLR 2020",
        {
            "epochs": 240, "batch_size": 64, "optimizer": "sgd", "lr": 0.05, "momentum": 0.9, "nesterov": False,
            "weight_decay": 5e-4, "schedule": "multistep", "milestones": (0.625, 0.75, 0.875), "gamma": 0.1,
            "validation": 0.0,
        },
        {"kd": {"T": 4.0, "alpha": 0.9}},
    ),
    "fnkd-released": Recipe(
        "the authors' run of FN",
        "The training that the authors of FN have published, with their variant of the loss.",
        "Xu et al., ECCV 2020, released code",
        {
            "epochs": 200, "batch_size": 128, "optimizer": "sgd", "lr": 0.1, "momentum": 0.9, "nesterov": False,
            "weight_decay": 1e-4, "schedule": "multistep", "milestones": (0.5, 0.75), "gamma": 0.1, "validation": 0.0,
        },
        {"fn": {"variant": "released", "tau": 2.0, "lambda": 3.0, "student_norm": "own"}},
    ),
    "patient": Recipe(
        "function matching",
        "The student learns to be the same function: mixed views that both see, no labels, a long schedule.",
        "Beyer et al., Knowledge distillation: a good teacher is patient and consistent, CVPR 2022",
        {
            "epochs": 600, "batch_size": 128, "optimizer": "adamw", "lr": 0.003, "weight_decay": 1e-4,
            "schedule": "cosine", "warmup_epochs": 5.0, "clip_norm": 1.0, "mixup": 1.0, "hard_weight": 0.0,
        },
        {"kd": {"hard": 0.0}, "lskd": {"hard": 0.0}},
    ),
    "finetune": Recipe(
        "from pretrained weights",
        "For data too few to train from scratch: a new head first, then all of it, the body at a tenth of the rate. "
        "With some tens of images of each class the head alone did better here (freeze: all epochs).",
        "slower lower layers and gradual thawing: Howard and Ruder, ACL 2018; the numbers are this project's",
        {
            "epochs": 20, "batch_size": 64, "optimizer": "sgd", "lr": 0.02, "momentum": 0.9, "nesterov": True,
            "weight_decay": 1e-4, "schedule": "cosine", "freeze": 2, "body_lr": 0.1,
        },
        needs=("init",),
    ),
}  # fmt: skip


def recipe(name: str) -> Recipe:
    """The recipe of this name. `UserError` lists those there are."""
    if name not in RECIPES:
        raise unknown("recipe", name, sorted(RECIPES), "fnkd recipes")
    return RECIPES[name]


def with_recipe(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a run: those that are given, `parameters` among them, and else the recipe's.

    A setting of the recipe that one that is given leaves without effect is left out; of fewer epochs, as large a part
    is warm-up or frozen. `UserError` where there is no such recipe, or it needs a setting that is not given.
    """
    chosen = recipe(name)
    lacking = [key for key in chosen.needs if given.get(key) is None]
    if lacking:
        raise UserError(f"The recipe {name} needs {' and '.join(lacking)}, such as --{lacking[0]} NAME; give it too.")
    share = min(1.0, given.get("epochs", chosen.settings["epochs"]) / chosen.settings["epochs"])
    shorter = {
        key: math.ceil(value * share) if key == "freeze" else value * share
        for key, value in chosen.settings.items()
        if key in ("warmup_epochs", "freeze")
    }
    settings = dict(chosen.settings) | shorter | dict(given)
    own = chosen.parameters.get(str(settings.get("method")), {})
    settings["parameters"] = dict(own) | dict(given.get("parameters") or {})
    idle = unused(probe(settings))
    return {key: value for key, value in settings.items() if key in given or key == "parameters" or key not in idle}


_USUAL = RunConfig()
"""Made and checked once: a form asks sixty times at each change of a field."""


def probe(settings: Mapping[str, Any]) -> RunConfig:
    """What has these settings and else the usual ones, unchecked: to ask which of them have an effect."""
    return cast(RunConfig, types.SimpleNamespace(**vars(_USUAL) | dict(settings)))


def changed(name: str, config: RunConfig) -> dict[str, tuple[Any, Any]]:
    """Setting -> what the run has and what the recipe has, of those that any recipe sets or that make a student good,
    and of the method's parameters; without those that have no effect."""
    chosen, usual, idle = recipe(name), _USUAL, unused(config)
    names = [key for key in SET if key not in idle]
    found = {key: (getattr(config, key), chosen.settings.get(key, getattr(usual, key))) for key in names}
    own = chosen.parameters.get(config.method, {})
    found |= {key: (config.parameters[key], value) for key, value in own.items()}
    return {key: pair for key, pair in found.items() if pair[0] != pair[1]}


OF_WEIGHTS = ("init", "freeze", "body_lr")
OF_VIEWS = ("trivial_augment", "erasing", "mixup", "cutmix")
OF_STEPS = ("smoothing", "hard_weight", "weight_by_norm", "ema", "min_lr", "clip_norm", "accumulate")
SET = tuple(
    dict.fromkeys([key for r in RECIPES.values() for key in r.settings] + [*OF_VIEWS, *OF_STEPS, *OF_WEIGHTS[1:]])
)
"""The settings that a recipe decides: what another one has set, it sets back."""
