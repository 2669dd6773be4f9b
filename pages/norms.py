"""How are the feature norms distributed, and what goes with them?"""

import plotly.graph_objects as go
import streamlit as st

from fnkd_core.analysis.tables import by_class, by_decile, norm_summary
from fnkd_core.plots import norms as plots
from fnkd_core.plots.style import ROLE_COLOURS
from fnkd_core.ui import address, frame, selection
from fnkd_core.ui.markdown import literal, table_cells
from fnkd_core.ui.stores import kept, labelled, load_stores

COLUMNS = ("confidence", "margin", "entropy", "nll")
view = frame.page("norms", "How are the feature norms distributed, and what goes with them?")
stores = load_stores(view)
names = {role: labelled(role, store) for role, store in stores.items()}

st.header("Distribution of ‖f‖", anchor=False)
role, split_by, cls = selection.norm_controls(stores)
store = stores[role]
classes, samples = store.classes, store.samples


def distribution() -> go.Figure:
    if split_by == "class":
        return plots.norm_by_class(samples, classes, names[role], ROLE_COLOURS[role == "student"])
    if split_by == "right / wrong":
        return plots.norm_by_outcome(samples if cls is None else samples[samples["label"] == cls])
    rows = {r: s.samples if cls is None else s.samples[s.samples["label"] == cls] for r, s in stores.items()}
    groups = {names[r]: rows[r]["norm"].to_numpy() for r in stores}
    return plots.norm_distribution(groups, colours=[ROLE_COLOURS[r == "student"] for r in stores])


figure = kept("distribution", distribution, *stores.values(), *stores, role, split_by, cls)
event = st.plotly_chart(figure, key="distribution", on_select="rerun", selection_mode="box")
selection.offer(event, role, stores, axes=("norm",) if split_by != "class" else (), cls=cls)

summary = kept("summary", lambda: norm_summary(samples), store)
st.caption(
    f"{literal(names[role])}: mean {summary['mean']:.2f}, sd {summary['sd']:.2f}; right {summary['mean_right']:.2f}, "
    f"wrong {summary['mean_wrong']:.2f}. A right sample has the larger norm in {summary['auroc']:.1%} of right-wrong "
    "pairs (50 % is chance). ‖f‖ does not see the label: a mislabelled image can have any norm."
)

st.header("Accuracy and confidence by norm decile", anchor=False)
figure = kept(
    "deciles",
    lambda: plots.accuracy_by_decile({names[r]: by_decile(s.samples) for r, s in stores.items()}),
    *stores.values(),
    *stores,
)
st.plotly_chart(figure, key="deciles")
st.caption(
    "Each decile holds a tenth of the samples. Where confidence lies above accuracy, the model is overconfident."
)

st.header("Norm against confidence", anchor=False)
pick, _ = st.columns([1, 3])
column = pick.selectbox("Against", COLUMNS, key=address.key("against", COLUMNS))
figure = kept("against", lambda: plots.norm_against(samples, column, column, classes), store, column)
event = st.plotly_chart(figure, key="scatter", on_select="rerun", selection_mode="box")
selection.offer(event, role, stores, axes=("norm", column))
said = (f"{literal(names[role])}, {len(samples):,} samples.", literal(plots.drawn(len(samples))))
st.caption(" ".join(filter(None, (*said, "Drag a box: its samples appear below the plot."))))
with st.expander("By class, as a table"):
    table = kept("by class", lambda: by_class(samples, classes).sort_values("norm_mean"), store)
    st.dataframe(table_cells(table), hide_index=True)
