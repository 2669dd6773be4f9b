"""A run trains with the labels that a selection gives its samples, says so, and is another run for it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from fnkd_core.data import dataset_info, load_split
from fnkd_core.data.label_noise import few_labels, flip_labels
from fnkd_core.data.selections import Selection, add_to, find_selection, relabel
from fnkd_core.errors import UserError
from fnkd_core.training.config import RunConfig
from fnkd_core.training.planned import store_of
from fnkd_core.training.recorded import recorded
from fnkd_core.training.resolve import identity_of, look_up
from fnkd_core.training.setup import load_data
from tests.training.tools import KD, QUICK, assert_resumes_to_the_same_bits, metrics, stopped

INFO = dataset_info("digits")
PLAIN = RunConfig(epochs=1, threads=1)
RELABELLED = dataclasses.replace(PLAIN, relabel="mended")


@pytest.fixture
def mended() -> Selection:
    """The first 90 digits of the training split as the class after their own, and ten more that keep theirs."""
    samples = load_split(INFO, "train")
    add_to("mended", INFO, "train", samples.keys[:100], "the first")
    for label in range(10):
        keys = [key for key, own in zip(samples.keys[:90], samples.labels[:90], strict=True) if own == label]
        relabel("mended", INFO, "train", keys, (label + 1) % 10)
    return find_selection("mended")


def test_the_training_split_has_the_new_labels_and_what_is_held_out_its_own(mended: Selection) -> None:
    was, now = load_data(look_up(PLAIN)), load_data(look_up(RELABELLED))
    assert now.train.keys == was.train.keys and was.validation is not None and now.validation is not None
    expected = [mended.labels.get(key, int(own)) for key, own in zip(was.train.keys, was.train.labels, strict=True)]
    assert now.train.labels.tolist() == expected
    assert 70 <= int((now.train.labels != was.train.labels).sum()) <= 90
    for a, b in ((was.validation, now.validation), (was.test, now.test)):
        assert a.keys == b.keys and torch.equal(a.labels, b.labels)


def test_few_labels_and_label_noise_are_of_the_new_labels(mended: Selection) -> None:
    both = dataclasses.replace(RELABELLED, per_class=20, label_noise=0.2)
    found, new = load_data(look_up(both)).train, load_data(look_up(RELABELLED)).train
    plain = flip_labels(few_labels(new, 20, 0), 0.2, "uniform", (), 0)
    assert found.keys == plain.keys and torch.equal(found.labels, plain.labels)
    assert few_labels(new, 20, 0).labels.bincount().tolist() == [20] * 10


def test_it_stands_in_the_record_and_the_identity_and_runs_without_it_keep_theirs(
    mended: Selection, tmp_path: Path
) -> None:
    found = look_up(RELABELLED)
    assert found.identities["relabel"] == mended.identity_of_labels
    assert set(look_up(PLAIN).identities) == {"teacher", "train", "validation", "test"}
    assert "relabel" not in PLAIN.deciding() and identity_of(RELABELLED) != identity_of(PLAIN)
    # What it is called and which samples keep their labels decide nothing.
    add_to("same", INFO, "train", mended.keys, "")
    for label in range(10):
        relabel("same", INFO, "train", [k for k, v in mended.labels.items() if v == label], label)
    add_to("same", INFO, "train", load_split(INFO, "train").keys[100:110], "")
    assert identity_of(dataclasses.replace(PLAIN, relabel="same")) == identity_of(RELABELLED)
    two = dataclasses.replace(RELABELLED, epochs=2, per_class=6)
    stopped(two, tmp_path)
    record = recorded(tmp_path)
    assert record is not None and record["config"]["relabel"] == "mended"
    relabel("mended", INFO, "train", mended.keys[:1], None)
    assert identity_of(RELABELLED) != found.identity
    with pytest.raises(UserError, match="began with other labels from a selection"):
        metrics(two, tmp_path)


def test_it_resumes_to_the_same_bits_with_a_cached_teacher(mended: Selection, tmp_path: Path) -> None:
    config = RunConfig(**QUICK, **KD, relabel="mended", teacher_outputs="cached", views=1)
    assert_resumes_to_the_same_bits(config, tmp_path)


def test_a_teacher_s_kept_outputs_are_shared_but_where_labels_choose_the_images(mended: Selection) -> None:
    for split in (None, "train", "validation", "test"):
        stores = [store_of(look_up(RunConfig(**KD, relabel=name)), split) for name in (None, "mended")]
        assert stores[0].path == stores[1].path
        few = [store_of(look_up(RunConfig(**KD, relabel=name, per_class=6)), split) for name in (None, "mended")]
        assert (few[0].path == few[1].path) == (split in ("validation", "test"))


def test_labels_that_change_nothing_or_do_not_fit_are_a_sentence(mended: Selection) -> None:
    add_to("tested", INFO, "test", load_split(INFO, "test").keys[:3], "")
    with pytest.raises(UserError, match="not of the train split"):
        look_up(RunConfig(relabel="tested"))
    add_to("own", INFO, "train", mended.keys, "")
    with pytest.raises(UserError, match="gives none of .* another label; give some of them one in the Gallery"):
        load_data(look_up(RunConfig(relabel="own")))
