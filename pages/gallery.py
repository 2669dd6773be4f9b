"""Which images have the lowest and the highest feature norm?"""

import streamlit as st

from fnkd_core.ui import browse, frame
from fnkd_core.ui.stores import load_stores

view = frame.page("gallery", "Which images have the lowest and the highest norm, and what is predicted for them?")
stores = load_stores(view)
layout = browse.layout_controls(stores)
store = stores[layout.role]
other = next((one for name, one in stores.items() if name != layout.role), None)
chosen = browse.filters(store, other)
arrangement = browse.arranged(store, chosen, layout, other)
sample = browse.open_sample(store)
page = browse.count_line(store, chosen, arrangement)
if not len(arrangement.ids):
    st.info("No sample passes these filters. Widen a range, or reset them.", icon=":material/filter_alt_off:")
    st.stop()
browse.images(stores, layout, chosen, arrangement, page, sample)
st.caption(
    "A frame marks a wrong prediction. Click an image, or press Enter on it, for its norms, targets and neighbours; "
    "arrow keys move, and ? names the other keys."
)
