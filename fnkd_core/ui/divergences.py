"""The divergence of two rules' targets, as Soft targets has set them, for the Gallery to sort and filter by."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fnkd_core.analysis.divergence import divergence_column
from fnkd_core.kd.rules import RULES
from fnkd_core.stores.store import Store
from fnkd_core.ui import lab_values
from fnkd_core.ui.soft_targets import sources_of
from fnkd_core.ui.view import View


@dataclass(frozen=True)
class Column:
    """values: (N,) nats, NaN where not measured. of: what they follow from. says: the same in words."""

    values: NDArray[np.float32]
    of: Hashable
    says: str


def divergence(stores: Mapping[str, Store], role: str, view: View) -> Column:
    """How far the two rules' targets of each sample lie apart for this model; kept for each setting of them."""
    sources = sources_of(stores, view)
    values = lab_values.begun(sources)
    first, second = values["pair"]
    numbers = {name: x for name, x in values.items() if isinstance(x, float | int)}
    column = lab_values.kept_at(
        "divergence", lambda: divergence_column(sources[role], first, second, values), sources.values(), values,
        role, first, second,
    )  # fmt: skip
    settings = ", ".join(
        f"{lab_values.NAMED.get(s.name, s.name)} {values[s.name]:.3g}"
        for rule in (first, second)
        for s in RULES[rule].sliders
    )
    count, part = int(np.isfinite(column).sum()), ""
    if count < len(column):
        part = f" Measured on {count:,} of {len(column):,} samples; the others stand last."
    says = (
        f"Jensen-Shannon divergence between the targets of {RULES[first].title} and {RULES[second].title}, in nats"
        + (f", at {settings}" if settings else "")
        + f", as set on Soft targets.{part}"
    )
    return Column(column, (sources[role].identity, first, second, tuple(sorted(numbers.items()))), says)
