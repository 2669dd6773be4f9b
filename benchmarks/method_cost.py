"""What a training step of each method costs, and each temperature policy of kd: all of them in turns, in one process.

    python benchmarks/method_cost.py [--dataset NAME] [--data-root DIR] [--teacher A] [--student B] [--batch-size N]
        [--teacher-outputs live|cached] [--views N] [--turns N] [--threads N] [--json]

Each is the training loop as users run it, of the same student on the same images. They take turns of a few steps, in
another order each time; printed is the median of a step, and how many times that of kd in the same turn, with
quartiles.
"""

from __future__ import annotations

import json
import random
import statistics
from typing import Any

from train_throughput import dataset_of, options, seconds, steps_of, within_an_epoch  # type: ignore[import-not-found]

from fnkd_core.kd.methods import METHODS
from fnkd_core.kd.policies import POLICIES
from fnkd_core.training.config import RunConfig

MEASURED: dict[str, dict[str, Any]] = {name: {"method": name} for name in METHODS} | {
    f"kd policy={name}": {"method": "kd", "parameters": {"policy": name}} for name in POLICIES
}


def measure(usual: dict[str, Any], steps: int, turns: int) -> dict[str, dict[str, object]]:
    """Name -> milliseconds a step, and its ratio to kd's in the same turn."""
    loops = {}
    for name, own in MEASURED.items():
        teachers = {} if METHODS[own["method"]].needs_teacher else {"teacher": None, "teacher_outputs": "live"}
        ready, go_on = steps_of(RunConfig(**(usual | teachers | own)))
        loops[name] = ready.setup, go_on
        seconds(go_on, 2, ready.setup.device)
    taken: dict[str, list[float]] = {name: [] for name in loops}
    order = list(loops)
    for _ in range(turns):
        random.shuffle(order)
        for name in order:
            setup, go_on = loops[name]
            times = max(1, steps // setup.read_every)
            taken[name].append(1000 * within_an_epoch(go_on, times, setup.device) / (times * setup.read_every))
    found = {}
    for name, own_ms in taken.items():
        low, middle, high = statistics.quantiles([a / b for a, b in zip(own_ms, taken["kd"], strict=True)], n=4)
        found[name] = {
            "ms_per_step": round(statistics.median(own_ms), 2),
            "of_kd": round(middle, 3),
            "quartiles": [round(low, 3), round(high, 3)],
        }
    return found


def main() -> None:
    parser = options(__doc__)
    parser.set_defaults(teacher_outputs="cached", steps=4)
    parser.add_argument("--views", type=int, default=1)
    a = parser.parse_args()
    usual = {
        "dataset": dataset_of(a),
        "data_root": a.data_root,
        "teacher": a.teacher,
        "student": a.student,
        "batch_size": a.batch_size,
        "teacher_outputs": a.teacher_outputs,
        "views": a.views,
        "threads": a.threads,
        "epochs": 240,
        "lr": 1e-4,
    }
    found = measure(usual, a.steps, a.turns)
    if a.json:
        print(json.dumps(found))
        return
    for name, one in sorted(found.items(), key=lambda item: item[1]["of_kd"]):  # type: ignore[arg-type, return-value]
        print(f"{name:<24} {one['ms_per_step']:>8} ms  {one['of_kd']} of kd {one['quartiles']}")


if __name__ == "__main__":
    main()
