"""Whose network a file holds is read from its names and shapes, and the weights then say what they said before.

Every published layout has a plain network here: a function that makes its weights under the published names
where it first uses them.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fnkd_core.errors import UserError
from fnkd_core.models.architecture import TIMM, TORCHVISION, ZOO, Architecture
from fnkd_core.models.classifier import Classifier
from fnkd_core.models.index import indexed_names, with_fingerprint
from fnkd_core.models.pretrained import published_crop, published_normalisation
from fnkd_core.models.recognition.layouts import apply, layouts
from fnkd_core.models.recognition.recognise import Recognition, recognise, rename
from fnkd_core.models.recognition.shapes import network_shapes
from fnkd_core.models.zoo import build_network, timm_names, torchvision_names
from tests.models.published import PUBLISHED, gluon_v2, shapes_of, wide
from tests.models.weights import K, Weights

GREY = ("akamaster A", "benchmark vgg8", "benchmark MobileNetV2", "Gluon v1", "Gluon v2", "Gluon v2, structure")


@pytest.mark.parametrize(("case", "channels"), [*((case, 3) for case in PUBLISHED), *((case, 1) for case in GREY)])
def test_a_published_layout_is_recognised_and_gives_the_logits_it_gave(case: str, channels: int) -> None:
    source, name, layout, size, gluon = PUBLISHED[case]
    state, x = Weights(gluon), torch.rand(2, channels, size, size, dtype=torch.float64)
    logits = source(state, x)
    found = recognise(shapes_of(state)).candidates
    assert found[0].architecture == Architecture(name, K, channels)
    assert layout in found[0].layout and found[0].image_size is None
    network = build_network(found[0].architecture).double().eval()
    network.load_state_dict(rename(state, found[0]))
    with torch.no_grad():
        again = network(x)
    assert float(logits.std()) > 1e-3
    torch.testing.assert_close(again, logits, atol=1e-5, rtol=0)


def test_every_architecture_of_the_zoo_is_found_by_its_own_names_in_every_layout() -> None:
    for name in ZOO:
        for _, rules in layouts(name):
            theirs = {apply(rules, ours): shape for ours, shape in network_shapes(name, K).items()}
            assert name in with_fingerprint(theirs), name


def test_the_index_knows_the_installed_models() -> None:
    assert {n.removeprefix(TORCHVISION) for n in indexed_names(TORCHVISION)} == set(torchvision_names())
    missing = set(timm_names()) - {n.removeprefix(TIMM) for n in indexed_names(TIMM)}
    assert len(missing) <= 0.05 * len(timm_names())


@pytest.mark.parametrize(
    ("name", "size"), [("timm/resnet10t", None), ("timm/vit_tiny_patch16_224", 96), ("torchvision/vit_b_32", 64)]
)
def test_a_model_of_a_library_is_recognised_with_its_classes_channels_and_image_size(
    name: str, size: int | None
) -> None:
    architecture = Architecture(name, K, 1)
    torch.manual_seed(0)
    network = build_network(architecture, (size, size) if size else None).eval()
    found = recognise(shapes_of(network.state_dict())).candidates
    mine = next(c for c in found if c.architecture == architecture)
    assert mine.image_size == size and mine.layout == name.partition("/")[0]
    again = build_network(mine.architecture, (size, size) if size else None).eval()
    again.load_state_dict(rename(network.state_dict(), mine))
    x = torch.rand(2, 1, size or 64, size or 64)
    with torch.no_grad():
        assert torch.equal(again(x), network(x))


def test_networks_that_differ_in_strides_alone_are_all_listed_the_likeliest_first() -> None:
    shapes = dict(network_shapes("torchvision/mobilenet_v2", 100))
    small = [c.architecture.name for c in recognise(shapes).candidates]
    assert small[0] == "cifar_stem_mobilenet_v2_x1_0" and "torchvision/mobilenet_v2" in small[1:]
    shapes = dict(network_shapes("torchvision/resnet18", 1000))
    published = [c.architecture.name for c in recognise(shapes).candidates]
    assert published[:2] == ["torchvision/resnet18", "timm/resnet18"]


def test_a_named_architecture_is_the_only_one_tried() -> None:
    shapes = dict(network_shapes("torchvision/mobilenet_v2", 100))
    only = recognise(shapes, "torchvision/mobilenet_v2").candidates
    assert [c.architecture.name for c in only] == ["torchvision/mobilenet_v2"]
    other = recognise(shapes, "cifar_resnet20")
    assert not other.candidates and [n.architecture for n in other.nearest] == ["cifar_resnet20"]
    with pytest.raises(UserError, match="Unknown architecture 'resnet20'"):
        recognise(shapes, "resnet20")


def test_a_network_inside_a_module_is_recognised_under_the_names_it_has_there() -> None:
    inside = {f"module.model.{name}": shape for name, shape in network_shapes("cifar_resnet20", 5).items()}
    candidate = recognise(inside).candidates[0]
    assert candidate.architecture.name == "cifar_resnet20" and candidate.layout == "ours"
    assert candidate.names["fc.bias"] == "module.model.fc.bias"


def test_images_of_many_channels_are_recognised_too() -> None:
    shapes = dict(network_shapes("cifar_resnet20", 5, 13))
    assert recognise(shapes).candidates[0].architecture == Architecture("cifar_resnet20", 5, 13)


def test_an_indexed_model_that_is_not_installed_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = dict(network_shapes("torchvision/resnet18", 1000))
    known = with_fingerprint(shapes)
    monkeypatch.setattr(
        "fnkd_core.models.recognition.recognise.with_fingerprint", lambda _: ["timm/resnet18_of_tomorrow", *known]
    )
    assert recognise(shapes).candidates[0].architecture.name == "torchvision/resnet18"


def test_an_unknown_file_is_shown_its_nearest_architecture_and_the_keys_that_do_not_fit() -> None:
    shapes = dict(network_shapes("cifar_resnet20", 100))
    shapes["layer1.0.attention.weight"] = (16, 16)
    shapes["layer3.0.conv1.weight"] = (64, 32, 5, 5)
    del shapes["layer2.0.bn1.running_mean"]
    result = recognise(shapes)
    assert not result.candidates and 1 <= len(result.nearest) <= 3
    nearest = result.nearest[0]
    assert nearest.architecture == "cifar_resnet20" and nearest.layout == "ours"
    assert nearest.missing == ("layer2.0.bn1.running_mean",) and nearest.left_over == ("layer1.0.attention.weight",)
    assert nearest.shapes == ("layer3.0.conv1.weight (64, 32, 5, 5) instead of (64, 32, 3, 3)",)


def test_a_file_that_shares_a_few_names_is_shown_what_it_is_nearest_to() -> None:
    shapes = {f"layers.{i}.conv.weight": (64, 64, 3, 3) for i in range(300)} | {"conv1.weight": (16, 3, 3, 3)}
    result = recognise(shapes)
    assert len(result.nearest) == 3 and result.nearest[0].num_left_over == 300


def test_what_does_not_fit_is_counted_and_shown_within_bounds() -> None:
    shapes = dict(network_shapes("cifar_resnet8", 10)) | {f"{'x' * 500}{i}": (3,) for i in range(1000)}
    nearest = recognise(shapes).nearest[0]
    assert nearest.num_left_over == 1000 and len(nearest.left_over) == 5
    assert all(len(name) <= 100 for name in nearest.left_over)


@pytest.mark.parametrize("shapes", [{}, {"a": ()}, {"fc.weight": (0, 0), "fc.bias": (0,)}, {"w": (2**62, 64)}])
def test_a_file_that_is_no_network_has_no_candidate(shapes: dict[str, tuple[int, ...]]) -> None:
    assert recognise(shapes) == Recognition((), recognise(shapes).nearest)


def test_sizes_that_no_memory_holds_are_a_miss_and_not_an_error() -> None:
    shapes = dict(network_shapes("cifar_resnet8", 10)) | {"fc.weight": (2**62, 64)}
    result = recognise(shapes)
    assert not result.candidates and result.nearest[0].architecture == "cifar_resnet8"


def test_a_head_that_is_a_1x1_convolution_is_made_linear_and_counts_of_batches_are_filled() -> None:
    torch.manual_seed(0)
    network = build_network(Architecture("cifar_resnet8", 5)).eval()
    state = {k: v for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked")}
    state["fc.weight"] = state["fc.weight"][:, :, None, None]
    candidate = recognise(shapes_of(state)).candidates[0]
    renamed = rename(state, candidate)
    assert renamed["bn1.num_batches_tracked"] == 0 and renamed["fc.weight"].shape == (5, 64)
    build_network(candidate.architecture).load_state_dict(renamed)


def test_an_input_norm_with_a_scale_of_its_own_is_refused() -> None:
    state = Weights("net_")
    gluon_v2(state, torch.rand(1, 3, 16, 16, dtype=torch.float64))
    state |= {"arg:net_batchnorm0_gamma": torch.ones(3), "arg:net_batchnorm0_beta": torch.zeros(3)}
    candidate = recognise(shapes_of(state)).candidates[0]
    assert candidate.architecture.name == "cifar_resnet14_v2_bn"
    rename(state, candidate)
    state["arg:net_batchnorm0_beta"] = torch.full((3,), 0.5)
    with pytest.raises(UserError, match="arg:net_batchnorm0_beta is not 0 throughout"):
        rename(state, candidate)


def test_heads_for_training_and_tables_are_let_go() -> None:
    shapes = dict(network_shapes("torchvision/googlenet", 1000)) | {"aux1.fc1.weight": (1024, 2048), "total_ops": (1,)}
    assert recognise(shapes).candidates[0].architecture.name == "torchvision/googlenet"


def test_published_normalisation_is_the_libraries() -> None:
    imagenet = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 224)
    assert published_normalisation(Architecture("torchvision/resnet18", 100)) == imagenet
    assert published_normalisation(Architecture("timm/resnet10t", 100)) == (*imagenet[:2], 176)
    assert published_normalisation(Architecture("timm/vit_tiny_patch16_224", 5)) == ((0.5,) * 3, (0.5,) * 3, 224)
    assert published_crop(Architecture("torchvision/resnet18", 100)) == (0.875, "bilinear")
    assert published_crop(Architecture("timm/vit_tiny_patch16_224", 5)) == (0.9, "bicubic")
    assert published_crop(Architecture("cifar_resnet20", 5)) == (1.0, "bilinear")
    assert published_normalisation(Architecture("torchvision/inception_v3", 5)) == ((0.5,) * 3, (0.5,) * 3, 299)
    for name in ("cifar_resnet20", "torchvision/resnet18"):
        assert published_normalisation(Architecture(name, 10, 1)) is None


def test_a_recognised_file_becomes_a_classifier_with_its_head_found() -> None:
    state = Weights()
    wide(2, 2)(state, torch.rand(1, 3, 16, 16, dtype=torch.float64))
    candidate = recognise(shapes_of(state)).candidates[0]
    network: nn.Module = build_network(candidate.architecture)
    network.load_state_dict({k: v.float() for k, v in rename(state, candidate).items()})
    assert Classifier(network, (0.5,) * 3, (0.5,) * 3, candidate.architecture).head_name == "fc"
