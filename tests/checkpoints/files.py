"""Weights files as others write them, and hostile ones. Each writer fills the path it is given."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import warnings
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor, nn

MXNET_DTYPES = {"float32": 0, "float64": 1, "float16": 2, "uint8": 3, "int32": 4, "int8": 5, "int64": 6}


def weights() -> dict[str, Tensor]:
    """The state of a small network with batch normalisation, not in the order of the alphabet."""
    network = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 5))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for value in network.state_dict().values():
            value.copy_(torch.randn(value.shape) * 10)
    return {f"{['conv', 'bn', '_', 'fc'][int(k[0])]}{k[1:]}": v for k, v in network.state_dict().items()}


def legacy(path: Path, value: object, protocol: int = 2) -> None:
    torch.save(value, path, _use_new_zipfile_serialization=False, pickle_protocol=protocol)


def mxnet_array(values: np.ndarray, magic: int = 0xF993FAC9, storage: int = 0, dtype: int | None = None) -> bytes:
    shape = struct.pack(f"<i{values.ndim}q", values.ndim, *values.shape)
    kind = MXNET_DTYPES[str(values.dtype)] if dtype is None else dtype
    return struct.pack("<Ii", magic, storage) + shape + struct.pack("<iii", 1, 0, kind) + values.tobytes()


def mxnet(path: Path, arrays: Mapping[str, np.ndarray | bytes], names: list[str] | None = None) -> None:
    """MXNet's list of named arrays; an array may be given as bytes."""
    names = list(arrays) if names is None else names
    parts = [struct.pack("<QQQ", 0x112, 0, len(arrays))]
    parts += [v if isinstance(v, bytes) else mxnet_array(v) for v in arrays.values()]
    parts += [struct.pack("<Q", len(names))]
    parts += [struct.pack("<Q", len(name.encode())) + name.encode() for name in names]
    path.write_bytes(b"".join(parts))


def safetensors(path: Path, header: object, data: bytes = b"", length: int | None = None) -> None:
    text = (header if isinstance(header, str) else json.dumps(header)).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)


def entry(shape: list[int], start: int, stop: int, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


def rezip(
    path: Path, change: Callable[[str, bytes], tuple[str, bytes]] = lambda n, d: (n, d),
    more: Mapping[str, bytes] | None = None, compression: int = zipfile.ZIP_STORED, value: object = None,
) -> None:  # fmt: skip
    """What torch.save writes, with each member changed, and more of them."""
    buffer = io.BytesIO()
    torch.save(weights() if value is None else value, buffer)
    with warnings.catch_warnings(), zipfile.ZipFile(buffer) as old, zipfile.ZipFile(path, "w", compression) as new:
        warnings.filterwarnings("ignore", "Duplicate name")
        for name in old.namelist():
            new.writestr(*change(name, old.read(name)))
        for name, data in (more or {}).items():
            new.writestr(name, data)


def cut(path: Path, write: Callable[[Path], object], keep: float) -> None:
    write(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])


class Program:
    """A pickle that would make a folder when it is loaded."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.folder),)


def program(path: Path) -> dict[str, Any]:
    return {"state_dict": Program(path.parent / "executed")}


class Call:
    """A pickle that calls what weights only allows, with what it should not be called with."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[object, tuple[Any, ...]]:
        return self.function, self.arguments


def huge_storage(path: Path) -> None:
    """A legacy file whose storage of 64 float32 claims 2**34."""
    legacy(path, {"weight": torch.zeros(64)})
    data = path.read_bytes()
    assert data.count(b"K@") >= 1
    path.write_bytes(data.replace(b"K@", b"\x8a\x05" + (1 << 34).to_bytes(5, "little")))


def many(path: Path, item: bytes, count: int) -> None:
    """A legacy file of as many objects, each of which is this in a pickle."""
    head = io.BytesIO()
    torch.save(1, head, _use_new_zipfile_serialization=False)
    parts = head.getvalue().split(b"\x80\x02")  # magic, version, system, the object, its storages
    parts[4] = b"(" + item * count + b"t."
    path.write_bytes(b"\x80\x02".join(parts))


def torchscript(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)).save(str(path))


def exported(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("models/model.json", "archive_format", "archive_version", "byteorder"):
            archive.writestr(f"net/{name}", b"0")


def numpy_zip(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, a=np.zeros(2))


def nan() -> dict[str, Tensor]:
    state = weights()
    state["fc.weight"][1, 2] = float("nan")
    return state


@dataclass(frozen=True)
class Hostile:
    """torch: whether only the process with torch can see it. limits: other than the usual ones.

    costly: made to take memory or time. Such a file, and any that needs no torch, has a process of its own; the others
    share one.
    """

    write: Callable[[Path], object]
    message: str
    torch: bool = False
    limits: dict[str, float] = field(default_factory=dict)
    costly: bool = False


def _to_other_root(name: str, data: bytes) -> tuple[str, bytes]:
    return ("other" + name[name.index("/") :] if name.endswith("/version") else name), data


_RAW = {"a": entry([2], 0, 8)}

HOSTILE = {
    "pickle, protocol 2": Hostile(lambda p: p.write_bytes(pickle.dumps(program(p), 2)), "bare pickle"),
    "pickle, protocol 4": Hostile(lambda p: p.write_bytes(pickle.dumps(program(p), 4)), "bare pickle"),
    "pickle, protocol 0": Hostile(lambda p: p.write_bytes(pickle.dumps(program(p), 0)), "bare pickle"),
    "program in a zip": Hostile(lambda p: torch.save(program(p), p), r"more than weights \(posix.mkdir\)", True),
    "program in a zip, protocol 4": Hostile(
        lambda p: torch.save(program(p), p, pickle_protocol=4), "more than weights", True
    ),
    "program in a legacy file": Hostile(lambda p: legacy(p, program(p)), "more than weights", True),
    "program in a legacy file, protocol 4": Hostile(lambda p: legacy(p, program(p), 4), "bare pickle"),
    "68 GB in 1.5 KB": Hostile(
        lambda p: torch.save({"weight": torch.zeros(1).expand(1 << 17, 1 << 17)}, p),
        "68719476736 bytes claimed and 4 held", True, costly=True,
    ),
    "a terabyte asked for": Hostile(
        lambda p: torch.save({"a": torch.zeros(2), "b": Call(bytearray, 1 << 40)}, p), "more memory", True, costly=True
    ),
    "a legacy storage of 64 GB": Hostile(huge_storage, "more memory", True, costly=True),
    "a gigabyte of sets in 5 MB": Hostile(lambda p: many(p, b"\x8f", 5_000_000), "more memory", True, costly=True),
    "a pickle that takes long": Hostile(
        lambda p: many(p, b"K\x01", 12_000_000), "more memory or time", True, {"cpu_s": 0}, costly=True
    ),
    "a process that takes long": Hostile(lambda p: torch.save(weights(), p), "takes longer", False, {"wall_s": 0.01}),
    "a file that is too large": Hostile(
        lambda p: torch.save(weights(), p), "at most 1000 are read", False, {"file_bytes": 1000}
    ),
    "not a number": Hostile(lambda p: torch.save(nan(), p), "not finite in fc.weight", True),
    "half a legacy file": Hostile(
        lambda p: cut(p, lambda q: legacy(q, weights()), 0.6), "not a whole torch legacy file", True
    ),
    "packed members": Hostile(
        lambda p: rezip(p, compression=zipfile.ZIP_DEFLATED, value={"a": torch.zeros(1 << 20)}), "packed member"
    ),
    "a member's path upwards": Hostile(lambda p: rezip(p, more={"archive/../../x": b""}), "does not write"),
    "a member's absolute path": Hostile(lambda p: rezip(p, more={"/data/0": b""}), "does not write"),
    "a member's drive": Hostile(lambda p: rezip(p, more={"C:\\x/data/9": b""}), "does not write"),
    "a member of another kind": Hostile(lambda p: rezip(p, more={"archive/run.py": b""}), "archive/run.py"),
    "a member twice": Hostile(lambda p: rezip(p, more={"archive/data/0": bytes(4)}), "no name twice"),
    "two pickles": Hostile(lambda p: rezip(p, more={"other/data.pkl": b""}), "one data.pkl"),
    "two roots": Hostile(lambda p: rezip(p, _to_other_root), "torch.save writes it"),
    "a huge pickle": Hostile(
        lambda p: rezip(p, lambda n, d: (n, bytes(5 << 20) if n.endswith(".pkl") else d)), "more than 20000"
    ),
    "a quarter of a zip": Hostile(lambda p: cut(p, rezip, 0.25), "not a whole zip"),
    "a zip without its last byte": Hostile(lambda p: cut(p, rezip, 0.9999), "not a whole zip"),
    "TorchScript": Hostile(torchscript, "TorchScript, which is a program"),
    "an exported program": Hostile(exported, "exported program"),
    "another zip": Hostile(numpy_zip, "torch.save does not write"),
    "overlapping tensors": Hostile(
        lambda p: safetensors(p, {"a": entry([2], 0, 8), "b": entry([2], 4, 12)}, bytes(12)),
        "not a whole safetensors", True,
    ),
    "a key twice": Hostile(
        lambda p: safetensors(p, json.dumps(_RAW)[:-1] + "," + json.dumps(_RAW)[1:], bytes(8)), "stands twice"
    ),
    "a huge header": Hostile(lambda p: safetensors(p, _RAW, length=1 << 40), "header of 1099511627776 bytes"),
    "a header cut off": Hostile(lambda p: safetensors(p, _RAW, length=4000), "cut off"),
    "half a safetensors file": Hostile(
        lambda p: cut(p, lambda q: q.write_bytes(save(weights())), 0.5), "does not fit its bytes"
    ),
    "a deep header": Hostile(lambda p: safetensors(p, '{"a":' * 100_000), "header is broken"),
    "an empty header": Hostile(lambda p: safetensors(p, {}), "1 to 20000 tensors"),
    "no values of huge shape": Hostile(
        lambda p: safetensors(p, {"a": entry([0, 1 << 60], 0, 0)}), "which no tensor has"
    ),
    "a shape that is not its bytes": Hostile(
        lambda p: safetensors(p, {"a": entry([3], 0, 8)}, bytes(8)), "does not fit its bytes"
    ),
    "safetensors in float8": Hostile(
        lambda p: safetensors(p, {"a": entry([2], 0, 2, "F8_E4M3")}, bytes(2)), "save it in float32"
    ),
    "a name with a path": Hostile(lambda p: safetensors(p, {"../a": entry([2], 0, 8)}, bytes(8)), "rename it"),
    "a long name": Hostile(lambda p: safetensors(p, {"a" * 300: entry([2], 0, 8)}, bytes(8)), "rename it"),
    "MXNet, version 1": Hostile(
        lambda p: mxnet(p, {"a": mxnet_array(np.zeros(2, "f4"), magic=0xF993FAC8)}), "in version 1"
    ),
    "MXNet, legacy": Hostile(lambda p: mxnet(p, {"a": mxnet_array(np.zeros(2, "f4"), magic=2)}), "legacy form"),
    "MXNet, sparse": Hostile(lambda p: mxnet(p, {"a": mxnet_array(np.zeros(2, "f4"), storage=1)}), "sparse storage"),
    "MXNet, bfloat16": Hostile(lambda p: mxnet(p, {"a": mxnet_array(np.zeros(2, "f4"), dtype=12)}), "dtype 12"),
    "MXNet without names": Hostile(lambda p: mxnet(p, {"a": np.zeros(2, "f4")}, names=[]), "0 names for 1"),
    "MXNet, a name twice": Hostile(
        lambda p: mxnet(p, {"arg:a": np.zeros(2, "f4"), "aux:a": np.zeros(2, "f4")}), "two arrays named a"
    ),
    "MXNet, claims more": Hostile(
        lambda p: mxnet(p, {"a": mxnet_array(np.zeros(2, "f4")).replace(b"\x02" + bytes(7), b"\xff" * 7 + b"\x7f")}),
        "more than the file holds",
    ),
    "MXNet, cut off": Hostile(lambda p: cut(p, lambda q: mxnet(q, {"a": np.zeros(99, "f4")}), 0.97), "cut off"),
    "nothing": Hostile(lambda p: p.write_bytes(b""), "neither"),
    "noise": Hostile(lambda p: p.write_bytes(bytes(range(256))), "neither"),
    "a pointer of Git LFS": Hostile(lambda p: p.write_text("version https://git-lfs.github.com/spec/v1"), "LFS"),
    "a web page": Hostile(lambda p: p.write_text("<!DOCTYPE html>"), "web page"),
    "a folder": Hostile(lambda p: p.mkdir(), "not a file"),
    "no file": Hostile(lambda p: None, "cannot be read"),
}  # fmt: skip
