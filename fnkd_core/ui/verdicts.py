"""What the feature norm of a model tells on this split, said before anything else is shown of it."""

from __future__ import annotations

from collections.abc import Mapping

import plotly.graph_objects as go
import streamlit as st

from fnkd_core.analysis.verdicts import NORM, Verdict, verdict
from fnkd_core.plots.style import ROLE_COLOURS
from fnkd_core.plots.verdicts import auroc_intervals
from fnkd_core.stores.store import Store
from fnkd_core.ui import charts
from fnkd_core.ui.markdown import literal
from fnkd_core.ui.stores import kept, labelled


def verdict_of(store: Store) -> Verdict:
    """What this store's norms tell; see `fnkd_core.analysis.verdicts`."""
    return kept("verdict", lambda: verdict(store), store)


def under_pictures(store: Store) -> str:
    """What may be said of this model's low-norm and high-norm samples under their pictures: text, not Markdown."""
    return verdict_of(store).caption


def show(stores: Mapping[str, Store]) -> None:
    """The verdict on each model, side by side."""
    found = {role: verdict_of(store) for role, store in stores.items()}
    every = [end for one in found.values() for auroc in one.aurocs.values() for end in auroc if end == end]
    ends = (min(every, default=0.5), max(every, default=1.0))
    for column, (role, store) in zip(st.columns(len(stores), gap="medium"), stores.items(), strict=True):
        with column, st.container(border=True, height="stretch"):
            st.subheader(literal(labelled(role, store)), anchor=False)
            _card(role, store, found[role], ends, len(stores) == 1)
    st.caption(
        "Each score of a sample as a test for being right: AUROC is the share of right-wrong pairs in which the right "
        "sample has the larger one, with its 95 % interval (DeLong's; with fewer than ten right or wrong samples "
        "Clopper and Pearson's). ‖f‖ does not see the label: a mislabelled image can have any norm."
    )


def _card(role: str, store: Store, found: Verdict, ends: tuple[float, float], alone: bool) -> None:
    st.markdown(literal(found.sentence))
    if found.num_right and found.num_wrong:

        def chart() -> go.Figure:
            return auroc_intervals(found.aurocs, ROLE_COLOURS[role == "student"], NORM, ends)

        figure = kept("aurocs", chart, store, role, ends)
        charts.chart(figure, key=f"aurocs-{role}", bar=False)
    # Two by two where two cards share the width.
    per_row = 4 if alone else 2
    cells = [cell for _ in range(4 // per_row) for cell in st.columns(per_row)]
    with cells[0]:
        _slope(found)
    with cells[1]:
        _correlation(
            "ρ with std(v)", found.with_std, "standard deviation of its logits, which NormKD and LSKD divide by"
        )
    with cells[2]:
        _correlation("ρ with entropy", found.with_entropy, "entropy of its output: negative where a low norm is unsure")
    with cells[3]:
        _spread(found)


def _slope(found: Verdict) -> None:
    value, low, high = (100 * end for end in found.slope)
    if value != value or not found.num_right or not found.num_wrong:
        return
    text = "Accuracy gained per norm decile, in percentage points, by least squares; below it the 95 % interval."
    rise, span = literal(signed(f"{value:+.2f} pp")), literal(signed(f"{low:+.2f} to {high:+.2f}"))
    st.metric("Gain per decile", rise, span, delta_color="off", delta_arrow="off", help=text)


def _correlation(label: str, rho: float, column: str) -> None:
    if rho == rho:
        text = f"Spearman's rank correlation of a sample's ‖f‖ with the {column}."
        st.metric(literal(label), literal(signed(f"{rho:+.2f}")), help=literal(text))


def _spread(found: Verdict) -> None:
    spread = found.spread
    if spread.change != spread.change:
        return
    part = "" if spread.num_samples == found.num_samples else f" From {spread.num_samples:,} samples, seeded."
    text = (
        "What FN would change: the standard deviation of the targets' entropy, in nats, under "
        f"T = {spread.temperature:g}, and under τ/‖f‖ with τ = {spread.tau:.3g}, which gives the same mean entropy of "
        f"{spread.entropy:.3f}.{part}"
    )
    change = literal(signed(f"{100 * spread.change:+.0f} %"))
    ends = f"sd {spread.sd_t:.2f} → {spread.sd_norm:.2f} at equal mean"
    st.metric("Entropy spread", change, ends, delta_color="off", delta_arrow="off", help=text)


def signed(number: str) -> str:
    """The number with a minus instead of a hyphen."""
    return number.replace("-", "\N{MINUS SIGN}")
