"""What does the feature norm tell of this model, how is it distributed, and what goes with it?"""

import streamlit as st

from fnkd_core.analysis.tables import by_class, by_decile
from fnkd_core.plots import norms as plots
from fnkd_core.ui import (
    address,
    charts,
    distribution,
    frame,
    geometry,
    guard,
    inputs,
    selection,
    tables,
    through_training,
    verdicts,
)
from fnkd_core.ui.markdown import literal
from fnkd_core.ui.stores import kept, labelled, load_stores

COLUMNS = ("confidence", "margin", "entropy", "nll")
view = frame.page("norms", "What does ‖f‖ tell of these models, how is it distributed, and what goes with it?")
if through_training.wanted():
    through_training.show(view)
    raise guard.Enough
stores = load_stores(view)
names = {role: labelled(role, store) for role, store in stores.items()}

st.header("Does the norm tell right from wrong?", anchor=False)
verdicts.show(stores)

st.header("Distribution of ‖f‖", anchor=False)
choice = distribution.controls(stores)
distribution.show(view, stores, choice)
role, store = choice.role, stores[choice.role]
classes, samples = store.classes, store.samples

st.header("Accuracy and confidence by norm decile", anchor=False)
figure = kept(
    "deciles",
    lambda: plots.accuracy_by_decile({names[r]: by_decile(s.samples) for r, s in stores.items()}),
    *stores.values(),
    *stores,
)
charts.chart(figure, key="deciles")
st.caption(
    "Each decile holds a tenth of the samples. Where confidence lies above accuracy, the model is overconfident."
)

st.header("Norm against confidence", anchor=False)
pick, _ = st.columns([1, 3])
column = inputs.on(pick).selectbox("Against", COLUMNS, key=address.key("against", COLUMNS))
figure = kept("against", lambda: plots.norm_against(samples, column, column, classes), store, column)
event = charts.chart(figure, key="scatter", on_select="rerun", selection_mode="box")
selection.offer(selection.boxed(event, ("norm", column)), role, stores)
said = (f"{literal(names[role])}, {len(samples):,} samples.", literal(plots.drawn(len(samples))))
st.caption(" ".join(filter(None, (*said, "Drag a box: its samples appear below the plot."))))
with st.expander("By class, as a table"):
    table = kept("by class", lambda: by_class(samples, classes).sort_values("norm_mean"), store)
    tables.show(table, hide_index=True)

st.header("Geometry of the class means", anchor=False)
geometry.show(role, store, view.models[role])
