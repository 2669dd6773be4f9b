"""The contract: every network says what its head is, and the head is checked."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fnkd_core.errors import UserError
from fnkd_core.models.architecture import CIFAR_RESNETS, Architecture, list_architectures
from fnkd_core.models.classifier import find_head, head_error, num_parameters
from fnkd_core.models.inference import predict
from fnkd_core.models.zoo import build, build_network

# One of each family of torchvision; the rest differ from these in width and depth.
TORCHVISION = (
    "alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "googlenet", "inception_v3", "maxvit_t",
    "mnasnet0_5", "mobilenet_v2", "mobilenet_v3_small", "regnet_y_400mf", "resnet18", "resnext50_32x4d",
    "shufflenet_v2_x0_5", "swin_t", "vgg11_bn", "vit_b_32", "wide_resnet50_2",
)  # fmt: skip


@pytest.mark.parametrize("name", CIFAR_RESNETS)
@pytest.mark.parametrize(("channels", "size"), [(1, 8), (3, 32)])
def test_a_cifar_resnet_takes_both_kinds_of_image_and_its_head_is_found(name: str, channels: int, size: int) -> None:
    classifier = build(Architecture(name, 7, channels), (0.5,) * channels, (0.5,) * channels, (size, size)).eval()
    images = torch.randint(0, 256, (3, channels, size, size), dtype=torch.uint8)
    outputs = classifier(images)
    assert outputs.features.shape == (3, 256 if name.endswith("x4") else 64) and outputs.logits.shape == (3, 7)
    assert bool((outputs.features >= 0).all())
    assert head_error(classifier, images) == 0
    assert classifier.head_name == "fc"


SMALL = (
    "cifar_mobilenet_v2", "cifar_shufflenet_v1", "cifar_shufflenet_v2", "cifar_stem_mobilenet_v2_x0_5",
    "cifar_stem_resnet18", "cifar_stem_resnet50", "cifar_stem_shufflenet_v2_x0_5", "cifar_vgg8", "cifar_vgg11_max",
    "cifar_vgg11_max512", "wrn_16_2", "wrn_22_3",
)  # fmt: skip
TIMM = ("convnext_atto", "efficientnet_lite0", "mobilenetv3_small_050", "resnet10t", "swin_tiny_patch4_window7_224",
        "vit_tiny_patch16_224")  # fmt: skip


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_network_for_small_images_takes_grey_and_colour_and_its_head_is_found(name: str, channels: int) -> None:
    classifier = build(Architecture(name, 7, channels), (0.5,) * channels, (0.5,) * channels, (32, 32)).eval()
    images = torch.randint(0, 256, (2, channels, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        outputs = classifier(images)
    assert outputs.features.shape == (2, classifier.num_features) and outputs.logits.shape == (2, 7)
    assert bool((outputs.features >= 0).all())
    assert head_error(classifier, images) < 1e-5


# What the models of RepDistiller and mdistiller, and of the repositories named, have at 100 classes.
PARAMETERS = {
    "cifar_resnet8": 83_892, "cifar_resnet14": 181_108, "cifar_resnet20": 278_324, "cifar_resnet32": 472_756,
    "cifar_resnet44": 667_188, "cifar_resnet56": 861_620, "cifar_resnet110": 1_736_564, "cifar_resnet8x4": 1_233_540,
    "cifar_resnet32x4": 7_433_860, "wrn_16_1": 180_916, "wrn_16_2": 703_284, "wrn_40_1": 569_780,
    "wrn_40_2": 2_255_156, "cifar_vgg8": 3_965_028, "cifar_vgg11": 9_277_284, "cifar_vgg13": 9_462_180,
    "cifar_vgg16": 14_774_436, "cifar_vgg19": 20_086_692, "cifar_mobilenet_v2": 812_836,
    "cifar_shufflenet_v1": 949_258, "cifar_shufflenet_v2": 1_355_528, "cifar_stem_resnet18": 11_220_132,
    "cifar_stem_resnet34": 21_328_292, "cifar_stem_resnet50": 23_705_252,
    "cifar_vgg16_max512": 15_299_748, "cifar_stem_mobilenet_v2_x0_5": 815_780,  # chenyaofo
    "cifar_vgg16_max4096": 34_015_396,  # weiaicunzai
    "wrn_28_10": 36_536_884,  # Zagoruyko and Komodakis, 36.5 million
}  # fmt: skip


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_are_as_many_as_published(name: str) -> None:
    with torch.device("meta"):
        network = build_network(Architecture(name, 100))
    assert sum(p.numel() for p in network.parameters()) == PARAMETERS[name]


def test_padded_shortcuts_have_no_parameters() -> None:
    # akamaster/pytorch_resnet_cifar10 gives 0.27 million for ResNet-20 and 1.7 for ResNet-110 on CIFAR-10.
    assert num_parameters(build(Architecture("cifar_resnet20_a", 10), (0.5,) * 3, (0.5,) * 3)) == 269_722


@pytest.mark.parametrize("name", TIMM)
def test_a_timm_classifier_takes_another_size_and_other_channels(name: str) -> None:
    classifier = build(Architecture(f"timm/{name}", 5, 1), (0.5,), (0.5,), (64, 64)).eval()
    images = torch.rand(2, 1, 64, 64)
    with torch.no_grad():
        outputs = classifier(images)
    assert outputs.features.shape == (2, classifier.num_features) and outputs.logits.shape == (2, 5)
    assert head_error(classifier, images) < 1e-4


def test_a_timm_model_with_two_heads_or_the_wrong_size_is_refused_in_one_line() -> None:
    for name, reason in (
        ("deit_tiny_distilled_patch16_224", "no linear head"),
        ("resnet_10t", "'timm/resnet_10t'. Nearest of .*timm/resnet10t"),
    ):
        with pytest.raises(UserError, match=reason):
            build(Architecture(f"timm/{name}", 5), (0.5,) * 3, (0.5,) * 3, (32, 32))
    for name, reason in (("nest_tiny", "cannot be built for 30x30 images"), ("inception_v3", "cannot take 3-channel")):
        with pytest.raises(UserError, match=reason) as error:
            build(Architecture(f"timm/{name}", 5), (0.5,) * 3, (0.5,) * 3, (30, 30))
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", TORCHVISION)
def test_a_torchvision_classifier_is_built_without_its_head_being_named(name: str) -> None:
    size = {"inception_v3": 96, "maxvit_t": 224}.get(name, 64)
    classifier = build(Architecture(f"torchvision/{name}", 5), (0.5,) * 3, (0.5,) * 3, (size, size)).eval()
    images = torch.rand(2, 3, size, size)
    with torch.no_grad():
        outputs = classifier(images)
    assert outputs.features.shape == (2, classifier.num_features) and outputs.logits.shape == (2, 5)
    assert head_error(classifier, images) < 1e-4 * max(1, float(outputs.logits.abs().max()))


def test_a_network_whose_logits_are_no_linear_map_of_one_vector_is_refused() -> None:
    with pytest.raises(UserError, match="no linear head"):
        build(Architecture("torchvision/squeezenet1_1", 5), (0.5,) * 3, (0.5,) * 3, (64, 64))


def test_grey_images_get_a_stem_of_their_own() -> None:
    classifier = build(Architecture("torchvision/resnet18", 4, in_channels=1), (0.5,), (0.5,), (32, 32)).eval()
    assert classifier(torch.rand(2, 1, 32, 32)).logits.shape == (2, 4)


def test_the_head_is_found_by_running_and_not_by_its_name() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(12, 6)  # not the head, although named like one
            self.zz = nn.Linear(6, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.zz(torch.relu(self.fc(x.flatten(1))))

    assert find_head(Odd(), (3, 2, 2), "odd") == "zz"


def test_logits_that_are_changed_after_the_head_are_refused() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(12, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 2 * self.fc(x.flatten(1))

    with pytest.raises(UserError, match="no linear head"):
        find_head(Scaled(), (3, 2, 2), "scaled")


def test_an_image_that_is_too_small_is_one_line() -> None:
    with pytest.raises(UserError, match="cannot take 3-channel images of 8x8") as error:
        build(Architecture("torchvision/alexnet", 5), (0.5,) * 3, (0.5,) * 3, (8, 8))
    assert "\n" not in str(error.value)


def test_normalisation_belongs_to_the_classifier() -> None:
    torch.manual_seed(0)
    architecture = Architecture("cifar_resnet8", 3)
    a = build(architecture, (0.2, 0.3, 0.4), (0.5, 0.6, 0.7), (8, 8)).eval()
    b = build(architecture, (0.0,) * 3, (1.0,) * 3, (8, 8)).eval()
    b.load(a.state())
    x = torch.rand(2, 3, 8, 8)
    mean, std = torch.tensor([0.2, 0.3, 0.4]).view(1, 3, 1, 1), torch.tensor([0.5, 0.6, 0.7]).view(1, 3, 1, 1)
    assert torch.allclose(a(x).logits, b((x - mean) / std).logits, atol=1e-5)
    byte = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    assert torch.allclose(a(byte).logits, a(byte.float() / 255).logits)


def test_the_head_runs_in_float32_where_the_body_runs_in_half_precision() -> None:
    torch.manual_seed(0)
    for head, scale in (("linear", None), ("cosine", 16.0)):
        architecture = Architecture("cifar_resnet8", 10, 3, head, scale)  # type: ignore[arg-type]
        classifier = build(architecture, (0.5,) * 3, (0.25,) * 3, (16, 16)).eval()
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
            outputs = classifier(torch.rand(64, 3, 16, 16))
        assert outputs.logits.dtype == outputs.features.dtype == torch.float32
        with torch.no_grad():
            exact = classifier.head(outputs.features)
        torch.testing.assert_close(outputs.logits, exact, atol=1e-6, rtol=1e-6)


def test_a_head_error_shows_where_the_feature_is_not_what_the_network_s_head_reads() -> None:
    classifier = build(Architecture("cifar_resnet8", 4, 1), (0.5,), (0.5,), (8, 8)).eval()
    images = torch.rand(5, 1, 8, 8)
    assert head_error(classifier, images) < 1e-6

    forward = classifier.body.forward
    classifier.body.forward = lambda x: forward(x) + 1.0  # type: ignore[method-assign]
    assert head_error(classifier, images) > 0.01
    assert classifier(images).logits.shape == (5, 4)


def test_a_cosine_head_gives_scaled_cosines() -> None:
    classifier = build(Architecture("cifar_resnet8", 4, 1, "cosine", 12.0), (0.5,), (0.5,), (8, 8)).eval()
    outputs = classifier(torch.rand(5, 1, 8, 8))
    f, w = outputs.features, classifier.head.weight
    cosines = (f @ w.T) / (f.norm(dim=1, keepdim=True) * w.norm(dim=1))
    assert torch.allclose(outputs.logits, 12 * cosines, atol=1e-4)
    assert outputs.bias is None


def test_prediction_keeps_order_and_mode_and_does_not_depend_on_the_batch() -> None:
    classifier = build(Architecture("cifar_resnet8", 4, 1), (0.5,), (0.5,), (8, 8)).train()
    images = torch.randint(0, 256, (10, 1, 8, 8), dtype=torch.uint8)
    small = torch.cat([o.logits for o in predict(classifier, images, batch_size=3)])
    large = torch.cat([o.logits for o in predict(classifier, images, batch_size=64)])
    assert torch.allclose(small, large, atol=1e-5) and classifier.training


def test_unknown_names_list_what_there_is() -> None:
    with pytest.raises(UserError, match="cifar_resnet20"):
        Architecture("resnet_20", 10)
    for name in ("wrn_17_1", "wrn_16_0", "cifar_resnet20_v3", "cifar_vgg8_max", "cifar_stem_resnet19"):
        with pytest.raises(UserError, match="Unknown architecture"):
            Architecture(name, 10)
    with pytest.raises(
        UserError, match="Unknown architecture 'torchvision/resnet19'. Nearest of .*torchvision/resnet18"
    ):
        build(Architecture("torchvision/resnet19", 10), (0.5,) * 3, (0.5,) * 3)
    some = {"cifar_resnet56_v2", "wrn_40_2", "torchvision/resnet18", "torchvision/regnet_y_400mf", "timm/resnet18"}
    assert some <= set(list_architectures())
