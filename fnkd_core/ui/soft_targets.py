"""The lab of the Soft targets page, and what follows from its values."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import streamlit as st

from fnkd_core.analysis.divergence import between_models, between_rules, largest
from fnkd_core.analysis.matching import matched
from fnkd_core.analysis.targets import Source, part_of, said_of_part
from fnkd_core.data.similar import similar_classes
from fnkd_core.errors import UserError
from fnkd_core.kd.rules import RULES
from fnkd_core.stores.store import Store
from fnkd_core.ui import address, guard, lab_parts, lab_values
from fnkd_core.ui.components.gallery import image_uri
from fnkd_core.ui.components.temperature_lab import lab_data, sample_data, temperature_lab
from fnkd_core.ui.distill import take_over
from fnkd_core.ui.links import RANK
from fnkd_core.ui.stores import kept
from fnkd_core.ui.view import View, page_path

MOST_PICTURES = 12
LAST = "lab shown last"
"""Where the session keeps of which models and split the lab was shown last."""


def sources_of(stores: Mapping[str, Store], view: View) -> dict[str, Source]:
    """Role -> a model's outputs with what rules read beside them."""
    try:
        similar = similar_classes(view.info, "auto")
    except (UserError, OSError):  # a CSV that is broken is said where it is chosen
        similar = ()
    others = {role: next((o for r, o in stores.items() if r != role), None) for role in stores}

    def both(role: str) -> list[Store]:
        return [store for store in (stores[role], others[role]) if store is not None]

    return {
        role: kept("what rules read", functools.partial(Source, store, others[role], similar), *both(role), similar)
        for role, store in stores.items()
    }


@guard.fragment
def lab(stores: dict[str, Store], view: View) -> None:
    """The sliders with their charts, one sample's targets, where they differ, and what else follows from the values."""
    sources = sources_of(stores, view)
    role = "teacher" if "teacher" in sources else next(iter(sources))
    reference = sources[role]
    key = "lab " + " ".join(s.path.name for s in stores.values())
    state = st.session_state.setdefault(f"{key} state", {"set": 0})
    # A link may be followed on the page itself; and what was set beside other models or another split goes on here.
    if st.session_state.get(LAST) != key or lab_values.linked(state["values"]):
        state |= {"values": lab_values.begun(sources), "set": state["set"] + 1, "said": ""}
    if "lab set" in st.session_state:  # a part of the page below has set some
        set_values(state, st.session_state.pop("lab set"))
    st.session_state[LAST] = key
    rank = min(st.session_state[address.key(RANK)], len(reference.store.samples) - 1)

    def released() -> None:
        sent = {name: value for name, value in st.session_state[key]["values"].items() if name != "set"}
        state["values"] = lab_values.with_variant(sent)
        state["said"] = ""
        lab_values.to_address(state["values"])

    def stepped() -> None:
        st.session_state[RANK] = max(int(st.session_state[key]["rank"] or 0), 0)

    def asked_to_match() -> None:
        asked = st.session_state[key]["match"]
        of = sources.get(asked["values"]["of"], reference)
        state["values"] = lab_values.with_variant(asked["values"])
        match = matched(of, asked["first"], asked["second"], state["values"], asked["by"])
        set_values(state, {match.slider: match.value})
        state["said"] = match.says

    def asked_to_train() -> None:
        asked = st.session_state[key]["train"]
        take_over(lab_values.with_variant(asked["values"]), asked["rule"], asked.get("method"))
        state["train"] = True

    values = state["values"]
    pack = kept("lab", functools.partial(lab_data, sources), *stores.values(), *stores, str(reference.similar))
    temperature_lab(
        pack,
        {
            "sample": shown_sample(sources, reference, rank),
            "values": values,
            "set": state["set"],
            "can_train": not guard.read_only(),
            "said": state["said"],
            "largest": most_apart(sources, values),
        },
        key=key,
        on_values=guard.callback(released, writes=False),
        on_rank=guard.callback(stepped, writes=False),
        on_match=guard.callback(asked_to_match, writes=False),
        on_train=guard.callback(asked_to_train, writes=False),
    )
    if state.pop("train", False):
        address.go(page_path("distill"))
    st.session_state["temperatures"] = values  # the dialog of a sample shows it under these
    lab_parts.parts(sources, view, values, int(reference.store.order[rank]))


def set_values(state: dict[str, Any], change: Mapping[str, Any]) -> None:
    """Change values from outside of the lab, which then takes them in."""
    state["values"] = lab_values.with_variant({**state["values"], **change})
    state["set"] += 1
    lab_values.to_address(state["values"])


def shown_sample(sources: Mapping[str, Source], reference: Source, rank: int) -> dict[str, Any]:
    """The sample of this rank by norm, 0 = lowest, as the lab shows it."""
    store = reference.store
    sample = int(store.order[rank])
    label = int(store.samples["label"].iat[sample])
    return {
        "id": sample,
        "rank": rank,
        "count": len(store.samples),
        "image": image_uri(store, sample),
        "label": label,
        "similar": list(reference.similar[label]) if reference.similar else [],
        "models": {role: sample_data(source, sample) for role, source in sources.items()},
    }


def compared(sources: Mapping[str, Source], values: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray | None, str]:
    """(divergences, samples, or None for all, and whose they are) of the two targets that the lab compares."""
    first, second = values["pair"]
    roles = list(sources)
    of = sources.get(values["of"], sources[roles[0]])
    rows = part_of(len(of.store.samples), of.num_classes)
    if values["of"] == "models" and len(roles) > 1:
        a, b = (sources[role] for role in roles[:2])
        return between_models(a, b, first, values, rows), rows, f"teacher and student under {RULES[first].title}"
    said = f"{RULES[first].title} and {RULES[second].title} of {of.store.name}"
    return between_rules(of, first, second, values, rows), rows, said


def most_apart(sources: Mapping[str, Source], values: Mapping[str, Any]) -> dict[str, Any] | None:
    """The samples whose two targets differ most, as pictures. None where the two are one and the same."""
    if values["pair"][0] == values["pair"][1] and values["of"] != "models":
        return None
    reference = sources.get("teacher") or next(iter(sources.values()))
    store = reference.store

    def found() -> dict[str, Any]:
        apart, rows, said = compared(sources, values)
        ranks = kept("ranks", lambda: np.argsort(store.order), store)
        labels = store.samples["label"]
        mean = f"{apart.mean():.3g}"
        decimals = max(len(mean.partition(".")[2]), 2)
        return {
            "said": f"Over all samples {said} are {mean} nats apart on average (sd {apart.std():.{decimals}f}). "
            f"{said_of_part(len(store.samples), reference.num_classes)} Most apart:",
            "items": [
                {
                    "id": sample,
                    "rank": int(ranks[sample]),
                    "value": value,
                    "src": image_uri(store, sample),
                    "label": store.classes[labels.iat[sample]],
                }
                for sample, value in largest(apart, rows, MOST_PICTURES)
            ],
        }

    return lab_values.kept_at("most apart", found, sources.values(), values, *values["pair"], values["of"], *sources)
