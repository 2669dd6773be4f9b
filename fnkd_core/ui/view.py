"""The pages, and what the sidebar has chosen for them."""

from __future__ import annotations

from dataclasses import dataclass

from fnkd_core.checkpoints.library import Entry
from fnkd_core.data import DatasetInfo
from fnkd_core.paths import project_dir

PAGES = {
    "Analyse": {
        "overview": ("Overview", ":material/verified:"),
        "data": ("Data", ":material/photo_library:"),
        "norms": ("Norms", ":material/bar_chart:"),
        "gallery": ("Gallery", ":material/grid_view:"),
        "map": ("Map", ":material/scatter_plot:"),
        "soft_targets": ("Soft targets", ":material/tune:"),
        "compare": ("Compare", ":material/compare_arrows:"),
    },
    "Train": {
        "classes": ("Similar classes", ":material/category:"),
        "distill": ("Distill", ":material/science:"),
        "runs": ("Runs", ":material/timeline:"),
    },
}
NONE = "none"
OF_MODELS = ("norms", "gallery", "map", "soft_targets")
"""Pages whose every part is of the chosen models: without one that a link names they would be of something else."""


@dataclass(frozen=True)
class View:
    """What the sidebar has chosen: a split of a data set and the checkpoints to look at it with.

    fitting: the checkpoints that can be chosen for this data, of those that are offered. Either model may be None.
    missing: a sentence for each model that a link names and that cannot be had; it is None then. absent: one for each
    of its other choices that is not here; a page without it would be of something else.
    """

    info: DatasetInfo
    split: str
    teacher: Entry | None
    student: Entry | None
    fitting: tuple[Entry, ...]
    offered: tuple[Entry, ...] = ()
    missing: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()

    @property
    def models(self) -> dict[str, Entry]:
        """Role -> checkpoint, of those that are chosen."""
        both = {"teacher": self.teacher, "student": self.student}
        return {role: entry for role, entry in both.items() if entry is not None}


def page_path(name: str) -> str:
    return str(project_dir() / "pages" / f"{name}.py")
