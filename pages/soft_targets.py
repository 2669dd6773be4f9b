"""What do T and tau/||f|| make of the targets?"""

import streamlit as st

from fnkd_core.ui import frame, soft_targets
from fnkd_core.ui.stores import load_stores

view = frame.page(
    "soft_targets", "KD softens every sample by one T. FN softens each by its own T_i = ‖f‖/τ. Drag and compare."
)
stores = load_stores(view)
soft_targets.lab(stores)
st.caption(
    "A narrow outline and a wide filled shape mean that T treats alike what the norm tells apart. Where a filled shape "
    "is narrower in entropy, FN has evened out how much the targets say."
)
