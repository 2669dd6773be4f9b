"""Mixed and distorted views: functions of key and view, of which every term is that of both labels."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from fnkd_core.data import add_folder, load_split
from fnkd_core.kd.losses import loss_terms
from fnkd_core.kd.methods import METHODS
from fnkd_core.training.augmented import Augmented
from fnkd_core.training.config import RunConfig
from fnkd_core.training.distributed import ALONE
from fnkd_core.training.planned import augmentation, store_of
from fnkd_core.training.resolve import look_up
from fnkd_core.training.step import train_step
from fnkd_core.training.teacher import LiveTeacher
from tests.pictures import write_folder
from tests.training.tools import KD, QUICK, assert_resumes_to_the_same_bits, first_batch, metrics

MIXED: dict[str, Any] = {"mixup": 0.4, "cutmix": 1.0, "trivial_augment": True, "erasing": 0.3}


@pytest.mark.parametrize("name", ["ce", "lsd", "fn", "dkd", "he"])
def test_the_loss_of_a_mixed_image_is_that_of_both_labels_with_their_shares(name: str) -> None:
    teacher = "digits-teacher" if METHODS[name].needs_teacher else None
    setup, batch = first_batch(method=name, teacher=teacher, mixup=1.0, cutmix=1.0)
    assert batch.others is not None and batch.share is not None and setup.objective is not None
    setup.student.eval()
    with torch.no_grad():
        student = setup.student(batch.images)
        said = setup.teacher(batch.images) if setup.teacher is not None else None
        own, other = (loss_terms(setup.objective, student, labels, said) for labels in (batch.labels, batch.others))
    if setup.teacher is not None:
        setup.teach = LiveTeacher(setup.teacher, "fp32")
    terms = train_step(setup, batch, 0.0)
    for key in ("loss", "hard", "soft"):
        torch.testing.assert_close(
            terms[key], batch.share * own[key] + (1 - batch.share) * other[key], rtol=1e-4, atol=1e-4
        )
    right = student.logits.argmax(1)
    torch.testing.assert_close(
        terms["correct"], batch.share * (right == batch.labels) + (1 - batch.share) * (right == batch.others)
    )


def test_a_view_is_the_same_in_another_batch_and_order_whatever_is_done_to_it() -> None:
    samples = load_split("digits", "train").subset(torch.arange(40))
    images = Augmented(samples, True, 3, torch.device("cpu"), RunConfig(**MIXED).augmentation)
    whole = next(images.views(torch.arange(40), 40, 2))
    order = torch.randperm(40, generator=torch.Generator().manual_seed(2))
    again = torch.cat([*images.views(order, 7, 2)])
    assert torch.equal(again, whole[order])
    assert not torch.equal(next(images.views(torch.arange(40), 40, 3)), whole)
    seen = [*images.epoch(order, 16, 2, ALONE)]
    assert torch.equal(torch.cat([batch.images for batch in seen]), whole[order])


@pytest.mark.parametrize("name", ["kd", "dkd"])
def test_kept_outputs_of_mixed_views_are_what_the_live_teacher_says_of_them(name: str) -> None:
    config = RunConfig(**(QUICK | {"method": name, "teacher": "digits-teacher", "view_seed": 5} | MIXED))
    live = metrics(config)
    cached = metrics(dataclasses.replace(config, teacher_outputs="cached"))
    for ours, theirs in zip(live, cached, strict=True):
        assert ours["soft"] == pytest.approx(theirs["soft"], rel=5e-3)
        assert ours["hard"] == pytest.approx(theirs["hard"], rel=5e-3)


def test_outputs_are_kept_apart_by_what_is_done_to_the_views_and_only_where_something_is() -> None:
    def where(**changes: Any) -> Path:
        return store_of(look_up(RunConfig(**(QUICK | KD | changes)))).path

    assert len({where(), *(where(**{name: value}) for name, value in MIXED.items())}) == 5
    assert augmentation(look_up(RunConfig(**QUICK, **KD))) == {"seed": 0, "pad": 1, "flip": False, "least_area": None}
    assert where(init="digits-kd") == where()


def test_a_run_on_mixed_views_gives_the_same_bits_and_resumes_to_them(tmp_path: Path) -> None:
    config = RunConfig(**(QUICK | KD | MIXED))
    assert_resumes_to_the_same_bits(config, tmp_path)


def test_mixed_photographs_in_files_are_decoded_with_their_partners(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "set", size=(12, 12))
    add_folder("mine", str(root))
    line = metrics(RunConfig(dataset="mine", epochs=1, batch_size=4, threads=1, **MIXED))[0]
    assert 0 < line["hard"] < 10
