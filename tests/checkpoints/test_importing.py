"""What somebody else made comes in under our names, with what the file did not say measured; or it says why not."""

from __future__ import annotations

import dataclasses
import itertools
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from fnkd_core.analysis.health import health
from fnkd_core.checkpoints.importing.importer import Imported, import_checkpoint
from fnkd_core.checkpoints.importing.normalisation import _worth_trying
from fnkd_core.checkpoints.importing.request import ImportRequest, read_classes
from fnkd_core.checkpoints.io import load_checkpoint, read_state
from fnkd_core.checkpoints.library import delete_checkpoint, find_checkpoint, identities, list_checkpoints
from fnkd_core.data import dataset_info, load_split
from fnkd_core.data.sources import digits
from fnkd_core.errors import UserError
from fnkd_core.models.architecture import Architecture
from fnkd_core.models.inference import predict
from fnkd_core.models.zoo import build_network
from fnkd_core.paths import import_root, importing_dir
from fnkd_core.stores.extract import extracted
from fnkd_core.stores.upkeep import holdings, prune
from fnkd_core.training.config import RunConfig
from fnkd_core.training.loop import train

pytestmark = pytest.mark.usefixtures("in_this_process")
NUMBERS = tuple("0123456789")


def teacher_state() -> dict[str, Tensor]:
    return read_state(find_checkpoint("digits-teacher").path)


def saved(folder: Path, state: dict[str, Tensor], name: str = "theirs.pth", **beside: Any) -> Path:
    """A file as public training scripts write it: wrapped, with names of a parallel module."""
    torch.save({"state_dict": {f"module.{k}": v for k, v in state.items()}, **beside}, folder / name)
    return folder / name


def bring(path: Path, **asked: Any) -> Imported:
    *said, found = list(import_checkpoint(ImportRequest(path=path, **asked)))
    assert said and all(isinstance(line, str) for line in said) and isinstance(found, Imported)
    return found


def texts(found: Imported, level: str | None = None) -> str:
    return "\n".join(f["text"] for f in found.card.findings if level in (None, f["level"]))


def run_without_a_clock(request: dict[str, Any], folder: Path, wall_s: float) -> int:
    """The gate's process, waited for without asking how late it is."""
    command = [sys.executable, "-m", "fnkd_core.checkpoints.importing.sandbox", json.dumps(request)]
    return subprocess.run(command, cwd=import_root(), capture_output=True, check=False).returncode


def logits_of(ref: str) -> Tensor:
    with torch.inference_mode():
        return load_checkpoint(ref)[0](load_split("digits", "test").images).logits


def test_a_wrapped_file_is_recognised_measured_and_says_the_same_as_before(tmp_path: Path) -> None:
    found = bring(saved(tmp_path, teacher_state(), best_prec1=torch.tensor(99.44), epoch=60), dataset="digits")
    assert (found.name, found.card.architecture["name"], found.card.classes) == (
        "theirs",
        "cifar_resnet20",
        list(NUMBERS),
    )
    assert min(found.measured.values()) < 0.05 and len(found.measured) >= 3
    assert "Recognised as cifar_resnet20 with 10 outputs and 1 input channels" in texts(found)
    assert "Outputs stand for digits's classes in their order" in texts(found, "good")
    assert (found.card.mean, found.card.std) == ([0.3053], [0.376])
    torch.testing.assert_close(logits_of("theirs"), logits_of("digits-teacher"), atol=1e-5, rtol=1e-5)
    # The accuracy that the file claims is compared with what is found here.
    store = extracted(find_checkpoint("theirs"), dataset_info("digits"), "test")
    said = [check.text for check in health(found.card, store.manifest)]
    assert any(text.startswith("Accuracy is 0.9861 here, the card says 0.9944") for text in said)


def test_outputs_in_another_order_are_found_on_labelled_images_and_put_in_order(tmp_path: Path) -> None:
    state = teacher_state()
    order = torch.tensor([3, 1, 4, 0, 5, 9, 2, 6, 8, 7])
    moved = state | {k: state[k][order] for k in ("fc.weight", "fc.bias")}
    found = bring(saved(tmp_path, moved), dataset="digits")
    assert "8 of 10 outputs were in another order than the data's classes." in texts(found, "warning")
    torch.testing.assert_close(logits_of("theirs"), logits_of("digits-teacher"), atol=1e-5, rtol=1e-5)


def test_outputs_in_another_order_are_put_in_order_by_their_names(tmp_path: Path) -> None:
    state = teacher_state()
    order = torch.tensor([9, 8, 7, 6, 5, 4, 3, 2, 1, 0])
    moved = state | {k: state[k][order] for k in ("fc.weight", "fc.bias")}
    (tmp_path / "names.txt").write_text("\n".join(NUMBERS[::-1]) + "\n")
    found = bring(saved(tmp_path, moved), dataset="digits", classes=read_classes(tmp_path / "names.txt"))
    assert "matched by name" in texts(found)
    torch.testing.assert_close(logits_of("theirs"), logits_of("digits-teacher"), atol=1e-5, rtol=1e-5)
    with pytest.raises(UserError, match="lack 9 of digits"):
        bring(tmp_path / "theirs.pth", name="x", dataset="digits", classes=[*NUMBERS[:9], "ten"])


def test_dead_outputs_are_cut_off_and_living_ones_are_not(tmp_path: Path) -> None:
    state = teacher_state()
    wide = {"fc.weight": torch.cat([state["fc.weight"], torch.zeros(5, 64)])}
    wide["fc.bias"] = torch.cat([state["fc.bias"], torch.full((5,), -30.0)])
    found = bring(saved(tmp_path, state | wide), dataset="digits")
    assert "5 of 15 outputs are dead on digits" in texts(found, "warning")
    assert found.card.architecture["num_classes"] == 10
    torch.testing.assert_close(logits_of("theirs"), logits_of("digits-teacher"), atol=1e-5, rtol=1e-5)
    wide["fc.bias"] = torch.cat([state["fc.bias"], torch.full((5,), 3.0)])
    with pytest.raises(
        UserError, match="has 15 outputs, digits .* has 10 classes, and 5 outputs that no class stands for"
    ):
        bring(saved(tmp_path, state | wide), name="x", dataset="digits")
    few = {k: state[k][:9] for k in ("fc.weight", "fc.bias")}
    with pytest.raises(UserError, match="has 9 outputs, digits .* has 10 classes"):
        bring(saved(tmp_path, state | few), name="x", dataset="digits")


def test_the_normalisation_that_a_network_was_trained_under_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = digits.describe
    with monkeypatch.context() as patch:
        patch.setattr(
            "fnkd_core.data.catalogue.DATASETS",
            {"digits": dataclasses.replace(
                __import__("fnkd_core.data.catalogue", fromlist=["x"]).DATASETS["digits"],
                describe=lambda *a: dataclasses.replace(own(*a), mean=(0.0,), std=(1.0,)),
            )},
        )  # fmt: skip
        list(train(RunConfig(epochs=6, threads=1), tmp_path / "run"))
    found = bring(saved(tmp_path, read_state(tmp_path / "run" / "model.safetensors")), dataset="digits")
    assert (found.card.mean, found.card.std) == ([0.0], [1.0])
    assert found.measured["none"] == min(found.measured.values()) < found.measured["MNIST"] / 2
    assert "Input normalisation measured on 1,024 labelled images of the train split" in texts(found)


def test_each_network_and_normalisation_is_said_before_it_is_measured(tmp_path: Path) -> None:
    path = saved(tmp_path, teacher_state())
    *said, found = import_checkpoint(ImportRequest(path=path, dataset="digits", measure_on=300))
    assert isinstance(found, Imported)
    asked = [str(line) for line in said if str(line).startswith("Asking ")]
    count = len(found.measured)
    first = [line.rpartition("(")[2] for line in asked[:count]]
    assert first == [f"{i} of {count})" for i in range(1, count + 1)]
    assert asked[0].startswith("Asking cifar_resnet20 of 128 images, input as ")
    # What those rule out is asked no more, and said to be out.
    after = [line for line in asked[count:] if " of 1,024 images" in line]
    assert after == asked[count : count + len(after)] and 1 <= len(after) < count
    out = texts(found).partition("Ruled out on 128 of them: ")[2].partition(".\n")[0].split(", ")
    assert {line.partition("input as ")[2].rpartition(" (")[0] for line in after} == set(found.measured) - set(out)


def test_nearly_the_same_numbers_under_two_names_are_one_normalisation() -> None:
    info = dataset_info("cifar100")
    tried = _worth_trying(ImportRequest(path=Path("x")), Architecture("cifar_resnet20", 100, 3), info)
    assert f"{info.title}'s own" in tried and "CIFAR-100" not in tried and {"ImageNet", "CIFAR-10"} <= set(tried)


def test_how_busy_the_machine_is_changes_nothing_about_what_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So few that the first look leaves it open, and the closest are measured again.
    monkeypatch.setattr("fnkd_core.checkpoints.importing.importer.MEASURED_ON", 16)
    path = saved(tmp_path, teacher_state())
    idle = bring(path, dataset="digits", name="idle")
    clock = itertools.count(0, 1000)
    monkeypatch.setattr(time, "monotonic", lambda: float(next(clock)))
    monkeypatch.setattr("fnkd_core.checkpoints.importing.gate._run", run_without_a_clock)
    busy = bring(path, dataset="digits", name="busy")
    assert idle.measured == busy.measured and len(idle.measured) == 3
    assert idle.card.mean == busy.card.mean
    assert "measured on 1,437 labelled images of the train split" in texts(idle)


def test_the_user_says_on_how_many_images_the_closest_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fnkd_core.checkpoints.importing.importer.MEASURED_ON", 16)
    path = saved(tmp_path, teacher_state())
    found = bring(path, dataset="digits", name="more", measure_on=100)
    assert "measured on 100 labelled images of the train split" in texts(found)
    with pytest.raises(UserError, match="measure_on must be >= 1, got 0"):
        bring(path, dataset="digits", name="none", measure_on=0)


def test_without_data_what_is_open_is_asked_for_and_what_is_given_is_taken(tmp_path: Path) -> None:
    path = saved(tmp_path, teacher_state())
    with pytest.raises(UserError, match="normalised is not in the file, .* give mean and std"):
        bring(path, classes=NUMBERS, image_size=8)
    given: dict[str, Any] = {"mean": [0.3], "std": [0.4]}
    with pytest.raises(UserError, match=r"has 10 outputs .* give the data set \(digits \(digits\), cifar10"):
        bring(path, image_size=8, **given)
    with pytest.raises(UserError, match="image size is not in the file"):
        bring(path, classes=NUMBERS, **given)
    with pytest.raises(UserError, match="9 class names for 10 outputs"):
        bring(path, classes=NUMBERS[:9], image_size=8, **given)
    found = bring(path, classes=NUMBERS, image_size=8, **given)
    assert (found.card.mean, found.card.dataset, found.card.image_size) == ([0.3], "unknown", [8, 8])


def test_our_own_card_beside_a_file_says_all(tmp_path: Path) -> None:
    shipped = find_checkpoint("digits-kd")
    for suffix in (".safetensors", ".json"):
        (tmp_path / f"copy{suffix}").write_bytes(shipped.path.with_suffix(suffix).read_bytes())
    found = bring(tmp_path / "copy.safetensors")
    assert found.card.classes == list(NUMBERS)
    torch.testing.assert_close(logits_of("copy"), logits_of("digits-kd"), atol=1e-5, rtol=1e-5)


def test_a_network_that_is_not_known_is_shown_its_nearest(tmp_path: Path) -> None:
    state = teacher_state()
    del state["layer2.1.conv2.weight"]
    state["extra.weight"] = torch.zeros(3)
    with pytest.raises(UserError) as error:
        bring(saved(tmp_path, state), dataset="digits")
    said = str(error.value)
    assert "\n" not in said and "Nearest is cifar_resnet20" in said
    assert "layer2.1.conv2.weight" in said and "extra.weight" in said


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"name": "digits-teacher"}, "'digits-teacher' is in the library already"),
        ({"name": "../x"}, "letters, digits, dots"),
        ({"dataset": "nothing"}, "Unknown data set 'nothing'"),
        ({"dataset": "cifar10"}, "takes 1-channel images, cifar10 has 3"),
        ({"dataset": "digits", "architecture": "cifar_resnet8"}, "does not fit cifar_resnet8"),
    ],
)
def test_a_refused_import_is_one_line_and_changes_nothing(
    tmp_path: Path, home: Path, asked: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message) as error:
        bring(saved(tmp_path, teacher_state()), **asked)
    assert "\n" not in str(error.value)
    assert not (home / "checkpoints").exists() or not list((home / "checkpoints").iterdir())


def test_data_that_were_named_and_are_not_here_are_what_the_remedy_says(tmp_path: Path) -> None:
    torch.manual_seed(0)
    weights = build_network(Architecture("cifar_resnet8", 100)).state_dict()
    with pytest.raises(UserError, match="cifar100, which tells, is not on this machine: `fnkd data fetch cifar100`"):
        bring(saved(tmp_path, weights), dataset="cifar100")


def test_an_imported_checkpoint_can_be_deleted_and_a_shipped_one_cannot(tmp_path: Path) -> None:
    bring(saved(tmp_path, teacher_state()), dataset="digits")
    delete_checkpoint("theirs")
    assert "theirs" not in [e.name for e in list_checkpoints()]
    with pytest.raises(UserError, match="was not imported"):
        delete_checkpoint("digits-teacher")
    with pytest.raises(UserError, match="Unknown checkpoint"):
        delete_checkpoint("theirs")


@pytest.mark.parametrize("text", ["", "[1, 2]", '["a"', "[]"])
def test_a_file_of_class_names_that_is_none_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "n").write_text(text)
    with pytest.raises(UserError, match="class names"):
        read_classes(tmp_path / "n")


def test_class_names_come_a_line_each_or_as_json(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("bee\n\nsweet pepper\n")
    (tmp_path / "a.json").write_text('["bee", "sweet pepper"]')
    assert read_classes(tmp_path / "a.txt") == read_classes(tmp_path / "a.json") == ("bee", "sweet pepper")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by an entry for each network that is asked of labelled images."""
    found = list[int]()

    def counting(*given: Any, **named: Any) -> Any:
        found.append(1)
        return predict(*given, **named)

    monkeypatch.setattr("fnkd_core.checkpoints.importing.normalisation.predict", counting)
    return found


def killed_at(nth: int, request: ImportRequest) -> None:
    """An import that ends when its nth network is about to be asked."""
    lines = import_checkpoint(request)
    for _ in range(nth):
        while not str(next(lines)).startswith("Asking "):
            pass
    lines.close()  # type: ignore[attr-defined]


def test_an_import_that_was_killed_asks_no_network_again_what_it_has_said(tmp_path: Path, asked: list[int]) -> None:
    path = saved(tmp_path, teacher_state())
    whole = bring(path, dataset="digits", name="whole", measure_on=300)
    in_all = len(asked)
    request = ImportRequest(path=path, dataset="digits", name="killed", measure_on=300)
    asked.clear()
    killed_at(2, request)
    killed_at(3, request)
    assert len(asked) == 2 < in_all - 1
    *_, found = import_checkpoint(request)
    assert isinstance(found, Imported) and len(asked) == in_all
    assert found.measured == whole.measured and found.card.findings == whole.card.findings
    assert not (importing_dir() / "killed").exists(), "nothing is kept of an import that has ended well"


def test_what_networks_said_is_of_that_file_and_that_question_or_they_are_asked_anew(
    tmp_path: Path, asked: list[int]
) -> None:
    """Of another file under the same name, other weights of one file, a record that the disk has damaged."""

    def newly_asked(**given: Any) -> int:
        asked.clear()
        killed_at(2, ImportRequest(path=path, dataset="digits", name="mine", **given))
        return len(asked)

    averaged = {f"module.{name}": 0.5 * value for name, value in teacher_state().items()}
    path = saved(tmp_path, teacher_state(), state_dict_ema=averaged)
    assert [newly_asked(), newly_asked()] == [1, 0]
    assert [newly_asked(prefer_ema=True), newly_asked(prefer_ema=True)] == [1, 0]
    saved(tmp_path, {name: 2 * value for name, value in teacher_state().items()})
    assert [newly_asked(), newly_asked()] == [1, 0]
    for kept in (importing_dir() / "mine").iterdir():
        kept.write_bytes(kept.read_bytes()[:-1])
    assert [newly_asked(), newly_asked()] == [1, 0]
    alive = import_checkpoint(ImportRequest(path=path, dataset="digits", name="mine"))
    while not str(next(alive)).startswith("Asking "):
        pass
    assert holdings(identities()).leftovers == [] and prune() == 0 and (importing_dir() / "mine").exists()
    alive.close()  # type: ignore[attr-defined]
    assert holdings(identities()).leftovers == [importing_dir() / "mine"]
    assert prune() > 0 and not (importing_dir() / "mine").exists()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"mean": (float("nan"),), "std": (1.0,)}, r"mean must be finite, got \(nan,\)"),
        ({"mean": (0.0,), "std": (float("inf"),)}, r"std must be finite, > 0, got \(inf,\)"),
        ({"mean": (0.0,), "std": (0.0,)}, r"std must be finite, > 0, got \(0.0,\)"),
    ],
)
def test_a_normalisation_that_is_no_numbers_is_refused_before_the_file_is_read(
    given: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=said):
        next(import_checkpoint(ImportRequest(path=saved(tmp_path, teacher_state()), dataset="digits", **given)))
