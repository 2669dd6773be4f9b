"""A head that somebody put in the place of a network's own is read from the file, and gives the logits it gave."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from fnkd_core.errors import UserError
from fnkd_core.models.architecture import Architecture
from fnkd_core.models.classifier import Classifier, head_error
from fnkd_core.models.recognition.recognise import recognise, rename, settled
from fnkd_core.models.zoo import build, build_network
from tests.models.published import shapes_of

K = 7


def put(network: nn.Module, place: str, module: nn.Module) -> nn.Module:
    parent, _, name = place.rpartition(".")
    setattr(network.get_submodule(parent), name, module)
    return network


def sequential(*modules: nn.Module) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(*modules)


class Named(nn.Module):
    """A head of two layers with names, and an activation that is none of its modules."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.hidden, self.out = nn.Linear(width, 20), nn.Linear(20, K)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(torch.relu(self.hidden(x)))


def mlp(width: int, bias: bool = True) -> nn.Module:
    return nn.Sequential(nn.Linear(width, 20, bias=bias), nn.ReLU(), nn.Dropout(0.4), nn.Linear(20, K))


def with_norms(width: int) -> nn.Module:
    norms = (nn.BatchNorm1d(width), nn.Dropout(0.2), nn.Linear(width, 20), nn.ReLU(), nn.BatchNorm1d(20))
    return nn.Sequential(*norms, nn.Dropout(), nn.Linear(20, 12), nn.LayerNorm(12), nn.ReLU(), nn.Linear(12, K))


RESNET, STEM, VGG = "cifar_resnet8", "cifar_stem_mobilenet_v2_x0_5", "torchvision/vgg11_bn"
NORMS = ("batchnorm", "linear 20", "relu", "batchnorm", "linear 12", "layernorm", "relu")
HEADS: dict[str, tuple[str, str, Callable[[], nn.Module], tuple[str, ...]]] = {
    "Dropout, Linear": (RESNET, "fc", sequential(nn.Dropout(0.2), nn.Linear(64, K)), ()),
    "Linear, LogSoftmax": (RESNET, "fc", sequential(nn.Linear(64, K), nn.LogSoftmax(1)), ()),
    "two deep": (RESNET, "fc", sequential(nn.Sequential(nn.Linear(64, K))), ()),
    "no bias": (RESNET, "fc", lambda: nn.Linear(64, K, bias=False), ()),
    "MLP": (RESNET, "fc", lambda: mlp(64), ("fc", "linear 20", "relu")),
    "MLP without a bias": (RESNET, "fc", lambda: mlp(64, bias=False), ("fc", "linear 20", "relu")),
    "MLP with names": (RESNET, "fc", lambda: Named(64), ("fc", "linear 20", "relu")),
    "two linear layers": (RESNET, "fc", sequential(nn.Linear(64, 9), nn.Linear(9, K)), ("fc", "linear 9")),
    "norms": (RESNET, "fc", lambda: with_norms(64), ("fc", *NORMS)),
    "Linear for a Sequential": (STEM, "classifier", lambda: nn.Linear(1280, K), ()),
    "MLP for a Sequential": (STEM, "classifier", lambda: mlp(1280), ("classifier", "linear 20", "relu")),
    "MLP in a Sequential": (STEM, "classifier.1", lambda: mlp(1280), ("classifier.1", "linear 20", "relu")),
    "Linear for hidden layers": ("cifar_vgg11_max512", "classifier", lambda: nn.Linear(512, K), ()),
    "other hidden layers": (
        "torchvision/mobilenet_v3_small", "classifier", lambda: mlp(576), ("classifier", "linear 20", "relu")),
    "Linear for MobileNetV3's": (
        "torchvision/mobilenet_v3_small", "classifier", lambda: nn.Linear(576, K), ("classifier",)),
    "timm's head.fc": ("timm/convnext_atto", "head.fc", lambda: mlp(320), ("head.fc", "linear 20", "relu")),
}  # fmt: skip


@pytest.mark.parametrize("case", HEADS)
def test_a_head_put_in_by_somebody_is_recognised_and_gives_the_logits_it_gave(case: str) -> None:
    name, place, make, replaced = HEADS[case]
    torch.manual_seed(0)
    network = put(build_network(Architecture(name, K)), place, make())
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.running_mean, module.running_var = torch.randn(module.num_features), torch.rand(module.num_features)
    network.eval()
    x = torch.rand(3, 3, 32, 32)
    with torch.no_grad():
        wanted = network(x)
    state = network.state_dict()
    candidates = recognise(shapes_of(state)).candidates
    if case == "Linear for hidden layers":
        # Without them it is another network of the zoo.
        name = "cifar_vgg11_max"
    candidate = next(c for c in candidates if c.architecture.name == name)
    assert candidate.architecture == Architecture(name, K, replaced=replaced)
    classifier = build(candidate.architecture, (0.0,) * 3, (1.0,) * 3, (32, 32)).eval()
    classifier.load(rename(state, candidate))
    with torch.no_grad():
        outputs = classifier(x)
    assert outputs.features.shape == (3, classifier.head.in_features)
    # A softmax does not see what LogSoftmax takes off.
    torch.testing.assert_close(outputs.logits.softmax(1), wanted.softmax(1), atol=1e-5, rtol=1e-5)
    if "LogSoftmax" not in case:
        torch.testing.assert_close(outputs.logits, wanted, atol=1e-4, rtol=1e-4)
    assert head_error(classifier, x) < 1e-5
    # What it is then called is recognised too.
    again = next(c for c in recognise(shapes_of(classifier.state())).candidates if c.architecture.name == name)
    assert again.architecture == candidate.architecture


def test_features_of_a_network_with_an_mlp_head_are_what_its_last_layer_reads() -> None:
    classifier = build(Architecture(RESNET, K, 1, replaced=("fc", "linear 20", "relu")), (0.5,), (0.5,), (8, 8)).eval()
    outputs = classifier(torch.rand(4, 1, 8, 8))
    assert classifier.head_name == "fc.2" and outputs.features.shape == (4, 20) and bool((outputs.features >= 0).all())


def test_a_cosine_head_s_scale_is_kept_with_its_weights_and_read_from_them() -> None:
    torch.manual_seed(0)
    theirs = build(Architecture(RESNET, K, 1, "cosine", 12.5), (0.5,), (0.5,), (8, 8)).eval()
    state = theirs.state()
    assert state["fc.scale"] == 12.5 and "fc.bias" not in state
    candidate = settled(recognise(shapes_of(state)).candidates[0], state)
    assert candidate.architecture == theirs.architecture
    again = build(candidate.architecture, (0.5,), (0.5,), (8, 8)).eval()
    again.load(rename(state, candidate))
    x = torch.rand(4, 1, 8, 8)
    assert torch.equal(again(x).logits, theirs(x).logits)


def test_a_published_network_s_record_and_identity_are_what_they_were_before_others_heads_were_known() -> None:
    plain = {"name": RESNET, "num_classes": 7, "in_channels": 3, "head": "linear", "scale": None}
    assert Architecture(RESNET, 7).to_dict() == plain and Architecture.from_dict(plain) == Architecture(RESNET, 7)
    changed = Architecture(RESNET, 7, replaced=("fc", "linear 256", "relu"))
    assert Architecture.from_dict(changed.to_dict()) == changed != Architecture(RESNET, 7)


@pytest.mark.parametrize(
    ("replaced", "message"),
    [
        (["fc", "linear 0"], "layers of"),
        (["fc", "os.system"], "layers of"),
        ("fc", "must be a list of words"),
        ([3], "must be a list of words"),
        (["nothing"], "has no linear layer in 'nothing'"),
        (["conv1"], "has no linear layer in 'conv1'"),
        ([""], "has no linear layer in ''"),
    ],
)
def test_a_record_of_a_head_that_cannot_be_is_one_line(replaced: Any, message: str) -> None:
    values = Architecture(RESNET, 7).to_dict() | {"replaced": replaced}
    with pytest.raises(UserError, match=message) as error:
        build_network(Architecture.from_dict(values))
    assert "\n" not in str(error.value)


# Names of a kind that nobody has seen, in the order in which the modules were made.
def renamed(state: dict[str, torch.Tensor], prefix: str = "") -> dict[str, torch.Tensor]:
    modules: dict[str, str] = {}
    return {
        f"{prefix}{modules.setdefault(n.rpartition('.')[0], f'part{len(modules)}')}.{n.rpartition('.')[2]}": v
        for n, v in state.items()
    }


@pytest.mark.parametrize(
    ("name", "head"),
    [("cifar_resnet8", "own"), ("cifar_resnet8", "MLP"), ("cifar_vgg8", "own"), ("torchvision/resnet18", "MLP")],
)
def test_where_no_names_are_known_the_order_of_shapes_tells_the_network(name: str, head: str) -> None:
    torch.manual_seed(0)
    network = build_network(Architecture(name, K)).eval()
    if head == "MLP":
        put(network, "fc", mlp(int(network.get_submodule("fc").in_features)).eval())
    state = renamed(network.state_dict())
    candidates = recognise(shapes_of(state)).candidates
    candidate = next(c for c in candidates if c.architecture.name == name)
    assert candidate.layout == "by order"
    by_name = recognise(shapes_of(state), name).candidates
    assert [c.architecture for c in by_name] == [candidate.architecture]
    again = build_network(candidate.architecture).eval()
    again.load_state_dict(rename(state, candidate))
    x = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(again(x), network(x))


def test_the_names_of_efficientnet_pytorch_are_taken_by_the_order_of_shapes() -> None:
    network = build_network(Architecture("timm/tf_efficientnet_lite0", K)).eval()
    blocks: dict[str, int] = {}

    def theirs(name: str) -> str:
        module, _, leaf = name.rpartition(".")
        outer = {
            "conv_stem": "_conv_stem",
            "bn1": "_bn0",
            "conv_head": "_conv_head",
            "bn2": "_bn1",
            "classifier": "_fc",
        }
        if module in outer:
            return f"{outer[module]}.{leaf}"
        _, stage, block, part = module.split(".")
        first = stage == "0"
        parts = {"conv_pw": "_project_conv" if first else "_expand_conv", "conv_dw": "_depthwise_conv",
                 "conv_pwl": "_project_conv", "bn1": "_bn1" if first else "_bn0", "bn2": "_bn2" if first else "_bn1",
                 "bn3": "_bn2"}  # fmt: skip
        number = blocks.setdefault(f"{stage}.{block}", len(blocks))
        return f"_blocks.{number}.{parts[part]}.{leaf}"

    state = {theirs(name): value for name, value in network.state_dict().items()}
    assert len(state) == len(network.state_dict())
    candidate = next(
        c for c in recognise(shapes_of(state)).candidates if c.architecture.name == "timm/tf_efficientnet_lite0"
    )
    again = build_network(candidate.architecture).eval()
    again.load_state_dict(rename(state, candidate))
    x = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(again(x), network(x))


def test_an_order_whose_leaves_contradict_the_network_s_is_not_taken() -> None:
    state = renamed(build_network(Architecture("cifar_resnet8", K)).state_dict())
    swap = {"running_mean": "running_var", "running_var": "running_mean"}
    turned = {
        f"{n.rpartition('.')[0]}.{swap.get(n.rpartition('.')[2], n.rpartition('.')[2])}": v for n, v in state.items()
    }
    assert not recognise(shapes_of(turned), "cifar_resnet8").candidates


def test_a_recognised_head_is_found_by_running_too() -> None:
    architecture = Architecture("torchvision/mobilenet_v3_small", K, replaced=("classifier", "linear 20", "relu"))
    network = build_network(architecture)
    assert Classifier(network, (0.5,) * 3, (0.5,) * 3, architecture, (32, 32)).head_name == "classifier.2"
