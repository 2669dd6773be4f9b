"""The contract: every network says what its head is, and the head is checked."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fnkd_core.errors import UserError
from fnkd_core.models.architecture import CIFAR_RESNETS, Architecture
from fnkd_core.models.classifier import Classifier, find_head, head_error, num_parameters
from fnkd_core.models.inference import predict
from fnkd_core.models.zoo import build, list_architectures

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
    assert outputs.features.shape == (3, 64) and outputs.logits.shape == (3, 7)
    assert bool((outputs.features >= 0).all())
    assert head_error(classifier, images) == 0
    assert classifier.head_name == "fc"


@pytest.mark.parametrize(
    ("name", "millions"), [("cifar_resnet20", 0.272), ("cifar_resnet56", 0.856), ("cifar_resnet110_v2", 1.73)]
)
def test_parameters_are_as_many_as_published(name: str, millions: float) -> None:
    count = num_parameters(build(Architecture(name, 10), (0.5,) * 3, (0.5,) * 3))
    assert count / 1e6 == pytest.approx(millions, rel=0.01)


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
    b = Classifier(a.network, (0.0,) * 3, (1.0,) * 3, architecture, (8, 8)).eval()
    x = torch.rand(2, 3, 8, 8)
    mean, std = torch.tensor([0.2, 0.3, 0.4]).view(1, 3, 1, 1), torch.tensor([0.5, 0.6, 0.7]).view(1, 3, 1, 1)
    assert torch.allclose(a(x).logits, b((x - mean) / std).logits, atol=1e-5)
    byte = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    assert torch.allclose(a(byte).logits, a(byte.float() / 255).logits)


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
    with pytest.raises(UserError, match="Unknown torchvision model 'resnet19'"):
        build(Architecture("torchvision/resnet19", 10), (0.5,) * 3, (0.5,) * 3)
    assert {"cifar_resnet56_v2", "torchvision/resnet18"} <= set(list_architectures())
