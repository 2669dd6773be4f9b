"""A field for each setting of a run, on the Distill page. Their keys are the settings' names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args, get_type_hints

import streamlit as st

from fnkd_core.data import DatasetInfo
from fnkd_core.data.selections import list_selections
from fnkd_core.data.similar import SOURCES
from fnkd_core.errors import UserError
from fnkd_core.kd.methods import METHODS
from fnkd_core.training.config import (
    USUAL_LR,
    RunConfig,
    reads_similar,
    unused,
)
from fnkd_core.training.described import SETTINGS
from fnkd_core.training.events import INSTALL, has_tensorboard
from fnkd_core.training.recipes import OF_STEPS, OF_VIEWS, OF_WEIGHTS, probe
from fnkd_core.ui import inputs
from fnkd_core.ui.markdown import literal
from fnkd_core.ui.view import View
from fnkd_core.wording import items

DEFAULTS, HINTS = RunConfig(), get_type_hints(RunConfig)
SWITCHES = {name for name, hint in HINTS.items() if hint is bool}
ELSEWHERE = ("dataset", "data_root", "labels", "method", "parameters", "teacher", "image_size", "similar")
"""Settings that the sidebar and the method's own part of the form decide, or that not every run has."""
IMAGES, STEPS, VIEWS = "Images and labels", "Optimiser and schedule", "Views and loss"
START, MACHINE = "Start from other weights", "Machine and records"
OF_SELECTIONS = ("only", "exclude", "relabel")
_OF_LOSS = ("smoothing", "hard_weight", "weight_by_norm")
_ABOVE = ("student", "name", "epochs", "batch_size", "lr", "seed")
GROUPS: dict[str, tuple[str, ...]] = {
    IMAGES: ("validation", "per_class", "label_noise", "noise_kind", *OF_SELECTIONS),
    STEPS: (
        "optimizer", "schedule", "warmup_epochs", "momentum", "weight_decay", "decay_norm_and_bias", "nesterov",
        "milestones", "gamma", *(name for name in OF_STEPS if name not in _OF_LOSS),
    ),
    VIEWS: ("augment", "teacher_outputs", "views", "view_seed", *OF_VIEWS, *_OF_LOSS),
    START: OF_WEIGHTS,
}  # fmt: skip
"""The expanders, and the settings of each; the last has those that have no other place."""
_PLACED = {*_ABOVE, *ELSEWHERE, *(name for names in GROUPS.values() for name in names)}
GROUPS[MACHINE] = tuple(name for name in HINTS if name not in _PLACED)
LABELS = {
    "per_class": "Images per class",
    "noise_kind": "Wrong labels",
    "only": "Train only on",
    "exclude": "Leave out",
    "relabel": "New labels from",
    "optimizer": "Optimiser",
    "warmup_epochs": "Warm-up epochs",
    "decay_norm_and_bias": "Decay norms and biases",
    "min_lr": "Least lr",
    "body_lr": "Body lr",
    "ema": "EMA",
    "teacher_outputs": "Ask the teacher",
    "trivial_augment": "TrivialAugment",
    "cutmix": "CutMix",
    "tensorboard": "Write for TensorBoard",
    "keep_epochs": "Keep every epoch's norms",
}
CHOICES = {"live": "at every step", "cached": "once for each view"}
"""Choices that are said in other words."""
BOUNDS: dict[str, tuple[float | None, float | None]] = {
    "per_class": (1, None), "label_noise": (0.0, 0.9999), "momentum": (0.0, 0.9999), "weight_decay": (0.0, None),
    "warmup_epochs": (0.0, None), "devices": (1, 4096), "threads": (0, 4096), "views": (0, 10**6),
}  # fmt: skip
"""Of numbers; else whole ones are at least 0."""
OPEN = {"hard_weight": "own", "per_class": "all", "view_seed": "auto"}
"""What an empty field stands for."""
FIELD = 128
"""Pixels of a field's width, in which its name can be read."""
KEEP: dict[str, Any] = {"persist_state": "session"}


def key_of(name: str) -> str:
    """The key of a setting's widget."""
    return f"set {name}"


def as_typed(name: str, value: Any, optimizer: str) -> Any:
    """A setting as its widget holds it. optimizer: the run's, whose usual learning rate is an empty field."""
    if name == "lr" and value in (0, USUAL_LR.get(optimizer)):
        return None
    if name in ("name", "init", *OF_SELECTIONS):
        return value or ""
    return ", ".join(f"{x:g}" for x in value) if isinstance(value, list | tuple) else value


@st.cache_resource(show_spinner="Listing architectures")
def architectures(smallest: int) -> tuple[str, ...]:
    """Architectures that can be trained on images whose shorter side has so many pixels."""
    from fnkd_core.models.architecture import CIFAR_RESNETS, list_architectures

    # torchvision's networks halve an image five times and more; at 8 pixels nothing is left.
    return tuple(list_architectures() if smallest >= 32 else CIFAR_RESNETS)


def settings_form(view: View, method: str, values: Mapping[str, Any], learns_from: str | None) -> dict[str, Any]:
    """Student and training settings; the rare ones are folded away. values: the method's parameters. learns_from: the
    run's teacher."""
    run = {"method": method, "parameters": values, "teacher": learns_from}
    teacher = view.teacher if METHODS[method].needs_teacher else None
    info = teacher.card.read_as(view.info) if teacher and teacher.card else view.info
    options = architectures(min(info.image[1:]))
    if st.session_state.get(key_of("student")) not in options:
        st.session_state.pop(key_of("student"), None)  # a choice for images of another size
    a, b = st.columns(2)
    student = inputs.on(a).selectbox(
        "Student", options, key=key_of("student"), help="The architecture to train.", **KEEP
    )
    name = inputs.on(b).text_input(
        "Name", placeholder="optional", key=key_of("name"), help="What the student is called.", **KEEP
    )
    a, b, c, d = st.columns(4, vertical_alignment="bottom")
    optimizer = st.session_state.get(key_of("optimizer"), DEFAULTS.optimizer)
    chosen: dict[str, Any] = {
        "student": student,
        "name": name.strip() or None,
        "epochs": inputs.on(a).number_input("Epochs", 1, 10**6, DEFAULTS.epochs, key=key_of("epochs"), **KEEP),
        "batch_size": inputs.on(b).number_input(
            "Batch size", 2, 10**6, DEFAULTS.batch_size, key=key_of("batch_size"), **KEEP
        ),
        "lr": inputs.on(c).number_input(
            "Learning rate",
            0.0,
            None,
            None,
            format="%.4g",
            placeholder=f"{USUAL_LR[optimizer]:g}",
            key=key_of("lr"),
            **KEEP,
        )
        or 0.0,
        "seed": inputs.on(d).number_input("Seed", 0, 2**53 - 1, DEFAULTS.seed, key=key_of("seed"), **KEEP),
    }
    for title, names in GROUPS.items():
        with st.expander(title):
            if title == IMAGES:
                chosen |= _images(view, info, chosen, run)
            elif title == START:
                chosen["init"] = init_field(view, info, student, key_of("init"))
            rest = [name for name in names if name not in chosen]
            chosen |= fields([name for name in rest if name not in SWITCHES], chosen, run)
            chosen |= fields([name for name in rest if name in SWITCHES], chosen, run)
    return chosen


def _images(view: View, info: DatasetInfo, chosen: dict[str, Any], run: dict[str, Any]) -> dict[str, Any]:
    """On which images it trains, with which labels; of `chosen` and `run`, see `fields`."""
    found: dict[str, Any] = {"validation": validation_field(info)}
    found |= fields(("per_class", "label_noise", "noise_kind"), chosen, run)
    if reads_similar(run["method"], run["parameters"], found["label_noise"], found["noise_kind"]):
        similar = ["auto", *SOURCES]
        text = "Shown and changed on Similar classes. Also the path of a CSV with the columns class and group."
        found["similar"] = inputs.on().selectbox(
            "Similar classes", similar, accept_new_options=True, help=text, key=key_of("similar"), **KEEP
        )
    if info.resizable:
        text = "Pixels a side that the student reads; by default the teacher's, which keeps its own, or what suits "
        text += "the data."
        placeholder = str(info.image[1])
        found["image_size"] = inputs.on().number_input(
            "Image size", 4, 1024, None, placeholder=placeholder, help=text, key=key_of("image_size"), **KEEP
        )
    saved, _ = list_selections()
    names = [one.name for one in saved if (one.dataset, one.split) == (view.info.name, "train")]
    for column, name in zip(st.columns(3), OF_SELECTIONS, strict=True):
        one = inputs.on(column).selectbox(
            LABELS[name], ["", *names], format_func=lambda one: literal(one) or "none", accept_new_options=True,
            help=literal(sentence(SETTINGS[name])), key=key_of(name), **KEEP,
        )  # fmt: skip
        found[name] = one or None
    return found


def init_field(view: View, info: DatasetInfo, student: str, key: str) -> str | None:
    """The checkpoint that the student starts from: one of its architecture, or any other name."""
    cards = [entry.card for entry in view.offered if entry.card is not None]
    built = {"name": student, "in_channels": info.image[0]}
    known = [e.name for e in view.offered if e.card and all(e.card.architecture.get(k) == v for k, v in built.items())]
    text = f"Checkpoints that are a {student}, {len(known)} of {len(cards)} that are offered. "
    text += "Where its classes are others, the student's head is new."
    chosen: str | None = inputs.on().selectbox(
        "Start from", ["", *known], format_func=lambda name: literal(name) or "random weights",
        accept_new_options=True, help=literal(text), key=key, **KEEP,
    )  # fmt: skip
    return chosen or None


def fields(names: Sequence[str], chosen: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """A field for each of these settings, by its kind; shut where it has no effect. own: what else the run is."""
    # A switch may stand below what it leaves without effect.
    held = {name: key for name in SWITCHES if (key := key_of(name)) in st.session_state}
    known = {name: st.session_state[key] for name, key in held.items()} | chosen | own
    now = probe(known)
    found: dict[str, Any] = {}
    beside = st.container(horizontal=True, vertical_alignment="bottom")  # as many in a row as have room
    for name in names:
        why = unused(now).get(name)
        if name == "tensorboard" and not has_tensorboard():
            why = f"it needs `{INSTALL}`"
        with beside.container(width="content" if name in SWITCHES else FIELD):
            value = plain_field(name, HINTS[name], why)
        found[name] = getattr(DEFAULTS, name) if why else value
        now = probe(known | found)
    return found


def sentence(text: str) -> str:
    """The words as a sentence."""
    return f"{text[:1].upper()}{text[1:]}."


def plain_field(name: str, hint: Any, why: str | None) -> Any:
    """The widget that suits a setting's type. why: what leaves it without effect, if something does."""
    label, default = literal(LABELS.get(name, name.replace("_", " ").capitalize())), getattr(DEFAULTS, name)
    shared: dict[str, Any] = {
        "key": key_of(name),
        "disabled": bool(why),
        "help": f"Shut: {literal(why)}." if why else literal(sentence(SETTINGS[name])),
    } | KEEP
    if hint is bool:
        return inputs.on().toggle(label, default, **shared)
    if choices := get_args(hint):
        if all(isinstance(choice, str) for choice in choices):
            return inputs.on().selectbox(
                label, choices, choices.index(default), format_func=lambda one: CHOICES.get(one, one), **shared
            )
        if hint == tuple[float, ...]:
            text = inputs.on().text_input(label, ", ".join(f"{x:g}" for x in default), **shared)
            try:
                return tuple(float(item) for item in items(text))
            except ValueError:
                raise UserError(f"{name} must be numbers with commas between, got {text!r}.") from None
    whole = int in (hint, *get_args(hint))
    if whole or float in (hint, *get_args(hint)):
        low, high = BOUNDS.get(name, (0 if whole else None, None))
        shared |= {"min_value": low, "max_value": high, "placeholder": OPEN.get(name)}
        return inputs.on().number_input(label, value=default, format=None if whole else "%.4g", **shared)
    return inputs.on().text_input(label, default or "", **shared) or default


def validation_field(info: DatasetInfo) -> float:
    """How much is held out to choose the best epoch by."""
    if "validation" in info.splits:
        text = "Off: nothing is chosen, and the validation split is trained on as well."
        key = key_of("validation split")
        choose = inputs.on().toggle("Choose the best epoch on the validation split", True, help=text, key=key, **KEEP)
        return DEFAULTS.validation if choose else 0.0
    text = "Share of each class of the training split that chooses the best epoch; the test split never does. "
    text += "0: nothing is held out and nothing chosen."
    held: float = inputs.on().number_input(
        "Held out for validation", 0.0, 0.5, DEFAULTS.validation, 0.05, help=text, key=key_of("validation"),
        **KEEP,
    )  # fmt: skip
    return held
