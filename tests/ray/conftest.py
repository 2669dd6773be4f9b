"""A Ray cluster of two nodes on this machine, that the tests start and stop themselves."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ray.tools import Cluster, Fnkd


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A head and one more node, with a processor each."""
    if importlib.util.find_spec("ray") is None:
        pytest.skip("Ray is not installed; `make test-ray` brings it.")
    cluster = Cluster()
    try:
        cluster.add()
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture
def fnkd(cluster: Cluster, home: Path) -> Iterator[Fnkd]:
    program = Fnkd(cluster, home)
    yield program
    for child in program.started:
        if child.poll() is None:
            child.kill()
        child.communicate()
