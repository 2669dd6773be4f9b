"""What the feature norm of a model tells on this split, said before anything else is shown of it."""

from __future__ import annotations

from collections.abc import Mapping

import plotly.graph_objects as go
import streamlit as st

from fnkd_core.analysis.verdicts import NORM, Verdict, verdict
from fnkd_core.plots.style import ROLE_COLOURS
from fnkd_core.plots.verdicts import auroc_intervals
from fnkd_core.stores.store import Store
from fnkd_core.ui.markdown import literal
from fnkd_core.ui.stores import kept, labelled


def verdict_of(store: Store) -> Verdict:
    """What this store's norms tell; see `fnkd_core.analysis.verdicts`."""
    return kept("verdict", lambda: verdict(store), store)


def caption(store: Store) -> str:
    """Markdown of what may be said of this model's low-norm and high-norm samples, to stand under their pictures."""
    return literal(verdict_of(store).caption)


def show(stores: Mapping[str, Store]) -> None:
    """The verdict on each model, side by side."""
    found = {role: verdict_of(store) for role, store in stores.items()}
    low = min((end for one in found.values() for _, end, _ in one.aurocs.values() if end == end), default=0.5)
    for column, (role, store) in zip(st.columns(len(stores), gap="medium"), stores.items(), strict=True):
        with column, st.container(border=True, height="stretch"):
            st.subheader(literal(labelled(role, store)), anchor=False)
            _card(role, store, found[role], low)
    st.caption(
        "Each score of a sample as a test for being right: AUROC is the share of right-wrong pairs in which the right "
        "sample has the larger one, with its 95 % interval (DeLong). ‖f‖ does not see the label: a mislabelled image "
        "can have any norm."
    )


def _card(role: str, store: Store, found: Verdict, low: float) -> None:
    st.markdown(literal(found.sentence))
    if found.num_right and found.num_wrong:

        def chart() -> go.Figure:
            return auroc_intervals(found.aurocs, ROLE_COLOURS[role == "student"], NORM, low)

        figure = kept("aurocs", chart, store, role, low)
        st.plotly_chart(figure, key=f"aurocs-{role}", config={"displayModeBar": False})
    slope, spread = found.slope, found.spread
    with st.container(horizontal=True, gap="medium"):
        if slope.value == slope.value:
            span = f"95 %: {100 * slope.low:+.2f} to {100 * slope.high:+.2f} percentage points."
            text = f"Accuracy gained per norm decile, by least squares. {span}"
            st.metric("Accuracy per decile", f"{100 * slope.value:+.2f} pp", help=text, width="content")
        for label, rho, what in (
            ("ρ with std(v)", found.with_std, "standard deviation of its logits, which NormKD and LSKD divide by"),
            ("ρ with entropy", found.with_entropy, "entropy of its output: negative where a low norm is unsure"),
        ):
            if rho == rho:
                text = f"Spearman's rank correlation of a sample's ‖f‖ with the {what}."
                st.metric(label, f"{rho:+.2f}", help=text, width="content")
        if spread.change == spread.change:
            part = "" if spread.num_samples == found.num_samples else f" From {spread.num_samples:,} samples, seeded."
            text = (
                f"Standard deviation of the targets' entropy: {spread.sd_t:.3f} nats under T = {spread.temperature:g}, "
                f"{spread.sd_norm:.3f} under τ/‖f‖ with τ = {spread.tau:.3g}, which gives the same mean entropy of "
                f"{spread.entropy:.3f} nats.{part}"
            )
            st.metric("Entropy spread, FN", f"{100 * spread.change:+.0f} %", help=text, width="content")
