"""What people put around weights is peeled off, and what holds none says so."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from fnkd_core.checkpoints.importing import tree
from fnkd_core.checkpoints.importing.names import most_common_prefix, without_common_prefix
from fnkd_core.checkpoints.importing.wrappers import in_order, peel
from fnkd_core.errors import UserError
from tests.checkpoints.files import weights
from tests.checkpoints.test_gate import assert_same, ordered, prefixed

OPTIMIZER = {"state": {0: {"momentum_buffer": torch.ones(3, 3)}}, "param_groups": [{"lr": 0.1}]}

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
    "any other key": (lambda s: {"epoch": 3, "model_state_dict": s}, "model_state_dict"),
    "a tuple": (lambda s: (s, 0.99), "0"),
    "a list with an optimizer": (lambda s: [s, OPTIMIZER], "0"),
    "deep in a tree": (lambda s: {"nets": [None, {"best": Namespace(weights=s)}]}, "nets, 1, best, weights"),
    "a matrix beside it": (lambda s: {"net": s, "probe": {"weight": torch.zeros(2, 2)}}, "net"),
    "an optimized model": (lambda s: {"optimized_model": s, "optimizerD": {"exp_avg": dict(s)}}, "optimized_model"),
    "an optimizer without groups": (lambda s: {"net": s, "optimizer": {"exp_avg": dict(s)}}, "net"),
    "Opacus": (lambda s: prefixed("_module.", s), "prefix _module."),
    "a network in a module of any name": (lambda s: prefixed("resnet.", s), "prefix resnet."),
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
        torch.zeros(2), [torch.zeros(2)], {}, {"model": {}}, {"epoch": 3}, None, {"acc": torch.tensor(99.1)},
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


def said(loaded: object, **asked: Any) -> str:
    return "\n".join(f"{level}: {text}" for level, text in peel(loaded, "x.pth", **asked).notes)


def test_several_networks_are_named_and_the_part_chooses_by_path_key_or_word() -> None:
    one, two = weights(), nn_ones(weights())
    loaded = {"epoch": 3, "nets": {"student_state_dict": one, "teacher": {"weights": two}}, "optimizer": OPTIMIZER}
    with pytest.raises(UserError) as error:
        peel(loaded, "x.pth")
    assert str(error.value) == (
        "x.pth holds 2 networks: nets.student_state_dict (8 tensors), nets.teacher.weights (8 tensors); choose one as "
        "the part (--part nets.student_state_dict)."
    )
    for part in ("nets.student_state_dict", "student_state_dict", "student"):
        assert_same(peel(loaded, "x.pth", part=part).state, one)
    for part in ("nets.teacher.weights", "teacher", "weights"):
        assert_same(peel(loaded, "x.pth", part=part).state, two)
    with pytest.raises(UserError, match="holds 2 networks: .*; choose one as the part"):
        peel(loaded, "x.pth", part="critic")
    with pytest.raises(UserError, match="holds no critic; leave the part out."):
        peel({"nets": {"net": one}}, "x.pth", part="critic")


def test_a_part_may_be_what_names_begin_with() -> None:
    loaded = {"state_dict": prefixed("encoder_q.", weights()) | prefixed("encoder_k.", nn_ones(weights()))}
    assert_same(peel(loaded, "x.pth", part="encoder_k").state, nn_ones(weights()))


def test_a_distiller_s_student_is_taken_and_its_teacher_is_not_hidden() -> None:
    loaded = {"model": prefixed("student.", weights()) | prefixed("teacher.", nn_ones(weights()))}
    text = "warning: The file holds teacher too; student was taken (--part teacher takes the other)."
    assert said(loaded) == text
    assert said(loaded, part="student") == ""


def test_the_same_network_twice_under_one_dictionary_is_noticed() -> None:
    one, two = weights(), nn_ones(weights())
    averaged = {"state_dict": prefixed("model.", one) | prefixed("ema_model.", two) | {"steps": torch.tensor(3)}}
    assert_same(peel(averaged, "x.pth").state, one)
    assert said(averaged).endswith("The file holds ema_model too; model was taken (--part ema_model takes the other).")
    assert_same(peel(averaged, "x.pth", prefer_ema=True).state, two)
    assert peel(averaged, "x.pth", prefer_ema=True).ema and peel(averaged, "x.pth", part="ema_model").ema
    momentum = {"state_dict": prefixed("module.encoder_q.", one) | prefixed("module.encoder_k.", two)}
    with pytest.raises(
        UserError, match=r"x.pth holds 2 networks: encoder_q, encoder_k; choose one as the part \(--part"
    ):
        peel(momentum, "x.pth")
    assert_same(peel(momentum, "x.pth", part="encoder_k").state, two)
    # Stages of a network are alike in names and not in shapes.
    stages = prefixed("layer1.", one) | prefixed("layer2.", {k: v.repeat(2) for k, v in two.items() if v.dim() == 1})
    assert_same(peel(stages, "x.pth").state, stages)


def test_the_same_weights_under_two_names_are_taken_once_and_said() -> None:
    one = weights()
    for other in (one, weights()):
        loaded = {"model": one, "best": other}
        assert said(loaded) == "good: The same weights stand in the file 2 times: model, best."
        assert_same(peel(loaded, "x.pth").state, one)
        assert_same(peel(loaded, "x.pth", part="best").state, one)


def test_averages_alone_are_taken_with_a_warning() -> None:
    for loaded in ({"ema": weights(), "model": None}, {"ema_state_dict": weights()}, {"swa_model": {"net": weights()}}):
        assert peel(loaded, "x.pth").ema
        assert said(loaded) == "warning: The file has averaged (EMA) weights alone; they were taken."
        assert said(loaded, prefer_ema=True) == ""


def test_an_optimizer_alone_is_called_one() -> None:
    for loaded in (OPTIMIZER, {"optimizer": OPTIMIZER, "epoch": 3}, {"optimizer_state": {"exp_avg": weights()}}):
        with pytest.raises(UserError, match="holds an optimizer's state and no network; save the network's state_dict"):
            peel(loaded, "x.pth")


def test_what_is_no_tensor_among_the_weights_is_named() -> None:
    loaded = weights() | {"rest": [torch.zeros(1)], "optimizer": OPTIMIZER}  # type: ignore[operator]
    assert_same(peel(loaded, "x.pth").state, weights())
    assert said(loaded) == "warning: Left out of the weights, for they are no tensors: rest (list), optimizer (dict)."


def test_losses_and_metrics_are_let_go_and_heads_are_not() -> None:
    measures = {"criterion.weight": torch.ones(5), "val_acc.total": torch.tensor(3), "steps": torch.tensor(4)}
    head = {"fc2.weight": torch.ones(5, 4), "fc2.bias": torch.ones(5), "norm.weight": torch.ones(4)}
    head["norm.bias"] = torch.ones(4)
    peeled = peel({"state_dict": prefixed("model.", weights()) | measures | head}, "x.pth")
    assert_same(peeled.state, weights() | head)
    text = "Let go, for they are no part of a network that classifies: criterion.weight, val_acc.total, steps."
    assert peeled.notes == [("good", text)] and peeled.wrapper == "state_dict, prefix model."
    bare = peel(weights() | {"loss_fn.weight": torch.ones(5)}, "x.pth")
    assert_same(bare.state, weights())


def test_a_prefix_is_a_wrapper_s_only_where_no_name_is_lost_by_it() -> None:
    clash = prefixed("model.", weights()) | {"fc.weight": torch.ones(5, 4)}
    assert_same(peel(clash, "x.pth").state, clash)
    layer = {"fc.weight": torch.ones(5, 4), "fc.bias": torch.ones(5)}
    assert_same(peel(layer, "x.pth").state, layer)
    # Most names of timm's VOLO begin with network, and of torchvision's ViT with encoder.
    for word in ("network", "encoder"):
        own = prefixed(f"{word}.", weights()) | {"head.weight": torch.ones(5, 4), "head.bias": torch.ones(5)}
        assert_same(peel(own, "x.pth").state, own)
        inner = without_common_prefix(own)
        assert inner is not None and most_common_prefix(own) == f"{word}."
        assert_same(inner, weights() | {"head.weight": torch.ones(5, 4), "head.bias": torch.ones(5)})
    assert without_common_prefix({"weight": torch.ones(1)}) is None and without_common_prefix({}) is None


@pytest.mark.parametrize(
    ("layer", "mean", "std", "wanted"),
    [
        ("normalize.", [0.5], [0.25], ([0.5], [0.25])),
        ("0.", [0.5, 0.25, 0.5], [0.25, 0.5, 0.25], ([0.5, 0.25, 0.5], [0.25, 0.5, 0.25])),
        ("pixel_", [127.5], [51.0], ([0.5], [0.2])),
        ("norm.new_", [0.5], [0.25], ([0.5], [0.25])),
        ("", [0.0], [1.0], ([0.0], [1.0])),
        ("whiten.", [-3.0], [0.5], None),
        ("whiten.", [0.5], [0.0], None),
        ("whiten.", [float("nan")], [0.5], None),
        ("whiten.", [0.1] * 64, [0.5] * 64, None),
    ],
)
def test_a_normalisation_layer_is_taken_out_and_says_the_normalisation(
    layer: str, mean: list[float], std: list[float], wanted: tuple[list[float], list[float]] | None
) -> None:
    values = {f"{layer}mean": torch.tensor(mean).view(-1, 1, 1), f"{layer}std": torch.tensor(std).view(-1, 1, 1)}
    peeled = peel({"state_dict": prefixed("module.", values | prefixed("1.", weights()))}, "x.pth")
    if wanted is None:
        assert not peeled.mean and f"{layer}mean" in peeled.state
        return
    assert_same(peeled.state, weights())
    assert (list(peeled.mean), list(peeled.std)) == (pytest.approx(wanted[0]), pytest.approx(wanted[1]))


@pytest.mark.parametrize(
    ("beside", "wanted"),
    [
        ({"class_to_idx": {"bee": 1, "ant": 0}}, ["ant", "bee"]),
        ({"idx_to_class": {1: "bee", 0: "ant"}}, ["ant", "bee"]),
        ({"id2label": {"1": "bee", "0": "ant"}}, ["ant", "bee"]),
        ({"classes": ("ant", "bee")}, ["ant", "bee"]),
        ({"args": Namespace(class_names=["ant", "bee"])}, ["ant", "bee"]),
        ({"hyper_parameters": {"class_names": ["ant", "bee"]}}, ["ant", "bee"]),
        ({"class_to_idx": {"bee": 2, "ant": 0}}, []),
        ({"class_to_idx": {"bee": "1", "ant": "x"}}, []),
        ({"classes": 10}, []),
        ({"classes": ["ant", "ant"]}, []),
        ({"classes": ["ant", "b\x1b[31m"]}, []),
        ({"classes": ["ant", 5]}, []),
        ({"id2label": {"9" * 5000: "x", "0": "y"}}, []),
    ],
)
def test_class_names_beside_the_weights_come_in_the_order_of_the_outputs(
    beside: dict[str, Any], wanted: list[str]
) -> None:
    peeled = peel({"state_dict": weights(), **beside}, "x.pth")
    assert peeled.classes == wanted and bool(peeled.classes_from) == bool(wanted)


def test_class_names_are_as_many_as_a_network_may_have() -> None:
    assert in_order([str(i) for i in range(50_001)]) == [] and len(in_order([str(i) for i in range(50_000)])) == 50_000


def test_many_and_deep_objects_end(monkeypatch: pytest.MonkeyPatch) -> None:
    deep: Any = weights()
    for _ in range(500):
        deep = [deep]
    with pytest.raises(UserError, match="no state_dict"):
        peel(deep, "x")
    monkeypatch.setattr(tree, "MAX_VALUES", 100)
    wide = [[i] for i in range(200)]
    with pytest.raises(UserError, match="no state_dict"):
        peel([wide, weights()], "x")
