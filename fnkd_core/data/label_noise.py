"""Training splits made smaller or harder on purpose: a selection, other labels, few labels, and wrong ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

import torch

from fnkd_core.data.types import Samples
from fnkd_core.errors import require


def selected(samples: Samples, keys: Iterable[str], keep: bool) -> Samples:
    """The samples with these keys, or all others, in their old order. `UserError` where that is none."""
    chosen = set(keys)
    index = [i for i, key in enumerate(samples.keys) if (key in chosen) == keep]
    require(
        bool(index),
        f"The selection leaves none of {len(samples.keys):,} samples to train on; choose another one.",
    )
    return samples.subset(torch.tensor(index))


def relabelled(samples: Samples, labels: Mapping[str, int]) -> Samples:
    """The samples, those with these keys under their new label. `UserError` where that is none of them."""
    index = [i for i, key in enumerate(samples.keys) if key in labels]
    require(
        bool(index),
        f"The selection gives none of {len(samples.keys):,} samples to train on another label; give some of them one "
        "in the Gallery, or leave relabel out.",
    )
    changed = samples.labels.clone()
    changed[torch.tensor(index)] = torch.tensor([labels[samples.keys[i]] for i in index])
    return dataclasses.replace(samples, labels=changed)


def few_labels(samples: Samples, per_class: int, seed: int) -> Samples:
    """The split with at most `per_class` samples of each class, drawn by the seed, in their old order."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(samples.labels), generator=generator)
    kept = []
    for k in range(len(samples.info.classes)):
        kept.append(order[samples.labels[order] == k][:per_class])
    index = torch.cat(kept).sort().values
    return samples.subset(index)


def flip_labels(samples: Samples, rate: float, kind: str, similar: Sequence[Sequence[int]], seed: int) -> Samples:
    """The split with this share of its labels replaced by a wrong one, which samples being drawn by the seed.

    uniform: by any other class. similar: by one of the label's similar classes, the share being of those samples
    whose class has any. `UserError` where no class has.
    """
    num_classes = len(samples.info.classes)
    others: list[Sequence[int]] = [[j for j in range(num_classes) if j != k] for k in range(num_classes)]
    if kind == "similar":
        require(
            any(similar),
            f"{samples.info.name} has no similar classes to confuse; use uniform noise, or a CSV of groups (similar).",
        )
        others = list(similar)
    generator = torch.Generator().manual_seed(seed + 1)
    can = torch.tensor([bool(members) for members in others])[samples.labels].nonzero()[:, 0]
    chosen = can[torch.randperm(len(can), generator=generator)[: round(rate * len(can))]]
    draws = torch.rand(len(chosen), generator=generator)
    labels = samples.labels.clone()
    for i, draw in zip(chosen.tolist(), draws.tolist(), strict=True):
        members = others[int(labels[i])]
        labels[i] = members[int(draw * len(members))]
    return dataclasses.replace(samples, labels=labels)
