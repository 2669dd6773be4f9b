"""How much of the bare student step a training keeps: both interleaved in one run.

    python benchmarks/train_throughput.py [--dataset NAME] [--data-root DIR] [--teacher A] [--student B]
        [--method M] [--batch-size N] [--teacher-outputs live|cached] [--compile on|off] [--device D] [--json]

Ours is the training loop as users run it: augmentation, teacher, loss, sums and progress. Bare is the same student on
one batch that lies on the device: forward, cross-entropy, backward and the optimiser's step, in the same precision and
memory format. They take turns of `--steps` steps; printed are medians over the turns, and the median of the turns'
ratios with its quartiles. Evaluation, which follows each epoch, is in neither.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator

import torch

from fnkd_core.data.loader import Loader
from fnkd_core.kd.methods import METHODS
from fnkd_core.models.inference import autocast
from fnkd_core.training.augmented import Augmented
from fnkd_core.training.config import RunConfig
from fnkd_core.training.distributed import ALONE
from fnkd_core.training.loop import Progress, Ready, epochs_of, prepare_run
from fnkd_core.training.resolve import resolve
from fnkd_core.training.setup import Setup
from fnkd_core.training.state import State


def steps_of(config: RunConfig) -> tuple[Ready, Callable[[], bool]]:
    """A training that is ready, and what goes on with it until its sums are read, after `read_every` steps: it tells
    whether an epoch has ended meanwhile, whose evaluation is in neither."""
    ready = Ready(Loader())
    for event in prepare_run(resolve(config), ALONE, ready):
        print(f"{config.method}: {event.what}: {event.done} of {event.total}", file=sys.stderr)
    events: Iterator[object] = epochs_of(ready, State(ready.setup, None))

    def go_on() -> bool:
        ended = False
        while not isinstance(next(events), Progress):
            ended = True
        return ended

    return ready, go_on


def bare_step(setup: Setup, images: Augmented) -> Callable[[], None]:
    """A step of a student like the run's, on one batch of it."""
    batch_size = setup.resolved.config.batch_size
    batch = next(images.views(torch.arange(batch_size), batch_size, 0))
    if setup.resolved.config.channels_last:
        batch = batch.contiguous(memory_format=torch.channels_last)
    labels = images.labels[:batch_size]

    def step() -> None:
        with autocast(setup.device, setup.resolved.precision):
            logits = setup.forward(batch).logits
        loss = torch.nn.functional.cross_entropy(logits.float(), labels)
        setup.optimizer.zero_grad(set_to_none=True)
        setup.scaler.scale(loss).backward()
        setup.scaler.step(setup.optimizer)
        setup.scaler.update()

    return step


def seconds(work: Callable[[], object], times: int, device: torch.device) -> float:
    """How long it takes so many times, until the device is done."""
    begun = time.perf_counter()
    for _ in range(times):
        work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - begun


def within_an_epoch(go_on: Callable[[], bool], times: int, device: torch.device) -> float:
    """As `seconds`, of the first turn in which no epoch ends."""
    ended: list[bool] = []
    for _ in range(10):
        ended.clear()
        spent = seconds(lambda: ended.append(go_on()), times, device)
        if not any(ended):
            return spent
    raise SystemExit(f"Epochs of these data are too short for {times} readings of the sums in a row; use larger data.")


def measure(config: RunConfig, steps: int, turns: int) -> dict[str, object]:
    """Samples per second of both, and their ratio."""
    ready, ours = steps_of(config)
    setup = ready.setup
    bare = bare_step(setup, ready.images)
    seconds(ours, 3, setup.device)
    seconds(bare, 3, setup.device)
    rates: dict[str, list[float]] = {"ours": [], "bare": []}
    times = max(1, steps // setup.read_every)
    for _ in range(turns):
        spent = within_an_epoch(ours, times, setup.device)
        rates["ours"].append(times * setup.read_every * config.batch_size / spent)
        rates["bare"].append(steps * config.batch_size / seconds(bare, steps, setup.device))
    ratios = [a / b for a, b in zip(rates["ours"], rates["bare"], strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    return {
        "device": str(setup.device),
        "precision": setup.resolved.precision,
        "threads": torch.get_num_threads(),
        "samples_per_s": round(statistics.median(rates["ours"]), 1),
        "bare_samples_per_s": round(statistics.median(rates["bare"]), 1),
        "ratio": round(middle, 3),
        "ratio_quartiles": [round(low, 3), round(high, 3)],
    }


def options(about: str | None) -> argparse.ArgumentParser:
    """What a benchmark of the training loop is told: which pair, on which data, how much of it."""
    parser = argparse.ArgumentParser(description=(about or "").splitlines()[0])
    parser.add_argument("--dataset", help="digits by default, with --data-root that folder")
    parser.add_argument("--data-root")
    parser.add_argument("--teacher", default="digits-teacher", help="a checkpoint's name or path")
    parser.add_argument("--student", default="cifar_resnet20")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--teacher-outputs", choices=("live", "cached"))
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--steps", type=int, help="in a turn")
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    return parser


def dataset_of(a: argparse.Namespace) -> str:
    return a.dataset or ("folder" if a.data_root else "digits")


def main() -> None:
    parser = options(__doc__)
    parser.set_defaults(teacher_outputs="live", steps=10)
    parser.add_argument("--method", default="kd", choices=sorted(METHODS))
    parser.add_argument("--compile", choices=("auto", "on", "off"), default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--device", default="auto")
    a = parser.parse_args()
    needs = METHODS[a.method].needs_teacher
    config = RunConfig(
        dataset=dataset_of(a),
        data_root=a.data_root,
        method=a.method,
        teacher=a.teacher if needs else None,
        student=a.student,
        batch_size=a.batch_size,
        teacher_outputs=a.teacher_outputs if needs else "live",
        views=1,
        epochs=240,
        lr=1e-4,
        compile=a.compile,
        precision=a.precision,
        device=a.device,
        threads=a.threads,
    )
    found = measure(config, a.steps, a.turns)
    print(json.dumps(found) if a.json else "\n".join(f"{name:<20} {value}" for name, value in found.items()))


if __name__ == "__main__":
    main()
