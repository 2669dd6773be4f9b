"""The form of the Distill page, made from the methods' own parameters."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any, get_args

import streamlit as st

from fnkd_core.checkpoints.library import Entry
from fnkd_core.data import DatasetInfo
from fnkd_core.data.catalogue import NEED_ROOT
from fnkd_core.data.similar import SOURCES
from fnkd_core.errors import Damaged, UserError
from fnkd_core.kd.methods import METHODS
from fnkd_core.kd.objective import parameters
from fnkd_core.kd.parameters import Parameter
from fnkd_core.stores.store import open_store
from fnkd_core.training.config import USUAL_LR, NoiseKind, Optimizer, Precision, RunConfig, Schedule, reads_similar
from fnkd_core.ui import guard
from fnkd_core.ui.frame import NONE, View
from fnkd_core.ui.markdown import literal

DEFAULTS = RunConfig()
FROM_LAB = {"kd T": "t", "fn tau": "tau", "fn lambda": "lambda", "fn variant": "variant"}
"""Field -> the value of Soft targets that it can be given."""
TAKERS = ("kd", "fn")


def run_form(view: View) -> RunConfig | None:
    """The configuration that the form describes, or None with a line that says what is wrong with it."""
    names = list(METHODS)
    method = st.selectbox(
        "Method",
        names,
        index=names.index("fn" if view.teacher else "ce"),
        format_func=lambda name: f"{name}: {METHODS[name].title}",
        key="method",
        persist_state="session",
    )
    chosen = METHODS[method]
    st.caption(f"{chosen.summary} {chosen.source}.")
    st.latex(rf"\footnotesize {chosen.formula}")
    teacher = view.teacher.name if view.teacher and chosen.needs_teacher else None
    if chosen.needs_teacher:
        st.markdown(f"Teacher: **{literal(teacher or NONE)}** (chosen in the sidebar)")
    values = method_form(method, view)
    settings = settings_form(view, method)
    try:
        return RunConfig(
            dataset=view.info.name,
            data_root=view.info.root if view.info.name in NEED_ROOT else None,
            labels=view.info.label_space if len(view.info.label_spaces) > 1 else None,
            method=method,
            parameters=values,
            teacher=teacher,
            **settings,
        )
    except UserError as error:
        guard.say(error)
        return None


def method_form(method: str, view: View) -> dict[str, Any]:
    """A field for each parameter of the method; those that are left open are not in the answer."""
    fields = parameters(method)
    if not fields:
        return {}
    mean = mean_norm(view.teacher, view.info)
    values: dict[str, Any] = {}
    for row in range(0, len(fields), 2):
        for column, parameter in zip(st.columns(2), fields[row : row + 2], strict=False):
            with column:
                value = field(method, parameter, mean)
                if value is not None:
                    values[parameter.name] = value
    where_from(method)
    return values


def take_over(values: Mapping[str, Any]) -> None:
    """Give the values of Soft targets to kd's and fn's fields, and choose fn unless one of the two is chosen.

    Nothing but this, the user, and the way back changes a field of the form.
    """
    taken = {key: values[name] for key, name in FROM_LAB.items()}
    st.session_state.update(taken)
    st.session_state["taken over"] = taken
    if st.session_state.get("method") not in TAKERS:
        st.session_state["method"] = "fn"


def where_from(method: str) -> None:
    """Which fields still hold the values of Soft targets, and the way back."""
    taken: dict[str, Any] = st.session_state.get("taken over", {}) if method in TAKERS else {}
    names = [key.split()[1] for key, value in taken.items() if st.session_state.get(key) == value]
    if not names:
        return
    listed = " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(f"{literal(listed)} {'are' if len(names) > 1 else 'is'} from Soft targets.", width="content")
        back = guard.callback(_back_to_defaults, writes=False)
        st.button("Back to the defaults", type="tertiary", icon=":material/undo:", on_click=back)


def _back_to_defaults() -> None:
    for method in TAKERS:
        st.session_state.update({f"{method} {p.name}": p.default for p in parameters(method)})
    del st.session_state["taken over"]


def field(method: str, parameter: Parameter, mean: float | None) -> Any:
    """The widget that suits a parameter's kind."""
    key, name, default = f"{method} {parameter.name}", parameter.name, parameter.default
    shared: dict[str, Any] = {"help": parameter.help, "key": key, "persist_state": "session"}
    if parameter.kind == "bool":
        return st.toggle(literal(name), default, **shared)
    if parameter.kind == "choice":
        return st.selectbox(literal(name), parameter.choices, index=parameter.choices.index(default), **shared)
    bounds = parameter.range
    share = bounds.mean_norm_share if bounds else None
    hint = f"auto: {share * mean:.3g}" if share and mean else "auto"
    return st.number_input(
        literal(name),
        min_value=float(bounds.low) if bounds and bounds.low is not None else None,
        max_value=float(bounds.high) if bounds and bounds.high is not None else None,
        value=None if default is None else float(default),
        step=float(bounds.step) if bounds and bounds.step else None,
        format="%.4g",
        placeholder=hint,
        **shared,
    )


def mean_norm(teacher: Entry | None, info: DatasetInfo) -> float | None:
    """The teacher's mean ||f||: of the training split where it is extracted, else of its card's test split."""
    if teacher is None or teacher.card is None:
        return None
    for split in info.splits:
        store = open_store(teacher, info, split)
        if store is not None:
            with contextlib.suppress(Damaged):  # where its outputs are looked at it is said
                return float(store.manifest["norm"]["mean"])
    return teacher.card.metrics.get("last", {}).get("norm")


@st.cache_data(show_spinner="Listing architectures")
def architectures(smallest: int) -> list[str]:
    """Architectures that can be trained on images whose shorter side has so many pixels."""
    from fnkd_core.models.architecture import CIFAR_RESNETS, list_architectures

    # torchvision's networks halve an image five times and more; at 8 pixels nothing is left.
    return list_architectures() if smallest >= 32 else list(CIFAR_RESNETS)


def settings_form(view: View, method: str) -> dict[str, Any]:
    """Student and training settings; the rare ones are folded away."""
    teacher = view.teacher if METHODS[method].needs_teacher else None
    info = teacher.card.read_as(view.info) if teacher and teacher.card else view.info
    options = architectures(min(info.image[1:]))
    keep: dict[str, Any] = {"persist_state": "session"}
    a, b = st.columns(2)
    student = a.selectbox("Student", options, key="arch", help="The architecture to train.", **keep)
    name = b.text_input("Name", placeholder="optional", key="run name", help="What the student is called.", **keep)
    a, b, c, d = st.columns(4, vertical_alignment="bottom")
    optimizer = st.session_state.get("optimizer", DEFAULTS.optimizer)
    chosen: dict[str, Any] = {
        "student": student,
        "name": name.strip() or None,
        "epochs": a.number_input("Epochs", 1, 10_000, DEFAULTS.epochs, key="epochs", **keep),
        "batch_size": b.number_input("Batch size", 2, 8192, DEFAULTS.batch_size, key="batch", **keep),
        "lr": c.number_input(
            "Learning rate",
            0.0,
            None,
            None,
            format="%.4g",
            placeholder=f"{USUAL_LR[optimizer]:g}",
            key="lr",
            **keep,
        )
        or 0.0,
        "seed": d.number_input("Seed", 0, 2**31 - 1, DEFAULTS.seed, key="seed", **keep),
    }
    with st.expander("More settings"):
        a, b, c = st.columns(3)
        chosen["optimizer"] = a.selectbox("Optimiser", get_args(Optimizer), key="optimizer", **keep)
        chosen["schedule"] = b.selectbox("Schedule", get_args(Schedule), key="schedule", **keep)
        own = chosen["schedule"] == "onecycle"
        text = "Of epochs over which the rate rises. One-cycle warms up by itself." if own else None
        warmup = c.number_input(
            "Warm-up epochs", 0.0, None, DEFAULTS.warmup_epochs, help=text, disabled=own, key="warmup", **keep
        )
        chosen["warmup_epochs"] = DEFAULTS.warmup_epochs if own else warmup
        a, b, c = st.columns(3)
        plain = chosen["optimizer"] != "sgd"
        momentum = a.number_input(
            "Momentum", 0.0, 0.999, DEFAULTS.momentum, disabled=plain, help="Of SGD.", key="momentum", **keep
        )
        chosen["momentum"] = DEFAULTS.momentum if plain else momentum
        decay = b.number_input("Weight decay", 0.0, None, DEFAULTS.weight_decay, format="%.2e", key="decay", **keep)
        chosen["weight_decay"] = decay
        chosen["precision"] = c.selectbox("Precision", get_args(Precision), key="precision", **keep)
        a, b, c = st.columns(3, vertical_alignment="bottom")
        chosen["augment"] = a.toggle(
            "Augment", DEFAULTS.augment, help="Random shifts, from 96 pixels on random crops, and flips where allowed."
        )
        chosen |= views_form(METHODS[method].needs_teacher, chosen["augment"], keep)
        everywhere = b.toggle("Decay norms and biases", DEFAULTS.decay_norm_and_bias, disabled=not decay)
        chosen["decay_norm_and_bias"] = everywhere or not decay
        chosen["threads"] = c.number_input("Threads", 0, 256, DEFAULTS.threads, help="0 leaves torch's choice.")
        chosen["validation"] = validation_field(info)
        a, b, c = st.columns(3)
        text = "Train on this many images of each class only, drawn by the seed."
        per_class = a.number_input(
            "Images per class", 1, None, None, placeholder="all", help=text, key="per class", **keep
        )
        chosen["per_class"] = per_class
        text = "Share of training labels that are replaced by wrong ones, to see which method bears it."
        noise = b.number_input("Label noise", 0.0, 0.99, 0.0, 0.1, help=text, key="noise", **keep)
        chosen["label_noise"] = noise
        if info.resizable:
            text = "Pixels a side at which the images are read; by default the teacher's, or what suits the data."
            placeholder = str(info.image[1])
            size = st.number_input(
                "Image size", 4, 1024, None, placeholder=placeholder, help=text, key="image size", **keep
            )
            chosen["image_size"] = size
        kinds = get_args(NoiseKind)
        kind = c.selectbox("Wrong labels", kinds, disabled=not noise, key="noise kind", **keep)
        chosen["noise_kind"] = kind if noise else DEFAULTS.noise_kind
        if reads_similar(method, noise, chosen["noise_kind"]):
            similar = ["auto", *SOURCES]
            text = "Shown and changed on Similar classes. Also the path of a CSV with the columns class and group."
            chosen["similar"] = st.selectbox("Similar classes", similar, accept_new_options=True, help=text)
    return chosen


def views_form(has_teacher: bool, augment: bool, keep: dict[str, Any]) -> dict[str, Any]:
    """How the teacher is asked, how many views of each image there are, and on how many devices the run is."""
    a, b, c = st.columns(3)
    ways = {"live": "at every step", "cached": "once for each view"}
    text = "Once for each view: kept on the disk for all runs with this teacher and these images; steps are faster."
    outputs = a.selectbox(
        "Ask the teacher", list(ways), format_func=ways.__getitem__, disabled=not has_teacher, help=text,
        key="teacher outputs", **keep,
    )  # fmt: skip
    text = "Distinct augmented views of each image, seen in turn; 0 is a new one every epoch."
    views = b.number_input("Views", 0, 10_000, DEFAULTS.views, disabled=not augment, help=text, key="views", **keep)
    text = "Processes that share the run, each with its part of every batch; more than one start torchrun."
    devices = c.number_input("Devices", 1, 64, DEFAULTS.devices, help=text, key="devices", **keep)
    return {
        "teacher_outputs": outputs if has_teacher else DEFAULTS.teacher_outputs,
        "views": views if augment else DEFAULTS.views,
        "devices": devices,
    }


def validation_field(info: DatasetInfo) -> float:
    """How much is held out to choose the best epoch by."""
    if "validation" in info.splits:
        text = "Off: nothing is chosen, and the validation split is trained on as well."
        return (
            DEFAULTS.validation if st.toggle("Choose the best epoch on the validation split", True, help=text) else 0.0
        )
    text = "Share of each class of the training split that chooses the best epoch; the test split never does. "
    text += "0: nothing is held out and nothing chosen."
    held: float = st.number_input(
        "Held out for validation", 0.0, 0.5, DEFAULTS.validation, 0.05, help=text, key="validation",
        persist_state="session",
    )  # fmt: skip
    return held
