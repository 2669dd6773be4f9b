"""Comparisons that answer a question. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fnkd_core.errors import require, unknown
from fnkd_core.experiments.plan import Cell, Row, holds_out, read_rows, settings_to_choose


@dataclass(frozen=True)
class Preset:
    """A comparison that answers a question.

    grid: see `plan`. parameters: of the methods that have them, unless something else is asked for. rows: as
    `read_rows` reads them, in place of methods x grid. teachers: architectures trained first, by ce with the first
    seed. generations: students that teach the next student of the same architecture, the first one learning by ce.
    recipe: that the runs begin with, unless another is asked for. at_best: settings at each of whose values a row is
    trained and of which it is shown at the one best on validation (`seeds.at_best`).
    """

    title: str
    question: str
    reading: str
    methods: tuple[str, ...] = ()
    grid: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    rows: tuple[str, ...] = ()
    teachers: tuple[str, ...] = ()
    generations: int = 0
    recipe: str | None = None
    at_best: tuple[str, ...] = ()

    def asked(self, methods: Sequence[str] | None = None) -> tuple[list[str], list[Row]]:
        """The methods of the grid and the rows, of these methods alone where some are named.

        `UserError` where its rows have none of one.
        """
        rows = read_rows(self.rows)
        if not rows or not methods:
            return list(methods or self.methods), rows
        there = dict.fromkeys(name for name, _ in rows)
        for name in methods:
            require(
                name in there, f"This preset has no row of {name!r}, but of {', '.join(there)}; give it as a --row."
            )
        return [], [row for row in rows if row[0] in methods]

    @property
    def more(self) -> dict[str, Any]:
        """What `plan` is given besides methods and grid."""
        return {key: getattr(self, key) for key in ("parameters", "teachers", "generations")}

    def chosen_of(self, cells: Sequence[Cell]) -> list[str]:
        """`at_best` where these cells vary it and hold something out to choose by, else nothing."""
        return [] if self.not_chosen(cells) else list(self.at_best)

    def not_chosen(self, cells: Sequence[Cell]) -> str:
        """Why rows are not shown at their best of `at_best`, in a sentence; empty where they are, or none is asked."""
        what = " and ".join(self.at_best)
        if not set(settings_to_choose(cells)) >= set(self.at_best):
            return f"No row is shown at its best {what}: each is trained at one."
        if self.at_best and not holds_out(cells):
            return f"No row is shown at its best {what}: nothing is held out to choose by."
        return ""


USUAL_METHODS = ("ce", "lsd", "kd", "fn")
"""What is compared where nothing says which."""
FN_WEIGHTS = "hard=1 soft=9 t_squared=false"
"""What makes KD's terms weigh as FN's do."""
FIFTY_LABELS = "per_class=50 epochs=30 lr=0.05 schedule=cosine views=30"
UNIFORM, EITHER = "label_noise=0.4 noise_kind=uniform", "label_noise=0.4 noise_kind=uniform,similar"
FORTY_PHOTOGRAPHS = "freeze=1,4 epochs=4 per_class=40 batch_size=32"

PRESETS: dict[str, Preset] = {
    "one-hot-noise": Preset(
        "One-hot labels as noise",
        "Does giving mass back to other classes help, evenly or to similar ones?",
        "lsd above ce says that one-hot labels cost something; alsd above lsd, that similar classes deserve more.",
        ("ce", "lsd", "alsd"),
    ),
    "norm-accuracy": Preset(
        "Norm against accuracy",
        "Do students with smaller feature norms generalise better?",
        "Points of one method lie together where its norm is its own; a slope over all points is the paper's claim.",
        ("ce", "lsd", "alsd", "kd", "fn"),
    ),
    "fn-kd-he": Preset(
        "FN against KD against HE",
        "Is correcting the norm sample by sample better than one temperature, or than no norm at all?",
        "fn above kd is what each gains as it is used; FN's labels weigh ten times as much, which the preset "
        "temperature-per-sample evens out. he drops the norm and has no teacher.",
        ("ce", "kd", "fn", "he"),
    ),
    "own-best-rate": Preset(
        "Methods at their own best rate",
        "Which method makes the better student where each has the learning rate that suits it?",
        "A method that seems worse may only want another rate; FN breaks at rates where KD is at its best. Each is "
        "shown at its rate that is best on validation. Where that is the first or the last, one beyond may be better. "
        "The rates are of SGD's size: for another optimiser, give the grid others.",
        ("ce", "lsd", "alsd", "kd", "fn", "normkd", "lskd", "dkd", "nkd", "dist", "rld", "wkd", "nd"),
        {"lr": (0.1, 0.2, 0.4)},
        at_best=("lr",),
    ),
    "temperature-per-sample": Preset(
        "What a temperature per sample is worth",
        "With the same weights, does it matter that each sample has a temperature of its own, and whose?",
        "constant is KD and norm is FN, both with FN's weights: norm above constant is what FN's temperatures are "
        "worth, the teacher's and the student's together; with student_norm teacher it is the teacher's alone. std and "
        "max read them from the logits instead of ‖f‖. Their mean is T on the training images as they are; on "
        "augmented ones norms are lower, and so is norm's mean, which results.csv has as temperature.",
        ("ce", "kd"),
        {"policy": ("constant", "norm", "std", "max")},
        {"hard": 1.0, "soft": 9.0, "t_squared": False},
    ),
    "short-runs": Preset(
        "Short runs, and what of FN helps",
        "In fifteen epochs, which method makes the better student, and what is it of FN that does?",
        "norm, which is fn, above constant, both with FN's weights, is what FN's temperatures are worth; with "
        "student_norm teacher it is the teacher's alone. T 3.54 and student_T 2.5 are constants as low as norm's mean "
        "came to on CIFAR-100, soft 18 gives constant the soft term's share of the gradient that norm has. A method "
        "that stands alone is as it is used, at the recipe's rate, which need not be its best. What came out there is "
        "in docs/results/cifar100-15.md.",
        rows=(
            f"kd policy=norm lr=0.2,0.1 {FN_WEIGHTS}",
            f"kd policy=constant lr=0.2,0.1,0.4 {FN_WEIGHTS}",
            f"kd policy=norm student_norm=teacher {FN_WEIGHTS}",
            f"kd policy=constant T=3.54 {FN_WEIGHTS}",
            f"kd policy=constant student_T=2.5 {FN_WEIGHTS}",
            "kd policy=constant hard=1 soft=18 t_squared=false",
            *("kd lr=0.2,0.1,0.4", "dkd lr=0.2,0.1,0.4", "dkd policy=norm lr=0.1"),
            *("nd lr=0.2,0.1,0.4", "lskd lr=0.2,0.1,0.4", "normkd lr=0.2,0.4,0.1", "wkd lr=0.2,0.1,0.4"),
            *("rld lr=0.2,0.1,0.4", "dist lr=0.2,0.1,0.4"),
            *("fn tau=2", "fn variant=released", "fn variant=released tau=2"),
            *("alsd lr=0.2,0.1,0.4", "lsd lr=0.2,0.1,0.4", "ce lr=0.2,0.1,0.4"),
        ),
        recipe="short",
    ),
    "shortest-runs": Preset(
        "Four epochs, and what of FN helps",
        "In four epochs, which method makes the better student at which rate, and what is it of FN that does?",
        "norm, which is fn, above constant, both with FN's weights, is what FN's temperatures are worth; constant with "
        "student_T 2.3, T 3.54 or soft 18 is what a lower temperature or a heavier term is worth without them. What "
        "came out on CIFAR-100 is in docs/results/cifar100-short.md.",
        rows=(
            f"kd policy=norm lr=0.1,0.2,0.4 {FN_WEIGHTS}",
            f"kd policy=constant lr=0.1,0.2,0.4 {FN_WEIGHTS}",
            f"kd policy=std,max {FN_WEIGHTS}",
            f"kd policy=constant T=3.54 {FN_WEIGHTS}",
            f"kd policy=constant student_T=2.3 {FN_WEIGHTS}",
            "kd policy=constant hard=1 soft=18 t_squared=false",
            "kd policy=norm hard=1 soft=16 t_squared=false",
            *(f"{name} lr=0.1,0.2,0.4" for name in ("kd", "wkd", "lskd", "nd", "nkd", "normkd", "rld", "dist")),
            *("dkd lr=0.05,0.1,0.2,0.4", "dkd policy=norm lr=0.05,0.1,0.2"),
            *(f"{name} lr=0.1,0.2,0.4" for name in ("ce", "lsd", "alsd")),
        ),
        recipe="shortest",
    ),
    "wrong-labels": Preset(
        "Wrong labels, and what of FN helps",
        "With 40 % of the labels wrong, is what FN gains a lower temperature, or a heavier soft term?",
        "norm is fn and constant is kd with FN's weights; constant with student_T 1.17 has the temperature that the "
        "student's norm came to on CIFAR-100, soft 35 its soft term's share of the gradient. What came out there is in "
        "docs/results/cifar100-label-noise.md.",
        rows=(
            f"kd policy=norm,constant {EITHER} {FN_WEIGHTS}",
            f"kd {EITHER}",
            f"ce {EITHER}",
            f"kd policy=constant student_T=1.17 {UNIFORM} {FN_WEIGHTS}",
            f"kd policy=constant {UNIFORM} hard=1 soft=35 t_squared=false",
        ),
        recipe="shortest",
    ),
    "flat-temperature": Preset(
        "How flat is the optimum of T?",
        "With fifty labels a class, what do twice and half the temperature cost KD and FN?",
        "norm is fn and constant is kd, with the same weights and mean temperature. What came out on CIFAR-100 is in "
        "docs/results/cifar100-few-labels.md.",
        rows=(f"kd policy=norm,constant T=4,2,8 {FN_WEIGHTS} {FIFTY_LABELS}",),
        recipe="short",
    ),
    "half-and-twice": Preset(
        "Half and twice the temperature",
        "How flat is each method's optimum: what do half and twice its usual temperature cost?",
        "Rows of one method that lie within chance say that its T hardly matters there. What came out on digits is in "
        "docs/results/digits-flat.md, of some of them on CIFAR-100 with the recipe shortest in "
        "docs/results/cifar100-flat.md.",
        rows=(
            *(f"{name} T=2,4,8" for name in ("kd", "dkd", "rld", "nd", "skd", "dtkd", "dkd policy=norm")),
            f"kd policy=norm,constant T=2,4,8 {FN_WEIGHTS}",
            *("nkd T=0.5,1,2", "dist T=0.5,1,2", "lskd T=1,2,4", "normkd t=1,2,4", "wttm T=2.5,5,10", "wkd T=4,8,16"),
        ),
    ),
    "fine-tuning": Preset(
        "From pretrained weights",
        "With forty photographs a class, does a teacher help a student that begins with pretrained weights?",
        "freeze 4 trains the head alone, freeze 1 all of it from the second epoch on; norm is fn, constant is kd with "
        "FN's weights. What came out on Imagewoof is in docs/results/imagewoof.md.",
        rows=(f"kd policy=norm,constant {FN_WEIGHTS} {FORTY_PHOTOGRAPHS}", f"ce {FORTY_PHOTOGRAPHS}"),
        recipe="finetune",
    ),
    "teacher-size": Preset(
        "Teacher size",
        "Does a larger teacher make a better student?",
        "A student that falls as its teacher grows shows the capacity gap; FN is said to suffer less from it.",
        ("kd", "fn"),
        teachers=("cifar_resnet8", "cifar_resnet20", "cifar_resnet56"),
    ),
    "self-distillation": Preset(
        "Self-distillation",
        "Does a student taught by its own twin become better, and its student again?",
        "Each generation is taught by the one before. Gains usually end after one or two.",
        ("kd", "fn"),
        generations=3,
    ),
    "few-labels": Preset(
        "Few labels",
        "Which method gains most where labels are few?",
        "The teacher has seen all labels, so its advantage over ce is largest where the student has the fewest.",
        ("ce", "lsd", "kd", "fn"),
        {"per_class": (5, 10, 50)},
    ),
    "label-noise": Preset(
        "Wrong labels",
        "Which method bears wrong labels best?",
        "The slope from 10 to 40 % matters more than the level. The teacher was not trained on the wrong labels.",
        ("ce", "lsd", "kd", "fn"),
        {"label_noise": (0.0, 0.1, 0.2, 0.3, 0.4), "noise_kind": ("uniform", "similar")},
    ),
}


def preset(name: str) -> Preset:
    """The preset of this name. `UserError` lists those there are."""
    if name not in PRESETS:
        raise unknown("preset", name, sorted(PRESETS), "fnkd compare --help")
    return PRESETS[name]
