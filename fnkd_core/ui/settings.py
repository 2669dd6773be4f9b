"""A field for each setting of a run, on the Distill page. Their keys are the settings' names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args, get_type_hints

import streamlit as st

from fnkd_core.data import DatasetInfo
from fnkd_core.data.similar import SOURCES
from fnkd_core.errors import UserError
from fnkd_core.kd.methods import METHODS
from fnkd_core.lists import items
from fnkd_core.training.config import (
    USUAL_LR,
    NoiseKind,
    Optimizer,
    Precision,
    RunConfig,
    Schedule,
    reads_similar,
    unused,
)
from fnkd_core.training.described import SETTINGS
from fnkd_core.training.events import INSTALL, has_tensorboard
from fnkd_core.training.recipes import OF_STEPS, OF_VIEWS, OF_WEIGHTS, probe
from fnkd_core.ui.markdown import literal
from fnkd_core.ui.view import View

DEFAULTS = RunConfig()
ELSEWHERE = ("dataset", "data_root", "labels", "method", "parameters", "teacher", "image_size", "similar")
"""Settings that the sidebar and the method's own part of the form decide, or that not every run has."""
START = "Start from other weights"
GROUPS = {"Views and regularisation": (*OF_VIEWS, *OF_STEPS), START: OF_WEIGHTS}
"""Settings that have an expander of their own, by its title."""
LABELS = {
    "trivial_augment": "TrivialAugment",
    "cutmix": "CutMix",
    "ema": "EMA",
    "min_lr": "Least lr",
    "body_lr": "Body lr",
}
OPEN = {"hard_weight": "own"}
"""What an empty field stands for."""
KEEP: dict[str, Any] = {"persist_state": "session"}


def key_of(name: str) -> str:
    """The key of a setting's widget."""
    return f"set {name}"


def as_typed(name: str, value: Any, optimizer: str) -> Any:
    """A setting as its widget holds it. optimizer: the run's, whose usual learning rate is an empty field."""
    if name == "lr" and value in (0, USUAL_LR.get(optimizer)):
        return None
    if name in ("name", "only", "exclude", "relabel", "init"):
        return value or ""
    return ", ".join(f"{x:g}" for x in value) if isinstance(value, list | tuple) else value


@st.cache_data(show_spinner="Listing architectures")
def architectures(smallest: int) -> list[str]:
    """Architectures that can be trained on images whose shorter side has so many pixels."""
    from fnkd_core.models.architecture import CIFAR_RESNETS, list_architectures

    # torchvision's networks halve an image five times and more; at 8 pixels nothing is left.
    return list_architectures() if smallest >= 32 else list(CIFAR_RESNETS)


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
    student = a.selectbox("Student", options, key=key_of("student"), help="The architecture to train.", **KEEP)
    name = b.text_input("Name", placeholder="optional", key=key_of("name"), help="What the student is called.", **KEEP)
    a, b, c, d = st.columns(4, vertical_alignment="bottom")
    optimizer = st.session_state.get(key_of("optimizer"), DEFAULTS.optimizer)
    chosen: dict[str, Any] = {
        "student": student,
        "name": name.strip() or None,
        "epochs": a.number_input("Epochs", 1, 10**6, DEFAULTS.epochs, key=key_of("epochs"), **KEEP),
        "batch_size": b.number_input("Batch size", 2, 10**6, DEFAULTS.batch_size, key=key_of("batch_size"), **KEEP),
        "lr": c.number_input(
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
        "seed": d.number_input("Seed", 0, 2**53 - 1, DEFAULTS.seed, key=key_of("seed"), **KEEP),
    }
    with st.expander("More settings"):
        a, b, c = st.columns(3)
        chosen["optimizer"] = a.selectbox("Optimiser", get_args(Optimizer), key=key_of("optimizer"), **KEEP)
        chosen["schedule"] = b.selectbox("Schedule", get_args(Schedule), key=key_of("schedule"), **KEEP)
        own = chosen["schedule"] == "onecycle"
        text = "Of epochs over which the rate rises. One-cycle warms up by itself." if own else None
        warmup = c.number_input(
            "Warm-up epochs",
            0.0,
            None,
            DEFAULTS.warmup_epochs,
            help=text,
            disabled=own,
            key=key_of("warmup_epochs"),
            **KEEP,
        )
        chosen["warmup_epochs"] = DEFAULTS.warmup_epochs if own else warmup
        a, b, c = st.columns(3)
        plain = chosen["optimizer"] != "sgd"
        momentum = a.number_input(
            "Momentum", 0.0, 0.9999, DEFAULTS.momentum, disabled=plain, help="Of SGD.", key=key_of("momentum"), **KEEP
        )
        chosen["momentum"] = DEFAULTS.momentum if plain else momentum
        decay = b.number_input(
            "Weight decay", 0.0, None, DEFAULTS.weight_decay, format="%.2e", key=key_of("weight_decay"), **KEEP
        )
        chosen["weight_decay"] = decay
        chosen["precision"] = c.selectbox("Precision", get_args(Precision), key=key_of("precision"), **KEEP)
        a, b, c = st.columns(3, vertical_alignment="bottom")
        chosen["augment"] = a.toggle(
            "Augment",
            DEFAULTS.augment,
            help="Random shifts, from 96 pixels on random crops, and flips where allowed.",
            key=key_of("augment"),
            **KEEP,
        )
        everywhere = b.toggle(
            "Decay norms and biases",
            DEFAULTS.decay_norm_and_bias,
            disabled=not decay,
            key=key_of("decay_norm_and_bias"),
            **KEEP,
        )
        chosen["decay_norm_and_bias"] = everywhere or not decay
        chosen["threads"] = c.number_input(
            "Threads", 0, 4096, DEFAULTS.threads, help="0 leaves torch's choice.", key=key_of("threads"), **KEEP
        )
        chosen |= views_form(METHODS[method].needs_teacher, chosen["augment"])
        chosen["validation"] = validation_field(info)
        can = has_tensorboard()
        text = "Event files in the run's folder, for TensorBoard." + ("" if can else f" Needs `{INSTALL}`.")
        chosen["tensorboard"] = (
            st.toggle("Write for TensorBoard", disabled=not can, help=text, key=key_of("tensorboard"), **KEEP) and can
        )
        text = "Norm, p of the label and prediction of each training sample in every epoch, for Norms to show. "
        text += "6 bytes a sample and epoch; no image is looked at once more."
        chosen["keep_epochs"] = st.toggle("Keep every epoch's norms", help=text, key=key_of("keep_epochs"), **KEEP)
        a, b, c = st.columns(3)
        text = "Train on this many images of each class only, drawn by the seed."
        per_class = a.number_input(
            "Images per class", 1, None, None, placeholder="all", help=text, key=key_of("per_class"), **KEEP
        )
        chosen["per_class"] = per_class
        text = "Share of training labels that are replaced by wrong ones, to see which method bears it."
        noise = b.number_input("Label noise", 0.0, 0.9999, 0.0, 0.1, help=text, key=key_of("label_noise"), **KEEP)
        chosen["label_noise"] = noise
        if info.resizable:
            text = "Pixels a side that the student reads; by default the teacher's, which keeps its own, or what suits "
            text += "the data."
            placeholder = str(info.image[1])
            size = st.number_input(
                "Image size", 4, 1024, None, placeholder=placeholder, help=text, key=key_of("image_size"), **KEEP
            )
            chosen["image_size"] = size
        kinds = get_args(NoiseKind)
        kind = c.selectbox("Wrong labels", kinds, disabled=not noise, key=key_of("noise_kind"), **KEEP)
        chosen["noise_kind"] = kind if noise else DEFAULTS.noise_kind
        if reads_similar(method, values, noise, chosen["noise_kind"]):
            similar = ["auto", *SOURCES]
            text = "Shown and changed on Similar classes. Also the path of a CSV with the columns class and group."
            chosen["similar"] = st.selectbox(
                "Similar classes", similar, accept_new_options=True, help=text, key=key_of("similar"), **KEEP
            )
        grouped = {name for names in GROUPS.values() for name in names}
        names = [name for name in get_type_hints(RunConfig) if name not in (*chosen, *ELSEWHERE, *grouped)]
        chosen |= fields(names, chosen, run)
    for title, group in GROUPS.items():
        with st.expander(title):
            if title == START:
                chosen["init"] = init_field(view, info, student, key_of("init"))
            switches = [name for name in group if isinstance(getattr(DEFAULTS, name), bool)]
            chosen |= fields(switches, chosen, run, columns=1)
            chosen |= fields([name for name in group if name not in chosen], chosen, run, columns=2)
    return chosen


def init_field(view: View, info: DatasetInfo, student: str, key: str) -> str | None:
    """The checkpoint that the student starts from: one of its architecture, or any other name."""
    cards = [entry.card for entry in view.offered if entry.card is not None]
    built = {"name": student, "in_channels": info.image[0]}
    known = [e.name for e in view.offered if e.card and all(e.card.architecture.get(k) == v for k, v in built.items())]
    text = f"Checkpoints that are a {student}, {len(known)} of {len(cards)} that are offered. "
    text += "Where its classes are others, the student's head is new."
    chosen: str | None = st.selectbox(
        "Start from", ["", *known], format_func=lambda name: literal(name) or "random weights",
        accept_new_options=True, help=literal(text), key=key, **KEEP,
    )  # fmt: skip
    return chosen or None


def fields(names: Sequence[str], chosen: dict[str, Any], own: dict[str, Any], columns: int = 3) -> dict[str, Any]:
    """A field for each of these settings, by its kind; shut where it has no effect. own: what else the run is."""
    hints = get_type_hints(RunConfig)
    now = probe(chosen | own)
    found: dict[str, Any] = {}
    for row in range(0, len(names), columns):
        beside = st.columns(columns, vertical_alignment="bottom")
        for column, name in zip(beside, names[row : row + columns], strict=False):
            why = unused(now).get(name)
            with column:
                value = plain_field(name, hints[name], why)
            found[name] = getattr(DEFAULTS, name) if why else value
            now = probe(chosen | found | own)
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
        return st.toggle(label, default, **shared)
    if choices := get_args(hint):
        if all(isinstance(choice, str) for choice in choices):
            return st.selectbox(label, choices, index=choices.index(default), **shared)
        if hint == tuple[float, ...]:
            text = st.text_input(label, ", ".join(f"{x:g}" for x in default), **shared)
            try:
                return tuple(float(item) for item in items(text))
            except ValueError:
                raise UserError(f"{name} must be numbers with commas between, got {text!r}.") from None
    if int in (hint, *get_args(hint)):
        return st.number_input(label, 0, None, default, **shared)
    if float in (hint, *get_args(hint)):
        return st.number_input(label, None, None, default, format="%.4g", placeholder=OPEN.get(name), **shared)
    return st.text_input(label, default or "", **shared) or default


def views_form(has_teacher: bool, augment: bool) -> dict[str, Any]:
    """How the teacher is asked, how many views of each image there are, and on how many devices the run is."""
    a, b, c = st.columns(3)
    ways = {"live": "at every step", "cached": "once for each view"}
    text = "Once for each view: kept on the disk for all runs with this teacher and these images; steps are faster."
    key = key_of("teacher_outputs")
    outputs = a.selectbox(
        "Ask the teacher", list(ways), format_func=ways.__getitem__, disabled=not has_teacher, help=text, key=key,
        **KEEP,
    )  # fmt: skip
    text = "Distinct augmented views of each image, seen in turn; 0 is a new one every epoch."
    key = key_of("views")
    views = b.number_input("Views", 0, 10**6, DEFAULTS.views, disabled=not augment, help=text, key=key, **KEEP)
    text = "Processes that share the run, each with its part of every batch; more than one are started by torchrun."
    devices = c.number_input("Devices", 1, 4096, DEFAULTS.devices, help=text, key=key_of("devices"), **KEEP)
    return {
        "teacher_outputs": outputs if has_teacher else DEFAULTS.teacher_outputs,
        "views": views if augment else DEFAULTS.views,
        "devices": devices,
    }


def validation_field(info: DatasetInfo) -> float:
    """How much is held out to choose the best epoch by."""
    if "validation" in info.splits:
        text = "Off: nothing is chosen, and the validation split is trained on as well."
        key = key_of("validation split")
        choose = st.toggle("Choose the best epoch on the validation split", True, help=text, key=key, **KEEP)
        return DEFAULTS.validation if choose else 0.0
    text = "Share of each class of the training split that chooses the best epoch; the test split never does. "
    text += "0: nothing is held out and nothing chosen."
    held: float = st.number_input(
        "Held out for validation", 0.0, 0.5, DEFAULTS.validation, 0.05, help=text, key=key_of("validation"),
        **KEEP,
    )  # fmt: skip
    return held
