"""Which images have the lowest and the highest feature norm?"""

import streamlit as st

from fnkd_core.ui import browse, frame, guard, verdicts
from fnkd_core.ui.components.gallery import gallery
from fnkd_core.ui.markdown import literal
from fnkd_core.ui.sample import show_sample
from fnkd_core.ui.stores import load_stores

view = frame.page("gallery", "Which images have the lowest and the highest norm, and what is predicted for them?")
stores = load_stores(view)
role, mode, size, per_page = browse.layout_controls(stores)
store = stores[role]
rows = browse.filters(store, next((other for name, other in stores.items() if name != role), None))
if rows.empty:
    st.info("No sample passes these filters. Widen a range, or reset them.", icon=":material/filter_alt_off:")
    raise guard.Enough
panels = browse.panels(store, rows, mode, per_page)
result = gallery(panels, size, key="gallery")
if result.opened is not None:
    show_sample(stores, int(result.opened))
st.caption(
    f"{literal(verdicts.under_pictures(store))} A frame marks a wrong prediction. Click an image, or press Enter on "
    "it, for its norms and targets; arrow keys move."
)
