"""The form of the Distill page, made from the methods' own parameters."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from fnkd_core.checkpoints.library import Entry
from fnkd_core.checkpoints.several import joined, names_of
from fnkd_core.data import DatasetInfo
from fnkd_core.data.catalogue import NEED_ROOT
from fnkd_core.errors import Damaged, UserError
from fnkd_core.kd.methods import METHODS
from fnkd_core.kd.objective import parameters, with_policy
from fnkd_core.kd.parameters import Parameter
from fnkd_core.kd.rules import RULES, as_policy
from fnkd_core.stores.store import open_store
from fnkd_core.training.config import RunConfig
from fnkd_core.ui import cloning, guard, inputs, recipes
from fnkd_core.ui.markdown import literal
from fnkd_core.ui.pickers import FURTHER, more_teachers
from fnkd_core.ui.settings import key_of, settings_form
from fnkd_core.ui.view import NONE, View


def run_form(view: View) -> RunConfig | None:
    """The configuration that the form describes, or None with a line that says what is wrong with it."""
    guard.went_well(lambda: cloning.from_link(view))
    names = list(METHODS)
    method = inputs.on().selectbox(
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
    teacher = view.teacher.name if view.teacher else None
    if chosen.needs_teacher:
        st.markdown(f"Teacher: **{literal(teacher or NONE)}** (chosen in the sidebar)")
    elif teacher is not None:
        text = "It learns nothing from it; how often the two predict the same is measured after each epoch."
        asked = f"Measure its agreement with {literal(teacher)}"
        if not inputs.on().toggle(asked, help=text, key=key_of("teacher"), persist_state="session"):
            teacher = None
    if teacher is not None:
        further = [] if chosen.one_teacher else more_teachers(view.fitting, teacher, FURTHER)
        teacher = joined([teacher, *further])
    values = method_form(method, view, teacher)
    recipes.picker()
    settings = settings_form(view, method, values, teacher)
    try:
        config = RunConfig(
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
    cloning.said(config)
    recipes.said(config)
    cloning.to_link(config)
    return config


def method_form(method: str, view: View, teacher: str | None) -> dict[str, Any]:
    """A field for each parameter of the method; those that are left open are not in the answer."""
    fields = parameters(method)
    if not fields:
        return {}
    known = [mean_norm(entry, view.info) for entry in view.fitting if entry.name in names_of(teacher)]
    mean = sum(filter(None, known)) / len(known) if known and all(known) else None
    values = fields_in_two(method, [p for p in fields if not p.later], mean)
    if rare := [p for p in fields if p.later]:
        changed = any(st.session_state.get(f"{method} {p.name}", p.default) != p.default for p in rare)
        with st.expander("Temperature policy", expanded=changed):
            values |= fields_in_two(method, rare, mean)
    where_from(method)
    return values


def fields_in_two(method: str, fields: Sequence[Parameter], mean: float | None) -> dict[str, Any]:
    """The fields in two columns, and the values of those that are not left open."""
    values: dict[str, Any] = {}
    for row in range(0, len(fields), 2):
        for column, parameter in zip(st.columns(2), fields[row : row + 2], strict=False):
            with column:
                value = field(method, parameter, mean)
                if value is not None:
                    values[parameter.name] = value
    return values


def take_over(values: Mapping[str, Any], rule: str, method: str | None = None) -> None:
    """Give the values of Soft targets to the fields of the methods whose rules it draws, and choose this rule's method.

    method: another one, which is to have this rule as its temperature policy.
    """
    taken: dict[str, Any] = {}
    for name in (*values["rules"], rule):
        drawn = RULES[name]
        taken |= {f"{drawn.method} {field}": values[value] for field, value in drawn.fields.items()}
        taken |= {f"{drawn.method} {field}": value for field, value in drawn.fixed.items()}
    if "alpha" in values and "kd T" in taken:  # suggested with the others
        taken["kd alpha"] = float(values["alpha"])
    chosen = RULES[rule].method
    if method in with_policy() and RULES[rule].policy:
        chosen = str(method)
        taken |= {f"{chosen} {key}": value for key, value in as_policy(RULES[rule], values).items()}
    hand_over(chosen, taken, "Soft targets")


def hand_over(method: str, fields: Mapping[str, Any], page: str) -> None:
    """Give another page's values to fields of the form, and choose a method. fields: "method field" -> value.

    Nothing but this, a run or a link to begin from, the user, and the way back changes a field of the form.
    """
    st.session_state.update(fields)
    st.session_state["taken over"] = {"fields": dict(fields), "page": page}
    st.session_state["method"] = method


def where_from(method: str) -> None:
    """Which fields still hold the values that another page gave, and the way back."""
    taken: dict[str, Any] = st.session_state.get("taken over", {"fields": {}})
    of_method = {key: value for key, value in taken["fields"].items() if key.split()[0] == method}
    names = [key.split()[1] for key, value in of_method.items() if st.session_state.get(key) == value]
    if not names:
        return
    listed = " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(
            f"{literal(listed)} {'are' if len(names) > 1 else 'is'} from {literal(taken['page'])}.", width="content"
        )
        back = guard.callback(_back_to_defaults, writes=False)
        st.button("Back to the defaults", type="tertiary", icon=":material/undo:", on_click=back)


def _back_to_defaults() -> None:
    fields: dict[str, Any] = st.session_state.pop("taken over")["fields"]
    for method in {key.split()[0] for key in fields}:
        st.session_state.update({f"{method} {p.name}": p.default for p in parameters(method)})


def field(method: str, parameter: Parameter, mean: float | None) -> Any:
    """The widget that suits a parameter's kind."""
    key, name, default = f"{method} {parameter.name}", parameter.name, parameter.default
    shared: dict[str, Any] = {"help": parameter.help, "key": key, "persist_state": "session"}
    if parameter.kind == "bool":
        return inputs.on().toggle(literal(name), default, **shared)
    if parameter.kind == "choice":
        return inputs.on().selectbox(literal(name), parameter.choices, index=parameter.choices.index(default), **shared)
    if parameter.kind == "list":
        return inputs.on().text_input(literal(name), default, placeholder="none", **shared)
    bounds = parameter.range
    share = bounds.mean_norm_share if bounds else None
    # The run takes the mean over what it trains on, which may be other images than those that were asked of so far.
    hint = f"auto ≈ {share * mean:.2g}" if share and mean else "auto"
    return inputs.on().number_input(
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
