"""What is seen on graphics cards alone, tried where there is none: the fused optimiser's start, batch norm over
processes within other layers, the end of a process whose others wait, and times without what a device loads first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn

from fnkd_core.errors import UserError
from fnkd_core.models.architecture import Architecture
from fnkd_core.models.zoo import build
from fnkd_core.training import distributed, estimate
from fnkd_core.training.config import RunConfig
from fnkd_core.training.distributed import Group, joined_group, synchronise
from fnkd_core.training.optim import make_optimizer
from fnkd_core.training.resolve import resolve
from fnkd_core.training.setup import prepare

OPTIMIZERS = {"plain": {}, "nesterov": {"nesterov": True}, "decay": {"weight_decay": 0.1}}


@contextmanager
def nothing_is_zero_by_chance() -> Iterator[None]:
    """What nobody has written to is NaN."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def stepped(fused: bool, losses: list[float], resume_at: int = -1, late: bool = False, **settings: object) -> Tensor:
    """Weights after steps with gradients of these sizes, as float16 has them. late: the body learns after the first."""
    torch.manual_seed(0)
    config = RunConfig(**({"lr": 0.1, "momentum": 0.9, "nesterov": False} | settings))  # type: ignore[arg-type]
    student = build(Architecture("cifar_resnet8", 10, 1), (0.3,), (0.4,), (8, 8))
    optimizer, scaler = make_optimizer(config, student, fused=fused), torch.amp.GradScaler("cpu")
    for k, size in enumerate(losses):
        if k == resume_at:
            state = optimizer.state_dict()
            optimizer = make_optimizer(config, student, fused=fused)
            optimizer.load_state_dict(state)
        optimizer.zero_grad()
        learning = student.head.parameters() if late and k == 0 else student.parameters()
        scaler.scale(sum((p * size).sum() for p in learning)).backward()
        scaler.step(optimizer)
        scaler.update()
    return torch.cat([p.detach().flatten() for p in student.parameters()])


@pytest.mark.parametrize("settings", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("resume_at", [-1, 1, 2])
def test_the_fused_optimiser_steps_as_the_other_one_whatever_happens_first(
    settings: dict[str, object], resume_at: int
) -> None:
    with nothing_is_zero_by_chance():
        for losses, late in (([float("inf"), 1.0, 0.5], False), ([1.0, 1.0, 0.5], False), ([1.0, 1.0, 0.5], True)):
            one, other = (stepped(fused, losses, resume_at, late, **settings) for fused in (True, False))
            assert torch.isfinite(one).all()
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sum over processes is that of one."""
    monkeypatch.setattr(distributed, "summed", lambda x: x)


@pytest.mark.parametrize("name", ["efficientnet_b0", "densenet121", "regnety_002", "resnet18"])
@pytest.mark.parametrize("native", [False, True])
def test_a_network_whose_batch_norm_is_synchronised_computes_what_it_did(name: str, native: bool, alone: None) -> None:
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    network, again = (timm.create_model(name, num_classes=10, drop_rate=0.0) for _ in range(2))
    again.load_state_dict(network.state_dict())
    synchronise(again, native)
    assert list(again.state_dict()) == list(network.state_dict())
    images = torch.randn(4, 3, 64, 64)
    if not any(isinstance(layer, nn.SyncBatchNorm) for layer in again.modules()):  # which learns on a GPU alone
        said = []
        for one in (network, again):
            torch.manual_seed(1)
            with torch.no_grad():
                said.append(one.train()(images))
        torch.testing.assert_close(said[1], said[0], rtol=1e-2, atol=1e-3 * float(said[0].abs().max()))
    network.eval()
    again.load_state_dict(network.state_dict())
    torch.testing.assert_close(again.eval()(images), network(images), rtol=1e-4, atol=1e-5)


def test_batch_norm_of_any_number_of_dimensions_is_synchronised_and_an_unknown_one_refused(alone: None) -> None:
    class Another(nn.BatchNorm2d):
        pass

    for plain, shape in ((nn.BatchNorm1d, (6, 3)), (nn.BatchNorm1d, (6, 3, 5)), (nn.BatchNorm3d, (6, 3, 2, 2, 2))):
        one, other = nn.Sequential(plain(3)), nn.Sequential(plain(3))
        synchronise(other, native=False)
        x = torch.randn(shape)
        torch.testing.assert_close(other(x), one(x))
        torch.testing.assert_close(other.state_dict(), one.state_dict())
    for native in (False, True):
        with pytest.raises(UserError, match="Another of the student is a batch norm that cannot be synchronised"):
            synchronise(nn.Sequential(nn.Sequential(Another(3))), native)


@pytest.mark.parametrize("own", [True, False])
def test_a_process_that_fails_tells_why_and_does_not_wait_for_those_that_wait_for_it(
    own: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[bool] = []
    for name, value in (("WORLD_SIZE", "2"), ("LOCAL_RANK", "0"), ("LOCAL_WORLD_SIZE", "2")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: own)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    monkeypatch.setattr(distributed.dist, "init_process_group", lambda *a, **k: None)
    monkeypatch.setattr(distributed.dist, "get_rank", lambda: 0)
    monkeypatch.setattr(distributed.dist, "destroy_process_group", lambda: ended.append(True))
    with pytest.raises(OSError, match="broken image"), joined_group():
        raise OSError("broken image")
    assert ended == [True] * (not own)
    with joined_group():
        pass
    assert len(ended) == (not own) + 1


@pytest.mark.parametrize(("kind", "steps"), [("synchronised", 3), ("local", 2)])
def test_of_a_last_batch_that_leaves_a_process_one_image_batch_norm_of_its_own_makes_no_step(
    kind: str, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fnkd_core.training.setup.shared", lambda student, *_, **__: student)
    config = RunConfig(method="ce", dataset="digits", student="cifar_resnet8", batch_size=8, batch_norm=kind)  # type: ignore[arg-type]
    found = resolve(config)
    assert prepare(found, 19, Group(0, 2)).steps_per_epoch == steps
    assert prepare(found, 20, Group(0, 2)).steps_per_epoch == 3


def test_what_a_device_loads_at_first_is_no_part_of_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(estimate.time, "perf_counter", lambda: now[0])

    costs = iter([100.0, 2.0, 4.0])

    def work() -> Tensor:
        now[0] += next(costs)
        return torch.zeros(())

    timed: Callable[[Callable[[], Tensor], int], float] = estimate._timed
    assert timed(work, 2) == 3.0
