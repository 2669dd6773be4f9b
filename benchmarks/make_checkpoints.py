"""Makes the shipped checkpoints and the table of docs/results/digits.md.

    make checkpoints

A teacher, and students by ce, kd and fn over five seeds, on scikit-learn's digits. The files of seed 0 go to
`checkpoints/`; the table of all seeds goes into that page between its markers.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from fnkd_core.checkpoints.card import read_card
from fnkd_core.checkpoints.io import read_state, write_checkpoint
from fnkd_core.files import write_text
from fnkd_core.paths import project_dir
from fnkd_core.training.config import RunConfig
from fnkd_core.training.loop import Results, train

TEACHER = "digits-teacher"
METHODS = ("ce", "kd", "fn")
START, END = "<!-- results: written by `make checkpoints` -->", "<!-- end of results -->"


def run(config: RunConfig, name: str | None = None) -> Results:
    """Train; with a name, the last epoch's weights become the shipped checkpoint of that name."""
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        *_, results = train(config, Path(folder))
        assert isinstance(results, Results) and results.best is not None
        if name:
            source, target = Path(folder) / "model.safetensors", project_dir() / "checkpoints" / f"{name}.safetensors"
            card = read_card(source.with_suffix(".json"))
            card = dataclasses.replace(card, name=name, source="trained with `make checkpoints`")
            write_checkpoint(target, read_state(source), card)
    what = name or f"{config.method} seed {config.seed}"
    last, best = results.last, results.best
    print(
        f"{what:<24} last {last['accuracy']:.4f}  best on validation {best['accuracy']:.4f}"
        f"  ||f|| {last['norm']:.2f}  {time.monotonic() - begun:.1f} s",
        flush=True,
    )
    return results


def spread(values: list[float], digits: int = 4) -> str:
    """Mean +- sample standard deviation."""
    return f"{statistics.mean(values):.{digits}f} ± {statistics.stdev(values):.{digits}f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    shared: dict[str, Any] = {"dataset": "digits", "threads": arguments.threads, "device": "cpu"}
    teacher = run(RunConfig(student="cifar_resnet20", epochs=60, **shared), TEACHER)
    rows = [
        "| checkpoint | architecture, method | epochs | seeds | test accuracy, last epoch | best on validation "
        "| NLL | ECE | mean ‖f‖ |",
        "|---|---|---|---|---|---|---|---|---|",
        f"| `{TEACHER}` | cifar_resnet20, ce | 60 | 0 | {teacher.last['accuracy']:.4f} | "
        f"{(teacher.best or {})['accuracy']:.4f} | {teacher.last['nll']:.3f} | {teacher.last['ece']:.3f} | "
        f"{teacher.last['norm']:.1f} |",
    ]
    for method in METHODS:
        runs = []
        for seed in range(arguments.seeds):
            config = RunConfig(
                method=method,
                teacher=TEACHER if method in ("kd", "fn") else None,
                student="cifar_resnet8",
                epochs=20,
                seed=seed,
                **shared,
            )
            runs.append(run(config, f"digits-{method}" if seed == 0 else None))
        last = [results.last for results in runs]
        best = [results.best["accuracy"] for results in runs if results.best is not None]
        rows.append(
            f"| `digits-{method}` | cifar_resnet8, {method} | 20 | 0 to {arguments.seeds - 1} | "
            f"{spread([m['accuracy'] for m in last])} | {spread(best)} | {spread([m['nll'] for m in last], 3)} | "
            f"{spread([m['ece'] for m in last], 3)} | {spread([m['norm'] for m in last], 1)} |"
        )
    table = "\n".join(rows)
    print(table)
    page = project_dir() / "docs" / "results" / "digits.md"
    text = page.read_text()
    before, rest = text.split(START)
    write_text(page, f"{before}{START}\n{table}\n{END}{rest.split(END)[1]}")


if __name__ == "__main__":
    torch.use_deterministic_algorithms(True)
    main()
