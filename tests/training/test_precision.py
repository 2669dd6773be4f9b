"""Half precision, compiling and accelerators, as far as the processor runs the same path."""

from __future__ import annotations

import functools
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from fnkd_core.kd.outputs import Outputs
from fnkd_core.models import inference
from fnkd_core.models.inference import best_device, fastest_precision
from fnkd_core.training import compiled as in_compiled
from fnkd_core.training import setup as in_setup
from fnkd_core.training.compiled import Compiled, CompileFailed
from fnkd_core.training.config import RunConfig
from fnkd_core.training.loop import Metrics, Progress, Results, train

CPU = torch.device("cpu")
QUICK: dict[str, Any] = {"method": "kd", "teacher": "digits-teacher", "epochs": 2, "per_class": 20, "batch_size": 32}


def lines(folder: Path | None = None, **changes: Any) -> list[Metrics]:
    return [event for event in train(RunConfig(**(QUICK | changes)), folder) if isinstance(event, Metrics)]


def test_bfloat16_is_taken_where_it_was_measured_to_be_faster_and_measured_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def measured() -> float:
        asked.append(1)
        return speed

    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True, raising=False)
    monkeypatch.setattr(inference, "_speed_of_bfloat16", measured)
    speed = 0.7
    assert [fastest_precision(CPU, 32) for _ in range(2)] == ["fp32", "fp32"] and len(asked) == 1
    assert fastest_precision(CPU, 8) == "fp32"
    monkeypatch.setattr(inference, "processor", lambda: "another")
    speed = 1.8
    assert [fastest_precision(CPU, 32) for _ in range(2)] == ["bf16", "bf16"] and len(asked) == 2
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False, raising=False)
    assert fastest_precision(CPU, 32) == "fp32"


@pytest.mark.parametrize(("native", "taken"), [(True, "bf16"), (False, "fp16")])
def test_on_a_gpu_bfloat16_is_taken_where_it_is_native_and_emulated_counts_as_not(
    native: bool, taken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or native)
    assert fastest_precision(torch.device("cuda"), 32) == taken
    assert fastest_precision(torch.device("mps"), 32) == "fp32"


@pytest.mark.parametrize(
    ("gpus", "place", "own"),
    [
        (4, {"LOCAL_RANK": "3", "LOCAL_WORLD_SIZE": "4"}, "cuda:3"),
        (4, {"LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}, "cuda"),
        (2, {"LOCAL_RANK": "3", "LOCAL_WORLD_SIZE": "4"}, "cuda"),  # they share what there is
        (4, {}, "cuda"),
        (0, {"LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}, "cpu"),
        (4, {"LOCAL_RANK": "3", "LOCAL_WORLD_SIZE": "4", "FNKD_DEVICE": "cpu"}, "cpu"),
    ],
)
def test_of_several_processes_on_a_machine_each_has_a_gpu_of_its_own_where_there_are_as_many(
    gpus: int, place: dict[str, str], own: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LOCAL_RANK", "LOCAL_WORLD_SIZE", "FNKD_DEVICE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in place.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    assert best_device() == torch.device(own)


def test_the_measurement_is_a_ratio_and_leaves_the_random_numbers_alone() -> None:
    state = torch.get_rng_state()
    assert 0.01 < inference._speed_of_bfloat16() < 100
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_trains_to_about_the_same_losses_and_goes_on_to_the_same_bits(
    precision: str, tmp_path: Path
) -> None:
    whole, half = lines(precision="fp32"), lines(tmp_path / "whole", precision=precision)
    assert [line.loss for line in half] == pytest.approx([line.loss for line in whole], rel=0.1)
    for event in train(RunConfig(**(QUICK | {"precision": precision})), tmp_path / "cut"):
        if isinstance(event, Metrics):
            break
    (last,) = lines(tmp_path / "cut", precision=precision)
    assert last.loss == half[1].loss and last.accuracy == half[1].accuracy


def test_sums_that_are_read_now_and_then_are_those_that_are_read_at_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    every = lines()
    monkeypatch.setattr(in_setup.Setup, "read_every", property(lambda setup: 4))
    events = list(train(RunConfig(**QUICK)))
    now_and_then = [event for event in events if isinstance(event, Metrics)]
    for a, b in zip(every, now_and_then, strict=True):
        assert (a.loss, a.hard, a.soft, a.train_accuracy) == (b.loss, b.hard, b.soft, b.train_accuracy)
    steps = [event.step for event in events if isinstance(event, Progress) and event.epoch == 2]
    assert steps == [4, 7]


def test_a_loss_that_leaves_the_numbers_between_two_readings_names_its_step_and_keeps_the_last_good_epoch(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from fnkd_core.errors import UserError
    from fnkd_core.training import loop

    plain, calls = loop.learning_rate, []

    def rate(*arguments: Any) -> float:
        calls.append(1)
        return 1e30 if len(calls) == 9 else plain(*arguments)

    monkeypatch.setattr(in_setup.Setup, "read_every", property(lambda setup: 5))
    monkeypatch.setattr(loop, "learning_rate", rate)
    with pytest.raises(UserError, match="from step 3 of epoch 2 on"):
        list(train(RunConfig(**QUICK), tmp_path))
    monkeypatch.setattr(loop, "learning_rate", plain)
    rest = list(train(RunConfig(**QUICK), tmp_path))
    assert isinstance(rest[-1], Results) and [e.epoch for e in rest if isinstance(e, Metrics)] == [2]


def test_a_network_that_cannot_be_compiled_runs_as_it_is_and_says_so_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(network: Any) -> Any:
        def call(images: Any) -> Any:
            raise RuntimeError("no C++ compiler\nmore of it")

        return call

    monkeypatch.setattr(in_compiled.torch, "compile", broken)
    plain = lines(compile="off")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = lines(compile="on")
    texts = [str(one.message) for one in said if one.category is CompileFailed]
    assert len(texts) == 2 and all("no C++ compiler" in text and "more" not in text for text in texts)  # both networks
    assert [line.loss for line in found] == [line.loss for line in plain]


@pytest.mark.parametrize("fails", ["backward", "another size"])
def test_what_cannot_be_compiled_later_than_at_first_runs_as_it_is_too(
    fails: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from functorch.compile import make_boxed_func
    from torch._dynamo.backends.common import aot_autograd

    def nop(graph: Any, inputs: Any) -> Any:
        return make_boxed_func(graph.forward)

    def broken(graph: Any, inputs: Any) -> Any:
        raise RuntimeError("out of registers")

    met: list[Any] = []

    def forward(graph: Any, inputs: Any) -> Any:
        met.append(graph)
        return (broken if fails == "another size" and len(met) > 1 else nop)(graph, inputs)

    backend = aot_autograd(fw_compiler=forward, bw_compiler=broken if fails == "backward" else nop)
    compiled = functools.partial(torch.compile, backend=backend, dynamic=False)
    monkeypatch.setattr(in_compiled.torch, "compile", compiled)
    torch._dynamo.reset()
    layer = torch.nn.Linear(4, 3)
    network = Compiled(lambda images: Outputs(images, layer(images), None))
    said = []
    for count in (8, 5):
        images = torch.ones(count, 4)
        with warnings.catch_warnings(record=True) as texts:
            warnings.simplefilter("always")
            outputs = network(images)
        said += [str(one.message) for one in texts if one.category is CompileFailed]
        assert torch.equal(outputs.logits, layer(images))
        layer.zero_grad()
        outputs.logits.sum().backward()
        assert torch.equal(layer.weight.grad, torch.full((3, 4), float(count)))
    assert met and len(said) == 1 and "out of registers" in said[0]


def test_an_error_of_the_network_itself_is_not_hidden_by_compiling() -> None:
    def network(images: Any) -> Any:
        raise ValueError("wrong shape")

    with pytest.raises(ValueError, match="wrong shape"):
        Compiled(network)(torch.zeros(1))
