"""Data sets as uint8 images with labels, in memory or in files, and the classes that are similar to each class.

Importing this loads no torch; `load_split` and `augment` do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fnkd_core.data.catalogue import (
    DATASETS,
    DatasetInfo,
    add_folder,
    check_data,
    dataset_info,
    folders,
    leave_out_broken,
    list_datasets,
    load_split,
    load_training,
    refuses_broken,
    registry_problem,
    remove_folder,
)
from fnkd_core.data.listing import look_again
from fnkd_core.data.similar import default_similar, similar_classes

if TYPE_CHECKING:
    from fnkd_core.data.catalogue import Samples

__all__ = [
    "DATASETS", "DatasetInfo", "Samples", "add_folder", "check_data", "dataset_info", "default_similar",
    "folders", "leave_out_broken", "list_datasets", "load_split", "load_training",
    "look_again", "refuses_broken", "registry_problem", "remove_folder", "similar_classes",
]  # fmt: skip


def __getattr__(name: str) -> object:
    if name == "Samples":
        from fnkd_core.data.catalogue import Samples

        return Samples
    raise AttributeError(name)
