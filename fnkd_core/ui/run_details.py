"""How one run goes, between its epochs too: loss, throughput, memory, gradients of the two terms, norms."""

from __future__ import annotations

import plotly.graph_objects as go
import streamlit as st

from fnkd_core.checkpoints.library import of_run
from fnkd_core.errors import UserError
from fnkd_core.jobs.reading import Reading
from fnkd_core.jobs.words import soft_term_line
from fnkd_core.plots import training
from fnkd_core.stores.epochs import kept_epochs
from fnkd_core.ui import address, charts, guard
from fnkd_core.ui.markdown import literal, prose
from fnkd_core.ui.pickers import choose
from fnkd_core.ui.view import page_path
from fnkd_core.wording import megabytes


def details(one: Reading) -> None:
    """What was watched of the run, below its curves."""
    try:
        steps, norms = one.run.steps(), one.run.norms()
    except UserError as error:
        guard.say(error)
        return
    measured = any(line.get("gradient_hard") is not None for line in one.metrics)
    if not (steps or norms or measured):
        _nothing(one)
        return
    st.subheader("How it went", anchor=False)
    if measured:
        st.markdown(f"**Is the soft term doing anything?** {prose(soft_term_line(one.metrics))}")
    left, right = st.columns(2)
    if steps:
        _chart(left, "Loss by step", training.loss_by_step(steps), one)
    if measured:
        _chart(right, "Gradients of the two terms", training.gradient_norms(one.metrics), one)
    if norms:
        st.caption(f"Feature norms on {literal(norms[-1]['split'])}: each column is one epoch's histogram")
        charts.chart(training.norms_over_epochs(norms), key=f"norms {one.run.id}", bar=False)
    _through_training(one)
    if steps:
        first, second, third = st.columns(3)
        _chart(first, "Throughput", training.throughput(steps), one)
        _chart(second, "Memory", training.memory(steps), one)
        _chart(third, "Learning rate", training.step_learning_rate(steps), one)
    st.caption(_reading(bool(norms), measured))
    if (one.run.path / "tensorboard").is_dir():
        st.caption("In TensorBoard:")
        st.code(f'tensorboard --logdir "{one.run.path / "tensorboard"}"', language="bash")


def _through_training(one: Reading) -> None:
    """What its samples went through, where it has kept that, and the way to it once it has a student."""
    kept = kept_epochs(one.run.path)
    if kept is None:
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        said = f"‖f‖, p of the label and prediction of each training sample are kept of {len(kept.numbers):,} epochs"
        st.caption(literal(f"{said}, {megabytes(kept.num_bytes)}."), width="content")
        student = of_run(one.run.path)
        if student is not None and st.button("Norms through training", key=f"through {one.run.id}"):
            choose("student", student)
            st.session_state["choose"] |= {"when": "training"}
            address.go(page_path("norms"))


def _chart(place: st.delta_generator.DeltaGenerator, title: str, figure: go.Figure, one: Reading) -> None:
    place.caption(literal(title))
    with place:
        charts.chart(figure, key=f"{title} {one.run.id}", bar=False)


def _reading(norms: bool, measured: bool) -> str:
    """How to read the charts."""
    parts = [
        "The loss is the mean since the point before; its terms are before their weights, and the soft one is with the "
        "factor T² of methods that have it. Throughput leaves evaluation out."
    ]
    if measured:
        parts.append(
            "Gradients are those of one batch in an epoch's middle, each with its term's weight, and not of every "
            "epoch where epochs are short."
        )
    if norms:
        parts.append("The lines over the norms are their median and the range of the middle 80 %.")
    return " ".join(parts)


def _nothing(one: Reading) -> None:
    if one.alive:
        st.caption("Loss, throughput, gradients and norms appear here once it trains.")
    else:
        st.info(
            "Nothing was written between this run's epochs: it ended before its first steps, or was trained by an "
            "older version. Runs that are started now show loss by step, memory, the gradients of both terms and "
            "the student's norms here.",
            icon=":material/info:",
        )
