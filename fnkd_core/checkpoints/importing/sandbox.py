"""The process that opens one untrusted file, for `gate` alone: `python -m fnkd_core.checkpoints.importing.sandbox`.

It limits itself, refuses what it can without torch, loads weights only, and writes `weights.safetensors` and
`answer.json` into the folder it was given.
"""

from __future__ import annotations

import errno
import json
import math
import os
import pickle
import re
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from fnkd_core.checkpoints.importing.archives import packed, packed_zip
from fnkd_core.checkpoints.importing.formats import (
    ARCHIVES,
    MXNET,
    SAFETENSORS,
    ZIP,
    check_shape,
    check_zip,
    safetensors_header,
    shown,
    sniff,
)
from fnkd_core.checkpoints.importing.mxnet import Array, arrays
from fnkd_core.checkpoints.importing.standins import allowed
from fnkd_core.errors import UserError, no_space, require
from fnkd_core.machine import collect_seldom

if TYPE_CHECKING:
    from torch import Tensor

DTYPES = ("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")
BEFORE_TORCH_BYTES = 256 << 20
IMPORT_S = 60
PR_SET_PDEATHSIG = 1
DISK_FULL = 28
"""What this process ends with where the disk has no room for the weights."""


def limit(memory_bytes: int | None, cpu_s: float, file_bytes: int) -> None:
    """Bound this process: memory and CPU time beyond what it uses already, and the size of what it writes.

    memory_bytes: None takes the bound away. Memory is bounded on Linux only; other systems do not say how much
    is mapped.
    """
    import resource

    def bound(what: int, value: int) -> None:
        hard = resource.getrlimit(what)[1]
        resource.setrlimit(what, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))

    used = resource.getrusage(resource.RUSAGE_SELF)
    bound(resource.RLIMIT_CPU, math.ceil(used.ru_utime + used.ru_stime + cpu_s))
    bound(resource.RLIMIT_FSIZE, file_bytes)
    bound(resource.RLIMIT_CORE, 0)
    statm = Path("/proc/self/statm")
    if memory_bytes is None:
        resource.setrlimit(resource.RLIMIT_AS, (resource.getrlimit(resource.RLIMIT_AS)[1],) * 2)
    elif statm.exists():
        mapped = int(statm.read_text().split()[0]) * resource.getpagesize()
        bound(resource.RLIMIT_AS, mapped + memory_bytes)


def check_tensors(state: Mapping[str, Tensor], size: int, name: str) -> None:
    """`UserError` unless all are dense and finite, of a known dtype, and no more than a file of `size` bytes holds."""
    import torch

    total = 0
    for key, tensor in state.items():
        where = f"{name} has {key}"
        dense = type(tensor) in (torch.Tensor, torch.nn.Parameter) and tensor.layout == torch.strided
        require(
            dense and not tensor.is_nested and tensor.device.type == "cpu",
            f"{where} in a form that is not dense; save it with to_dense().",
        )
        dtype = str(tensor.dtype).removeprefix("torch.")
        require(dtype in DTYPES, f"{where} in {dtype}; save it in float32 or float16.")
        check_shape(tensor.shape, key, name)
        claimed, held = tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes()
        total += claimed
        # Tied weights stand twice in a state_dict and once in its file.
        require(
            claimed <= held and total <= 2 * size,
            f"{where} with {claimed} bytes claimed and {held} held; save its weights anew with contiguous().",
        )
        if tensor.is_floating_point() and tensor.numel():
            finite = all(bool(torch.isfinite(v)) for v in torch.aminmax(tensor.detach()))
            require(finite, f"{name} has values that are not finite in {key}; it is no use.")


def load(path: Path, kind: str, listing: Mapping[str, Any]) -> object:
    """What the file holds, as torch reads it by weights only. listing: from `check`."""
    import torch
    from safetensors.torch import load_file

    if kind == SAFETENSORS:
        tensors = load_file(path)
        return {k: tensors[k] for k in listing if k != "__metadata__"}
    if kind == MXNET:
        with path.open("rb") as file:
            return {key: _mxnet_tensor(file, array) for key, array in listing.items()}
    with torch.serialization.safe_globals(allowed(path, kind)):
        return torch.load(path, map_location="cpu", weights_only=True)


def _mxnet_tensor(file: IO[bytes], array: Array) -> Tensor:
    import torch

    file.seek(array.offset)
    dtype = getattr(torch, array.dtype)
    if not array.num_bytes:
        return torch.empty(array.shape, dtype=dtype)
    return torch.frombuffer(bytearray(file.read(array.num_bytes)), dtype=dtype).reshape(array.shape)


def check(path: Path) -> tuple[str, Mapping[str, Any]]:
    """Format and listing, without torch. `UserError` for what can be refused so early."""
    kind = sniff(path)
    if kind in ARCHIVES:
        raise packed(path, kind)
    if kind == ZIP:
        if archive := packed_zip(path):
            raise archive
        check_zip(path)
    return kind, {SAFETENSORS: safetensors_header, MXNET: arrays}.get(kind, lambda _: {})(path)


def refusal(path: Path, kind: str, error: BaseException) -> str:
    """One line for an exception of a library; mutated files raise about any of them."""
    name = shown(path.name)
    if isinstance(error, UserError):
        return str(error)
    text = str(error)
    if isinstance(error, MemoryError) or "allocate memory" in text or "bad_alloc" in text:
        return f"{name} asks for more memory than a file of its size may; save the network's state_dict alone."
    if isinstance(error, pickle.UnpicklingError):
        what = re.search(r"GLOBAL ([\w.]{1,80})", text)
        named = what[1] if what else "a pickle of protocol 3 or later" if "Unsupported operand" in text else ""
        return (
            f"{name} holds more than weights{f' ({named})' if named else ''}, and nothing else is loaded; "
            "save its state_dict alone, best as safetensors."
        )
    return f"{name} is not a whole {kind} file ({type(error).__name__}); copy it again, or save its state_dict anew."


def main(request: Mapping[str, Any]) -> None:
    """Answer one request: path, folder, memory_bytes, cpu_s, prefer_ema, part."""
    path, folder = Path(request["path"]), Path(request["folder"])
    written = 2 * path.stat().st_size + (16 << 20)
    limit(BEFORE_TORCH_BYTES, request["cpu_s"], written)
    kind = "weights"
    try:
        kind, listing = check(path)
        limit(None, IMPORT_S, written)
        import safetensors.torch  # noqa: F401

        limit(request["memory_bytes"], request["cpu_s"], written)
        answer = _converted(path, kind, listing, folder, request)
    except Exception as error:
        if no_space(error) == errno.ENOSPC:
            raise
        answer = {"refused": refusal(path, kind, error)}
    (folder / "answer.json").write_text(json.dumps(answer))


def _converted(
    path: Path, kind: str, listing: Mapping[str, Any], folder: Path, request: Mapping[str, Any]
) -> dict[str, Any]:
    from safetensors.torch import save_file

    from fnkd_core.checkpoints.importing.wrappers import peel, plain_facts

    name = shown(path.name)
    peeled = peel(load(path, kind, listing), name, prefer_ema=request["prefer_ema"], part=request["part"])
    check_tensors(peeled.state, path.stat().st_size, name)
    seen: set[int] = set()
    for key, tensor in peeled.state.items():
        tensor = tensor.detach().contiguous()
        storage = tensor.untyped_storage()
        if storage.data_ptr() in seen or storage.nbytes() != tensor.nbytes:
            tensor = tensor.clone()
        seen.add(tensor.untyped_storage().data_ptr())
        peeled.state[key] = tensor
    save_file(peeled.state, folder / "weights.safetensors")
    facts = plain_facts(listing.get("__metadata__", {})) if kind == SAFETENSORS else peeled.facts
    return {
        "names": list(peeled.state), "wrapper": peeled.wrapper, "facts": facts, "ema": peeled.ema,
        "notes": peeled.notes, "classes": peeled.classes, "classes_from": peeled.classes_from,
        "normalisation": {"layer": peeled.layer, "mean": peeled.mean, "std": peeled.std},
    }  # fmt: skip


def end_with(parent: int) -> None:
    """End this process when its parent ends, however that happens. Linux only; elsewhere its limits end it."""
    if sys.platform != "linux":
        return
    import ctypes

    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it was gone before
        os._exit(1)


if __name__ == "__main__":
    collect_seldom()
    asked = json.loads(sys.argv[1])
    end_with(asked["parent"])
    try:
        main(asked)
    except Exception as error:
        if no_space(error) != errno.ENOSPC:
            raise
        sys.exit(DISK_FULL)  # there is no room for an answer
