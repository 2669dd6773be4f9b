"""Pages on stores of 1,281,167 samples and 1,000 classes: first page after a start, clicks, memory, a crowd.

The data set is a folder of so many links to little images, and each of the two stores is written by what writes every
store; only the network is left out: each class has the same seeded outputs under other names, so that 15 GB are written
in minutes. Everything that pages read is there in its full length.

    python benchmarks/store_scale.py --home /data/scale
    python benchmarks/store_scale.py --home /data/scale --samples 100000 --classes 100 --json

The home is kept: a second run measures at once. A click is a request for a page that shows something else than before;
of each the time until its answer has come, and as server and cpu what its script took in the server.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import time
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from crowd import Measured, crowd, visiting  # type: ignore[import-not-found]
from PIL import Image
from serving import Server, spread_ms  # type: ignore[import-not-found]

from fnkd_core.checkpoints.card import Card
from fnkd_core.checkpoints.io import write_checkpoint
from fnkd_core.checkpoints.library import Entry, find_checkpoint
from fnkd_core.data import DatasetInfo, add_folder, dataset_info, folders
from fnkd_core.data.catalogue import files_of
from fnkd_core.data.types import Samples
from fnkd_core.kd.outputs import Outputs
from fnkd_core.models.architecture import Architecture
from fnkd_core.models.zoo import build
from fnkd_core.stores.extract import Work
from fnkd_core.stores.store import open_store, store_path

SIDE = 8
BATCH, DISTINCT = 2048, 1499
MODELS = {"scale-teacher": 0, "scale-student": 1}
BASE = "dataset=scale&split=train&teacher=scale-teacher&student=scale-student"


def make_images(root: Path, num_samples: int, num_classes: int) -> None:
    """A folder a class, each of links to one little image; and one image of each class to test."""
    for k in range(num_classes):
        pixels = np.random.default_rng(k).integers(0, 255, (SIDE, SIDE, 3), np.uint8)
        for split, count in (("test", 1), ("train", num_samples // num_classes + (k < num_samples % num_classes))):
            folder = root / split / f"c{k:04d}"
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / "0.png")
            for i in range(1, count):
                os.link(folder / "0.png", folder / f"{i}.png")


def make_model(name: str, seed: int, info: DatasetInfo) -> Entry:
    torch.manual_seed(seed)
    architecture = Architecture("torchvision/resnet18", len(info.classes))
    classifier = build(architecture, info.mean, info.std, image_size=(SIDE, SIDE))
    folder = Path(os.environ["FNKD_HOME"]) / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    card = Card(
        name=name,
        architecture=architecture.to_dict(),
        dataset=info.name,
        label_space=info.label_space,
        classes=list(info.classes),
        mean=list(info.mean),
        std=list(info.std),
        image_size=[SIDE, SIDE],
    )
    write_checkpoint(folder / f"{name}.safetensors", classifier.state(), card)
    return find_checkpoint(name)


class Repeated(Work):
    """An extraction without its network: the samples of a class are those of every other, with the classes' names moved
    on. So all that does not depend on the names, which is nearly all of the time, is computed once.
    """

    @cached_property
    def first(self) -> Outputs:
        """Of the samples of the first class: features around a row of the head, longer and shorter, surer and less."""
        generator = torch.Generator().manual_seed(MODELS[self.entry.name])
        weight = torch.nn.functional.normalize(self.classifier.head.weight.detach().float(), dim=1)
        noise = torch.randn(DISTINCT, weight.shape[1], generator=generator)
        length = 5 + 10 * torch.rand(DISTINCT, 1, generator=generator)
        away = torch.rand(DISTINCT, 1, generator=generator) * 0.12
        features = (length * torch.nn.functional.normalize(weight[:1] + away * noise, dim=1)).half().float()
        return Outputs(features, 2 * features @ weight.T)

    @cached_property
    def rows_of_first(self) -> dict[str, Any]:
        return self._rows(slice(0, DISTINCT), torch.empty(0), self.first)

    @property
    def bias(self) -> None:
        return None

    def do(self, pieces: Any) -> Iterator[tuple[int, int]]:
        labels, count = self.samples.labels.numpy(), len(self.samples.info.classes)
        known = {name: values for name, values in self.rows_of_first.items() if name != "pixels"}
        for part in pieces.todo():
            label, at = labels[part], np.arange(part.start, part.stop) % DISTINCT
            rows = {name: values[at] for name, values in known.items()}
            columns = (np.arange(count) - label[:, None]) % count
            rows["logits"] = np.take_along_axis(rows["logits"], columns, 1)
            rows["columns"]["prediction"] = (rows["columns"]["prediction"] + label) % count
            pieces.write(part, pixels=np.asarray(self.samples.images[part]), **rows)
            yield pieces.done, pieces.count
        pieces.finish(lambda folder: self.write_rest(pieces, folder, 0.0))


def write_store(entry: Entry, info: DatasetInfo, seed: int) -> None:
    if open_store(entry, info, "train") is not None:
        return
    from fnkd_core.checkpoints.io import load_checkpoint

    files = files_of(info, "train")
    assert files is not None
    labels = torch.tensor(files.labels)
    images = torch.zeros(len(labels), 3, SIDE, SIDE, dtype=torch.uint8)
    for k in range(len(info.classes)):
        images[labels == k] = torch.randint(0, 255, (3, SIDE, SIDE), dtype=torch.uint8)
    samples = Samples(info, "train", images, labels, list(files.keys))
    classifier, _ = load_checkpoint(entry.path)
    work = Repeated(entry, samples, classifier, BATCH)
    final = store_path(entry, info, "train")
    pieces = work.pieces(final)
    begun = time.monotonic()
    for done, total in work.do(pieces):
        print(f"\r{entry.name}: {done:,} of {total:,}, {time.monotonic() - begun:.0f} s", end="", flush=True)
    pieces.close()
    print()


def clicks(count: int, classes: int) -> Iterator[tuple[str, str]]:
    """(page, query) of what a user does, page by page: each changes one thing of what is shown."""
    draw = random.Random(0)
    ways = {
        "gallery": lambda: draw.choice([
            f"cls=c{draw.randrange(classes):04d}", f"at={draw.randrange(1, 48_000)}&show=sorted",
            f"outcome=wrong&at={draw.randrange(1, 4_800)}&show=sorted",
            f"sort=entropy&show=sorted&at={draw.randrange(1, 4_800)}",
            f"norm={draw.uniform(5, 9):.2f}~{draw.uniform(10, 14):.2f}",
            f"predicted=c{draw.randrange(classes):04d}&outcome=wrong", f"sample={draw.randrange(1000)}",
        ]),
        "norms": lambda: draw.choice([
            f"norm={draw.uniform(5, 9):.2f}~{draw.uniform(10, 14):.2f}", "by=class", "by=outcome", "form=ecdf",
            f"against={draw.choice(['margin', 'entropy', 'nll'])}",
        ]),
        "compare": lambda: draw.choice(["what=models", "a=scale-teacher&b=scale-student"]),
        "soft_targets": lambda: f"T={draw.uniform(1, 9):.2f}&tau={draw.uniform(1, 5):.2f}",
    }  # fmt: skip
    for page, way in ways.items():
        for _ in range(count):
            yield page, way()


async def timed(server: Server, count: int, classes: int) -> dict[str, Any]:
    measured = Measured()
    async with visiting(server, measured) as session:
        begun = time.perf_counter()
        await session.view(query=BASE)
        first = time.perf_counter() - begun
        for page, query in clicks(1, classes):  # what is kept from then on
            await session.view(page, f"{BASE}&{query}")
        measured.views.clear()
        costs: dict[str, dict[str, list[float]]] = {}
        for page, query in clicks(count, classes):
            await session.view("overview", BASE)
            measured.views.pop("overview", None)
            server.ended()
            await session.view(page, f"{BASE}&{query}")
            runs, of = server.ended(), costs.setdefault(page, {"server": [], "cpu": []})
            of["server"].append(sum(run["wall_s"] for run in runs))
            of["cpu"].append(sum(run["cpu_s"] for run in runs))
    pages = {
        page: spread_ms(seconds) | {name: spread_ms(each) for name, each in costs[page].items()}
        for page, seconds in measured.views.items()
    }
    return {"first_page_s": round(first, 2), "pages_ms": pages, "errors": dict(measured.exceptions)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, required=True, help="where the data and the stores are made, and kept")
    parser.add_argument("--samples", type=int, default=1_281_167)
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--clicks", type=int, default=40, help="of each page")
    parser.add_argument("--sessions", type=int, default=20, help="people at once, afterwards; 0 for none")
    parser.add_argument("--seconds", type=float, default=60, help="that they stay")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    home = options.home.resolve()
    os.environ["FNKD_HOME"] = str(home)
    root = home / "images"
    if "scale" not in folders():
        print(f"Linking {options.samples:,} images", flush=True)
        make_images(root, options.samples, options.classes)
        add_folder("scale", str(root))
    info = dataset_info("scale")
    for name, seed in MODELS.items():
        known = home / "checkpoints" / f"{name}.safetensors"
        write_store(find_checkpoint(name) if known.exists() else make_model(name, seed, info), info, seed)
    server = Server(Path(__file__).resolve().parents[1], home)
    try:
        found = asyncio.run(timed(server, options.clicks, len(info.classes)))
        found["resident_mb"] = round(server.resident_mb)
        if options.sessions:
            many = asyncio.run(crowd(server, options.sessions, options.seconds, 1.0, BASE))
            later = [s for page, seconds in many.views.items() if page != "first" for s in seconds]
            found["crowd"] = {"sessions": options.sessions, "views": len(later), **spread_ms(later)}
            found["crowd"]["errors"] = dict(many.exceptions)
            found["crowd"]["resident_mb"] = round(server.resident_mb)
    finally:
        server.stop()
    found["samples"], found["classes"] = info.size("train"), len(info.classes)
    print(json.dumps(found) if options.json else json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
