"""An extraction is the same store to the bit however many processes make it, and however often they are killed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fnkd_core.checkpoints.library import find_checkpoint
from fnkd_core.data import dataset_info
from fnkd_core.errors import UserError
from fnkd_core.models.inference import best_device
from fnkd_core.paths import environment
from fnkd_core.stores.checked import digests
from fnkd_core.stores.curves import temperature_curves
from fnkd_core.stores.extract import extract
from fnkd_core.stores.softened import softened
from fnkd_core.stores.store import Store, store_path
from tests.killing import kill_after

CHILD = """
from tests.stores.test_extracting import work
work()
"""
KILLED = """
from tests.killing import killed_at_random
from tests.stores.test_extracting import work
print(killed_at_random(work, 2, 4, (1, 12), 0))
"""
LIMIT_S = 400
SAME = {"logits.npy", "features.npy", "samples.parquet", "order.npy", "bias.npy", "curves.npz", "pixels.npy"}


def work(killed_after: float | None = None) -> None:
    """Extract; killed after so many steps, and for their fraction up to 20 ms more."""
    steps, rest = divmod(killed_after or 0, 1)
    data = dataset_info("digits")
    for i, _ in enumerate(extract(find_checkpoint("digits-teacher"), data, "train", size=8), 1):
        if i == steps:
            kill_after(rest / 50)


def said(home: Path, *launcher: str, code: str = CHILD) -> str:
    """What processes with this home say that run the code to its end."""
    home.mkdir(exist_ok=True)
    child = home / "child.py"
    child.write_text(code)
    command = [sys.executable, *launcher, str(child)]
    place = environment() | {"FNKD_HOME": str(home), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=place, stdout=subprocess.PIPE, text=True, check=True, timeout=LIMIT_S).stdout


def store_in(home: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    with monkeypatch.context() as patch:
        patch.setenv("FNKD_HOME", str(home))
        return Store(store_path(find_checkpoint("digits-teacher"), dataset_info("digits"), "train"))


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home in which one process has made the store."""
    home = tmp_path_factory.mktemp("alone")
    said(home)
    return home


def same(a: Store, b: Store) -> None:
    assert {path.name for path in a.path.iterdir()} == SAME | {"manifest.json", "checked.json"}
    assert digests(a.path).keys() == SAME and digests(a.path) == digests(b.path)
    other = {"created", "samples_per_s"}
    assert {k: v for k, v in a.manifest.items() if k not in other} == {
        k: v for k, v in b.manifest.items() if k not in other
    }


def test_two_processes_that_are_killed_at_random_make_the_store_that_one_makes(
    alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "killed"
    assert int(said(home, code=KILLED)) >= 2
    same(store_in(alone, monkeypatch), store_in(home, monkeypatch))


def test_the_ranks_of_a_torchrun_share_an_extraction_by_themselves(
    alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "ranks"
    run = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--max-restarts", "0")
    said(home, *run)
    same(store_in(alone, monkeypatch), store_in(home, monkeypatch))


@given(seed=st.integers(0, 10_000), scale=st.floats(0.1, 30), num_classes=st.integers(2, 130))
def test_the_curves_of_the_pass_are_those_of_numpy(seed: int, scale: float, num_classes: int) -> None:
    generator = np.random.default_rng(seed)
    logits = (scale * generator.standard_normal((9, num_classes))).astype(np.float32)
    bias = generator.standard_normal(num_classes).astype(np.float32)
    for b in (None, bias):
        expected = temperature_curves(logits, b)
        found = softened(torch.from_numpy(logits), None if b is None else torch.from_numpy(b))
        for ours, theirs in zip(found, expected, strict=True):
            assert ours.dtype == torch.float16
            # Half a unit in the last place of float16, and what float32 loses in the sums.
            assert np.allclose(ours.float().numpy(), theirs, rtol=2**-11, atol=1e-5)


def test_the_device_is_what_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FNKD_DEVICE", "cpu")
    assert best_device() == torch.device("cpu")
    for wrong in ("cuda:99", "toaster"):
        monkeypatch.setenv("FNKD_DEVICE", wrong)
        with pytest.raises(UserError, match=f"FNKD_DEVICE must name a device that torch sees here, got '{wrong}'"):
            best_device()
    monkeypatch.delenv("FNKD_DEVICE")
    assert best_device().type in ("cpu", "cuda", "mps")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_a_gpu_says_what_the_processor_says(home: Path, monkeypatch: pytest.MonkeyPatch, teacher_store: Store) -> None:
    monkeypatch.setenv("FNKD_DEVICE", "cuda")
    entry, info = find_checkpoint("digits-teacher"), dataset_info("digits")
    assert list(extract(entry, info, "test"))[-1] == (360, 360)
    store = Store(store_path(entry, info, "test"))
    assert np.allclose(store.logits[:], teacher_store.logits[:], atol=2e-2)
    assert (store.samples["prediction"] == teacher_store.samples["prediction"]).mean() > 0.99
    for name, curves in store.curves.items():
        assert np.allclose(np.asarray(curves, float), np.asarray(teacher_store.curves[name], float), atol=5e-3), name
