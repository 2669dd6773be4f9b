"""Files of others: what they hold comes through bit for bit; what is hostile is one line, in bounds, not executed."""

from __future__ import annotations

import argparse
import collections
import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save, save_file
from torch import Tensor

from fnkd_core.checkpoints.importing.formats import safetensors_header
from fnkd_core.checkpoints.importing.gate import Contents, read_untrusted
from fnkd_core.checkpoints.importing.sandbox import check, check_tensors
from fnkd_core.checkpoints.importing.wrappers import peel
from fnkd_core.errors import UserError
from fnkd_core.files import sha256
from fnkd_core.paths import project_dir
from tests.checkpoints.files import HOSTILE, legacy, mxnet, program, rezip, weights

# Reads each file through the gate and says what became of it, with what its process cost.
DRIVER = """
import json, os, sys
from pathlib import Path
from fnkd_core.checkpoints.importing import gate
used, wait4 = [], os.wait4
def counting(*args):
    done = wait4(*args)
    if done[0]:
        used.append((done[2].ru_utime + done[2].ru_stime, done[2].ru_maxrss * 1024))
    return done
os.wait4 = counting
for line in sys.stdin:
    path, limits = json.loads(line)
    used.clear()
    try:
        gate.read_untrusted(Path(path), limits=gate.Limits(**limits))
        message = None
    except gate.UserError as error:
        message = str(error)
    print(json.dumps([message, used, "torch" in sys.modules]), flush=True)
"""

# The process of the gate for many files, so that torch is imported once; with what it has cost so far.
BATCH = """
import json, sys, time
from pathlib import Path
from fnkd_core.checkpoints.importing.sandbox import main
for line in sys.stdin:
    main(json.loads(line))
    answer = json.loads((Path(json.loads(line)["folder"]) / "answer.json").read_text())
    # Not ru_maxrss, which a process has from the one that started it: the tests' own, which is large.
    peak = next(line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line)
    print(json.dumps([answer, time.process_time(), int(peak) * 1024]), flush=True)
"""


def request(path: Path, folder: Path) -> dict[str, Any]:
    """What `BATCH` is asked of a file; its limit of time begins anew with each."""
    return {
        "path": str(path), "folder": str(folder), "memory_bytes": 256 << 20, "cpu_s": 60, "prefer_ema": False,
        "part": None,
    }  # fmt: skip


def lines(code: str, requests: list[Any]) -> list[Any]:
    """One JSON answer for each request, of a fresh process that runs this code."""
    text = "\n".join(json.dumps(request) for request in requests)
    done = subprocess.run(
        [sys.executable, "-c", code], input=text, capture_output=True, text=True, cwd=project_dir(), timeout=200
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def assert_same(state: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    assert list(state) == list(wanted)
    for key, value in wanted.items():
        assert state[key].dtype == value.dtype and torch.equal(state[key], value), key


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """By name: the message, what each process cost, and whether the reader imported torch; None without a reader."""
    folder = tmp_path_factory.mktemp("hostile")
    for index, hostile in enumerate(HOSTILE.values()):
        hostile.write(folder / f"f{index}")
    before = sorted(p.name for p in folder.iterdir())
    paths = {name: folder / f"f{index}" for index, name in enumerate(HOSTILE)}
    shared = [name for name, hostile in HOSTILE.items() if hostile.torch and not hostile.costly]
    alone = [name for name in HOSTILE if name not in shared]
    answer = tmp_path_factory.mktemp("answer")
    of_shared = lines(BATCH, [request(paths[name], answer) for name in shared])
    of_alone = lines(DRIVER, [(str(paths[name]), HOSTILE[name].limits) for name in alone])
    assert sorted(p.name for p in folder.iterdir()) == before, "something was executed or written"
    together = [[said.get("refused"), [used], None] for said, *used in of_shared]
    return dict(zip([*shared, *alone], [*together, *of_alone], strict=True))


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_in_one_line_and_costs_seconds_and_no_gigabyte(
    refused: dict[str, Any], name: str
) -> None:
    message, used, torch_imported = refused[name]
    assert message is not None, "it was accepted"
    assert f"f{list(HOSTILE).index(name)} " in message and message.isprintable() and len(message) < 300
    assert message.endswith(".")
    assert (torch_imported is None) == (HOSTILE[name].torch and not HOSTILE[name].costly) and not torch_imported
    for cpu_s, memory_bytes in used:
        # 3 s of its own are allowed; importing torch takes as long as the machine is busy.
        assert cpu_s < 15 and memory_bytes < 1e9
        assert HOSTILE[name].torch or memory_bytes < 300e6, "what needs no torch is refused before it is imported"
    with pytest.raises(UserError, match=HOSTILE[name].message):
        raise UserError(message)


def prefixed(before: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {before + key: value for key, value in state.items()}


def ordered(state: dict[str, Tensor]) -> collections.OrderedDict[str, Tensor]:
    """As `state_dict()` gives it, with its `_metadata`."""
    values = collections.OrderedDict(state)
    values._metadata = {"": {"version": 1}}  # type: ignore[attr-defined]
    return values


def rep_distiller() -> dict[str, Any]:
    return {
        "opt": argparse.Namespace(model="resnet8x4", learning_rate=0.05, lr_decay_epochs=[150, 180], trial="0"),
        "model": ordered(weights()),
        "accuracy": torch.tensor(72.5),
        "best_acc": np.float64(73.25),
        "epoch": 240,
        "optimizer": {"state": {0: {"momentum_buffer": torch.ones(3)}}, "param_groups": [{"lr": 0.1}]},
        "seen": collections.defaultdict(dict, {"a": {}}),
    }


REP_FACTS = {
    "opt.model": "resnet8x4", "opt.learning_rate": 0.05, "opt.trial": "0", "accuracy": 72.5, "best_acc": 73.25,
    "epoch": 240,
}  # fmt: skip


def distiller() -> dict[str, Any]:
    student, teacher = weights(), {k: v + 1 for k, v in weights().items()}
    both = prefixed("module.student.", student) | prefixed("module.teacher.", teacher)
    return {"epoch": 7, "model": ordered(both), "optimizer": {"state": {}}, "best_acc": 70.5}


def round_trip(path: Path, **options: Any) -> Contents:
    contents = read_untrusted(path, **options)
    assert contents.sha256 == sha256(path)
    return contents


def test_a_mdistiller_file_without_a_suffix_gives_the_part_that_is_asked_for(tmp_path: Path) -> None:
    torch.save(distiller(), tmp_path / "student_latest")
    contents = round_trip(tmp_path / "student_latest", part="teacher")
    assert_same(contents.state, {k: v + 1 for k, v in weights().items()})
    assert contents.format == "torch zip" and contents.wrapper == "model, prefix module., prefix teacher."
    assert contents.facts == {"epoch": 7, "best_acc": 70.5} and not contents.ema


def test_a_rep_distiller_file_in_the_legacy_format_comes_with_its_options(tmp_path: Path) -> None:
    legacy(tmp_path / "ckpt.pth", rep_distiller())
    contents = round_trip(tmp_path / "ckpt.pth")
    assert_same(contents.state, weights())
    assert (contents.format, contents.wrapper, contents.facts) == ("torch legacy", "model", REP_FACTS)


def test_mxnet_parameters_come_without_their_marks(tmp_path: Path) -> None:
    given = {
        "arg:net_conv0_weight": np.arange(24, dtype="f4").reshape(2, 3, 2, 2),
        "arg:net_dense0_bias": np.array([1, -2], "f2"),
        "aux:net_batchnorm0_running_mean": np.array([0.5, 0.25], "f8"),
        "steps": np.array([3], "i8"),
    }
    mxnet(tmp_path / "net.params", given)
    contents = round_trip(tmp_path / "net.params")
    assert contents.format == "MXNet params"
    bare = [k.removeprefix("arg:").removeprefix("aux:") for k in given]
    assert_same(contents.state, dict(zip(bare, map(torch.tensor, given.values()), strict=True)))


def test_safetensors_come_in_the_order_of_their_header_with_their_metadata(tmp_path: Path) -> None:
    save_file(prefixed("_orig_mod.module.", weights()), tmp_path / "x.pth", {"arch": "resnet20", "bad": "a\nb"})
    contents = round_trip(tmp_path / "x.pth")
    assert contents.format == "safetensors" and contents.facts == {"arch": "resnet20"}
    wanted = [k for k in safetensors_header(tmp_path / "x.pth") if k != "__metadata__"]
    assert_same(contents.state, {k: weights()[k] for k in (w.removeprefix("_orig_mod.module.") for w in wanted)})


def test_a_part_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="net.pt holds no teacher; leave the part out."):
        peel(weights(), "net.pt", part="teacher")
    with pytest.raises(UserError, match="net.pt holds no teacher; leave the part out, or ask for student."):
        peel(prefixed("student.", weights()), "net.pt", part="teacher")
    for part in ("", "two\nlines", "x" * 201):
        with pytest.raises(
            UserError, match="A part is the name of a network in the file, got .*; leave it out"
        ) as error:
            read_untrusted(tmp_path / "net.pt", part=part)
        assert str(error.value).isprintable()


def sparse() -> Tensor:
    return torch.sparse_coo_tensor(torch.tensor([[0]]), torch.tensor([1.0]), (2,))


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (sparse, "not dense"),
        (lambda: torch.nested.nested_tensor([torch.zeros(1), torch.zeros(2)]), "not dense"),
        (lambda: torch.empty(2, device="meta"), "not dense"),
        (lambda: torch.zeros(2, dtype=torch.complex64), "complex64; save it in float32"),
        (lambda: torch.quantize_per_tensor(torch.zeros(2), 0.1, 0, torch.qint8), "qint8"),
        (lambda: torch.zeros(2, dtype=torch.float8_e4m3fn), "float8"),
        (lambda: torch.zeros(2).expand(9, 2), "72 bytes claimed and 8 held"),
        (lambda: torch.zeros(0, 1 << 40), "which no tensor has"),
        (lambda: torch.zeros([1] * 9), "which no tensor has"),
        (lambda: torch.tensor([0.0, float("inf")]), "not finite"),
        (lambda: torch.tensor([float("nan"), 0.0], dtype=torch.bfloat16), "not finite"),
        (lambda: torch.tensor([float("-inf")], dtype=torch.float16), "not finite"),
        (lambda: torch.zeros(3000), "12000 bytes claimed"),
    ],
)
def test_a_tensor_that_no_checkpoint_has_is_refused(make: Callable[[], Tensor], message: str) -> None:
    check_tensors({"w": torch.zeros(2), "tied": torch.zeros(2), "empty": torch.zeros(0, 3)}, 1000, "x")
    with pytest.raises(UserError, match=message):
        check_tensors({"w": make()}, 1000, "x")


def test_one_storage_under_many_names_is_no_way_to_claim_more_than_the_file() -> None:
    shared = torch.zeros(100)
    check_tensors({"a": shared, "b": shared}, 400, "x")
    with pytest.raises(UserError, match="x has c"):
        check_tensors({"a": shared, "b": shared, "c": shared}, 400, "x")


@pytest.mark.parametrize("kind", ["safetensors", "zip", "mxnet"])
@given(data=st.data())
def test_a_mutated_listing_is_refused_in_one_line_or_is_sound(tmp_path: Path, kind: str, data: st.DataObject) -> None:
    path = tmp_path / "m"
    if kind == "safetensors":
        path.write_bytes(save(weights()))
    elif kind == "zip":
        torch.save(weights(), path)
    else:
        mxnet(path, {f"arg:{k}": v.numpy() for k, v in weights().items()})
    good = bytearray(path.read_bytes())
    # The listing of a zip is at its end.
    start = len(good) - 900 if kind == "zip" else 0
    for _ in range(data.draw(st.integers(1, 3))):
        good[data.draw(st.integers(start, min(len(good), start + 900) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(good[: data.draw(st.sampled_from([len(good), len(good) - 1, len(good) // 2]))])
    message = None
    try:
        kind_found, listing = check(path)
    except UserError as error:
        message = str(error)
    assert message is None or (message.isprintable() and message.startswith("m "))
    if message is None and kind == "mxnet":
        assert kind_found == "MXNet params"
        assert all(a.offset + a.num_bytes <= path.stat().st_size for a in listing.values())


def test_mutated_pickles_are_refused_in_one_line_or_hold_finite_weights(tmp_path: Path) -> None:
    draw = random.Random(0)
    requests = []
    for index in range(120):
        path = tmp_path / f"m{index}"

        def mutated(data: bytes) -> bytes:
            changed = bytearray(data)
            for _ in range(draw.randint(1, 3)):
                changed[draw.randrange(len(changed))] = draw.choice([draw.randrange(256), *b"}]Rb.u(tqcK\x81\x8a"])
            return bytes(changed)

        if index % 3 == 0:
            rezip(path, lambda n, d: (n, mutated(d) if n.endswith("data.pkl") else d), value=program(path))
        elif index % 3 == 1:
            # Zipped anew, so that no checksum gives the change away before the pickle is read.
            rezip(path, lambda n, d: (n, mutated(d) if n.endswith("data.pkl") else d), value=rep_distiller())
        else:
            legacy(path, rep_distiller())
            data = path.read_bytes()
            path.write_bytes(data[:20] + mutated(data[20:-600]) + data[-600:])
        requests.append(request(path, tmp_path))
    answers = [answer for answer, *_ in lines(BATCH, requests)]
    messages = [a["refused"] for a in answers if "refused" in a]
    assert not (tmp_path / "executed").exists()
    assert len(answers) == len(requests) and len(messages) > 30
    assert all(m.isprintable() and m.startswith("m") and m.endswith(".") for m in messages)
    keys = {"names", "wrapper", "facts", "ema", "notes", "classes", "classes_from", "normalisation"}
    assert all(set(a) == keys for a in answers if "refused" not in a)
