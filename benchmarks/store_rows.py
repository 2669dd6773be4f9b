"""Sixty random rows of a store's features: pread, as stores read them, against a mapped file, cold and warm.

    python benchmarks/store_rows.py [FOLDER]

Writes 600,000 x 512 float16 (614 MB) into the folder, the temporary one by default, and removes it again. Cold: the
system is told to drop the file from memory before each reading.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from fnkd_core.stores.arrays import Rows

NUM_SAMPLES, NUM_FEATURES, NUM_ROWS, REPEATS = 600_000, 512, 60, 7


def write(path: Path) -> None:
    array = np.lib.format.open_memmap(path, "w+", np.float16, (NUM_SAMPLES, NUM_FEATURES))
    generator = np.random.default_rng(0)
    for start in range(0, NUM_SAMPLES, 20_000):
        array[start : start + 20_000] = generator.random((20_000, NUM_FEATURES), np.float32)
    array.flush()


def dropped(path: Path) -> None:
    file = os.open(path, os.O_RDONLY)
    os.fsync(file)
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(file)


def milliseconds(path: Path, read: Callable[[np.ndarray], np.ndarray], cold: bool) -> float:
    """The median over readings of other rows each."""
    generator, times = np.random.default_rng(1), []
    for _ in range(REPEATS):
        rows = generator.integers(0, NUM_SAMPLES, NUM_ROWS)
        if cold:
            dropped(path)
        else:
            read(rows)
        begun = time.perf_counter()
        read(rows)
        times.append(time.perf_counter() - begun)
    return 1e3 * float(np.median(times))


def main() -> None:
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as folder:
        path = Path(folder) / "features.npy"
        write(path)
        ways: dict[str, Callable[[np.ndarray], np.ndarray]] = {
            "mapped": lambda rows: np.asarray(np.load(path, mmap_mode="r")[rows]),
            "pread": lambda rows: Rows(path, np.float16, NUM_SAMPLES, NUM_FEATURES)[rows],
        }
        for cold in (True, False):
            found = {name: milliseconds(path, read, cold) for name, read in ways.items()}
            said = ", ".join(f"{name} {ms:.2f} ms" for name, ms in found.items())
            print(f"{'cold' if cold else 'warm'}: {said}; mapped / pread {found['mapped'] / found['pread']:.1f}")
        whole = {}
        for name, read_all in {
            "mapped": lambda: np.array(np.load(path, mmap_mode="r")),
            "pread": lambda: np.asarray(Rows(path, np.float16, NUM_SAMPLES, NUM_FEATURES)),
        }.items():
            begun = time.perf_counter()
            read_all()
            whole[name] = time.perf_counter() - begun
        print("all of it, warm: " + ", ".join(f"{name} {1e3 * s:.0f} ms" for name, s in whole.items()))


if __name__ == "__main__":
    main()
