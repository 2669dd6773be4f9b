"""What runs on a graphics card mixes no devices, and a step waits for nothing: seen on a device that is made up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fnkd_core.checkpoints.importing.importer import Imported, import_checkpoint
from fnkd_core.checkpoints.importing.request import ImportRequest
from fnkd_core.checkpoints.io import read_state
from fnkd_core.checkpoints.library import find_checkpoint
from fnkd_core.data import Samples, batches, dataset_info, load_split
from fnkd_core.data.types import ImageFiles
from fnkd_core.data.views import Augmentation
from fnkd_core.kd.methods import METHODS
from fnkd_core.stores.extract import extracted
from fnkd_core.stores.measure import measure
from fnkd_core.stores.store import Store
from fnkd_core.training import augmented, spread
from fnkd_core.training.augmented import Augmented, Batch
from fnkd_core.training.config import RunConfig
from fnkd_core.training.distributed import ALONE
from fnkd_core.training.loop import Results, train
from fnkd_core.training.recorder import Recorder
from fnkd_core.training.resolve import resolve
from fnkd_core.training.setup import Setup, completed, objective_at, prepare, teach
from fnkd_core.training.step import Sums, train_step
from tests.accelerator import DEVICE, Accelerator, There, an_accelerator
from tests.pictures import write_folder

VARIANTS: dict[str, dict[str, Any]] = {
    "kept outputs": {"teacher_outputs": "cached", "views": 2},
    "TrivialAugment and erasing": {"trivial_augment": True, "erasing": 0.5},
    "mixup": {"mixup": 0.3},
    "cutmix, an average, clipped and accumulated": {"cutmix": 1.0, "ema": 0.9, "clip_norm": 1.0, "accumulate": 2},
    "smoothing and weights by norm": {"smoothing": 0.1, "weight_by_norm": 1.0},
    "two teachers": {"teacher": "digits-teacher+digits-fn", "method": "kd"},
}


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Accelerator]]:
    """A machine whose best device is the one that is made up, and has no double precision, as Apple's has none."""
    for module in ("models.inference", "stores.extract", "stores.measure", "checkpoints.importing.normalisation"):
        monkeypatch.setattr(f"fnkd_core.{module}.best_device", lambda wanted="auto": DEVICE)
    for module in ("models.inference", "training.step"):
        monkeypatch.setattr(f"fnkd_core.{module}.has_float64", lambda device: device != DEVICE)
    monkeypatch.setattr(Accelerator, "has_float64", False)
    with an_accelerator() as device:
        yield device


def config(method: str = "fn", **changes: Any) -> RunConfig:
    usual = {"method": method, "student": "cifar_resnet8", "epochs": 1, "batch_size": 20, "per_class": 4, "lr": 0.01}
    teacher = {"teacher": "digits-teacher"} if METHODS[method].needs_teacher else {}
    return RunConfig(**(usual | teacher | {"precision": "fp32", "compile": "off"} | changes))


def test_tensors_of_two_devices_do_not_go_together_and_what_is_computed_there_is_right(there: object) -> None:
    here = torch.arange(6.0).reshape(2, 3)
    moved = here.to(DEVICE)
    assert isinstance(moved, There) and torch.equal((moved @ moved.T).cpu(), here @ here.T)
    for mixed in (lambda: moved + here, lambda: torch.cat([torch.zeros(0), moved[0]]), lambda: moved.numpy()):
        with pytest.raises((RuntimeError, TypeError)):
            mixed()
    with pytest.raises(TypeError, match="float64, which this device has not"):
        moved.double()


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)
def test_whatever_a_run_asks_for_is_done_there(changes: dict[str, Any], there: object, tmp_path: Path) -> None:
    assert isinstance(list(train(config(**changes), tmp_path))[-1], Results)


def test_outputs_are_extracted_there_as_here(there: type[Accelerator], home: Path, fn_store: Store) -> None:
    entry, info = find_checkpoint("digits-fn"), dataset_info("digits")
    store = extracted(entry, info, "test")
    assert store.path != fn_store.path and there.waits
    assert np.array_equal(store.samples["norm"], fn_store.samples["norm"])
    *_, found = measure(entry, info, "test")
    assert found["accuracy"] == pytest.approx(fn_store.samples["correct"].mean())  # type: ignore[call-overload]


def test_an_imported_network_is_asked_there(there: type[Accelerator], tmp_path: Path) -> None:
    state = read_state(find_checkpoint("digits-teacher").path)
    torch.save(state, tmp_path / "theirs.pth")
    *_, found = import_checkpoint(ImportRequest(path=tmp_path / "theirs.pth", dataset="digits", measure_on=100))
    assert isinstance(found, Imported) and found.measured and there.waits


def test_the_spread_of_augmentations_is_measured_there(there: type[Accelerator]) -> None:
    list(spread.measure(find_checkpoint("digits-fn"), dataset_info("digits"), 2))
    assert there.waits


def ready(run: RunConfig, samples: Samples, folder: Path) -> tuple[Setup, Iterator[Batch], Recorder]:
    """What a step takes: the run set up, the batches of an epoch of these samples, and who records them there."""
    setup = prepare(resolve(run), len(samples))
    list(completed(setup, samples))
    recorder = Recorder(setup, samples, folder, 0)
    images = Augmented(samples, True, 0, setup.device, run.augmentation)
    if setup.teachers:
        list(teach(setup, images))
    setup.objective = objective_at(setup)
    if setup.teach is not None:
        setup.teach.begin(0)
    return setup, images.epoch(torch.randperm(len(samples)), run.batch_size, 0, ALONE), recorder


@pytest.mark.parametrize("place", ["device", "memory", "files"])
def test_views_are_made_there_wherever_the_images_lie_to_the_bits_made_here(
    place: str, there: type[Accelerator], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "RESIDENT_BYTES", 0 if place == "files" else 2**30)
    monkeypatch.setattr(augmented, "_fits", lambda *_: place == "device")
    info = dataset_info("folder", root=str(write_folder(tmp_path, count=16)), image_size=24)
    samples, how = load_split(info, "train"), Augmentation(trivial=True, erasing=0.5, mixup=0.5, cutmix=0.5)
    assert isinstance(samples.images, ImageFiles) == (place == "files")
    seen = []
    for name in ("augment", "trivial_augment", "erase", "mixed"):
        made = getattr(augmented, name)

        def noted(images: torch.Tensor, *rest: Any, made: Any = made) -> Any:
            seen.append(images.device)
            return made(images, *rest)

        monkeypatch.setattr(augmented, name, noted)
    found = {}
    for device in (torch.device("cpu"), DEVICE):
        seen.clear()
        views = Augmented(samples, True, 0, device, how).views(torch.arange(len(samples)).flip(0), 5, 1)
        found[device] = torch.cat([view.cpu() for view in views])
        assert seen and set(seen) == {device}
    assert torch.equal(found[torch.device("cpu")], found[DEVICE])


STEPS = [*((method, {}) for method in METHODS), *(("fn", changes) for changes in VARIANTS.values())]


@pytest.mark.parametrize(("method", "changes"), STEPS, ids=[*METHODS, *VARIANTS])
def test_a_step_waits_for_nothing(
    method: str, changes: dict[str, Any], there: type[Accelerator], tmp_path: Path
) -> None:
    samples = load_split("digits", "train").subset(torch.arange(80))
    run = config(**{"method": method, "keep_epochs": True, **changes})
    setup, epoch, recorder = ready(run, samples, tmp_path)
    sums = Sums(setup)
    for step in range(2):
        there.waits.clear()
        batch = next(epoch)
        sums.add(train_step(setup, batch, 0.01, recorder=recorder), step)
        assert there.waits == []
    assert sums.read()[1] is None and there.waits
