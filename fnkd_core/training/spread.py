"""Which augmentation suits a teacher: how much its mean probability changes from draw to draw. No torch at import.

A draw is 320 training images, each seen as training does, shifted and flipped, and once more under the augmentation.
Their mean probability of each class is a vector; the spread is its standard deviation over the draws, averaged over the
classes. Over augmentations it was found to rise with the test loss of the students that learn under them, whatever the
student: lower is better (Wang et al., "What makes a 'good' data augmentation in knowledge distillation", NeurIPS 2022).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from fnkd_core.checkpoints.fits import read_by
from fnkd_core.checkpoints.library import Entry
from fnkd_core.data.types import DatasetInfo
from fnkd_core.data.views import Augmentation
from fnkd_core.errors import require
from fnkd_core.files import write_json
from fnkd_core.identity import digest
from fnkd_core.paths import spreads_dir
from fnkd_core.records import read_json

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

AUGMENTATIONS: dict[str, Augmentation] = {
    "shift and flip": Augmentation(),
    "erasing": Augmentation(erasing=1.0),
    "trivial_augment": Augmentation(trivial=True),
    "mixup": Augmentation(mixup=1.0),
    "cutmix": Augmentation(cutmix=1.0),
    "mixup and cutmix": Augmentation(mixup=1.0, cutmix=1.0),
}
"""What is compared; the first, which does nothing more, is what the others are measured by."""
DRAWN, DRAWS = 320, 60
"""Images of a draw, and draws."""
RESAMPLED = 400


class Row(TypedDict):
    """An augmentation. spread: see above. ratio: to the first one's, with its 95 % interval over the draws, which are
    the same images for all. entropy: mean of the teacher's on the augmented views, in nats; norm: mean ||f||."""

    name: str
    spread: float
    ratio: float
    low: float
    high: float
    entropy: float
    norm: float


class Found(TypedDict):
    """What was found, the lowest spread first. draws of so many images."""

    draws: int
    images: int
    rows: list[Row]


def path_of(entry: Entry, info: DatasetInfo, draws: int = DRAWS) -> Path:
    """Where it is kept what was found of this teacher on these data. `UserError` where it is unfit for them."""
    info = read_by(entry, info)
    how = [info.image, info.crop_pct, info.interpolation, info.pad, info.flip]
    folder = digest([entry.identity, info.identity("train"), how, draws])
    return spreads_dir() / folder / "found.json"


def found(entry: Entry, info: DatasetInfo, draws: int = DRAWS) -> Found | None:
    """What was found before, or None."""
    path = path_of(entry, info, draws)
    shape: type[Found] = Found
    return read_json(path, shape, "delete it to measure again") if path.exists() else None


def measure(entry: Entry, info: DatasetInfo, draws: int = DRAWS) -> Iterator[tuple[int, int]]:
    """Measure and keep it; yields (images asked of, in all). What was begun before goes on from its last draw.

    `UserError` for fewer than two draws, and where data or checkpoint cannot be read.
    """
    import numpy as np
    import torch

    from fnkd_core.checkpoints.io import load_checkpoint
    from fnkd_core.data import load_split
    from fnkd_core.data.loader import Loader
    from fnkd_core.models.inference import best_device, predict
    from fnkd_core.stores.pieces import Pieces, discard_if
    from fnkd_core.training.augmented import Augmented, order_of
    from fnkd_core.training.teacher import ASKED

    require(draws >= 2, f"draws must be >= 2, to have a spread, got {draws}.")
    path, info = path_of(entry, info, draws), read_by(entry, info)
    if path.parent.exists():
        discard_if(path.parent, lambda: not path.exists())
    device = best_device("auto")
    teacher = load_checkpoint(entry.path)[0].to(device).eval()
    count = len(AUGMENTATIONS)
    rows = {"means": (np.float64, (count, len(info.classes))), "sums": (np.float64, (count, 2))}
    with Loader() as loader, contextlib.closing(Pieces(path.parent, draws, 1, {}, rows)) as pieces:
        samples = loader.serving(load_split(info, "train"))
        size = min(DRAWN, len(samples))
        plain = Augmented(samples, True, 0, device)
        others = [Augmented(samples, True, 1, device, how) for how in AUGMENTATIONS.values()]
        total = draws * size * (1 + count)
        for part in pieces.todo():
            epoch, place = divmod(part.start, len(samples) // size)
            drawn = order_of(len(samples), 0, epoch)[place * size : (place + 1) * size]
            done, first = pieces.done * size * (1 + count), None
            means, sums = np.zeros((count, len(info.classes))), np.zeros((count, 2))
            for i, images in enumerate([plain, *others]):
                said = [*predict(teacher, images.views(drawn, ASKED, epoch))]
                # Off the device first: MPS has no float64.
                log_p = torch.cat([outputs.logits for outputs in said]).cpu().double().log_softmax(1)
                mean = log_p.exp().mean(0).numpy()
                if first is None:
                    first = mean
                else:
                    norm = torch.cat([outputs.norms for outputs in said]).cpu().double().mean()
                    means[i - 1] = (first + mean) / 2
                    sums[i - 1] = float(-(log_p.exp() * log_p).sum(1).mean()), float(norm)
                done += size
                yield done, total
            pieces.write(part, means=means[None], sums=sums[None])

        def write(folder: Path) -> None:
            with pieces.refusing():
                means, sums = (np.load(pieces.scratch / f"{name}.npy") for name in rows)
                text = f"{entry.name} says what is no number of some augmented images; measure another teacher."
                require(bool(np.isfinite(means).all() and np.isfinite(sums).all()), text)
            rows_found = table(list(AUGMENTATIONS), means.swapaxes(0, 1), sums.sum(0) / draws)
            write_json(folder / path.name, Found(draws=draws, images=size, rows=rows_found))

        pieces.finish(write)


def table(names: Sequence[str], means: NDArray[np.float64], sums: NDArray[np.float64]) -> list[Row]:
    """A row for each augmentation, the lowest spread first.

    means: (A, G, K) mean probability of each class in each draw. sums: (A, 2) mean entropy and norm.
    """
    import numpy as np

    def spread(draws: NDArray[np.float64]) -> NDArray[np.float64]:
        result: NDArray[np.float64] = draws.std(1, ddof=1).mean(1)
        return result

    whole, generator = spread(means), np.random.default_rng(0)
    again = np.stack(
        [spread(means[:, generator.integers(means.shape[1], size=means.shape[1])]) for _ in range(RESAMPLED)]
    )
    # Of one draw alone, drawn over and over, there is none.
    again = again[again[:, 0] > 0] if (again[:, 0] > 0).any() else np.ones_like(again)
    low, high = np.percentile(again / again[:, :1], (2.5, 97.5), axis=0)
    ratio = whole / whole[0] if whole[0] > 0 else np.ones_like(whole)
    rows = [
        Row(
            name=name,
            spread=float(whole[i]),
            ratio=float(ratio[i]),
            low=float(low[i]),
            high=float(high[i]),
            entropy=float(sums[i, 0]),
            norm=float(sums[i, 1]),
        )
        for i, name in enumerate(names)
    ]
    return sorted(rows, key=lambda row: row["spread"])


def verdict(of: Found) -> str:
    """What follows from it, in a sentence or two."""
    usual = next(iter(AUGMENTATIONS))
    best = of["rows"][0]
    surely = [row["name"] for row in of["rows"] if row["high"] < 1 and row["name"] != usual]
    if not surely:
        return f"None lowers the spread for certain below that of {usual} alone: none promises a better student."
    tied = [row["name"] for row in of["rows"][1:] if row["low"] <= best["high"] and row["name"] in surely]
    beside = f"; {', '.join(tied)} cannot be told from it" if tied else ""
    return (
        f"{best['name']} has the lowest spread, {best['ratio']:.2f} [{best['low']:.2f}, {best['high']:.2f}] of that of "
        f"{usual} alone, and should suit this teacher best{beside}."
    )
