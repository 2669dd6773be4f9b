"""What of a teacher's outputs a run will need, and what of that is kept already. No torch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fnkd_core.checkpoints.library import Entry
from fnkd_core.data.types import DatasetInfo, random_crops
from fnkd_core.data.views import Augmentation, View
from fnkd_core.stores.teacher_outputs import TeacherOutputs, teacher_of, teacher_outputs
from fnkd_core.stores.upkeep import stores_of
from fnkd_core.training.resolve import Resolved, reading_of
from fnkd_core.wording import counted, duration, megabytes

VIEWS = 1
"""Of how images become views. It rises with a change after which a view has other pixels, so that nothing is read that
a teacher has said of the old ones; a test pins the pixels."""


def store_of(
    resolved: Resolved, split: str | None = None, count: int | None = None, teacher: Entry | None = None
) -> TeacherOutputs:
    """Where a teacher's outputs are kept: on the run's training set's views, or on a split as evaluation sees it.

    split: `train`, `validation` or `test`, as evaluation sees it; None for the views. count: N images; without it about
    as many as there are. teacher: of several, which; else the run's. Which images the run has follows from the splits
    and the settings that divide them, so that nothing need be loaded to know what is kept.
    """
    config, teacher = resolved.config, teacher or resolved.teachers[0]
    info = resolved.view if split is None else reading_of(teacher, resolved.info)
    assert teacher.card is not None
    drawn = split in (None, "train") and config.per_class is not None
    what: dict[str, Any] = {
        "images": {k: v for k, v in resolved.identities.items() if drawn_by(k, split, drawn)} | {"teacher": None},
        "part": split or "train",
        "drawn": [config.per_class, config.seed] if drawn else None,
        "read": [info.image, info.crop_pct, info.interpolation],
        "views": None if split else augmentation(resolved),
    }
    if "validation" in info.splits and not config.validation and split in (None, "train"):
        what["with"] = "validation"  # whose images are trained on too; without them it is what it was before this
    if VIEWS > 1:
        what["version"] = VIEWS
    about = {"train": resolved.num_images[0], "test": info.size("test")}.get(split or "train", resolved.num_images[1])
    title = f"{info.title}, {split or 'train, augmented'}"
    return teacher_outputs(teacher.identity, what, about if count is None else count, len(teacher.card.classes), title)


def drawn_by(identity: str, split: str | None, by_class: bool) -> bool:
    """Whether an identity of a run decides which images a split of it has: a selection those that are trained on, and
    other labels only where so many of each class are drawn (`by_class`)."""
    if identity in ("only", "exclude"):
        return split in (None, "train")
    # What else a run is made from is the student's: a teacher is asked once for students that differ in it.
    return identity in ("train", "validation", "test") or (identity == "relabel" and by_class)


def augmentation(resolved: Resolved) -> dict[str, Any]:
    """What decides an augmented view, and what a teacher says of it, besides its number."""
    config, info = resolved.config, resolved.view
    if not config.augment:
        return {}
    crops = random_crops(info, View(0, 0))
    usual = asdict(Augmentation())
    # What is kept of views without any of these is what it was before there were any.
    more = {k: v for k, v in asdict(config.augmentation).items() if v != usual[k]}
    return more | {
        "seed": resolved.view_seed,
        "pad": info.pad if crops is None else 0,
        "flip": info.flip,
        "least_area": crops.least_area if crops else None,
    }


@dataclass(frozen=True)
class Asking:
    """What teachers are asked of before the first step of some runs, each view of an image once for all of them.

    views: of teachers, which are to be made, of so many that the runs see. images: asked of, each in each view.
    num_bytes: what that takes on the disk. teachers: how many are asked or have been. seconds: what it takes, were each
    as fast as when it was last extracted here; None where one was not, from images of its size.
    """

    views: int
    of_views: int
    images: int
    num_bytes: int
    teachers: int
    seconds: float | None

    def __str__(self) -> str:
        who, say, be, this = "the teacher", "says", "is", "this teacher"
        if self.teachers > 1:
            who, say, be, this = f"the {self.teachers} teachers", "say", "are", "one of these teachers"
        if not self.views:
            return f"What {who} {say} of {counted(self.of_views, 'view')} is kept already."
        time = "" if self.seconds is None else f"about {duration(self.seconds)}, as fast as {who} {be} extracted, and "
        return (
            f"First {who} {be} asked of {self.views} of {counted(self.of_views, 'view')}, "
            f"{counted(self.images, 'image')}, which takes {time}"
            f"{megabytes(self.num_bytes)} on the disk and serves every run with {this} and these images."
        )


def to_ask(runs: Iterable[Resolved]) -> Asking | None:
    """What the teachers of these runs are asked of before the first step; None where all are asked at every step."""
    stores, views, asked = dict[Path, TeacherOutputs](), dict[Path, int](), dict[Path, tuple[Entry, DatasetInfo]]()
    for resolved in runs:
        if resolved.config.teacher_outputs == "cached":
            for teacher in resolved.teachers:
                store = store_of(resolved, teacher=teacher)
                stores[store.path], asked[store.path] = store, (teacher, resolved.info)
                views[store.path] = max(views.get(store.path, 0), resolved.views)
    if not stores:
        return None
    missing = {path: len(store.missing(views[path])) for path, store in stores.items()}
    images = {path: missing[path] * store.count for path, store in stores.items() if missing[path]}
    paces = {path: _pace(*asked[path]) for path in images}
    return Asking(
        sum(missing.values()),
        sum(views.values()),
        sum(images.values()),
        sum(store.num_bytes(missing[path]) for path, store in stores.items()),
        len({teacher_of(path) for path in stores}),
        sum(images[path] / pace for path, pace in paces.items() if pace) if all(paces.values()) else None,
    )


def _pace(teacher: Entry, info: DatasetInfo) -> float | None:
    """Images a second of the teacher's last extraction, from images of the size at which it reads these; None where
    there was none, or another process did all of it."""
    size = list(reading_of(teacher, info).image)
    alike = [store.manifest for store in stores_of(teacher) if store.manifest["image"] == size]
    last = max(alike, key=lambda manifest: str(manifest["created"]), default=None)
    return float(last["samples_per_s"]) or None if last else None
