"""The teacher is asked once: what is kept of it is what it says, for every run that sees the same views."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from fnkd_core.checkpoints.io import load_checkpoint, write_checkpoint
from fnkd_core.checkpoints.library import find_checkpoint
from fnkd_core.data import Samples, load_split
from fnkd_core.data.sources.cifar import NORMAL_10
from fnkd_core.data.views import Augmentation
from fnkd_core.errors import UserError
from fnkd_core.jobs.control import prune_stores
from fnkd_core.jobs.run import create_run
from fnkd_core.kd.methods import METHODS
from fnkd_core.kd.outputs import Outputs
from fnkd_core.locks import locked
from fnkd_core.models.classifier import Classifier
from fnkd_core.paths import teacher_outputs_dir
from fnkd_core.stores.teacher_outputs import list_teacher_outputs, teacher_of
from fnkd_core.stores.upkeep import prune
from fnkd_core.training import teacher as in_teacher
from fnkd_core.training.augmented import Augmented
from fnkd_core.training.config import RunConfig
from fnkd_core.training.distributed import ALONE
from fnkd_core.training.loop import Metrics, Preparing, train
from fnkd_core.training.planned import VIEWS, store_of
from fnkd_core.training.recorded import record
from fnkd_core.training.resolve import look_up, resolve
from fnkd_core.training.setup import Setup, completed, objective_at, prepare, teach
from fnkd_core.training.step import train_step
from tests.pictures import write_folder


def config(method: str = "kd", **changes: object) -> RunConfig:
    usual = {"epochs": 2, "batch_size": 64, "per_class": 20, "validation": 0.1, "teacher_outputs": "cached"}
    return RunConfig(**({"method": method, "teacher": "digits-teacher"} | usual | changes))  # type: ignore[arg-type]


@pytest.fixture
def samples() -> Samples:
    return load_split("digits", "train").subset(torch.arange(192))


def set_up(run: RunConfig, samples: Samples) -> tuple[Setup, Augmented]:
    setup = prepare(resolve(run), len(samples))
    list(completed(setup, samples))
    images = Augmented(samples, run.augment, setup.resolved.view_seed, setup.device)
    list(teach(setup, images))
    setup.objective = objective_at(setup)
    return setup, images


class Asked:
    """Counts the images that teachers are asked of."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count, plain = 0, Classifier.forward

        def forward(classifier: Classifier, images: Tensor) -> Outputs:
            if not classifier.head.weight.requires_grad:  # the student's has a gradient
                self.count += len(images)
            return plain(classifier, images)

        monkeypatch.setattr(Classifier, "forward", forward)


@pytest.mark.parametrize("method", [name for name, method in METHODS.items() if method.needs_teacher])
def test_what_is_kept_gives_the_losses_and_gradients_of_a_live_teacher_on_the_same_views(
    method: str, samples: Samples
) -> None:
    gradients, losses = {}, {}
    for outputs in ("live", "cached"):
        run = config(method, teacher_outputs=outputs, views=3, epochs=3, view_seed=5, lr=1e-9, weight_decay=0.0)
        setup, images = set_up(run, samples)
        assert setup.teach is not None
        losses[outputs], found = [], []
        for number in (1, 2, 0):
            setup.teach.begin(number)
            order = torch.randperm(192, generator=torch.Generator().manual_seed(number))
            for batch in images.epoch(order, 64, number, setup.group):
                losses[outputs].append(train_step(setup, batch, 1e-9)["loss"])
                found.append(torch.cat([p.grad.flatten() for p in setup.student.parameters() if p.grad is not None]))
        gradients[outputs] = found
    live, cached = (torch.cat(losses[outputs]) for outputs in ("live", "cached"))
    # wkd's transport has a weight of 600 and a kernel exp(-20 C): what float16 leaves of a logit counts for more.
    torch.testing.assert_close(cached, live, atol=1e-3, rtol=2e-3 if method == "wkd" else 1e-3)
    for a, b in zip(gradients["live"], gradients["cached"], strict=True):
        assert torch.nn.functional.cosine_similarity(a, b, dim=0) > 0.9999


def test_a_run_with_kept_outputs_ends_where_the_live_one_ends() -> None:
    ends = []
    for outputs in ("live", "cached"):
        run = config("fn", teacher_outputs=outputs, view_seed=3, epochs=3, lr=0.01)
        ends.append([event.loss for event in train(run) if isinstance(event, Metrics)])
    assert ends[0] == pytest.approx(ends[1], rel=2e-3)


def test_in_epoch_e_the_student_sees_view_e_mod_views(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, int]] = []
    epoch, begin = Augmented.epoch, in_teacher.CachedTeacher.begin

    def student(self: Augmented, order: Tensor, size: int, number: int, group: object) -> Iterator[object]:
        seen.append(("student", number))
        return epoch(self, order, size, number, group)  # type: ignore[arg-type]

    def teacher(self: in_teacher.CachedTeacher, number: int) -> None:
        seen.append(("teacher", number))
        begin(self, number)

    monkeypatch.setattr(Augmented, "epoch", student)
    monkeypatch.setattr(in_teacher.CachedTeacher, "begin", teacher)
    list(train(config(epochs=5, views=2)))
    assert seen == [(who, e % 2) for e in range(5) for who in ("teacher", "student")]


def test_runs_over_seeds_and_methods_ask_the_teacher_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Asked(monkeypatch)
    # Few labels would be drawn by the seed; all of them are the same for every run.
    first = list(train(config("kd", per_class=None, epochs=1)))
    assert any(isinstance(event, Preparing) for event in first) and asked.count > 0
    before = asked.count
    for run in (config("kd", seed=1, per_class=None, epochs=1), config("dkd", per_class=None, epochs=1)):
        assert not any(isinstance(event, Preparing) for event in train(run))
    assert asked.count == before
    # fn asks for the mean norm over train once more, and only the first time.
    list(train(config("fn", per_class=None, epochs=1)))
    once = asked.count
    assert once > before
    list(train(config("fn", per_class=None, epochs=1, seed=2)))
    assert asked.count == once
    # More views are added to those there are.
    list(train(config("kd", per_class=None, epochs=2)))
    count = len(load_split("digits", "train"))
    assert 0.8 * count < asked.count - once < count


def test_whoever_is_interrupted_while_asking_goes_on_from_the_last_piece(
    samples: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fnkd_core.stores import teacher_outputs

    monkeypatch.setattr(teacher_outputs.TeacherOutputs.pieces, "__defaults__", (32,))
    asked = Asked(monkeypatch)
    run = config(views=1, epochs=1)
    setup = prepare(resolve(run), len(samples))
    images = Augmented(samples, True, 0, setup.device)
    for _ in itertools.islice(teach(setup, images), 4):
        pass
    assert asked.count == 4 * 32
    assert not any(path.name.startswith("view-") for path in teacher_outputs_dir().rglob("*"))
    list(teach(setup, images))
    # The fourth piece was not known to be done.
    assert asked.count == 192 + 32
    whole = {path.name: path.read_bytes() for path in teacher_outputs_dir().rglob("view-0000/*.npy")}
    shutil.rmtree(teacher_outputs_dir())
    list(teach(setup, images))
    assert whole == {path.name: path.read_bytes() for path in teacher_outputs_dir().rglob("view-0000/*.npy")}


@pytest.mark.parametrize(
    "changes",
    [{"teacher": "digits-ce"}, {"view_seed": 4}, {"augment": False, "view_seed": None}],
    ids=str,
)
def test_what_would_be_said_differently_is_kept_elsewhere(changes: dict[str, object], samples: Samples) -> None:
    runs = (
        config(view_seed=3, epochs=1, precision="fp32"),
        config(**({"view_seed": 3, "precision": "fp32"} | changes)),
    )
    places = set()
    for run in runs:
        setup, _ = set_up(run, samples)
        assert isinstance(setup.teach, in_teacher.CachedTeacher)
        places.add(setup.teach.store.path)
    assert len(places) == 2


def test_other_images_are_not_those_that_the_teacher_was_asked_of(samples: Samples) -> None:
    said = []
    for order in (torch.arange(192), torch.arange(191, -1, -1)):
        setup, images = set_up(config(epochs=1), samples.subset(order))
        assert setup.teach is not None
        setup.teach.begin(0)
        (batch,) = images.epoch(order, 192, 0, setup.group)
        said.append(setup.teach(batch).logits)
    torch.testing.assert_close(said[0], said[1], atol=1e-2, rtol=1e-2)


def test_what_is_kept_is_known_before_anything_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    run = config("fn", per_class=None, epochs=3, views=2)
    planned = store_of(resolve(run))
    assert planned.missing(2) == [0, 1]
    list(train(run))
    assert planned.missing(2) == [] and planned.missing(3) == [2]
    taken = sum(path.stat().st_size for path in planned.path.rglob("*.npy"))
    assert taken == pytest.approx(planned.num_bytes(2), rel=0.02)
    for other in (config("kd", per_class=None, seed=4), config("dkd", per_class=None)):
        assert store_of(resolve(other)).path == planned.path
    for other in (config(per_class=None, validation=0.2), config(per_class=5), config(per_class=None, view_seed=1)):
        assert store_of(resolve(other)).path != planned.path


def test_with_no_image_held_out_of_a_split_of_its_own_the_teacher_is_asked_of_more(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "birds")
    (folder / "test").rename(folder / "val")
    shutil.copytree(folder / "val", folder / "test")
    base = RunConfig(dataset="folder", data_root=str(folder), image_size=32, threads=1, student="cifar_resnet8")
    held, none = (
        replace(look_up(replace(base, validation=v)), teachers=(find_checkpoint("digits-teacher"),)) for v in (0.1, 0.0)
    )
    assert "validation" in held.info.splits
    for split, same in ((None, False), ("train", False), ("test", True)):
        assert (store_of(held, split).path == store_of(none, split).path) is same


PIXELS = {
    "shifts and flips": (Augmentation(), [66.02, 68.75, 75.97, 57.53, 64.28, 72.47, 66.5, 57.31]),
    "trivial": (Augmentation(trivial=True), [66.89, 68.16, 79.45, 57.53, 27.91, 70.14, 66.5, 58.48]),
    "erasing": (Augmentation(erasing=0.9), [74.2, 72.41, 76.73, 54.14, 74.66, 79.78, 66.5, 57.31]),
    "mixup": (Augmentation(mixup=1.0), [66.83, 68.78, 75.95, 58.98, 77.09, 73.64, 62.05, 59.86]),
    "cutmix": (Augmentation(cutmix=1.0), [54.59, 68.75, 86.17, 62.28, 81.45, 87.62, 66.5, 66.77]),
}
"""Of a view of each kind, the means of its first eight images."""


@pytest.mark.parametrize("kind", PIXELS)
def test_a_view_has_the_pixels_that_teachers_were_asked_of_ever_since(kind: str) -> None:
    augmentation, means = PIXELS[kind]
    samples = load_split("digits", "train").subset(torch.arange(64))
    (batch,) = Augmented(samples, True, 3, torch.device("cpu"), augmentation).epoch(torch.arange(64), 64, 1, ALONE)
    found = batch.images[:8].float().mean((1, 2, 3)).tolist()
    # Where they have changed, `VIEWS` of planned.py rises, and with it these numbers change.
    assert found == pytest.approx(means, abs=0.06) and VIEWS == 1, found


def test_students_that_read_pixels_otherwise_share_what_the_teacher_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_folder(tmp_path / "birds")
    config = RunConfig(
        dataset="folder", data_root=str(folder), image_size=32, epochs=1, threads=1, student="cifar_resnet8"
    )
    taught = replace(look_up(config), teachers=(find_checkpoint("digits-teacher"),))
    monkeypatch.setattr("fnkd_core.data.sources.folder.normalisation", lambda classes, channels: NORMAL_10)
    other = replace(look_up(config), teachers=taught.teachers)
    assert taught.identity != other.identity
    for split in (None, "train", "validation", "test"):
        assert store_of(taught, split).path == store_of(other, split).path


def test_large_views_are_read_row_by_row(samples: Samples, monkeypatch: pytest.MonkeyPatch) -> None:
    setup, images = set_up(config(epochs=1), samples)
    assert setup.teach is not None
    batches = list(images.epoch(torch.arange(191, -1, -1), 50, 0, setup.group))
    setup.teach.begin(0)
    held = [setup.teach(batch) for batch in batches]
    monkeypatch.setattr(in_teacher, "IN_MEMORY", 0)
    setup.teach.begin(0)
    for batch, expected in zip(batches, held, strict=True):
        found = setup.teach(batch)
        assert torch.equal(found.logits, expected.logits) and torch.equal(found.norms, expected.norms)


def test_a_setting_without_effect_is_an_error() -> None:
    with pytest.raises(UserError, match="teacher_outputs 'cached' would be ignored: ce has no teacher"):
        RunConfig(method="ce", teacher_outputs="cached")
    with pytest.raises(UserError, match="without augmentation there is one view"):
        config(augment=False, views=3)


def test_a_view_that_is_damaged_is_asked_for_again(samples: Samples) -> None:
    setup, images = set_up(config(epochs=1), samples)
    (logits,) = teacher_outputs_dir().rglob("view-0000/logits.npy")
    whole = logits.read_bytes()
    logits.write_bytes(whole[:-100])
    assert list(teach(setup, images))
    assert logits.read_bytes() == whole


def test_outputs_of_a_teacher_that_is_gone_are_pruned_and_those_of_others_stay(home: Path, samples: Samples) -> None:
    own = home / "checkpoints"
    own.mkdir()
    state = load_checkpoint("digits-teacher")[0].state()
    state["fc.bias"] = state["fc.bias"] + 1
    card = find_checkpoint("digits-teacher").card
    assert card is not None
    write_checkpoint(own / "mine.safetensors", state, replace(card, sha256=""))
    for teacher in ("mine", "digits-teacher"):
        set_up(config(epochs=1, teacher=teacher), samples)
    assert prune() == 0 and len(list_teacher_outputs()) == 2
    run = create_run(config(epochs=1, teacher="mine").to_dict())
    record(resolve(config(epochs=1, teacher="mine")), run.path)
    (own / "mine.safetensors").unlink()
    (own / "mine.json").unlink()
    with locked(run.lock):
        (run.path / "started.json").write_text("{}")
        assert run.state == "running" and prune_stores() == 0 and len(list_teacher_outputs()) == 2
    kept = find_checkpoint("digits-teacher").identity
    assert prune() > 192 * 24
    assert [teacher_of(path) for path in list_teacher_outputs()] == [kept]
