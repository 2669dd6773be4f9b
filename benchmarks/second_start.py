"""How long a run takes until its first step: the first of its data, and those that find what that has left.

    python benchmarks/second_start.py --data-root DIR --teacher A [--student B] [--threads N] [--turns 3] [--json]

`fnkd train` is started as users start it, with kept outputs of one view, each time in a folder of its own and with
another seed, and stopped once it has done a step; printed are the seconds until then. The first decodes the images and
asks the teacher of all of them; the others read what is kept. The home is a temporary one.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from fnkd_core.checkpoints.library import find_checkpoint
from fnkd_core.jobs.run import Run
from fnkd_core.paths import environment

LIMIT_S = 3600


def first_step_s(folder: Path, options: list[str]) -> float:
    """Seconds from the start of the command to its first step."""
    begun = time.monotonic()
    command = [sys.executable, "-m", "fnkd_core", "train", *options, "--run-dir", str(folder)]
    process = subprocess.Popen(command, env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        while time.monotonic() < begun + LIMIT_S:
            now = Run(folder).progress
            if now is not None and now["step"] >= 1:
                return time.monotonic() - begun
            if process.poll() is not None:
                raise SystemExit(f"The run has ended with {process.returncode} before its first step.")
            time.sleep(0.02)
        raise SystemExit(f"No step in {LIMIT_S} s.")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data-root", required=True)
    parser.add_argument("--teacher", required=True, help="a checkpoint's name or path")
    parser.add_argument("--student", default="cifar_resnet20")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--turns", type=int, default=3, help="starts after the first")
    parser.add_argument("--json", action="store_true")
    a = parser.parse_args()
    teacher = str(find_checkpoint(a.teacher).path)
    options = ["--dataset", "folder", "--data-root", a.data_root, "--method", "kd", "--teacher", teacher]
    options += ["--student", a.student, "--batch-size", "64", "--epochs", "240", "--teacher-outputs", "cached"]
    options += ["--views", "1", "--threads", str(a.threads)]
    with tempfile.TemporaryDirectory() as text:
        os.environ["FNKD_HOME"] = str(Path(text) / "home")
        first, *others = (
            first_step_s(Path(text) / f"run-{i}", [*options, "--seed", str(i)]) for i in range(1 + a.turns)
        )
    found = {"first_s": round(first, 1), "others_s": [round(seconds, 1) for seconds in others]}
    print(json.dumps(found) if a.json else "\n".join(f"{name:<10} {value}" for name, value in found.items()))


if __name__ == "__main__":
    main()
