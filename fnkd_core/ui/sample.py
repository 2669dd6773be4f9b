"""One sample in full: its picture, its norms among others, its classes under each rule, and its neighbours."""

from __future__ import annotations

from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from fnkd_core.analysis.browsing import standing
from fnkd_core.stores.curves import feature_norm_temperatures, softmax
from fnkd_core.stores.neighbours import Metric, nearest, num_looked_at
from fnkd_core.stores.store import Store
from fnkd_core.ui import guard, lab_values
from fnkd_core.ui.components.gallery import image_uri
from fnkd_core.ui.originals import original
from fnkd_core.ui.tiles import tiles
from fnkd_core.wording import counted

TOP = 5
"""So many of each model's most probable classes are rows."""
NEIGHBOURS = 6
METRICS: tuple[Metric, ...] = ("cosine", "euclidean")
METRIC = "neighbours by"
"""Where the session keeps the distance that was chosen."""
ASKED, IN_PLACE = "neighbours asked for", "sample in its place"
"""Where the session keeps of which sample they were asked for, and which one the dialog has gone on to."""
AT_ONCE = 2**27
"""With so many numbers of features neighbours are found when they are asked for: a second and more."""


def temperatures(store: Store) -> dict[str, float | str]:
    """T, tau, lambda and variant as last set on Soft targets or by a link; else T = 4 and the tau that matches it."""
    mean = float(store.manifest["norm"]["mean"])
    matched = float(f"{mean / 4:.3g}")
    state = st.session_state
    values = state.get("temperatures") or {"t": 4.0, "tau": matched, "lambda": 3.0, "variant": "paper"}
    named = lab_values.NUMBERS | {"variant": "variant"}
    return {**values, **{value: state[name] for name, value in named.items() if state.get(name)}}


def distributions(store: Store, sample: int, values: dict[str, float | str]) -> dict[str, NDArray[np.float64]]:
    """Rule -> (K,) probabilities of a sample at T = 1, at T, and at its own T_i by the feature norm."""
    v = np.asarray(store.logits[sample], np.float64)
    t, t_i = float(values["t"]), _temperature(store, sample, values)
    softened = v / t_i
    if values["variant"] == "released" and store.bias is not None:
        softened = (v - store.bias) / t_i + store.bias
    return {"T = 1": softmax(v), f"T = {t:g}": softmax(v / t), "τ/‖f‖": softmax(softened)}


def _temperature(store: Store, sample: int, values: dict[str, float | str]) -> float:
    return float(feature_norm_temperatures(store.samples["norm"].iloc[[sample]].to_numpy(), values)[0])


def described(stores: dict[str, Store], sample: int, **more: Any) -> dict[str, Any]:
    """What the panel shows of a sample. stores: role -> store of one split.

    more: place (where it stands among those that are walked through), previous and next (samples or None), closes, new
    (label, and by which selection it is given, or None).
    """
    first = next(iter(stores.values()))
    row, classes = first.samples.iloc[sample], first.classes
    values = temperatures(stores.get("teacher", first))
    metric = st.session_state.get(METRIC, METRICS[0])
    return (
        {"id": sample, "label": classes[row["label"]], "key": str(row["key"])}
        | original(stores, sample)
        | {"models": [_model(role, store, sample) for role, store in stores.items()]}
        | class_rows(
            {role: distributions(store, sample, values) for role, store in stores.items()}, classes, row["label"]
        )
        | _about_rules(stores, sample, values)
        | {
            "neighbours": [_neighbours(role, store, sample, metric) for role, store in stores.items()],
            "metric": metric,
            "metrics": list(METRICS),
        }
        | {"place": "", "previous": None, "next": None, "closes": False, "new": None}
        | more
    )


def _model(role: str, store: Store, sample: int) -> dict[str, Any]:
    samples = store.samples
    row, norms = samples.iloc[sample], samples["norm"].to_numpy()
    of_class = norms[samples["label"].to_numpy() == row["label"]]
    return {
        "role": role,
        "title": role.capitalize(),
        "name": store.name,
        "predicts": store.classes[row["prediction"]],
        "correct": bool(row["correct"]),
        "confidence": f"p {row['confidence']:.3f}, entropy {row['entropy']:.3f}",
        "norm": f"{row['norm']:.2f}",
        "standing": standing(norms, row["norm"]),
        "standing_in_class": f"{standing(of_class, row['norm'])} of its class",
    }


def class_rows(
    said: dict[str, dict[str, NDArray[np.float64]]], classes: list[str], label: int, top: int = TOP
) -> dict[str, Any]:
    """The rows that both models share: the label, and the classes most probable for any, the rest summed up.

    said: role -> rule -> (K,) probabilities. rows: name, is_label and values[rule][role]; rest: the same of all others,
    or None. most: of each rule, the largest value in a row, of which bars are shares.
    """
    plain = [next(iter(rules.values())) for rules in said.values()]
    chosen = {int(k) for p in plain for k in np.argsort(-p, kind="stable")[:top]} | {int(label)}
    order = sorted(chosen, key=lambda k: (-max(p[k] for p in plain), k))
    rules = [list(each.values()) for each in said.values()]
    count = len(rules[0])
    rows: list[dict[str, Any]] = [
        {
            "name": classes[k],
            "is_label": k == int(label),
            "values": [[float(rules[m][r][k]) for m in range(len(rules))] for r in range(count)],
        }
        for k in order
    ]
    others = len(classes) - len(order)
    rest = [[max(0.0, 1 - float(rules[m][r][order].sum())) for m in range(len(rules))] for r in range(count)]
    return {
        "rows": rows,
        "rest": {"name": counted(others, "other"), "values": rest} if others else None,
        "most": [max(max(row["values"][r]) for row in rows) for r in range(count)],
    }


def _about_rules(stores: dict[str, Store], sample: int, values: dict[str, float | str]) -> dict[str, Any]:
    own = [f"T_i {_temperature(store, sample, values):.2f} ({role})" for role, store in stores.items()]
    names = ["T = 1", f"T = {float(values['t']):g}", "τ/‖f‖"]
    return {
        "rules": [{"name": name, "notes": own if i == 2 else []} for i, name in enumerate(names)],
        "rules_note": "Probabilities; a bar is a share of its column's largest. T and τ are those set on Soft targets.",
    }


@st.cache_resource(max_entries=256, show_spinner=False)
def _found(path: str, created: str, sample: int, metric: Metric, _store: Store) -> tuple[list[int], list[float]]:
    ids, distances = nearest(_store, sample, NEIGHBOURS, metric)
    return ids.tolist(), distances.tolist()


def _neighbours(role: str, store: Store, sample: int, metric: Metric) -> dict[str, Any]:
    title = f"By the {role}'s features, of {len(store.samples):,}"
    asked = st.session_state.get(ASKED) == sample
    if num_looked_at(store) > AT_ONCE and not asked:
        return {"role": role, "title": title, "items": None, "ask": "Find them (some seconds)"}
    samples, classes = store.samples, store.classes
    items = []
    ids, distances = _found(str(store.path), str(store.manifest["created"]), sample, metric, store)
    for i, distance in zip(ids, distances, strict=True):
        label, prediction = int(samples["label"].iat[i]), int(samples["prediction"].iat[i])
        items.append({
            "id": i,
            "src": image_uri(store, i),
            "label": classes[label],
            "predicted": None if label == prediction else classes[prediction],
            "distance": f"{distance:.3f}",
        })  # fmt: skip
    return {"role": role, "title": title, "items": items, "ask": None}


def choose_metric(metric: str | None) -> None:
    """From now on neighbours are those by this distance."""
    if metric in METRICS:
        st.session_state[METRIC] = metric


def _ask_neighbours(sample: int) -> None:
    st.session_state[ASKED] = sample


OF_NEIGHBOURS = {
    "metric": guard.Answer(choose_metric, writes=False),
    "asked": guard.Answer(_ask_neighbours, writes=False),
}
"""What answers to what is told of an open sample's neighbours."""


def show_sample(stores: dict[str, Store], sample: int) -> None:
    """Open one sample of the split over the page, where a neighbour of it can take its place."""
    st.session_state.pop(IN_PLACE, None)
    _dialog(stores, sample)


@guard.dialog("Sample", width="large")
def _dialog(stores: dict[str, Store], sample: int) -> None:
    shown, key = int(st.session_state.get(IN_PLACE, sample)), "sample alone"

    def take_its_place(other: int) -> None:
        st.session_state[IN_PLACE] = other

    tiles(
        [],
        64,
        key=key,
        sample=described(stores, shown),
        alone=True,
        on={"opened": guard.Answer(take_its_place, writes=False)} | OF_NEIGHBOURS,
    )
