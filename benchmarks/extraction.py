"""Samples per second of extraction against those of the bare forward pass, and where the rest goes.

    python benchmarks/extraction.py [--checkpoint NAME --dataset NAME --data-root DIR --limit N --rounds N --json]

Both go over the same batches by turns, in this process, on the same device and number of threads: a change of the
machine's mood meets both. The bare pass is `predict` over images that are there already; extraction is all of
`extract`'s loop, to the disk; what it does once a store, such as looking whether the images are still those that were
listed, counts less the larger the split is, and is given apart. Beside them what an extraction does besides, each on
its own.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from fnkd_core.checkpoints.fits import read_by
from fnkd_core.checkpoints.io import load_checkpoint
from fnkd_core.checkpoints.library import Entry, find_checkpoint
from fnkd_core.data import DatasetInfo, Samples, dataset_info, load_split
from fnkd_core.data.batches import batches
from fnkd_core.data.loader import Loader
from fnkd_core.models.classifier import Classifier
from fnkd_core.models.inference import best_device, predict
from fnkd_core.stores.extract import Work
from fnkd_core.stores.measure import batch_size, columns
from fnkd_core.stores.softened import softened
from fnkd_core.stores.thumbnails import are_pictures, thumbnails


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--checkpoint", default="digits-teacher", help="a checkpoint's name or file")
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--data-root", help="where its files are")
    parser.add_argument("--split", default="test")
    parser.add_argument("--limit", type=int, default=2048, help="images of the split that are used")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, help="of torch; all cores by default")
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    a = parser.parse_args()
    if a.threads:
        torch.set_num_threads(a.threads)
    entry = find_checkpoint(a.checkpoint)
    info = read_by(entry, dataset_info(a.dataset, root=a.data_root))
    found = compare(entry, info, a.split, a.limit, a.rounds)
    print(json.dumps(found) if a.json else table(found))


def compare(entry: Entry, info: DatasetInfo, split: str, limit: int, rounds: int) -> dict[str, object]:
    """Medians of the rounds: samples/s of both, their ratio, and microseconds a sample of each part."""
    whole = load_split(info, split, in_memory=are_pictures(info, split))
    count = min(limit, len(whole))
    samples = Samples(info, split, whole.images[:count], whole.labels[:count], whole.keys[:count])
    with Loader() as loader:  # of images in files, whose thumbnails are made by who decodes them
        return _compared(entry, info, loader.serving(samples), rounds)


def _compared(entry: Entry, info: DatasetInfo, samples: Samples, rounds: int) -> dict[str, object]:
    count = len(samples)
    classifier, _ = load_checkpoint(entry.path)
    classifier.to(best_device())
    size = batch_size(info)
    work = Work(entry, samples, classifier, size)
    ready = [batch.clone() for batch in batches(samples.images, size)]
    outputs = list(predict(classifier, ready))
    parts: dict[str, Callable[[], object]] = {
        "statistics": lambda: [columns(o, samples.labels[: len(o)]) for o in outputs],
        "curves": lambda: [softened(o.logits, bias)[0].cpu() for o in outputs for bias in work.variants.values()],
    }
    if not work.as_pixels and isinstance(samples.images, torch.Tensor):
        parts["thumbnails"] = lambda: _pictures(ready)
    bare: list[tuple[float, float]] = []
    extraction: list[tuple[float, float]] = []
    once: list[tuple[float, float]] = []
    parts_s: dict[str, list[float]] = {name: [] for name in parts}
    for _ in range(rounds):
        bare.append(_timed(lambda: _bare(classifier, ready)))
        extraction.append(_timed(lambda: _extract(work, once)))
        for name, part in parts.items():
            parts_s[name].append(_timed(part)[0])
    bare_s, extract_s = [clock for clock, _ in bare], [clock for clock, _ in extraction]
    ratios = [b / e for b, e in zip(bare_s, extract_s, strict=True)]
    of_pass = [b / (e - o) for (b, _), (e, _), (o, _) in zip(bare, extraction, once, strict=True)]
    of_processor = [b / (e - o) for (_, b), (_, e), (_, o) in zip(bare, extraction, once, strict=True)]
    return {
        "checkpoint": entry.name,
        "dataset": info.name,
        "image": list(info.image),
        "num_samples": count,
        "batch_size": size,
        "device": str(next(classifier.parameters()).device),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "samples_per_s": count / statistics.median(extract_s),
        "bare_samples_per_s": count / statistics.median(bare_s),
        "ratio": statistics.median(ratios),
        "pass_ratio": statistics.median(of_pass),
        "pass_ratio_of_processor_time": statistics.median(of_processor),
        "once_s": statistics.median(clock for clock, _ in once),
        "ratios": [round(r, 3) for r in sorted(ratios)],
        "us_per_sample": {name: 1e6 * statistics.median(seconds) / count for name, seconds in parts_s.items()}
        | {"bare": 1e6 * statistics.median(bare_s) / count, "extraction": 1e6 * statistics.median(extract_s) / count},
    }


def _timed(do: Callable[[], object]) -> tuple[float, float]:
    """Seconds by the clock, and of the processor: on a machine with other work these say more."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    begun, busy = time.perf_counter(), time.process_time()
    do()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - begun, time.process_time() - busy


def _bare(classifier: Classifier, ready: list[torch.Tensor]) -> None:
    for _ in predict(classifier, ready):
        pass


def _extract(work: Work, once: list[tuple[float, float]]) -> None:
    """Adds to `once` the seconds, by the clock and of the processor, of what is done after the last image."""
    with tempfile.TemporaryDirectory() as folder:
        pieces = work.pieces(Path(folder) / "store")
        for _ in work.do(pieces):
            clock, busy = time.perf_counter(), time.process_time()
        pieces.close()
        once.append((time.perf_counter() - clock, time.process_time() - busy))


def _pictures(ready: list[torch.Tensor]) -> None:
    with thumbnails() as made, tempfile.TemporaryDirectory() as folder:
        for batch in ready:
            made.add(batch)
        made.write(Path(folder) / "thumbnails")


def table(found: dict[str, object]) -> str:
    """The figures in lines."""
    us = found["us_per_sample"]
    assert isinstance(us, dict)
    lines = [
        f"{found['checkpoint']} on {found['dataset']}, {found['num_samples']} images {found['image']}, "
        f"{found['device']}, {found['threads']} threads",
        f"bare forward pass {found['bare_samples_per_s']:,.0f} samples/s, extraction {found['samples_per_s']:,.0f}, "
        f"ratio {found['ratio']:.3f} {found['ratios']}",
        f"without what is done once a store ({found['once_s']:.2f} s): ratio {found['pass_ratio']:.3f}, of processor "
        f"time {found['pass_ratio_of_processor_time']:.3f}",
        "microseconds a sample: " + ", ".join(f"{name} {value:,.0f}" for name, value in us.items()),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
