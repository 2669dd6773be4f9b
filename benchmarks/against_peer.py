"""Our training loop against RepDistiller's, alternately in one process: KD, resnet56 -> resnet20, CIFAR-100.

    python benchmarks/against_peer.py --peer CHECKOUT --peer-data DIR --data-root DIR --teacher A [--steps 10]

--peer: a checkout of RepDistiller, whose networks, loss, data loader and `train_distill` are used as they are.
--peer-data: the folder with cifar-100-python in it. --data-root: CIFAR-100 as a folder of images for ours (or leave it
out, with `--dataset cifar100`). Both learn with batches of 64 from a resnet56 with augmentation by crops and flips.
The turns go round: ten steps of the peer, ten of ours with a live teacher, ten of ours with cached outputs. Printed are
median samples per second and the median ratio to the peer's turn beside it, with quartiles.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from fnkd_core.checkpoints.card import Card
from fnkd_core.checkpoints.io import write_checkpoint
from fnkd_core.data import dataset_info
from fnkd_core.data.loader import Loader
from fnkd_core.models.architecture import Architecture
from fnkd_core.models.zoo import build
from fnkd_core.training.config import RunConfig
from fnkd_core.training.distributed import ALONE
from fnkd_core.training.loop import Progress, Ready, epochs_of, prepare_run
from fnkd_core.training.resolve import resolve
from fnkd_core.training.state import State

BATCH = 64


class Turn:
    """A loader's next batches, for a loop that goes over a whole loader."""

    def __init__(self, loader: Any, steps: int) -> None:
        self.steps, self._batches = steps, itertools.chain.from_iterable(itertools.repeat(loader))

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[Any]:
        return itertools.islice(self._batches, self.steps)


def peer(checkout: Path, data: Path, steps: int, workers: int) -> Callable[[], None]:
    """A turn of RepDistiller's loop."""
    sys.path.insert(0, str(checkout))
    from dataset import cifar100  # type: ignore[import-not-found]
    from distiller_zoo.KD import DistillKL  # type: ignore[import-not-found]
    from helper.loops import train_distill  # type: ignore[import-not-found]
    from models.resnet import resnet20, resnet56  # type: ignore[import-not-found]

    cifar100.get_data_folder = lambda: str(data)
    loader, _, _ = cifar100.get_cifar100_dataloaders(BATCH, workers, is_instance=True)
    student, teacher = resnet20(num_classes=100), resnet56(num_classes=100)
    if torch.cuda.is_available():  # whose loop takes every batch there
        student, teacher = student.cuda(), teacher.cuda()
    losses = [torch.nn.CrossEntropyLoss(), DistillKL(4), DistillKL(4)]
    optimizer = torch.optim.SGD(student.parameters(), lr=1e-4, momentum=0.9, weight_decay=5e-4)
    options = argparse.Namespace(distill="kd", gamma=0.1, alpha=0.9, beta=0.0, print_freq=10**9)
    turn = Turn(loader, steps)

    def go() -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            train_distill(1, turn, [student, teacher], losses, optimizer, options)

    return go


def ours(config: RunConfig, steps: int) -> tuple[Callable[[], None], int]:
    """A turn of our loop, and its steps: as many, or on a GPU more, until the sums are read."""
    ready = Ready(Loader())
    for event in prepare_run(resolve(config), ALONE, ready):
        print(f"{event.what}: {event.done} of {event.total}", file=sys.stderr)
    every = ready.setup.read_every
    readings = -(-steps // every)
    events = (e for e in epochs_of(ready, State(ready.setup, None)) if isinstance(e, Progress))

    def go() -> None:
        for _ in range(readings):
            next(events)

    return go, readings * every


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peer", type=Path, required=True)
    parser.add_argument("--peer-data", type=Path, required=True)
    parser.add_argument("--peer-workers", type=int, default=2)
    parser.add_argument("--dataset", default="cifar100")
    parser.add_argument("--data-root")
    text = "a resnet56 for CIFAR-100, a checkpoint's name or path; one with random weights by default, as the peer's is"
    parser.add_argument("--teacher", help=text)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--compile", choices=("on", "off"), default="off")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    if a.data_root and a.dataset == "cifar100":
        a.dataset = "folder"
    with tempfile.TemporaryDirectory() as folder:
        a.teacher = a.teacher or random_teacher(Path(folder), a)
        measure(a)


def random_teacher(folder: Path, a: argparse.Namespace) -> str:
    """The path of a checkpoint that has learnt nothing: how long it takes to ask does not depend on what it says."""
    info = dataset_info(a.dataset, root=a.data_root)
    architecture = Architecture("cifar_resnet56", len(info.classes))
    network = build(architecture, info.mean, info.std)
    card = Card(
        "random", architecture.to_dict(), info.name, info.label_space, list(info.classes), list(info.mean),
        list(info.std), list(info.image[1:]),
    )  # fmt: skip
    write_checkpoint(folder / "random.safetensors", network.state(), card)
    return str(folder / "random.safetensors")


def measure(a: argparse.Namespace) -> None:
    usual: dict[str, Any] = {
        "dataset": a.dataset,
        "data_root": a.data_root,
        "method": "kd",
        "teacher": a.teacher,
        "student": "cifar_resnet20",
        "batch_size": BATCH,
        "epochs": 240,
        "views": 1,
        "lr": 1e-4,
        "threads": a.threads,
        "precision": a.precision,
        "compile": a.compile,
    }
    live, steps = ours(RunConfig(**usual, teacher_outputs="live"), a.steps)
    cached, _ = ours(RunConfig(**usual, teacher_outputs="cached"), a.steps)
    loops = {"peer": peer(a.peer, a.peer_data, steps, a.peer_workers), "live": live, "cached": cached}
    spent: dict[str, list[float]] = {name: [] for name in loops}
    for turn in range(a.turns + 1):
        for name, go in loops.items():
            begun = time.perf_counter()
            go()
            if turn:  # the first one warms up
                spent[name].append(time.perf_counter() - begun)
    found: dict[str, Any] = {"threads": a.threads, "steps": steps}
    for name, times in spent.items():
        found[f"{name}_samples_per_s"] = round(steps * BATCH / statistics.median(times), 1)
        if name != "peer":
            ratios = [theirs / mine for theirs, mine in zip(spent["peer"], times, strict=True)]
            found[f"{name}_ratio_quartiles"] = [round(x, 2) for x in statistics.quantiles(ratios, n=4)]
    print(json.dumps(found) if a.json else "\n".join(f"{name:<24} {value}" for name, value in found.items()))


if __name__ == "__main__":
    main()
