"""Mixup and CutMix: a partner, a share and a box for each sample, which follow from its key and the view."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from scipy import stats

from fnkd_core.data.augment import key_hashes
from fnkd_core.data.mixing import mixed, mixing, partners
from fnkd_core.data.views import Augmentation, View

VIEW = View(1, 2)
HASHES = key_hashes(f"image {i}" for i in range(4000))


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_the_share_of_mixup_is_beta_distributed_and_the_image_is_the_mean_with_it(alpha: float) -> None:
    how = mixing(HASHES, VIEW, Augmentation(mixup=alpha), 4, 4)
    at = np.linspace(0.001, 0.999, 99)
    assert np.abs((how.share.numpy()[:, None] <= at).mean(0) - stats.beta(alpha, alpha).cdf(at)).max() < 0.025
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randint(0, 256, (4000, 3, 4, 4), generator=generator, dtype=torch.uint8) for _ in "ab")
    share = how.share.double()[:, None, None, None]
    exact = share * a + (1 - share) * b
    assert float((mixed(a, b, how) - exact).abs().max()) <= 0.5 + 1e-6


def test_the_share_of_cutmix_is_what_is_left_of_the_image_s_own_pixels() -> None:
    how = mixing(HASHES, VIEW, Augmentation(cutmix=1.0), 24, 20)
    ours, theirs = torch.zeros(4000, 1, 24, 20, dtype=torch.uint8), torch.ones(4000, 1, 24, 20, dtype=torch.uint8)
    out = mixed(ours, theirs, how)
    torch.testing.assert_close(1 - out.float().mean((1, 2, 3)), how.share)
    tall, wide = out[:, 0].amax(2).sum(1), out[:, 0].amax(1).sum(1)
    assert torch.equal(out.sum((1, 2, 3)), tall * wide)
    generator, kept = np.random.default_rng(0), []
    for _ in range(4000):
        side = np.sqrt(1 - generator.beta(1, 1)) / 2
        y, x, high, across = generator.integers(24), generator.integers(20), int(24 * side), int(20 * side)
        box = (min(y + high, 24) - max(y - high, 0)) * (min(x + across, 20) - max(x - across, 0))
        kept.append(1 - box / 480)
    assert float(how.share.mean()) == pytest.approx(np.mean(kept), abs=0.015)
    assert float(how.share.std()) == pytest.approx(np.std(kept), abs=0.015)


def test_of_both_a_coin_chooses_for_each_sample() -> None:
    how = mixing(HASHES, VIEW, Augmentation(mixup=1.0, cutmix=1.0), 32, 32)
    cut = how.weights == 2**16
    assert float(cut.float().mean()) == pytest.approx(0.5, abs=0.03)
    areas = (how.boxes[1] - how.boxes[0]) * (how.boxes[3] - how.boxes[2])
    assert not areas[~cut.numpy()].any() and (areas[cut.numpy()] > 0).mean() > 0.9


def test_partners_are_any_samples_and_all_follows_from_key_and_view() -> None:
    found = partners(HASHES, VIEW, 100)
    counts = np.bincount(found.numpy(), minlength=100)
    assert len(counts) == 100 and counts.min() > 10
    assert torch.equal(partners(HASHES[5:9], VIEW, 100), found[5:9])
    assert not torch.equal(partners(HASHES, dataclasses.replace(VIEW, number=3), 100), found)
    how = Augmentation(mixup=0.4, cutmix=1.0)
    whole, few = mixing(HASHES, VIEW, how, 32, 32), mixing(HASHES[5:9], VIEW, how, 32, 32)
    assert torch.equal(few.share, whole.share[5:9]) and (few.boxes == whole.boxes[:, 5:9]).all()
