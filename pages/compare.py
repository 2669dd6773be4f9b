"""Where do two models differ, and which method is better over seeds?"""

import streamlit as st

from fnkd_core.analysis.tables import by_class, by_confidence, expected_agreement
from fnkd_core.plots import models as plots
from fnkd_core.plots.norms import drawn, norm_against_norm
from fnkd_core.stores.store import open_store
from fnkd_core.ui import address, charts, comparisons, frame, guard, inputs, two_models
from fnkd_core.ui.markdown import literal
from fnkd_core.ui.stores import kept, load_store, loaded, side_by_side

view = frame.page("compare", "Where do two models differ, and which method is better over several seeds?")
kinds = {"models": "Two models", "methods": "Methods over seeds"}
what = inputs.on().segmented_control(
    "What to compare",
    list(kinds),
    key=address.key("what", list(kinds)),
    required=True,
    format_func=kinds.__getitem__,
    label_visibility="collapsed",
)
if what == "methods":
    comparisons.show(view)
    raise guard.Enough
entries = two_models.two_models(view)
a, b = loaded(entries, view.info, view.split)
both, names = side_by_side(a, b), (a.name, b.name)
two_models.headline(both, (a, b), kept("expected", lambda: expected_agreement(both), a, b))

st.header("Norm against norm", anchor=False)
figure = kept("norm against norm", lambda: norm_against_norm(both, names, a.classes), a, b)
event = charts.chart(figure, key="norms", on_select="rerun", selection_mode=("points", "box"))
st.caption(
    "Each norm as a multiple of its model's mean. Far from the diagonal, the two models see a different image. "
    + literal(drawn(len(both)))
)
two_models.preview(event, {"a": a, "b": b}, both)

left, right = st.columns(2, gap="medium")
with left:
    st.header("Accuracy per norm decile", anchor=False)
    there = view.teacher and open_store(view.teacher, view.info, view.split)  # for this alone none is made
    judge = load_store(view.teacher, view.info, view.split) if view.teacher and there else a
    figure = kept(
        "accuracy on deciles",
        lambda: plots.accuracy_on_deciles(both.assign(decile=judge.samples["decile"]), names),
        a,
        b,
        judge,
    )
    charts.chart(figure, key="deciles")
    st.caption(f"Deciles of {literal(judge.name)}'s norms, so both are judged on the same samples.")
with right:
    st.header("Accuracy per class", anchor=False)
    figure = kept(
        "accuracy by class",
        lambda: plots.accuracy_by_class(by_class(a.samples, a.classes), by_class(b.samples, b.classes), names),
        a,
        b,
    )
    charts.chart(figure, key="classes")
    st.caption(f"Ordered by the difference {literal(b.name)} − {literal(a.name)}: the largest is on the right.")

st.header("Reliability", anchor=False)
figure = kept(
    "reliability", lambda: plots.reliability((by_confidence(a.samples), by_confidence(b.samples)), names), a, b
)
charts.chart(figure, key="reliability")
st.caption(
    "Below the dotted line a model is surer than it is right. A point is one of the 15 bins of ECE, with the 95 % "
    "interval of its accuracy, and larger where more samples are in it."
)

st.header("One right, the other wrong", anchor=False)
two_models.disagreements({"a": a, "b": b}, both)
