"""The one way in for files that others wrote: opened in a process of its own, and only what that wrote is read."""

from __future__ import annotations

import errno
import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fnkd_core.checkpoints.importing.formats import SAFETENSORS, safetensors_header, shown, sniff
from fnkd_core.checkpoints.importing.sandbox import DISK_FULL, check_tensors
from fnkd_core.errors import UserError, require
from fnkd_core.files import sha256, temporary_folder
from fnkd_core.paths import cache_dir, import_root

if TYPE_CHECKING:
    from torch import Tensor

MAX_ANSWER = 16 << 20


@dataclass(frozen=True)
class Limits:
    """What one file may cost. memory_bytes and cpu_s: beyond what Python and torch take.

    Both grow with the file: by twice its size, and by a second for each 100 MB.
    """

    file_bytes: int = 8 << 30
    memory_bytes: int = 256 << 20
    cpu_s: float = 3.0
    wall_s: float = 120.0


@dataclass(frozen=True)
class Contents:
    """What a file held, on the CPU, without what lay around it.

    format: "safetensors", "torch zip", "torch legacy" or "MXNet params". state: in the file's order. wrapper:
    what was peeled off, such as "model, prefix student."; "" for nothing. facts: plain scalars beside the
    weights. sha256: of the file. ema: whether the weights are averages over the training. notes: level and text of
    what was let go and decided. classes: names in the order of the outputs, where the file has them under
    `classes_from`. layer, mean, std: of a normalisation layer in front of the network, per channel, white is 1.
    """

    format: str
    state: dict[str, Tensor]
    wrapper: str
    facts: dict[str, str | float | int]
    sha256: str
    ema: bool
    notes: tuple[tuple[str, str], ...] = ()
    classes: tuple[str, ...] = ()
    classes_from: str = ""
    layer: str = ""
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()


def read_untrusted(
    path: str | Path, *, prefer_ema: bool = False, part: str | None = None, limits: Limits = Limits()
) -> Contents:
    """The weights in a file of unknown origin. Nothing in it is executed, and nothing on disk changes.

    prefer_ema: averaged weights where the file has them. part: which network, where there are several: `student` (the
    default) or `teacher` of a distiller, or its path in the file, as the error gives it that names them. `UserError`
    in one line that names the file, the reason and the remedy.
    """
    require(
        part is None or (0 < len(part) <= 200 and part.isprintable()),
        f"A part is the name of a network in the file, got {shown(part or '')!r}; leave it out to see which there are.",
    )
    require(hasattr(os, "wait4"), "Reading others' files needs POSIX process limits; use Linux, macOS or WSL.")
    path = Path(path).absolute()
    name = shown(path.name)
    kind = sniff(path)
    size = path.stat().st_size
    require(
        size <= limits.file_bytes,
        f"{name} has {size} bytes, at most {limits.file_bytes} are read; save the network's state_dict alone.",
    )
    with temporary_folder(cache_dir() / "gate") as folder:
        request = {
            "parent": os.getpid(),
            "path": str(path),
            "folder": str(folder),
            "memory_bytes": limits.memory_bytes + 2 * size,
            "cpu_s": limits.cpu_s + size / 100e6,
            "prefer_ema": prefer_ema,
            "part": part,
        }
        code = _run(request, folder, limits.wall_s + size / 20e6)
        require(
            code is not None,
            f"{name} takes longer to read than a file of its size may; save the network's state_dict alone.",
        )
        if code == DISK_FULL:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        answer = _answer(folder / "answer.json") if code == 0 else None
        require(
            answer is not None,
            f"{name} asks for more memory or time than a file of its size may (exit {code}); "
            "save the network's state_dict alone.",
        )
        assert answer is not None
        if "refused" in answer:
            raise UserError(shown(str(answer["refused"]), 900))
        state = _state(folder / "weights.safetensors", [str(key) for key in answer["names"]], name)
        beside = _beside(answer)
    return Contents(kind, state, sha256=sha256(path), ema=answer["ema"], **beside)


def _beside(answer: dict[str, Any]) -> dict[str, Any]:
    """What the answer says besides the weights, as far as it is of a kind and size that it may be."""
    from fnkd_core.checkpoints.importing.wrappers import in_order, plain_facts

    notes = [note for note in answer["notes"] if isinstance(note, list) and len(note) == 2]
    layer, mean, std = (answer["normalisation"].get(key) for key in ("layer", "mean", "std"))
    whole = isinstance(layer, str) and all(
        isinstance(values, list) and len(values) <= 4 and all(type(v) is float and math.isfinite(v) for v in values)
        for values in (mean, std)
    )
    whole = whole and len(mean) == len(std) and all(value > 0 for value in std)
    return {
        "wrapper": shown(answer["wrapper"], 400),
        "facts": plain_facts(answer["facts"]),
        "notes": tuple((level, shown(str(text), 400)) for level, text in notes if level in ("good", "warning")),
        "classes": tuple(in_order(answer["classes"])),
        "classes_from": shown(answer["classes_from"], 40),
        "layer": shown(layer) if whole else "",
        "mean": tuple(mean) if whole else (),
        "std": tuple(std) if whole else (),
    }


def _run(request: dict[str, Any], folder: Path, wall_s: float) -> int | None:
    """The exit code of the process that opens the file; None where it took too long and was killed."""
    environment = {k: os.environ[k] for k in ("PATH", "LD_LIBRARY_PATH", "PYTHONPATH", "LANG") if k in os.environ}
    # Its own group, so that nothing it might have started outlives it.
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "fnkd_core.checkpoints.importing.sandbox", json.dumps(request)],
            cwd=import_root(),
            env=environment | {"HOME": str(folder), "TMPDIR": str(folder), "OMP_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    end = time.monotonic() + wall_s
    try:
        while time.monotonic() < end:
            pid, status, _ = os.wait4(process.pid, os.WNOHANG)
            if pid:
                process.returncode = os.waitstatus_to_exitcode(status)
                return process.returncode
            time.sleep(0.02)
        return None
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            os.wait4(process.pid, 0)
            process.returncode = -signal.SIGKILL


def _answer(path: Path) -> dict[str, Any] | None:
    """What the process wrote, as little trusted as the file it read."""
    if path.is_symlink() or not path.is_file() or path.stat().st_size > MAX_ANSWER:
        return None
    try:
        answer = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        return None
    kinds = {
        "names": list, "wrapper": str, "facts": dict, "ema": bool, "notes": list, "classes": list, "classes_from": str,
        "normalisation": dict,
    }  # fmt: skip
    if not isinstance(answer, dict):
        return None
    whole = "refused" in answer or all(isinstance(answer.get(key), kind) for key, kind in kinds.items())
    return answer if whole else None


def _state(path: Path, names: list[str], name: str) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    broken = f"{name} was not read whole; try again."
    require(path.is_file() and not path.is_symlink() and sniff(path) == SAFETENSORS, broken)
    header = safetensors_header(path)
    require(sorted(header) == sorted(names), broken)
    tensors = load_file(path)
    check_tensors(tensors, path.stat().st_size, name)
    return {key: tensors[key] for key in names}
