"""What a run asks of a cluster, and among how many tasks work is divided, for any machines that may be there."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fnkd_core.errors import UserError
from fnkd_core.jobs.cluster.ray import Cluster
from fnkd_core.training.config import RunConfig

Node = dict[str, float]


class Machines:
    """What Ray says of a cluster of these living nodes, and of one that has left."""

    def __init__(self, *nodes: Node) -> None:
        self._nodes = nodes

    def nodes(self) -> list[dict[str, object]]:
        gone = {"Alive": False, "Resources": {"CPU": 1000.0, "GPU": 1000.0}}
        return [{"Alive": True, "Resources": node} for node in self._nodes] + [gone]

    def cluster_resources(self) -> Node:
        return {name: sum(node.get(name, 0) for node in self._nodes) for name in ("CPU", "GPU")}


CPUS = Cluster(Machines({"CPU": 2}, {"CPU": 8}))
CARDS = Cluster(Machines({"CPU": 2}, {"CPU": 16, "GPU": 4}))


@pytest.mark.parametrize(
    ("cluster", "settings", "wanted"),
    [
        (CPUS, {}, (1, 0)),
        (CPUS, {"threads": 4}, (4, 0)),
        (CPUS, {"threads": 4, "devices": 2}, (8, 0)),
        (CPUS, {"device": "cuda"}, (1, 1)),
        (CARDS, {}, (1, 1)),
        (CARDS, {"devices": 2, "threads": 3}, (6, 2)),
        (CARDS, {"device": "cuda:1"}, (1, 1)),
        (CARDS, {"device": "cpu", "devices": 2}, (2, 0)),
        (CARDS.sharing(None, 0.25), {"threads": 2}, (2, 0.25)),
        (CARDS.sharing(0.5, 0), {"threads": 2, "devices": 2}, (0.5, 0)),
    ],
)
def test_a_run_asks_for_its_threads_and_for_a_card_of_each_device_where_it_may_use_one(
    cluster: Cluster, settings: dict[str, object], wanted: tuple[float, float]
) -> None:
    assert cluster.wanted(RunConfig(**settings)) == wanted  # type: ignore[arg-type]


@pytest.mark.parametrize(("cpus", "gpus"), [(0, None), (-1, None), (None, -1), (None, 1.5)])
def test_a_share_that_ray_does_not_have_is_one_line(cpus: float | None, gpus: float | None) -> None:
    with pytest.raises(UserError, match="^--[cg]pus-per-run must be .*, got .*$"):
        CARDS.sharing(cpus, gpus)


def test_work_is_divided_among_the_cards_or_where_there_is_none_among_the_nodes() -> None:
    assert CARDS.division(None) == (4, 1, 1)
    assert CARDS.division(3) == (3, 1, 1)
    assert CPUS.division(None) == (2, 2, 0)
    assert CPUS.division(5) == (5, 1, 0)
    assert Cluster(Machines({"CPU": 0.5})).division(None) == (1, 1, 0)
    with pytest.raises(UserError, match="--devices must be >= 1, got 0"):
        CPUS.division(0)


@given(
    nodes=st.lists(st.fixed_dictionaries({"CPU": st.integers(0, 8), "GPU": st.integers(0, 2)}), min_size=1),
    devices=st.none() | st.integers(1, 9),
)
def test_some_node_has_room_for_each_task_of_a_division(nodes: list[Node], devices: int | None) -> None:
    tasks, cpus, gpus = Cluster(Machines(*nodes)).division(devices)
    assert tasks >= 1 and (devices is None or tasks == devices)
    if any(node["CPU"] >= 1 and (node["GPU"] or not gpus) for node in nodes):
        assert any(node["CPU"] >= cpus and node["GPU"] >= gpus for node in nodes)


def test_runs_that_no_node_has_room_for_are_told_once_for_each_kind(capsys: pytest.CaptureFixture[str]) -> None:
    fits, wide, many = RunConfig(threads=8), RunConfig(threads=9), RunConfig(device="cuda", devices=5)
    CPUS.say_room([fits])
    assert not capsys.readouterr().out
    CPUS.say_room([fits, wide, wide])
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("No node of the cluster has what a run wants, CPU: 9 and GPU: 0")
    CARDS.say_room([many, wide])
    assert [line.partition("wants, ")[2][:6] for line in capsys.readouterr().out.splitlines()] == ["CPU: 5"]
