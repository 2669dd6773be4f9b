"""Fuzzes the gate: damaged and hostile files of every format, and what became of each.

A file's answer must be `Contents` or a `UserError` of one line under 1,000 characters; nothing in it may run, no module
that it names may be imported, and nothing may be left in the temporary folder. A process that has imported torch forks
one for each file, which limits itself as ever; `--fresh` starts each as the gate does, which takes seconds a file.

    python benchmarks/fuzz_gate.py --files 2000 --seed 0
"""

from __future__ import annotations

import argparse
import collections
import datetime
import gzip
import io
import json
import os
import pathlib
import pickle
import random
import struct
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save

from fnkd_core.checkpoints.importing import gate
from fnkd_core.errors import UserError

CANARY = "fnkd_canary"
"""A module that leaves a file named `touched` where it is imported; files name it, and programs make that file."""
# Forks a process for each request, so that torch is imported once.
SERVER = """
import json, os, sys, time
import safetensors.torch
import fnkd_core.checkpoints.importing.wrappers
from fnkd_core.checkpoints.importing.sandbox import main
for line in sys.stdin:
    request = json.loads(line)
    pid = os.fork()
    if not pid:
        log = os.open(os.path.join(request["folder"], "log.txt"), os.O_CREAT | os.O_WRONLY)
        for number in (0, 1, 2):
            os.dup2(log, number)
        try:
            main(request)
        except BaseException:
            os._exit(1)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


def weights(rng: random.Random) -> dict[str, torch.Tensor]:
    """A small network's state, of a few modules."""
    state: dict[str, torch.Tensor] = {}
    for index in range(rng.randint(1, 4)):
        state |= {f"conv{index}.weight": torch.randn(4, 3, 3, 3), f"bn{index}.weight": torch.ones(4)}
        state |= {f"bn{index}.running_mean": torch.zeros(4), f"bn{index}.num_batches_tracked": torch.tensor(3)}
    return state | {"fc.weight": torch.randn(10, 4), "fc.bias": torch.zeros(10)}


def loaded(rng: random.Random) -> object:
    """What a training script may have saved."""
    state = weights(rng)
    beside: list[tuple[str, Any]] = [
        ("epoch", 3), ("best_acc", np.float64(0.9)), ("args", argparse.Namespace(lr=0.1, out=pathlib.Path("x"))),
        ("when", datetime.datetime(2024, 1, 1)), ("np_rng", np.zeros(3)), ("milestones", {1, 2}),
        ("optimizer", {"state": {0: {"momentum_buffer": torch.zeros(3)}}, "param_groups": [{"lr": 0.1}]}),
        ("class_to_idx", {str(i): i for i in range(10)}), ("seen", collections.defaultdict(dict)),
    ]  # fmt: skip
    around = rng.choice(["state_dict", "model", "net", "ema", "student_state_dict", "weights"])
    prefix = rng.choice(["", "module.", "model.", "student.", "encoder."])
    inner = {prefix + k: v for k, v in state.items()}
    if rng.random() < 0.3:
        return inner
    return {around: inner, **dict(rng.sample(beside, rng.randint(0, 5)))}


def _program(rng: random.Random, touched: Path) -> bytes:
    """A pickle of a dictionary with a call, or an object, of something that a file should not name."""
    path = f"X{struct.pack('<I', len(str(touched))).decode('latin1')}{touched}".encode("latin1")
    names = [
        "posix\nmkdir", "os\nmkdir", "os\nsystem", "subprocess\nPopen", "subprocess\ncall", "builtins\nopen",
        "builtins\nexec", "builtins\neval", "builtins\n__import__", "builtins\ngetattr", "pathlib\nPath.mkdir",
        "torch\nload", "torch.hub\nload", "runpy\nrun_path", f"{CANARY}\nThing", f"{CANARY}\nmake", "shutil\nrmtree",
        "io\nopen", "pathlib\nPosixPath", "functools\npartial", "copyreg\n_reconstructor", "_io\nFileIO",
    ]  # fmt: skip
    uses = [b"\x85R", b"\x85\x81", b"\x85R}b", b"\x85\x81}X\x01\x00\x00\x00a" + path + b"sb", b"0", b"\x85RK\x01a"]
    call = b"c" + rng.choice(names).encode() + b"\n" + path + rng.choice(uses)
    return b"\x80\x02}X\x05\x00\x00\x00model" + call + b"s."


def _torch_zip(rng: random.Random, touched: Path, change: Callable[[bytes], bytes]) -> bytes:
    buffer = io.BytesIO()
    torch.save(loaded(rng), buffer)
    packing = zipfile.ZIP_DEFLATED if rng.random() < 0.03 else zipfile.ZIP_STORED
    made = io.BytesIO()
    program = _program(rng, touched) if rng.random() < 0.3 else None
    with zipfile.ZipFile(buffer) as old, zipfile.ZipFile(made, "w", packing) as new:
        for name in old.namelist():
            data = old.read(name)
            if name.endswith("data.pkl"):
                data = program or (change(data) if rng.random() < 0.7 else data)
            new.writestr(name, data)
    # Zipped anew, so that no checksum gives the change away before the pickle is read.
    return made.getvalue() if rng.random() < 0.8 else change(made.getvalue())


def _torch_legacy(rng: random.Random, touched: Path, change: Callable[[bytes], bytes]) -> bytes:
    buffer = io.BytesIO()
    torch.save(loaded(rng), buffer, _use_new_zipfile_serialization=False)
    data = buffer.getvalue()
    if rng.random() < 0.3:
        parts = data.split(b"\x80\x02", 5)
        return b"\x80\x02".join([*parts[:4], _program(rng, touched)[2:], *parts[5:]])
    return data[:20] + change(data[20:])


def _mxnet(rng: random.Random, touched: Path, change: Callable[[bytes], bytes]) -> bytes:
    state = weights(rng)
    data = struct.pack("<QQQ", 0x112, 0, len(state))
    for value in state.values():
        array = value.numpy().astype("f4")
        data += struct.pack(f"<Iii{array.ndim}q", 0xF993FAC9, 0, array.ndim, *array.shape)
        data += struct.pack("<iii", 1, 0, 0) + array.tobytes()
    names = [f"arg:{key}".encode() for key in state]
    data += struct.pack("<Q", len(names)) + b"".join(struct.pack("<Q", len(name)) + name for name in names)
    return change(data)


def _safetensors(rng: random.Random, touched: Path, change: Callable[[bytes], bytes]) -> bytes:
    return change(save(weights(rng), {"classes": json.dumps(["a", "b"])}))


def _archive(rng: random.Random, touched: Path, change: Callable[[bytes], bytes]) -> bytes:
    buffer = io.BytesIO()
    if rng.random() < 0.5:
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            member = tarfile.TarInfo("run/model_best.pth")
            member.size = 2000
            archive.addfile(member, io.BytesIO(bytes(2000)))
    else:
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("run/model_best.pth", bytes(2000))
    return change(gzip.compress(buffer.getvalue()) if rng.random() < 0.3 else buffer.getvalue())


def _other(rng: random.Random, touched: Path, change: Callable[[bytes], bytes]) -> bytes:
    bare = pickle.dumps({"a": [1, 2]}, rng.randint(0, 5))
    return change(rng.choice([_program(rng, touched), bare, b"<html>", b"[" * 5000, bytes(300), b""]))


KINDS = (_torch_zip, _torch_zip, _torch_zip, _torch_legacy, _torch_legacy, _mxnet, _safetensors, _archive, _other)


def mutant(rng: random.Random, touched: Path) -> bytes:
    """One damaged file of some format. touched: what its programs would make, if they ran."""
    opcodes = b"}]Rb.u(tqcK\x81\x8a\x85\x86\x93\x94\x8f\x90Qejhs"

    def change(data: bytes) -> bytes:
        changed = bytearray(data)
        for _ in range(rng.choice([0, 1, 1, 2, 3, 8])):
            if changed:
                place = rng.randrange(min(len(changed), rng.choice([64, 2000, len(changed)])))
                changed[place] = rng.choice([rng.randrange(256), rng.choice(opcodes)])
        if rng.random() < 0.1:
            del changed[rng.randrange(len(changed) + 1) :]
        if rng.random() < 0.1:
            place = rng.randrange(len(changed) + 1)
            changed[place:place] = rng.randbytes(rng.randint(1, 40))
        return bytes(changed)

    return rng.choice(KINDS)(rng, touched, change)


def fuzz(files: int, seed: int, fresh: bool = False) -> dict[str, Any]:
    """What became of so many files: counts of accepted, refused, killed, and a line for each that broke a rule."""
    counts: Counter[str] = Counter()
    broken: list[str] = []
    with tempfile.TemporaryDirectory(prefix="fnkd-fuzz-") as place:
        folder, kept = Path(place), Path(place) / "tmp"
        touched = folder / "touched"
        kept.mkdir()
        (folder / f"{CANARY}.py").write_text(f"import os\nos.mkdir({str(touched)!r})\n")
        paths = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = os.pathsep.join([str(folder), *sys.path])
        server = subprocess.Popen(
            [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

        def forked(request: dict[str, Any], folder: Path, wall_s: float) -> int | None:
            assert server.stdin is not None and server.stdout is not None
            server.stdin.write(json.dumps(request) + "\n")
            server.stdin.flush()
            return int(server.stdout.readline())

        run, before = gate._run, tempfile.tempdir
        tempfile.tempdir = str(kept)
        if not fresh:
            gate._run = forked
        try:
            for index in range(files):
                rng = random.Random(f"{seed} {index}")
                path = folder / f"f{index}"
                with torch.random.fork_rng(devices=[]):
                    torch.manual_seed(index)
                    path.write_bytes(mutant(rng, touched))
                counts[_answered(path, broken)] += 1
                path.unlink()
                broken += [f"{index}: something ran"] if touched.exists() else []
                broken += [f"{index}: {p} was left" for p in kept.iterdir()]
        finally:
            gate._run, tempfile.tempdir = run, before
            os.environ.pop("PYTHONPATH")
            if paths is not None:
                os.environ["PYTHONPATH"] = paths
            server.communicate()
    return {"files": files, "seed": seed, **counts, "broken": broken}


def _answered(path: Path, broken: list[str]) -> str:
    try:
        gate.read_untrusted(path)
        return "accepted"
    except UserError as error:
        text = str(error)
        if not text.isprintable() or len(text) >= 1000 or path.name not in text:
            broken.append(f"{path.name}: {text!r}")
        return "killed" if "(exit" in text else "refused"
    except Exception as error:
        broken.append(f"{path.name}: {type(error).__name__}: {error}")
        return "crashed"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fresh", action="store_true", help="a process of its own for each, as the gate has it")
    options = parser.parse_args()
    start = time.monotonic()
    found = fuzz(options.files, options.seed, options.fresh)
    print(json.dumps(found | {"seconds": round(time.monotonic() - start, 1)}, indent=2))
    sys.exit(bool(found["broken"]))


if __name__ == "__main__":
    main()
