"""What people put around weights is peeled off, and what holds none says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from fnkd_core.checkpoints.importing.wrappers import peel
from fnkd_core.errors import UserError
from tests.checkpoints.files import weights
from tests.checkpoints.test_gate import assert_same, ordered, prefixed

WRAPPED: dict[str, tuple[Callable[[dict[str, Tensor]], object], str]] = {
    "bare": (lambda s: s, ""),
    "OrderedDict": (ordered, ""),
    "mdistiller's best": (lambda s: {"model": s}, "model"),
    "CIFAR ResNets": (lambda s: {"state_dict": prefixed("module.", s), "best_prec1": 91.7},
                      "state_dict, prefix module."),
    "net, acc, epoch": (lambda s: {"net": s, "acc": 95.1, "epoch": 199}, "net"),
    "network": (lambda s: {"network": s}, "network"),
    "params": (lambda s: {"params": s}, "params"),
    "nested": (lambda s: {"model": {"state_dict": s}}, "model, state_dict"),
    "compiled in parallel": (lambda s: prefixed("module._orig_mod.", s), "prefix module., prefix _orig_mod."),
    "Lightning": (
        lambda s: {"state_dict": prefixed("model.", s), "epoch": 3, "loops": {"fit_loop": {}}, "callbacks": {}},
        "state_dict, prefix model.",
    ),
    "backbone": (lambda s: prefixed("backbone.", s), "prefix backbone."),
    "AveragedModel": (lambda s: {"n_averaged": torch.tensor(5)} | prefixed("module.", s), "prefix module."),
    "a distiller": (lambda s: {"model": prefixed("student.", s) | prefixed("teacher.", nn_ones(s))},
                    "model, prefix student."),
    "a student in parallel": (lambda s: {"model": prefixed("student.module.", s)},
                              "model, prefix student., prefix module."),
    "options that hold a dict named model": (lambda s: {"model": {"name": "x"}, "net": s}, "net"),
}  # fmt: skip


def nn_ones(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k: torch.ones_like(v) for k, v in state.items()}


@pytest.mark.parametrize("name", WRAPPED)
def test_what_people_put_around_weights_is_peeled_off(name: str) -> None:
    wrap, wrapper = WRAPPED[name]
    peeled = peel(wrap(weights()), "x.pth")
    assert_same(peeled.state, weights())
    assert peeled.wrapper == wrapper and not peeled.ema
    assert "bn.num_batches_tracked" in peeled.state


def test_averaged_weights_are_taken_where_they_are_preferred_or_alone() -> None:
    plain, averaged = weights(), nn_ones(weights())
    for key in ("state_dict_ema", "model_ema", "params_ema"):
        both = {"state_dict": plain, key: averaged, "arch": "resnet50", "epoch": 1}
        for prefer, wanted in ((False, plain), (True, averaged)):
            peeled = peel(both, "x", prefer_ema=prefer)
            assert_same(peeled.state, wanted)
            assert peeled.ema is prefer and peeled.facts == {"arch": "resnet50", "epoch": 1}
        assert peel({key: averaged}, "x").ema
    assert not peel({"state_dict": plain}, "x", prefer_ema=True).ema


def test_a_prefix_that_only_some_names_have_stays() -> None:
    state = {"model.weight": torch.zeros(1), "scale": torch.zeros(1)}
    assert list(peel(state, "x").state) == list(state)


@pytest.mark.parametrize(
    "loaded",
    [
        torch.zeros(2), [torch.zeros(2)], {}, {"model": {}}, {"epoch": 3}, None,
        {"weight": torch.zeros(1), "rest": [torch.zeros(1)]},
    ],
)  # fmt: skip
def test_what_holds_no_state_dict_says_so(loaded: object) -> None:
    with pytest.raises(UserError, match="x.pth holds no state_dict of tensors; save"):
        peel(loaded, "x.pth")


@pytest.mark.parametrize("name", ["a\x1b[31m", "../a", "/a", "a..b", "a.", "", "a b", "ä", "a" * 257, 5, None])
def test_a_name_that_no_parameter_has_is_refused(name: object) -> None:
    with pytest.raises(UserError, match="x has a tensor named .* rename it") as error:
        peel({"state_dict": {"weight": torch.zeros(1), name: torch.zeros(1)}}, "x")
    assert str(error.value).isprintable()


def test_a_dict_in_itself_ends() -> None:
    loop: dict[str, Any] = {}
    loop["model"] = loop
    with pytest.raises(UserError, match="no state_dict"):
        peel(loop, "x")


def test_facts_are_few_short_and_plain() -> None:
    beside = {f"k{i}": i for i in range(500)} | {"a" * 65: 1, "long": "x" * 201, "nan": float("nan"), "two\nlines": 1}
    facts = peel({"model": weights(), "lines": "a\nb", 5: 5, "big": 1 << 80, **beside}, "x").facts
    assert facts == {f"k{i}": i for i in range(64)}
