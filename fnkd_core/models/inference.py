"""A classifier's outputs on many images, batch by batch."""

from __future__ import annotations

import contextlib
import os
import statistics
import time
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from fnkd_core.data.augment import to_device
from fnkd_core.errors import require
from fnkd_core.identity import digest
from fnkd_core.kd.outputs import Outputs
from fnkd_core.machine import processor
from fnkd_core.models.classifier import Classifier
from fnkd_core.paths import cache_dir
from fnkd_core.records import recall, remember

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
LEAST_PIXELS = 16
"""Below this the casts cost more than half precision saves."""
WORTH_IT = 1.1
"""Half precision is taken where it is faster by this factor."""


def best_device(wanted: str = "auto") -> torch.device:
    """The device to compute on. wanted: `auto`, `cpu`, `cuda`, `cuda:1`, `mps`.

    `auto` is what `FNKD_DEVICE` says, else a GPU, else the CPU; `cuda` is the GPU that `FNKD_DEVICE` names, if it does.
    Of several processes that torchrun has started on a machine with a GPU for each, every one has its own.
    `UserError` where there is no such device.
    """
    told = os.environ.get("FNKD_DEVICE", "")
    if wanted != "auto" and not (wanted == "cuda" and told.startswith("cuda")):
        told = ""
    if told or wanted == "auto":
        wanted = told or (_own_gpu() if torch.cuda.is_available() else "cpu")
    count = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    kind, _, index = wanted.partition(":")
    there = (not index or index.isdecimal()) and int(index or 0) < count.get(kind, 0)
    name = "FNKD_DEVICE" if told else "device"
    require(there, f"{name} must name a device that torch sees here, got {wanted!r}; use 'cpu', or 'auto' for any.")
    return torch.device(wanted)


def _own_gpu() -> str:
    rank, beside = (int(os.environ.get(name, usual)) for name, usual in (("LOCAL_RANK", 0), ("LOCAL_WORLD_SIZE", 1)))
    return f"cuda:{rank}" if 1 < beside <= torch.cuda.device_count() else "cuda"


def has_float64(device: torch.device) -> bool:
    """Whether this device computes in double precision; Apple's does not."""
    return device.type != "mps"


def fastest_precision(device: torch.device, image_size: int) -> str:
    """`bf16` or `fp16` where a network runs faster in it on this device than in float32, else `fp32`.

    Whether a processor that has bfloat16 arithmetic gains by it is measured, once for each machine: of two that have
    it, one runs a resnet20 1.8 times as fast, the other at three quarters of the speed. image_size: pixels a side.
    """
    if image_size < LEAST_PIXELS or device.type == "mps":
        return "fp32"
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    if not getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)():
        return "fp32"
    threads = torch.get_num_threads()
    key = digest([processor(), torch.__version__, threads])
    path = cache_dir() / "precision" / f"{key}.json"
    known = recall(path).get("ratio")
    ratio = float(known) if isinstance(known, int | float) else _speed_of_bfloat16()
    if known is None:
        remember(path, {"ratio": ratio})
    return "bf16" if ratio >= WORTH_IT else "fp32"


def _speed_of_bfloat16() -> float:
    """How many times as fast as in float32 a few convolutions learn in bfloat16: the median of steps taken in turns."""
    with torch.random.fork_rng():
        layers = [
            layer
            for width in (16, 16, 16)
            for layer in (nn.Conv2d(16, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU())
        ]
        network = nn.Sequential(*layers).to(memory_format=torch.channels_last)
        images = torch.randn(64, 16, 32, 32).contiguous(memory_format=torch.channels_last)
    taken: dict[str, list[float]] = {"fp32": [], "bf16": []}
    for _ in range(7):
        for precision, times in taken.items():
            begun = time.perf_counter()
            with autocast(torch.device("cpu"), precision):
                loss = network(images).float().mean()
            loss.backward()
            times.append(time.perf_counter() - begun)
    return statistics.median(taken["fp32"][1:]) / statistics.median(taken["bf16"][1:])


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager[None]:
    """Autocast to this precision on the device, or nothing for `fp32`."""
    if precision == "fp32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=DTYPES[precision])


@torch.inference_mode()
def predict(
    classifier: Classifier, images: Tensor | Iterable[Tensor], batch_size: int = 512, precision: str = "fp32"
) -> Iterator[Outputs]:
    """Outputs in evaluation mode, batch by batch, on the classifier's device, in the order of the images.

    images: (N, C, H, W) uint8, or batches of such, which then stay as they are. The classifier's mode is put back
    at the end.
    """
    device = next(classifier.parameters()).device
    was_training = classifier.training
    classifier.eval()
    try:
        for part in images.split(batch_size) if isinstance(images, Tensor) else images:
            batch = to_device(part, device)
            if batch.shape[1] > 1:
                batch = batch.contiguous(memory_format=torch.channels_last)
            with autocast(device, precision):
                yield classifier(batch).detach()
    finally:
        classifier.train(was_training)
