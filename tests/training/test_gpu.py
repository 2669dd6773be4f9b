"""What a GPU adds. Each of these waits for one: `pytest -m gpu`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from fnkd_core.data import load_split
from fnkd_core.data.augment import augment, key_hashes
from fnkd_core.data.views import View
from fnkd_core.models.inference import best_device, fastest_precision
from fnkd_core.training.config import RunConfig
from fnkd_core.training.loop import Metrics, train
from fnkd_core.training.step import Sums, train_step
from tests.training.test_accelerator import VARIANTS, ready

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU"),
]


def config(**changes: Any) -> RunConfig:
    usual = {"method": "fn", "teacher": "digits-teacher", "epochs": 2, "batch_size": 64, "device": "cuda", "lr": 0.01}
    return RunConfig(**(usual | changes))


def test_a_view_is_the_same_on_the_gpu() -> None:
    images = torch.randint(0, 256, (64, 3, 32, 32), dtype=torch.uint8)
    hashes = key_hashes(map(str, range(64)))
    here = augment(images, 4, True, hashes, View(3, 5))
    there = augment(images.cuda(), 4, True, hashes.cuda(), View(3, 5))
    assert torch.equal(here, there.cpu())


@pytest.mark.parametrize("changes", [{}, *VARIANTS.values()], ids=["live", *VARIANTS])
def test_a_step_does_not_wait_for_the_gpu(changes: dict[str, Any], tmp_path: Path) -> None:
    samples = load_split("digits", "train")
    run = config(**({"precision": "fp32", "keep_epochs": True} | changes))
    setup, batches, recorder = ready(run, samples, tmp_path)
    assert setup.teach is not None
    sums = Sums(setup)
    for step in range(3):  # allocations and kernels of the first steps may wait
        sums.add(train_step(setup, next(batches), 0.01, recorder=recorder), step)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for step in range(3, 8):
            sums.add(train_step(setup, next(batches), 0.01, recorder=recorder), step)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert sums.read()[1] is None


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("compiled", ["on", "off"])
def test_a_student_learns_on_the_gpu_and_goes_on_there(precision: Any, compiled: Any, tmp_path: Path) -> None:
    run = config(precision=precision, compile=compiled, epochs=3)
    for event in train(run, tmp_path):
        if isinstance(event, Metrics) and event.epoch == 2:
            break
    lines = [event for event in train(run, tmp_path) if isinstance(event, Metrics)]
    assert [line.epoch for line in lines] == [3] and lines[0].accuracy > 0.5


def test_the_gpu_is_chosen_and_half_precision_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FNKD_DEVICE", raising=False)
    device = best_device()
    assert device.type == "cuda" and fastest_precision(device, 32) in ("bf16", "fp16")
