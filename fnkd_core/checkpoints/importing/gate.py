"""The one way in for files that others wrote: opened in a process of its own, and only what that wrote is read."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fnkd_core.checkpoints.importing.formats import PARTS, SAFETENSORS, safetensors_header, shown, sniff
from fnkd_core.checkpoints.importing.sandbox import DISK_FULL, check_tensors
from fnkd_core.errors import UserError, require, unknown
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
    weights. sha256: of the file. ema: whether the weights are averages over the training.
    """

    format: str
    state: dict[str, Tensor]
    wrapper: str
    facts: dict[str, str | float | int]
    sha256: str
    ema: bool


def read_untrusted(
    path: str | Path, *, prefer_ema: bool = False, part: str | None = None, limits: Limits = Limits()
) -> Contents:
    """The weights in a file of unknown origin. Nothing in it is executed, and nothing on disk changes.

    prefer_ema: averaged weights where the file has them. part: `student` (default) or `teacher` of a whole
    distiller. `UserError` in one line that names the file, the reason and the remedy.
    """
    if part not in (None, *PARTS):
        raise unknown("part", part, PARTS)
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
            raise UserError(shown(str(answer["refused"]), 1000))
        state = _state(folder / "weights.safetensors", [str(key) for key in answer["names"]], name)
        from fnkd_core.checkpoints.importing.wrappers import plain_facts

        facts = plain_facts(answer["facts"])
    return Contents(kind, state, shown(answer["wrapper"], 400), facts, sha256(path), answer["ema"])


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
    kinds = {"names": list, "wrapper": str, "facts": dict, "ema": bool}
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
