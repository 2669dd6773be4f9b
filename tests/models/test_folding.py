"""Weights kept in parts come together as their modules would say, and biases go into batch norms exactly."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

from fnkd_core.errors import UserError
from fnkd_core.models.architecture import Architecture
from fnkd_core.models.recognition.folding import multiplied_out, norms_after
from fnkd_core.models.recognition.recognise import recognise, rename
from fnkd_core.models.zoo import build_network
from tests.models.published import shapes_of


def pruned(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            prune.l1_unstructured(module, "weight", 0.5)
    prune.random_unstructured(network.fc, "bias", 0.5)


def each(wrap: Callable[[nn.Module], object]) -> Callable[[nn.Module], None]:
    def do(network: nn.Module) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # The older forms are deprecated, and in files all the same.
            for module in list(network.modules()):
                if isinstance(module, nn.Conv2d | nn.Linear):
                    wrap(module)

    return do


KEPT_IN_PARTS: dict[str, tuple[str, Callable[[nn.Module], None]]] = {
    "pruning": ("pruned", pruned),
    "weight norm, hook": ("weight norm", each(nn.utils.weight_norm)),
    "weight norm over all, hook": ("weight norm", each(lambda m: nn.utils.weight_norm(m, dim=None))),
    "weight norm, parametrization": ("weight norm", each(parametrizations.weight_norm)),
    "spectral norm, hook": ("spectral norm", each(nn.utils.spectral_norm)),
    "spectral norm, parametrization": ("spectral norm", each(parametrizations.spectral_norm)),
}


@pytest.mark.parametrize("case", KEPT_IN_PARTS)
def test_weights_kept_in_parts_are_multiplied_out_to_the_logits_they_gave(case: str) -> None:
    what, wrap = KEPT_IN_PARTS[case]
    torch.manual_seed(0)
    network = build_network(Architecture("cifar_resnet8", 5))
    wrap(network)
    network.eval()
    x = torch.rand(2, 3, 16, 16)
    with torch.no_grad():
        wanted = network(x)
    state, done = multiplied_out(network.state_dict())
    assert done == {what: 10 + (case == "pruning")}
    candidate = recognise(shapes_of(state)).candidates[0]
    assert candidate.architecture == Architecture("cifar_resnet8", 5)
    again = build_network(candidate.architecture).eval()
    again.load_state_dict(rename(state, candidate))
    with torch.no_grad():
        torch.testing.assert_close(again(x), wanted, atol=1e-5, rtol=1e-5)


def test_parts_that_do_not_fit_each_other_are_one_line_and_other_names_stay() -> None:
    with pytest.raises(UserError, match="a.weight_orig and a.weight_mask do not fit each other") as error:
        multiplied_out({"a.weight_orig": torch.ones(3, 2), "a.weight_mask": torch.ones(5, 4)})
    assert "\n" not in str(error.value)
    plain = {"a.weight_g": torch.ones(3), "b.weight": torch.ones(3), "weight_v": torch.ones(2)}
    assert multiplied_out(plain) == (plain, {})


def with_biases(network: nn.Module, convs: list[str]) -> nn.Module:
    """The network with a bias in each of these convolutions."""
    for name in convs:
        conv = network.get_submodule(name)
        assert isinstance(conv, nn.Conv2d)
        conv.bias = nn.Parameter(torch.randn(conv.out_channels))
    return network


def shaken(name: str, classes: int = 5) -> nn.Module:
    """A network whose batch norms are not as they begin."""
    torch.manual_seed(0)
    network = build_network(Architecture(name, classes)).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean = torch.randn(module.num_features) * 0.2
            module.running_var = 0.5 + torch.rand(module.num_features)
    return network


@pytest.mark.parametrize(
    "name",
    ["cifar_resnet8", "cifar_resnet8_a", "cifar_resnet8_v2", "cifar_vgg8", "cifar_mobilenet_v2", "cifar_shufflenet_v2",
     "torchvision/resnet18", "timm/efficientnet_lite0"],
)  # fmt: skip
def test_a_bias_before_a_batch_norm_is_folded_in_exactly(name: str) -> None:
    plain = shaken(name)
    own = {n for n, m in plain.named_modules() if isinstance(m, nn.Conv2d) and m.bias is None}
    convs = sorted(own & set(norms_after(Architecture(name, 5), None)))
    assert convs or name == "cifar_vgg8"
    theirs = with_biases(copy.deepcopy(plain), convs)
    x = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        wanted = theirs(x)
    state = theirs.state_dict()
    candidate = next(c for c in recognise(shapes_of(state)).candidates if c.architecture.name == name)
    assert len(candidate.biases) == len(convs)
    again = build_network(candidate.architecture).eval()
    again.load_state_dict(rename(state, candidate))
    with torch.no_grad():
        torch.testing.assert_close(again(x), wanted, atol=1e-4, rtol=1e-4)


def test_a_bias_that_no_batch_norm_takes_in_keeps_a_network_out() -> None:
    # In v2 the stem's output is read by the shortcut too, and that of a block's second convolution by nothing else.
    for conv in ("conv1", "layer1.0.conv2"):
        state = with_biases(shaken("cifar_resnet8_v2"), [conv]).state_dict()
        result = recognise(shapes_of(state), "cifar_resnet8_v2")
        assert not result.candidates and result.nearest[0].left_over == (f"{conv}.bias",)
