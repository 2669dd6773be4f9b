"""How much memory this process and its device have taken."""

from __future__ import annotations

import contextlib
import re
import sys
from pathlib import Path

import torch


def process_memory() -> tuple[int | None, int | None]:
    """Bytes of this process in memory now, and the most so far; None for what this system does not tell."""
    with contextlib.suppress(OSError):
        lines = dict(re.findall(r"^(VmRSS|VmHWM):\s+(\d+) kB", Path("/proc/self/status").read_text(), re.M))
        if len(lines) == 2:
            return 1024 * int(lines["VmRSS"]), 1024 * int(lines["VmHWM"])
    with contextlib.suppress(ImportError):
        import resource

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return None, most if sys.platform == "darwin" else 1024 * most
    return None, None


def device_memory(device: torch.device) -> int | None:
    """The most bytes that tensors of this process have taken on a CUDA device, None elsewhere."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
