"""Below the lab: what its values mean for all samples, in numbers, by class, and by the parts of a logit."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from fnkd_core.analysis.class_targets import by_likeness, class_mean, class_means, most_said, off_label
from fnkd_core.analysis.factors import factors, sample_factors, weight_norms
from fnkd_core.analysis.suggest import suggest
from fnkd_core.analysis.targets import Source, part_of, said_of_part, summary_under
from fnkd_core.checkpoints.library import Entry
from fnkd_core.kd.rules import RULES
from fnkd_core.plots import targets as plots
from fnkd_core.spreadsheets import csv_of
from fnkd_core.ui import address, charts, guard, inputs, tables
from fnkd_core.ui.lab_values import kept_at
from fnkd_core.ui.links import OF_SAMPLE
from fnkd_core.ui.markdown import literal
from fnkd_core.ui.stores import kept
from fnkd_core.ui.view import View

Sources = Mapping[str, Source]
Values = Mapping[str, Any]
IN_MAP = 2**22
"""Logits that a map of classes is made of: some samples of each class."""


def parts(sources: Sources, view: View, values: Values, sample: int) -> None:
    """One part at a time: only what is looked at is computed. sample: the one that the lab shows."""
    chosen = inputs.on().segmented_control(
        "All samples",
        list(PARTS),
        key=address.key("look", list(PARTS)),
        required=True,
        format_func=lambda name: PARTS[name][0],
    )
    row = st.container(horizontal=True, vertical_alignment="bottom", gap="medium")
    role = next(iter(sources))
    if chosen != "numbers" and len(sources) > 1:
        role = inputs.on(row).segmented_control(
            "Model",
            list(sources),
            key=address.key("look_at", list(sources), role),
            required=True,
            format_func=lambda role: literal(role),
        ) or role  # fmt: skip
    PARTS[chosen or "numbers"][1](sources, role, view.models[role], values, sample, row)


def in_numbers(sources: Sources, role: str, entry: Entry, values: Values, sample: int, row: Any) -> None:
    """Every rule's sums over all samples."""

    def made() -> pd.DataFrame:
        parts = [summary_under(source, values).assign(model=role) for role, source in sources.items()]
        table = pd.concat(parts)
        table = table[["model", *(column for column in table if column != "model")]]
        dead = any(source.store.manifest["dead_outputs"] for source in sources.values())
        return table if dead else table.drop(columns="on dead outputs")

    first = next(iter(sources.values()))
    table = kept_at("rules in numbers", made, sources.values(), values, *sources)
    formats = {c: st.column_config.NumberColumn(format="%.4f") for c in table.columns if c not in ("model", "rule")}
    tables.show(table, hide_index=True, column_config=formats)
    st.caption(
        f"All {len(RULES)} rules at the values above, also those that are not drawn; entropy in nats. For rules made "
        "of the label the last column is how often the model's own largest class is another. "
        + literal(said_of_part(len(first.store.samples), first.num_classes))
    )
    st.download_button("Download as CSV", csv_of(table), "soft-targets.csv", "text/csv")


def of_a_class(sources: Sources, role: str, entry: Entry, values: Values, sample: int, row: Any) -> None:
    """The mean target of a class under the drawn rules."""
    source = sources[role]
    classes = source.store.classes
    own = classes[int(source.store.samples["label"].iat[sample])]
    options = [OF_SAMPLE, *classes]
    chosen = inputs.on(row).selectbox("Class", options, key=address.key("mean_of", options))
    label = classes.index(chosen if chosen in classes else own)
    means = {
        RULES[name].title: kept_at(
            "class mean", functools.partial(class_mean, source, name, values, label), [source], values, name, label
        )
        for name in values["rules"]
    }
    count = int((source.store.samples["label"] == label).sum())
    if not count:
        st.info(f"No sample of {literal(classes[label])} is in this split.", icon=":material/info:")
        return
    soft = [RULES[name].title for name in values["rules"] if RULES[name].statistic]
    charts.chart(plots.class_target(means, classes, label, role, soft), key="class target", bar=False)
    st.caption(
        f"Mean target of the {count:,} samples of {literal(classes[label])}: what it says of the other classes. What "
        "it says of the class itself stands in the legend."
    )


def of_classes(sources: Sources, role: str, entry: Entry, values: Values, sample: int, row: Any) -> None:
    """Which other classes the targets of each class name: under one rule, or the difference of two."""
    source = sources[role]
    first, second = values["pair"]
    a, b = RULES[first].title, RULES[second].title
    ways = {"first": a, "second": b, "difference": f"{b} − {a}"} if first != second else {"first": a}
    way = inputs.on(row).segmented_control(
        "Under",
        list(ways),
        key=address.key("under", list(ways)),
        required=True,
        format_func=lambda way: literal(ways[way]),
    )  # fmt: skip
    rows = part_of(len(source.store.samples), source.num_classes, IN_MAP)

    def under(rule: str) -> Any:
        made: Callable[[], Any] = lambda: off_label(class_means(source, rule, values, rows))  # noqa: E731
        return kept_at("class map", made, [source], values, rule)

    matrix = under(second if way in ("second", "difference") else first)
    if way == "difference":
        matrix = matrix - under(first)
    drawn = most_said(under(first), plots.MOST_CLASSES)
    # In the order of the first rule, so that the three pictures can be compared.
    ordered = drawn[by_likeness(under(first)[np.ix_(drawn, drawn)])].tolist()
    title = "difference of mean probability" if way == "difference" else "mean probability"
    figure = plots.class_map(matrix, source.store.classes, ordered, title, difference=way == "difference")
    charts.chart(figure, key="class map", bar=False)
    strongest = divmod(int(abs(matrix).argmax()), source.num_classes)
    names = [literal(source.store.classes[k]) for k in strongest]
    part = f"The {len(drawn)} of {source.num_classes:,} that take part most. " if len(drawn) < len(matrix) else ""
    st.caption(
        f"Strongest: the targets of {names[0]} give {names[1]} {matrix[strongest]:+.4f}. On average "
        f"{abs(matrix).sum(axis=1).mean():.3f} of a target {'is moved' if way == 'difference' else 'lies'} off the "
        f"label. Classes that are confused stand beside each other. {part}"
        + literal(said_of_part(len(source.store.samples), source.num_classes, IN_MAP))
    )


def of_values(sources: Sources, role: str, entry: Entry, values: Values, sample: int, row: Any) -> None:
    """T, tau, lambda and alpha that suit this model's outputs, with the reasons."""
    source = sources[role]
    found = kept("suggestion", lambda: suggest(source), source.store, role)
    names = ("T", "τ", "λ", "alpha")
    for column, name, value in zip(st.columns(4), names, (*found.values.values(), found.alpha), strict=True):
        column.metric(literal(name), f"{value:.3g}")
    st.markdown("\n".join(f"- {literal(sentence)}" for sentence in found.says))
    st.button(
        "Set these in the lab",
        icon=":material/tune:",
        on_click=guard.callback(_set, found.values | {"alpha": found.alpha}, writes=False),
    )
    st.caption(
        "Where a comparison may start, not where it ends: half and twice this T beside it, chosen on validation, tell "
        f"what suits a student. `fnkd compare --methods kd,fn --grid T={_around(found.values['t'])} "
        f"--grid tau={_around(found.values['tau'])}` is that, with your data, teacher and student. alpha goes with "
        "them to Distill, for kd. The training split says them best, since a student learns from that."
    )


def _around(value: float) -> str:
    """Half of it, it and twice it, as an option of the command line has them."""
    return ",".join(f"{value * factor:.3g}" for factor in (0.5, 1, 2))


def _set(values: Values) -> None:
    st.session_state["lab set"] = dict(values)


def of_factors(sources: Sources, role: str, entry: Entry, values: Values, sample: int, row: Any) -> None:
    """v = ||f|| ||W|| cos + b: a sample's logits in factors, and what each factor decides."""
    store = sources[role].store
    weights = kept("head", lambda: weight_norms(entry), store, role)
    found = kept("factors", lambda: factors(store, weights), store, role)
    st.markdown(f"**The sample above**, #{sample:d}: v = ‖f‖ ‖W‖ cos θ + b, of its largest logits")
    table = sample_factors(store, weights, sample)
    formats = {c: st.column_config.NumberColumn(format="%.3f") for c in table.columns if c != "class"}
    tables.show(table, hide_index=True, column_config=formats)
    left, right = st.columns(2, gap="medium")
    with left:
        charts.chart(plots.head_norms(weights, store.classes), key="head norms", bar=False)
    with right:
        charts.chart(plots.cosine_distributions(found.cos_label, found.cos_other), key="cosines", bar=False)
    without = pd.DataFrame(
        {
            "left out": list(found.accuracy),
            "accuracy": list(found.accuracy.values()),
            "predictions changed": list(found.changed.values()),
        }
    )
    numbers = {c: st.column_config.NumberColumn(format="%.4f") for c in ("accuracy", "predictions changed")}
    tables.show(without, hide_index=True, column_config=numbers)
    spread = float(weights.std() / weights.mean())
    st.caption(
        f"‖W‖ varies by {spread:.1%} over the classes; without it {found.changed['‖W‖']:.1%} of the predictions are "
        "others. ‖f‖ is the same for all classes of a sample: it never changes which is largest before the bias is "
        "added, only how far ahead it is. " + literal(said_of_part(len(store.samples), len(weights)))
    )


PARTS: dict[str, tuple[str, Callable[[Sources, str, Entry, Values, int, Any], None]]] = {
    "numbers": ("In numbers", in_numbers),
    "suggest": ("Which values suit?", of_values),
    "class": ("One class", of_a_class),
    "map": ("Class by class", of_classes),
    "factors": ("Norm, weight, angle", of_factors),
}
