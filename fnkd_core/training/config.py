"""What a training run is: one frozen record, checked when it is made. No torch."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args, get_origin, get_type_hints

from fnkd_core.checkpoints.several import names_of
from fnkd_core.data.views import Augmentation
from fnkd_core.errors import require, unknown
from fnkd_core.files import check_name
from fnkd_core.kd import objective as kd_objective
from fnkd_core.kd.methods import METHODS
from fnkd_core.kd.objective import complete, deciding, method, parameters, weighs_hard
from fnkd_core.shapes import misfit

Optimizer = Literal["sgd", "adamw"]
Schedule = Literal["cosine", "multistep", "onecycle", "constant"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
NoiseKind = Literal["uniform", "similar"]
TeacherOutputs = Literal["live", "cached"]
Compile = Literal["auto", "on", "off"]
BatchNorm = Literal["synchronised", "local"]
FREE = ("threads", "name", "device", "devices", "workers", "tensorboard", "keep_epochs")
"""Settings that say where a run goes on, under which name and who watches, not what is trained."""
DEVICE = re.compile(r"auto|cpu|mps|cuda(:[0-9]{1,3})?")
USUAL_LR: dict[str, float] = {"sgd": 0.05, "adamw": 0.001}
"""The peak learning rate of an optimiser where none is given."""
LATER = (
    "init",
    "freeze",
    "body_lr",
    "min_lr",
    "clip_norm",
    "accumulate",
    "smoothing",
    "hard_weight",
    "trivial_augment",
    "erasing",
    "mixup",
    "cutmix",
    "ema",
    "relabel",
    "weight_by_norm",
)
"""Settings that came after runs had been made: at their defaults a run is what it was before there were any."""


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides a run's result. The same record on a CPU with as many threads gives the same bits.

    data_root, labels, image_size: as in `fnkd_core.data`; the image size is the student's, and without one images in
    files are read as the teacher reads them, else as init does. A teacher reads them at its own size: both see the same
    view, made at the larger size. parameters: of the method; those not named take their defaults. smoothing: of
    the hard term's labels, the share given to all classes evenly. hard_weight: of the hard term, in place of the
    method's own; one that has a parameter `hard` says it by that. weight_by_norm: exponent p of the weight (||f_i|| /
    mean ||f||)^p of each sample's loss, over its own mean, by the teacher's norm of the training image as evaluation
    sees it; below 0 low norms count more, 0 weighs none. teacher: a checkpoint's name or path, or several, `A+B`,
    of whose softened probabilities the student learns the mean; one named twice counts twice. init: a checkpoint whose
    weights the student starts from, of the student's own architecture; its head is new where the classes differ.
    freeze: so many epochs at first leave its body as it is, batch norm's statistics too. body_lr: the body's learning
    rate as a share of the head's. similar: where similar classes come from: `auto`, `superclass`, `last_word`, `none`
    or a CSV file. validation: share of each class of the training split that is held out to choose the best epoch by,
    where the data have no validation split of their own; 0 chooses nothing and trains on all that is not for testing.
    only, exclude: the name of a saved selection of the training split, whose samples are trained on alone, or not; see
    `fnkd_core.data.selections`. relabel: the name of one, whose new labels its samples are trained on with, before
    per_class and label_noise. per_class, label_noise: few and wrong labels to train on; what is held out keeps its own,
    and all of its samples. lr: 0 is the optimiser's usual, see `USUAL_LR`. milestones: fractions of the epochs.
    warmup_epochs: step i of the n in them has the rate lr * i / (n + 1). min_lr: where the cosine ends. clip_norm: the
    largest norm of a step's gradient over all weights, to which a larger one is scaled; 0 leaves it. accumulate: parts
    that a batch is worked through in, one after another, for less memory: the step is that of the whole batch but for
    what batch norm makes of each part. decay_norm_and_bias: whether weight decay also falls on biases and
    normalisation. ema: decay of a moving average of the student's weights, see `fnkd_core.training.average`, which is
    evaluated, chosen and kept in their place; 0 has none. precision: `auto` is half precision where that is faster on
    this machine, measured once: bfloat16 where the device has it, on a GPU without it float16; heads, losses and
    evaluation are in float32. compile: torch.compile of student and teacher; `auto` on a GPU for all but short runs.
    device: `auto` is a GPU where there is one; `cpu`, `cuda`, `cuda:1`, `mps`. devices: processes that share the run,
    each with its part of every batch. batch_norm: over the whole batch, or over each process's part. threads: 0 leaves
    torch's choice. workers: processes that decode images in files, 0 for one a core. tensorboard: write TensorBoard's
    event files too. keep_epochs: keep each training sample's norm, p_label and prediction in each epoch, see
    `fnkd_core.stores.epochs`. A setting that others leave without effect is an error.

    Training sees views of the samples, see `fnkd_core.data.views`: in epoch e view e mod `views` of each. views: 0 is
    a new one every epoch. trivial_augment, erasing, mixup, cutmix: see `fnkd_core.data.views.Augmentation`; teacher
    and student see the same mixed view, and the loss is that of both labels, each with its share. view_seed: of the
    augmentation; None is 0 where the teacher's outputs are cached, so that runs share them, else the run's seed.
    teacher_outputs: whether the teacher is asked at every step, or once for each view.
    """

    dataset: str = "digits"
    method: str = "ce"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    smoothing: float = 0.0
    hard_weight: float | None = None
    weight_by_norm: float = 0.0
    student: str = "cifar_resnet8"
    teacher: str | None = None
    init: str | None = None
    freeze: int = 0
    body_lr: float = 1.0
    data_root: str | None = None
    labels: str | None = None
    image_size: int | None = None
    similar: str = "auto"
    validation: float = 0.1
    only: str | None = None
    exclude: str | None = None
    relabel: str | None = None
    per_class: int | None = None
    label_noise: float = 0.0
    noise_kind: NoiseKind = "uniform"
    epochs: int = 20
    batch_size: int = 128
    optimizer: Optimizer = "sgd"
    lr: float = 0.0
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 5e-4
    decay_norm_and_bias: bool = True
    ema: float = 0.0
    schedule: Schedule = "cosine"
    milestones: tuple[float, ...] = (0.5, 0.75)
    gamma: float = 0.1
    warmup_epochs: float = 0.0
    min_lr: float = 0.0
    clip_norm: float = 0.0
    accumulate: int = 1
    augment: bool = True
    trivial_augment: bool = False
    erasing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    teacher_outputs: TeacherOutputs = "live"
    views: int = 0
    view_seed: int | None = None
    seed: int = 0
    precision: Precision = "auto"
    channels_last: bool = True
    compile: Compile = "auto"
    batch_norm: BatchNorm = "synchronised"
    device: str = "auto"
    devices: int = 1
    threads: int = 0
    workers: int = 0
    tensorboard: bool = False
    keep_epochs: bool = False
    name: str | None = None

    def __post_init__(self) -> None:
        for name, hint in _hints().items():
            choices = get_args(hint)
            if get_origin(hint) is Literal and getattr(self, name) not in choices:
                raise unknown(name, getattr(self, name), choices)
        problem = misfit(vars(self), RunConfig)
        require(problem is None, f"{problem}.")
        require(self.epochs >= 1, f"epochs must be >= 1, got {self.epochs}.")
        require(self.batch_size >= 2, f"batch_size must be >= 2 (batch norm needs two), got {self.batch_size}.")
        if self.lr == 0:
            object.__setattr__(self, "lr", USUAL_LR[self.optimizer])
        require(self.lr > 0, f"lr must be > 0, or 0 for the optimiser's usual, got {self.lr}.")
        require(
            0 <= self.validation <= 0.5,
            f"validation must be a share in [0, 0.5] of the training split, got {self.validation}.",
        )
        require(0 <= self.momentum < 1, f"momentum must be in [0, 1), got {self.momentum}.")
        require(self.weight_decay >= 0, f"weight_decay must be >= 0, got {self.weight_decay}.")
        require(self.seed >= 0, f"seed must be >= 0, got {self.seed}.")
        for name in ("views", "view_seed", "workers", "min_lr", "clip_norm", "freeze", "mixup", "cutmix"):
            require((getattr(self, name) or 0) >= 0, f"{name} must be >= 0, got {getattr(self, name)}.")
        require(self.devices >= 1, f"devices must be >= 1, got {self.devices}.")
        require(
            self.batch_size >= 2 * self.devices,
            f"batch_size must be >= 2 for each of {self.devices} devices, got {self.batch_size}.",
        )
        require(self.body_lr > 0, f"body_lr must be > 0, as a share of lr, got {self.body_lr}; to keep it, use freeze.")
        require(0 <= self.erasing <= 1, f"erasing must be in [0, 1], as a probability, got {self.erasing}.")
        require(0 <= self.ema < 1, f"ema must be in [0, 1), as a decay such as 0.999, got {self.ema}.")
        require(0 <= self.smoothing < 1, f"smoothing must be in [0, 1), as a share, got {self.smoothing}.")
        require((self.hard_weight or 0) >= 0, f"hard_weight must be >= 0, got {self.hard_weight}.")
        require(abs(self.weight_by_norm) <= 8, f"weight_by_norm must be in [-8, 8], got {self.weight_by_norm}.")
        require(self.freeze <= self.epochs, f"freeze must be <= epochs ({self.epochs}), got {self.freeze}.")
        require(self.min_lr < self.lr, f"min_lr must be below lr ({self.lr:g}), got {self.min_lr}.")
        require(
            1 <= self.accumulate <= self.batch_size // (2 * self.devices),
            f"accumulate must be >= 1 and leave 2 samples to each part of a device's batch, got {self.accumulate} with "
            f"batch_size {self.batch_size}.",
        )
        require(
            DEVICE.fullmatch(self.device) is not None,
            f"device must be auto, cpu, mps, cuda or cuda and a number such as cuda:1, got {self.device!r}.",
        )
        require(self.threads >= 0, f"threads must be >= 0 (0 leaves torch's choice), got {self.threads}.")
        require(0 < self.gamma <= 1, f"gamma must be in (0, 1], got {self.gamma}.")
        require(0 <= self.label_noise < 1, f"label_noise must be in [0, 1), as a share, got {self.label_noise}.")
        require(
            self.per_class is None or self.per_class >= 1,
            f"per_class must be a whole number >= 1, or left out for all samples, got {self.per_class!r}.",
        )
        require(
            all(0 < m < 1 for m in self.milestones) and list(self.milestones) == sorted(self.milestones),
            f"milestones must rise and lie in (0, 1), as fractions of the epochs, got {self.milestones}.",
        )
        require(
            0 <= self.warmup_epochs < self.epochs,
            f"warmup_epochs must be >= 0 and below epochs ({self.epochs}), got {self.warmup_epochs}.",
        )
        if self.name is not None:
            check_name("run", self.name)
        for selection in filter(None, (self.only, self.exclude, self.relabel)):
            check_name("selection", selection)
        require(
            self.only is None or self.only != self.exclude,
            f"only and exclude are both the selection {self.only!r}, which leaves nothing; leave one out.",
        )
        chosen = method(self.method)
        require(
            not chosen.needs_teacher or self.teacher is not None,
            f"Method {self.method!r} learns from a teacher; none is given. Choose a teacher checkpoint.",
        )
        require_teachers(self)
        require(
            self.accumulate == 1 or not chosen.couples_batch,
            f"accumulate must be 1 with method {self.method!r}, whose loss is of a whole batch and not of its samples, "
            f"got {self.accumulate}; leave accumulate out, or choose another method.",
        )
        object.__setattr__(self, "parameters", complete(self.method, self.parameters))
        object.__setattr__(self, "milestones", tuple(self.milestones))
        defaults = {f.name: f.default for f in dataclasses.fields(self)}
        for name, why in unused(self).items():
            value = getattr(self, name)
            if name == "hard_weight" and chosen.needs_teacher:
                continue  # runs of before have it so, see `fnkd_core.training.hard_term`
            require(value == defaults[name], f"{name} {value!r} would be ignored: {why}; leave it out.")

    @property
    def augmentation(self) -> Augmentation:
        """What is done to each view beyond shifts, crops and flips."""
        return Augmentation(self.trivial_augment, self.erasing, self.mixup, self.cutmix)

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON can hold it."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        values["parameters"] = dict(self.parameters)
        values["milestones"] = list(self.milestones)
        return values

    def deciding(self) -> dict[str, Any]:
        """The settings that decide the result, without where it is made and what it is called."""
        usual = usual_later()
        values = {k: v for k, v in self.to_dict().items() if k not in FREE and not (k in usual and v == usual[k])}
        return values | {"parameters": deciding(self.method, self.parameters)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RunConfig:
        """The record from its dictionary. `UserError` for a field there is not."""
        known = [f.name for f in dataclasses.fields(cls)]
        for key in values:
            if key not in known:
                raise unknown("setting of a run", key, known, "fnkd train --help")
        return cls(**values)


def usual_later() -> dict[str, Any]:
    """The defaults of the settings that came later, which records of older runs do not name."""
    return {f.name: f.default for f in dataclasses.fields(RunConfig) if f.name in LATER}


@functools.cache
def _hints() -> dict[str, Any]:
    """A comparison reads thousands of these records."""
    return get_type_hints(RunConfig)


def reads_similar(method: str, parameters: Mapping[str, Any], label_noise: float, noise_kind: str) -> bool:
    """Whether a run with these settings reads the similar classes: by its method, or for its wrong labels."""
    by_method = kd_objective.reads_similar(method, complete(method, parameters))
    return by_method or (label_noise > 0 and noise_kind == "similar")


def require_teachers(config: RunConfig) -> None:
    """`UserError` where there are several teachers and what reads one."""
    num = len(names_of(config.teacher))
    able = [name for name, one in METHODS.items() if one.needs_teacher and not one.one_teacher]
    require(
        num < 2 or not method(config.method).one_teacher,
        f"Method {config.method!r} reads more of its teacher than probabilities, which {num} teachers have no mean of; "
        f"choose one teacher, or one of {', '.join(able)}.",
    )
    require(
        num < 2 or config.weight_by_norm == 0,
        f"weight_by_norm weighs by the feature norms of one teacher, got {num} teachers; leave it out, or choose one.",
    )


def unused(config: RunConfig) -> dict[str, str]:
    """Settings that these other settings leave without effect, and why. Setting one of them is an error."""
    chosen = method(config.method)
    smooths = any(parameter.name.startswith("epsilon") for parameter in parameters(config.method))
    checks = {
        "smoothing": (
            not smooths and config.hard_weight != 0,
            f"{config.method} smooths by its own epsilon" if smooths else "the hard term has weight 0",
        ),
        "hard_weight": (
            chosen.needs_teacher and not weighs_hard(config.method),
            f"{config.method} has hard for it" if chosen.needs_teacher else f"the hard term is all of {config.method}",
        ),
        "weight_by_norm": (
            config.teacher is not None and not chosen.couples_batch,
            f"the loss of {config.method} is of a whole batch and not of its samples"
            if chosen.couples_batch
            else "there is no teacher whose feature norms could weigh",
        ),
        "momentum": (config.optimizer == "sgd", f"{config.optimizer} has none"),
        "nesterov": (config.optimizer == "sgd" and config.momentum > 0, "it belongs to sgd with momentum"),
        "milestones": (config.schedule == "multistep", f"the schedule {config.schedule} has none"),
        "gamma": (config.schedule == "multistep", f"the schedule {config.schedule} has none"),
        "min_lr": (config.schedule == "cosine", f"the schedule {config.schedule} does not end there"),
        "warmup_epochs": (config.schedule != "onecycle", "onecycle warms up over its first 30 %"),
        "decay_norm_and_bias": (config.weight_decay > 0, "there is no weight decay"),
        "freeze": (config.init is not None, "without init the body has nothing to keep"),
        **dict.fromkeys(("trivial_augment", "erasing", "mixup", "cutmix"), (config.augment, "augment is off")),
        "views": (config.augment, "without augmentation there is one view"),
        "view_seed": (config.augment, "without augmentation there is one view"),
        "teacher_outputs": (chosen.needs_teacher, f"{config.method} has no teacher"),
        "noise_kind": (config.label_noise > 0, "label_noise is 0"),
        "similar": (
            reads_similar(config.method, config.parameters, config.label_noise, config.noise_kind),
            f"neither {config.method} nor label noise reads similar classes here",
        ),
    }
    return {name: why for name, (used, why) in checks.items() if not used}
