"""What do T, tau/||f|| and the other rules make of the targets?"""

from fnkd_core.ui import frame, soft_targets
from fnkd_core.ui.stores import load_stores

view = frame.page(
    "soft_targets",
    "KD softens every sample by one T, FN each by its own T_i = ‖f‖/τ. Drag, and see what each makes of the targets.",
)
soft_targets.lab(load_stores(view), view)
