"""Teacher and student read one view, each at its own size and with its own normalisation."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fnkd_core.checkpoints.card import Card, read_card
from fnkd_core.checkpoints.io import load_checkpoint, write_checkpoint
from fnkd_core.checkpoints.library import find_checkpoint
from fnkd_core.data import dataset_info, load_split, load_training
from fnkd_core.errors import UserError
from fnkd_core.kd.losses import loss_terms
from fnkd_core.models.architecture import Architecture
from fnkd_core.models.inference import predict
from fnkd_core.models.zoo import build
from fnkd_core.stores.extract import extracted
from fnkd_core.training.augmented import Augmented
from fnkd_core.training.config import RunConfig
from fnkd_core.training.evaluate import evaluate
from fnkd_core.training.loop import train
from fnkd_core.training.planned import store_of
from fnkd_core.training.resolve import look_up, resolve
from fnkd_core.training.setup import Setup, completed, load_data, load_read_by, objective_at, prepare, teach
from fnkd_core.training.state import results_in
from fnkd_core.training.step import train_step
from fnkd_core.training.teacher import at_size
from tests.pictures import write_folder
from tests.training.tools import assert_resumes_to_the_same_bits, metrics, stopped

FEW = {"dataset": "folder", "epochs": 2, "batch_size": 8, "threads": 1, "validation": 0.25}


def config(root: Path, **changes: object) -> RunConfig:
    return RunConfig(**(FEW | {"data_root": str(root), "method": "fn"} | changes))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("images") / "set", count=12, size=(60, 48))


def write_teacher(root: Path, path: Path, size: int) -> str:
    """A checkpoint that reads so many pixels of three quarters of the shorter side, with a normalisation of its own."""
    info = dataset_info("folder", root=str(root))
    torch.manual_seed(size)
    network = build(Architecture("cifar_resnet8", 2, 3), (0.1, 0.2, 0.3), (0.5, 0.4, 0.3), image_size=(size, size))
    card = Card(
        path.stem, network.architecture.to_dict(), "folder", info.label_space, list(info.classes),
        [0.1, 0.2, 0.3], [0.5, 0.4, 0.3], [size, size], crop_pct=0.75,
    )  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    write_checkpoint(path, network.state(), card)
    return str(path)


@pytest.fixture
def teacher(root: Path, tmp_path: Path) -> str:
    return write_teacher(root, tmp_path / "models" / "forty.safetensors", 40)


def set_up(run: RunConfig) -> tuple[Setup, Augmented]:
    """The run before its first step, and its training images."""
    resolved = resolve(run)
    data = load_data(resolved)
    setup = prepare(resolved, len(data.train))
    list(completed(setup, data.train, lambda entry: load_read_by(resolved, data, entry).train))
    images = Augmented(data.train, True, setup.resolved.view_seed, setup.device)
    list(teach(setup, images))
    return setup, images


def test_images_of_the_size_stay_what_they_are_and_others_are_scaled_without_aliasing() -> None:
    images = torch.randint(0, 256, (3, 3, 40, 40), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert at_size(images, (40, 40)) is images
    scaled = at_size(images, (24, 24))
    assert scaled.shape == (3, 3, 24, 24) and scaled.dtype == torch.float32
    for image, small in zip(images, scaled, strict=True):
        by_pillow = Image.fromarray(image.permute(1, 2, 0).numpy()).resize((24, 24), Image.Resampling.BILINEAR)
        expected = torch.from_numpy(np.array(by_pillow)).permute(2, 0, 1) / 255
        assert float((small - expected).abs().max()) < 1.5 / 255  # Pillow rounds, twice


@pytest.mark.parametrize("size", [24, 56])
def test_both_read_the_same_content_each_at_its_own_size(root: Path, teacher: str, size: int) -> None:
    run = config(root, teacher=teacher, image_size=size)
    setup, images = set_up(run)
    resolved = setup.resolved
    assert resolved.info.image == (3, size, size) and resolved.view.image == (3, max(size, 40), max(size, 40))
    assert images.samples.info == resolved.view and load_data(resolved).test.info == resolved.info
    assert setup.teach is not None and setup.teacher is not None
    (batch,) = images.epoch(torch.arange(8), 8, 0, setup.group)
    seen = {}
    setup.teacher.body.register_forward_pre_hook(lambda _m, args: seen.update(teacher=args[0]))
    setup.student.body.register_forward_pre_hook(lambda _m, args: seen.update(student=args[0]))
    setup.objective = objective_at(setup)
    train_step(setup, batch, 0.0)
    assert seen["teacher"].shape[2:] == (40, 40) and seen["student"].shape[2:] == (size, size)
    for name, network in (("teacher", setup.teacher), ("student", setup.student)):
        pixels = seen[name] * network.std + network.mean
        torch.testing.assert_close(pixels, at_size(batch.images.float() / 255, network.image_size), atol=1e-5, rtol=0)
    content = [
        at_size(seen[n] * w.std + w.mean, (20, 20)) for n, w in (("teacher", setup.teacher), ("student", setup.student))
    ]
    assert float((content[0] - content[1]).abs().mean()) < 0.02


def test_what_is_kept_is_what_a_live_teacher_says_of_the_same_views(root: Path, teacher: str) -> None:
    losses = []
    for how in ("live", "cached"):
        setup, images = set_up(config(root, teacher=teacher, image_size=24, teacher_outputs=how, view_seed=0))
        assert setup.teach is not None
        setup.teach.begin(1)
        (batch,) = images.epoch(torch.arange(8), 8, 1, setup.group)
        setup.student.eval()
        losses.append(
            loss_terms(objective_at(setup), setup.forward(batch.images), batch.labels, setup.teach(batch))["loss"]
        )
    torch.testing.assert_close(*losses, rtol=3e-3, atol=3e-3)


def test_the_kept_answers_are_a_function_of_the_view_alone(root: Path, teacher: str) -> None:
    def place(split: str | None, **changes: object) -> Path:
        return store_of(look_up(config(root, teacher=teacher, teacher_outputs="cached", **changes)), split).path

    for split in (None, "train", "validation", "test"):
        assert place(split, image_size=24) == place(split, image_size=32) == place(split), split
    assert place(None, image_size=56) != place(None)  # a larger view
    for split in ("train", "validation", "test"):
        assert place(split, image_size=56) == place(split), split


def test_the_open_tau_and_the_agreement_are_of_what_the_teacher_reads(root: Path, teacher: str, tmp_path: Path) -> None:
    list(train(config(root, teacher=teacher, image_size=24, validation=0.0), tmp_path / "run"))
    network, card = load_checkpoint(teacher)
    own = card.read_as(dataset_info("folder", root=str(root)))
    whole, _ = load_training(own, 0.0)
    mean = float(torch.cat([outputs.norms for outputs in predict(network, whole.images)]).mean())
    record = json.loads((tmp_path / "run" / "resolved.json").read_text())
    assert record["parameters"]["tau"] == pytest.approx(mean / 4, rel=1e-5)
    student, small = load_checkpoint(tmp_path / "run" / "model.safetensors")
    shown = small.read_as(dataset_info("folder", root=str(root)))
    said = [
        torch.cat([o.logits.argmax(1) for o in predict(model, load_split(info, "test").images)])
        for model, info in ((network, own), (student, shown))
    ]
    results = results_in(tmp_path / "run")
    assert results is not None
    assert results.last["agreement"] == pytest.approx(float((said[0] == said[1]).double().mean()))


def test_the_student_is_evaluated_extracted_and_described_at_its_own_size(
    root: Path, teacher: str, tmp_path: Path
) -> None:
    run = config(root, teacher=teacher, image_size=24)
    list(train(run, tmp_path / "run"))
    entry = find_checkpoint(tmp_path / "run" / "model.safetensors")
    assert entry.card is not None and entry.card.image_size == [24, 24] and entry.card.teacher == teacher
    info = dataset_info("folder", root=str(root))
    network, card = load_checkpoint(entry.path)
    small = card.read_as(info)
    assert small.image == (3, 24, 24) and small.crop_pct == 0.75  # as the views that it learnt from
    results = results_in(tmp_path / "run")
    assert results is not None
    expected = evaluate(network, load_split(small, "test"))
    assert results.last["nll"] == pytest.approx(expected["nll"], rel=1e-5)
    assert extracted(entry, info, "test").manifest["norm"]["mean"] == pytest.approx(expected["norm"], rel=1e-5)


def test_identity_tells_sizes_apart_and_a_run_does_not_go_on_at_another(
    root: Path, teacher: str, tmp_path: Path
) -> None:
    sizes = (None, 24, 32, 56)
    assert len({look_up(config(root, teacher=teacher, image_size=size)).identity for size in sizes}) == 4
    same = look_up(config(root, teacher=teacher, image_size=40))
    assert (
        same.identity == look_up(config(root, teacher=teacher)).identity
        and same.view == same.info
        and same.info.crop_pct == 0.75
    )
    stopped(config(root, teacher=teacher, image_size=24), tmp_path / "run")
    with pytest.raises(UserError, match=r"began with another image size \(24, now 32\)"):
        list(train(config(root, teacher=teacher, image_size=32), tmp_path / "run"))


def test_a_stopped_run_goes_on_to_the_same_bits(root: Path, teacher: str, tmp_path: Path) -> None:
    assert_resumes_to_the_same_bits(config(root, teacher=teacher, image_size=24, mixup=0.3), tmp_path)


def test_teachers_of_two_sizes_teach_together(root: Path, teacher: str, tmp_path: Path) -> None:
    both = f"{teacher}+{write_teacher(root, tmp_path / 'small.safetensors', 24)}"
    found = look_up(config(root, teacher=both))
    assert found.info.image == (3, 40, 40) == found.view.image  # the larger's, where the run names none
    metrics(config(root, teacher=both, image_size=32, epochs=1), tmp_path / "run")
    assert read_card(tmp_path / "run" / "model.json").image_size == [32, 32]


def test_from_96_pixels_on_the_random_crop_is_the_view_s(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "set", count=4, size=(120, 110))
    large = write_teacher(root, tmp_path / "large.safetensors", 96)
    run = config(root, teacher=large, image_size=40, epochs=1, batch_size=4)
    resolved = resolve(run)
    data = load_data(resolved)
    (batch,) = Augmented(data.train, True, 0, torch.device("cpu")).epoch(
        torch.arange(4), 4, 0, prepare(resolved, 6).group
    )
    assert batch.images.shape == (4, 3, 96, 96)
    metrics(run)
