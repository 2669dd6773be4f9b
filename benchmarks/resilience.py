"""Kills at random moments, and what is lost by them: nothing.

    python benchmarks/resilience.py [--kills 10] [--seed 0] [--json]

Five kinds of work, each first done undisturbed and then killed (SIGKILL, no warning) so many times at random steps and
begun again by its own command: a training with a live teacher, one with kept outputs, one in two processes, an
extraction and an import. A kill is survived where what is begun again does not fail. Counted besides are epochs or
images that had been recorded and were there no more when it had been begun again, and whether the result is the
undisturbed one: of one process to the bit, of two to a stated tolerance. All in a temporary home, on the digits that
come with the project, which are extracted 16 at once, so that they are twelve pieces. The pieces of an import are what
each network that the file may be has said of labelled images.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from fnkd_core.checkpoints.io import read_state
from fnkd_core.checkpoints.library import find_checkpoint
from fnkd_core.data import dataset_info
from fnkd_core.jobs.run import Run
from fnkd_core.paths import environment
from fnkd_core.stores import pieces
from fnkd_core.stores.checked import digests
from fnkd_core.stores.store import store_path

LIMIT_S, EPOCHS, MOST = 600, 30, 100
TRAIN = ["train", "--dataset", "digits", "--student", "cifar_resnet8", "--epochs", str(EPOCHS), "--batch-size", "64"]
TRAIN += ["--lr", "0.01", "--threads", "1"]
TEACHER = ["--method", "fn", "--teacher", "digits-teacher", "--view-seed", "0"]
TOLERANCE = 0.05
"""By how much a weight of two processes' student may differ from the undisturbed one's, relative to the largest."""


def fnkd(*arguments: str) -> subprocess.Popen[bytes]:
    return python("-m", "fnkd_core", *arguments)


def python(*arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, *arguments],
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def steps_done(run: Run) -> float:
    now = run.progress
    return 0.0 if now is None else (now["epoch"] - 1) * now["steps"] + now["step"]


class Training:
    """A run in a folder. devices: processes that share it."""

    def __init__(self, folder: Path, options: list[str], devices: int = 1) -> None:
        self.run, self.exact = Run(folder), devices == 1
        self.options = [*TRAIN, *TEACHER, *options, "--devices", str(devices), "--run-dir", str(folder)]
        self.total = EPOCHS

    def begin(self) -> subprocess.Popen[bytes]:
        if (self.run.path / "spec.json").exists():
            return fnkd("runs", "resume", str(self.run.path))
        return fnkd(*self.options)

    def moment(self, chance: random.Random, took: float) -> Callable[[], bool]:
        """When to kill: some steps after what is done now."""
        target = steps_done(self.run) + chance.randint(1, 60)
        return lambda: steps_done(self.run) >= target

    def records(self) -> int:
        return len(self.run.metrics())

    def done(self) -> bool:
        return self.run.state == "finished"

    def result(self) -> Any:
        return read_state(self.run.path / "model.safetensors")


class Extraction:
    """A store of the shipped teacher on the training images."""

    exact = True

    def __init__(self, home: Path) -> None:
        os.environ["FNKD_HOME"] = str(home)
        self.home, self.total = home, dataset_info("digits").size("train")
        self.final = store_path(find_checkpoint("digits-teacher"), dataset_info("digits"), "train")

    def begin(self) -> subprocess.Popen[bytes]:
        return fnkd("extract", "--checkpoint", "digits-teacher", "--split", "train", "--batch-size", "16")

    def moment(self, chance: random.Random, took: float) -> Callable[[], bool]:
        """Some pieces after those that are done now, and a moment into the next."""
        target, after, reached = self.records() + chance.randint(0, 4) * 128, chance.uniform(0.0, 0.1), [0.0]

        def now() -> bool:
            if not reached[0] and pieces.parts_of(self.final).exists() and self.records() >= target:
                reached[0] = time.monotonic()
            return bool(reached[0]) and time.monotonic() > reached[0] + after

        return now

    def records(self) -> int:
        known = pieces.progress(self.final)
        return known[0] if known else 0

    def done(self) -> bool:
        return (self.final / "manifest.json").exists()

    def result(self) -> Any:
        return digests(self.final)


class Import:
    """A checkpoint of others."""

    exact = True

    def __init__(self, home: Path, source: Path) -> None:
        self.home, self.source = home, source
        self.told, self.total = home / "cache" / "importing" / "imported", MOST
        self.weights = home / "checkpoints" / "imported.safetensors"

    def begin(self) -> subprocess.Popen[bytes]:
        os.environ["FNKD_HOME"] = str(self.home)
        return fnkd("checkpoints", "import", str(self.source), "--name", "imported", "--dataset", "digits")

    def moment(self, chance: random.Random, took: float) -> Callable[[], bool]:
        end = time.monotonic() + chance.uniform(0.2, 1.0) * took
        return lambda: time.monotonic() > end

    def records(self) -> int:
        return len([*self.told.glob("[!.]*")])

    def done(self) -> bool:
        return self.weights.exists() and self.weights.with_suffix(".json").exists()

    def result(self) -> Any:
        return read_state(self.weights)


def undisturbed(work: Any) -> tuple[Any, float]:
    """The result, and how long it took."""
    begun = time.monotonic()
    assert work.begin().wait(LIMIT_S) == 0
    return work.result(), time.monotonic() - begun


def killed(
    make: Callable[[str], Any], kills: int, chance: random.Random, expected: Any, took: float
) -> dict[str, float]:
    """Kill it so many times, and let it come to its end. What ends before is compared, too, and begun anew."""
    found, times, apart = {"kills": 0, "survived": 0, "went on from": 0, "lost": 0}, 0, 0.0
    failed = 0
    work, before = make("killed"), None
    while found["kills"] < kills or not work.done():
        if work.done():
            apart = max(apart, difference(expected, work.result()))
            times += 1
            assert times <= 10 * kills, "it ends before it can be killed"
            found["survived"] += before is not None  # killed when all was done
            work, before = make(f"killed-{times}"), None
        process, moment, end = work.begin(), work.moment(chance, took), time.monotonic() + LIMIT_S
        while process.poll() is None and not (found["kills"] < kills and moment()) and time.monotonic() < end:
            time.sleep(0.005)
        left = process.poll()
        if left is None:
            reached = work.records()
            process.send_signal(signal.SIGKILL)
            process.wait()
            found["kills"] += 1
        if before is not None:  # what a kill has left was gone on with
            found["survived"] += left in (None, 0)
            found["went on from"] += before
            found["lost"] += max(0, before - (work.total if work.done() else work.records()))
            failed += left not in (None, 0)
            if failed > 2:
                raise SystemExit(f"Begun again after a kill, it has ended with {left} three times.")
        before = reached if left is None else None
    apart = max(apart, difference(expected, work.result()))
    return {**found, "difference": apart, "same": apart <= (0.0 if work.exact else TOLERANCE)}


def difference(a: Any, b: Any) -> float:
    """0 where they are the same to the bit; else the largest difference relative to the largest weight."""
    if not isinstance(next(iter(a.values())), torch.Tensor):
        return 0.0 if a == b else float("inf")
    if a.keys() != b.keys():
        return float("inf")
    largest = max(float(v.double().abs().max()) for v in a.values() if v.numel())
    return max(float((a[k].double() - b[k].double()).abs().max()) for k in a) / largest


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=10, help="of each kind of work")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    a = parser.parse_args()
    chance = random.Random(a.seed)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as text:
        root = Path(text)
        os.environ["FNKD_HOME"] = str(root / "home")
        source = root / "others.pth"
        shutil.copy(find_checkpoint("digits-ce").path, source)
        kinds: dict[str, Callable[[str], Any]] = {
            "training, live teacher": lambda n: Training(root / f"live-{n}", ["--teacher-outputs", "live"]),
            "training, kept outputs": lambda n: Training(
                root / f"cached-{n}", ["--teacher-outputs", "cached", "--views", "4"]
            ),
            "training, two processes": lambda n: Training(root / f"two-{n}", ["--teacher-outputs", "live"], devices=2),
            "extraction": lambda n: Extraction(root / f"extract-{n}"),
            "import": lambda n: Import(root / f"import-{n}", source),
        }
        for name, make in kinds.items():
            home = os.environ["FNKD_HOME"]
            expected, took = undisturbed(make("whole"))
            found = killed(make, a.kills, chance, expected, took)
            os.environ["FNKD_HOME"] = home
            rows.append({"work": name, **found})
            if not a.json:
                print(f"{name:<26}", "  ".join(f"{key} {value}" for key, value in found.items()), flush=True)
    if a.json:
        print(json.dumps(rows))
    bad = [row for row in rows if row["lost"] or row["survived"] < row["kills"] or not row["same"]]
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
