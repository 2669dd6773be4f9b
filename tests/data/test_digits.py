"""Digits are those of scikit-learn, split as it splits them, though its package is not imported to read them."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from fnkd_core.data import load_split


@pytest.mark.parametrize("split", ["train", "test"])
def test_images_labels_and_keys_are_those_of_scikit_learn_s_stratified_split(split: str) -> None:
    data = load_digits()
    numbers = np.arange(len(data.target))
    parts = train_test_split(numbers, test_size=360, random_state=0, stratify=data.target)
    wanted = np.sort(parts[split == "test"])
    found = load_split("digits", split)
    assert found.keys == [f"digits/{i:04d}" for i in wanted]
    assert np.array_equal(found.images[:, 0].numpy(), np.rint(data.images[wanted] * 255 / 16))  # type: ignore[call-overload]
    assert np.array_equal(found.labels.numpy(), data.target[wanted])


def test_a_process_that_reads_them_or_makes_an_optimiser_imports_no_more_than_it_needs() -> None:
    code = (
        "import sys; from fnkd_core.data import load_split; load_split('digits', 'test'); "
        "from fnkd_core.models.architecture import Architecture; from fnkd_core.models.zoo import build; "
        "from fnkd_core.training.config import RunConfig; from fnkd_core.training.optim import make_optimizer; "
        "model = build(Architecture('cifar_resnet8', 10, 1), [0.0], [1.0]); "
        "optimizer = make_optimizer(RunConfig(), model); optimizer.zero_grad(); "
        "[setattr(p, 'grad', p * 0) for p in model.parameters()]; optimizer.step(); "
        "print([name for name in ('sklearn', 'torch._dynamo') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
