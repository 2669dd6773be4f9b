"""Files whose names or heads are nobody's come in where labelled images or the user bear it out; or it says why not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from fnkd_core.checkpoints.io import load_checkpoint
from fnkd_core.data import load_split
from fnkd_core.errors import UserError
from fnkd_core.models.architecture import Architecture
from fnkd_core.models.zoo import build, build_network
from fnkd_core.training.config import RunConfig
from fnkd_core.training.loop import Results, train
from tests.checkpoints.test_importing import NUMBERS, bring, logits_of, texts
from tests.models.test_heads import renamed

pytestmark = pytest.mark.usefixtures("without_a_process")
GIVEN: dict[str, Any] = {"classes": NUMBERS, "mean": [0.3053], "std": [0.376], "image_size": 8}


def saved(folder: Path, state: dict[str, Tensor]) -> Path:
    torch.save(state, folder / "theirs.pth")
    return folder / "theirs.pth"


def student_state() -> dict[str, Tensor]:
    """A shipped student's weights in the order of its modules, which a safetensors file does not keep."""
    return load_checkpoint("digits-kd")[0].state()


def test_a_file_of_unknown_names_comes_in_by_the_order_of_its_shapes_where_images_confirm_it(tmp_path: Path) -> None:
    found = bring(saved(tmp_path, renamed(student_state())), dataset="digits")
    assert found.card.architecture["name"] == "cifar_resnet8"
    said = texts(found, "good")
    assert "The names of theirs.pth are not known; its weights have the shapes of cifar_resnet8, in its order" in said
    assert "confirmed by an accuracy of 0.99" in said
    torch.testing.assert_close(logits_of("theirs"), logits_of("digits-kd"), atol=1e-5, rtol=1e-5)


def test_without_images_the_user_says_which_network_the_shapes_are_and_that_works(tmp_path: Path) -> None:
    path = saved(tmp_path, renamed(student_state()))
    with pytest.raises(UserError, match="shapes of cifar_resnet8, in its order. Give --arch cifar_resnet8 if") as error:
        bring(path, **GIVEN)
    assert "\n" not in str(error.value)
    found = bring(path, architecture="cifar_resnet8", **GIVEN)
    assert "were taken for it as you say; that was not measured" in texts(found, "warning")
    torch.testing.assert_close(logits_of("theirs"), logits_of("digits-kd"), atol=1e-5, rtol=1e-5)


def test_all_networks_of_the_same_shapes_are_named_where_nothing_tells_them_apart(tmp_path: Path) -> None:
    torch.manual_seed(0)
    path = saved(tmp_path, renamed(build_network(Architecture("timm/tf_efficientnet_lite0", 10, 3)).state_dict()))
    with pytest.raises(UserError) as error:
        bring(path, **GIVEN)
    for name in ("efficientnet_lite0", "tf_efficientnet_lite0"):
        assert f"--arch timm/{name}," in str(error.value)
    assert "whichever it is" in str(error.value)


def test_shapes_that_images_speak_against_are_refused_unless_the_user_says_so(tmp_path: Path) -> None:
    torch.manual_seed(0)
    path = saved(tmp_path, renamed(build_network(Architecture("cifar_resnet8", 10, 1)).state_dict()))
    with pytest.raises(UserError, match="hardly more than chance; .* or give --arch cifar_resnet8 to take it all the"):
        bring(path, dataset="digits")
    found = bring(path, dataset="digits", architecture="cifar_resnet8")
    assert "hardly more than chance" in texts(found, "bad")


def with_mlp_head(activation: nn.Module) -> dict[str, Tensor]:
    """A shipped student with a head of two layers, trained on its features, as transfer learning does."""
    torch.manual_seed(0)
    train_split = load_split("digits", "train")
    with torch.no_grad():
        features = load_checkpoint("digits-kd")[0](train_split.images).features
    head = nn.Sequential(nn.Linear(64, 6), activation, nn.Dropout(0.0), nn.Linear(6, 10))
    optimizer = torch.optim.Adam(head.parameters(), lr=0.02)
    for _ in range(150):
        optimizer.zero_grad()
        nn.functional.cross_entropy(head(features), train_split.labels).backward()
        optimizer.step()
    body = {k: v for k, v in student_state().items() if not k.startswith("fc.")}
    return body | {f"fc.{k}": v.detach() for k, v in head.state_dict().items()}


@pytest.mark.parametrize(("activation", "word"), [(nn.ReLU(), "relu"), (nn.Tanh(), "tanh")])
def test_an_mlp_head_comes_in_with_the_activation_of_most_accuracy_and_can_teach(
    tmp_path: Path, activation: nn.Module, word: str
) -> None:
    found = bring(saved(tmp_path, with_mlp_head(activation)), dataset="digits")
    assert found.card.architecture["replaced"] == ["fc", "linear 6", word]
    said = f"Its head fc was replaced: linear 6, {word}, linear; the features are what the last reads."
    assert f"{said} Its activation is not in the file, and was taken of these, with their" in texts(found, "warning")
    classifier, _ = load_checkpoint("theirs")
    test = load_split("digits", "test")
    with torch.inference_mode():
        outputs = classifier(test.images)
    assert outputs.features.shape == (360, 6)
    assert float((outputs.logits.argmax(1) == test.labels).double().mean()) > 0.95
    if word == "relu":
        *_, results = train(
            RunConfig(method="fn", teacher="theirs", epochs=1, per_class=10, threads=1), tmp_path / "run"
        )
        assert isinstance(results, Results)


def test_an_mlp_head_whose_activation_cannot_be_measured_is_a_warning(tmp_path: Path) -> None:
    found = bring(saved(tmp_path, with_mlp_head(nn.ReLU())), **GIVEN)
    assert found.card.architecture["replaced"] == ["fc", "linear 6", "relu"]
    assert "Its activation is not in the file, and was taken unmeasured." in texts(found, "warning")


def test_pruned_weights_and_biases_before_batch_norms_come_in_and_are_said(tmp_path: Path) -> None:
    network = build(Architecture("cifar_resnet8", 10, 1), [0.3053], [0.376], (8, 8)).eval()
    network.load(student_state())
    for name in ("conv1", "layer1.0.conv1"):
        conv = network.body.get_submodule(name)
        assert isinstance(conv, nn.Conv2d)
        conv.bias = nn.Parameter(torch.randn(16) * 0.1)
        prune.l1_unstructured(conv, "weight", 0.2)
    test = load_split("digits", "test")
    with torch.inference_mode():
        wanted = network(test.images).logits
    state = network.body.state_dict() | {f"fc.{k}": v for k, v in network.head.state_dict().items()}
    found = bring(saved(tmp_path, state), **GIVEN)
    assert "Multiplied out in 2 weights: pruned." in texts(found, "good")
    assert "Biases of 2 convolutions were folded into the batch norms after them." in texts(found, "good")
    torch.testing.assert_close(logits_of("theirs"), wanted, atol=1e-4, rtol=1e-4)


def test_a_body_without_a_head_is_called_one(tmp_path: Path) -> None:
    body = {k: v for k, v in student_state().items() if not k.startswith("fc.")}
    with pytest.raises(
        UserError, match=r"is the body of cifar_resnet8 without a head: fc.weight is not in it"
    ) as error:
        bring(saved(tmp_path, body), dataset="digits")
    assert "\n" not in str(error.value)


def test_one_output_is_refused_and_two_that_say_the_same_come_in(tmp_path: Path) -> None:
    state = student_state()
    one = state | {k: state[k][3:4] for k in ("fc.weight", "fc.bias")}
    with pytest.raises(UserError, match=r"has 1 output, .* rows of zeros before fc.weight and fc.bias: .*") as error:
        bring(saved(tmp_path, one), **(GIVEN | {"classes": ["three"]}))
    assert "\n" not in str(error.value)
    two = one | {k: torch.cat([torch.zeros_like(one[k]), one[k]]) for k in ("fc.weight", "fc.bias")}
    bring(saved(tmp_path, two), **(GIVEN | {"classes": ["another", "three"]}))
    sigmoid = logits_of("digits-kd")[:, 3].sigmoid()
    torch.testing.assert_close(logits_of("theirs").softmax(1)[:, 1], sigmoid, atol=1e-5, rtol=1e-5)
