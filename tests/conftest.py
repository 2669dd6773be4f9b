"""Every test has a home of its own, few threads, and the shipped checkpoints to read."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import functools
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

from fnkd_core.checkpoints.library import find_checkpoint
from fnkd_core.data import dataset_info
from fnkd_core.machine import collect_seldom
from fnkd_core.models import inference
from fnkd_core.stores.extract import extracted
from fnkd_core.stores.store import Store
from tests.disks import small_disk  # noqa: F401
from tests.serving import file_server, publish, serving_files  # noqa: F401

torch.set_num_threads(1)
collect_seldom()
# A tenth of the suite's time was a disk that is told of each file that thousands of homes leave and lose. What fills
# one is tested on a file system of its own, and little memory keeps them on the disk.
_IN_MEMORY = Path("/dev/shm")
if _IN_MEMORY.is_dir() and shutil.disk_usage(_IN_MEMORY).free > 2e9:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_IN_MEMORY))
# It is kept in each home, and each test has one of its own.
inference._speed_of_bfloat16 = functools.cache(inference._speed_of_bfloat16)
settings.register_profile(
    "fnkd", max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
settings.load_profile("fnkd")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest comes first: files go to processes whole, and one that is begun last is waited for alone."""
    items.sort(key=lambda item: item.path.parent.name not in ("browser", "training"))


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty FNKD_HOME; the shipped checkpoints are found beside it."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("FNKD_HOME", str(folder))
    return folder


@pytest.fixture(scope="session")
def _stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Store]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FNKD_HOME", str(tmp_path_factory.mktemp("stores")))
        info = dataset_info("digits")
        yield {
            name: extracted(find_checkpoint(f"digits-{name}"), info, "test") for name in ("teacher", "ce", "kd", "fn")
        }


@pytest.fixture
def teacher_store(_stores: dict[str, Store]) -> Store:
    """The shipped teacher on digits' test split."""
    return _stores["teacher"]


@pytest.fixture
def fn_store(_stores: dict[str, Store]) -> Store:
    """The shipped FN student on digits' test split."""
    return _stores["fn"]
