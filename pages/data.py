"""What is in this data set?"""

from fnkd_core.ui import data_set, frame

view = frame.page("data", "What is in this data set, before and after any model has seen it?")
data_set.facts(view)
data_set.steps(view)
data_set.require_here(view)
data_set.balance(view)
data_set.images(view)
data_set.files(view)
