"""Stores say what the model says, tables sum them up, curves give any temperature."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import sklearn.calibration
import sklearn.metrics
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fnkd_core.analysis.health import health
from fnkd_core.analysis.tables import by_class, by_confidence, by_decile, expected_agreement, norm_summary, side_by_side
from fnkd_core.checkpoints.fits import misfit
from fnkd_core.checkpoints.io import load_checkpoint, read_state, write_checkpoint
from fnkd_core.checkpoints.library import find_checkpoint
from fnkd_core.data import dataset_info, load_split
from fnkd_core.errors import UserError
from fnkd_core.stores.curves import GRID, on_curve, softmax, temperature_curves
from fnkd_core.stores.extract import extract, extracted
from fnkd_core.stores.pieces import progress
from fnkd_core.stores.store import Store, open_store, store_path


def test_a_store_holds_what_the_model_says(teacher_store: Store) -> None:
    classifier, _ = load_checkpoint("digits-teacher")
    test = load_split("digits", "test")
    with torch.no_grad():
        outputs = classifier(test.images)
    samples = teacher_store.samples
    assert np.allclose(teacher_store.logits, outputs.logits, atol=1e-4)
    assert np.allclose(teacher_store.features, outputs.features, atol=2e-2)
    assert np.allclose(samples["norm"], outputs.features.norm(dim=1), rtol=1e-5)
    assert samples["prediction"].tolist() == outputs.logits.argmax(1).tolist()
    assert samples["label"].tolist() == test.labels.tolist()
    assert samples["key"].tolist() == test.keys
    assert teacher_store.bias is not None and np.allclose(teacher_store.bias, classifier.head.bias.detach())
    assert np.allclose(np.asarray(teacher_store.features, np.float32) @ classifier.head.weight.detach().numpy().T
                       + teacher_store.bias, teacher_store.logits, atol=0.05)  # fmt: skip


def test_the_manifest_s_sums_are_those_of_the_samples(teacher_store: Store) -> None:
    m, samples = teacher_store.manifest, teacher_store.samples
    p = softmax(teacher_store.logits)
    assert m["accuracy"] == pytest.approx(samples["correct"].mean())
    assert m["nll"] == pytest.approx(sklearn.metrics.log_loss(samples["label"], p, labels=range(10)), rel=1e-4)
    assert m["norm"]["sd"] == pytest.approx(samples["norm"].std(ddof=0), rel=1e-5)
    assert len(m["norm"]["deciles"]) == 11 and m["norm"]["deciles"] == sorted(m["norm"]["deciles"])
    assert np.mean(m["accuracy_by_norm_decile"]) == pytest.approx(m["accuracy"])
    assert m["dead_outputs"] == [] and m["head_error"] < 1e-4


def test_deciles_are_even_and_rise_with_the_norm(teacher_store: Store) -> None:
    table = by_decile(teacher_store.samples)
    assert table["num_samples"].tolist() == [36] * 10
    assert (table["norm_high"].to_numpy()[:-1] <= table["norm_low"].to_numpy()[1:]).all()
    order = teacher_store.order
    assert (np.diff(teacher_store.samples["norm"].to_numpy()[order]) >= 0).all()


def test_thumbnails_are_the_images_bit_for_bit(teacher_store: Store) -> None:
    images = load_split("digits", "test").images
    for i in (0, 17, 359):
        picture = np.asarray(Image.open(io.BytesIO(teacher_store.thumbnail(i))).convert("L"))
        assert np.array_equal(picture, images[i, 0].numpy())
    with pytest.raises(UserError, match="samples 0 to 359"):
        teacher_store.thumbnail(360)


def test_extraction_streams_and_goes_on_where_it_was_stopped(home: Path) -> None:
    entry, info = find_checkpoint("digits-ce"), dataset_info("digits")
    seen = extract(entry, info, "test", size=10)
    assert [next(seen) for _ in range(9)] == [(10 * i, 360) for i in range(1, 10)]
    seen.close()
    assert open_store(entry, info, "test") is None
    assert progress(store_path(entry, info, "test")) == (80, 360)
    assert [done for done, _ in extract(entry, info, "test", size=10)] == list(range(90, 370, 10))
    assert list(extract(entry, info, "test")) == []
    assert [p.name for p in (home / "stores").iterdir()] == [store_path(entry, info, "test").name]


def test_other_weights_and_other_splits_have_stores_of_their_own() -> None:
    info = dataset_info("digits")
    paths = {store_path(find_checkpoint(n), info, s) for n in ("digits-ce", "digits-kd") for s in ("train", "test")}
    assert len(paths) == 4


def test_a_label_space_that_does_not_fit_is_an_error_that_says_so() -> None:
    entry = find_checkpoint("digits-teacher")
    assert entry.card is not None
    assert misfit(entry.card, dataset_info("digits")) is None
    for name in ("cifar10", "cifar100"):
        problem = misfit(entry.card, dataset_info(name))
        assert problem and "\n" not in problem
        with pytest.raises(UserError, match="choose a checkpoint"):
            extracted(entry, dataset_info(name), "test")


@given(seed=st.integers(0, 10_000), scale=st.floats(0.1, 30), num_classes=st.integers(2, 12))
def test_a_curve_read_at_any_temperature_is_the_entropy_there(seed: int, scale: float, num_classes: int) -> None:
    generator = np.random.default_rng(seed)
    logits = scale * generator.standard_normal((20, num_classes))
    bias = generator.standard_normal(num_classes)
    t = np.exp(generator.uniform(np.log(0.25), np.log(64), 20))
    for b in (None, bias):
        entropy, top = temperature_curves(logits, b)
        offset = np.zeros(num_classes) if b is None else b
        p = softmax((logits - offset) / t[:, None] + offset)
        exact = -(p * np.log(np.maximum(p, 1e-300))).sum(1)
        # Linear between 129 points: worst where two classes change places, hundredths of the mean otherwise.
        errors = np.abs(on_curve(entropy, GRID, t) - exact), np.abs(on_curve(top, GRID, t) - p.max(1))
        assert errors[0].max() < 0.06 and errors[0].mean() < 0.01
        assert errors[1].max() < 0.03 and errors[1].mean() < 0.005


def test_the_norm_s_power_to_tell_right_from_wrong_is_the_auroc(fn_store: Store) -> None:
    samples = fn_store.samples
    expected = sklearn.metrics.roc_auc_score(samples["correct"], samples["norm"])
    found = norm_summary(samples)
    assert found["auroc"] == pytest.approx(expected) and found["auroc_low"] < expected < found["auroc_high"]
    all_right = samples.assign(correct=True)
    assert np.isnan(norm_summary(all_right)["auroc"])


def test_reliability_bins_are_those_of_a_calibration_curve(fn_store: Store) -> None:
    samples = fn_store.samples
    table = by_confidence(samples)
    right, sure = sklearn.calibration.calibration_curve(samples["correct"], samples["confidence"], n_bins=15)
    assert list(table["accuracy"]) == pytest.approx(list(right))
    assert list(table["confidence"]) == pytest.approx(list(sure), rel=1e-6)
    assert table["num_samples"].sum() == 360
    gap = (table["accuracy"] - table["confidence"]).abs() * table["num_samples"] / 360
    assert gap.sum() == pytest.approx(fn_store.manifest["ece"], abs=1e-6)
    for row in table.itertuples():
        tested = scipy.stats.binomtest(round(row.accuracy * row.num_samples), row.num_samples)
        interval = tested.proportion_ci(method="wilson")
        assert (row.low, row.high) == pytest.approx((interval.low, interval.high), abs=1e-6)


def test_two_stores_stand_side_by_side(teacher_store: Store, fn_store: Store) -> None:
    both = side_by_side(teacher_store, fn_store)
    right = both["correct_a"].to_numpy(), both["correct_b"].to_numpy()
    assert (both["outcome"] == np.where(right[0], np.where(right[1], 0, 1), np.where(right[1], 2, 3))).all()
    assert both["norm_b"].tolist() == fn_store.samples["norm"].tolist()
    assert 0.9 < expected_agreement(both) < 1
    classes = by_class(teacher_store.samples, teacher_store.classes)
    assert classes["num_samples"].sum() == 360 and classes["class"].tolist() == list("0123456789")


def test_independent_errors_agree_as_often_as_expected() -> None:
    generator = np.random.default_rng(0)
    n = 200_000
    label = generator.integers(0, 10, n)
    frame = {"label": label}
    for s, accuracy in (("a", 0.8), ("b", 0.6)):
        correct = generator.random(n) < accuracy
        frame[f"correct_{s}"] = correct
        frame[f"prediction_{s}"] = np.where(correct, label, (label + generator.integers(1, 10, n)) % 10)
    both = pd.DataFrame(frame)
    assert expected_agreement(both) == pytest.approx((both["prediction_a"] == both["prediction_b"]).mean(), abs=0.01)


def test_health_finds_what_is_wrong(teacher_store: Store) -> None:
    card = find_checkpoint("digits-teacher").card
    assert card is not None
    manifest = teacher_store.manifest
    assert {c.level for c in health(card, manifest)} == {"good"}
    sick = manifest | {"dead_outputs": [3, 4], "head_error": 0.5, "accuracy": 0.5}
    found = {c.text.split(" ")[0]: c.level for c in health(card, sick)}
    levels = [c.level for c in health(card, sick)]
    assert levels.count("warning") == 2 and levels.count("bad") == 1, found
    assert any("2 of 10 outputs" in c.text for c in health(card, sick))


def test_outputs_that_stand_for_other_classes_than_their_names_say_are_noticed(tmp_path: Path) -> None:
    source = find_checkpoint("digits-fn")
    assert source.card is not None
    state = read_state(source.path)
    state |= {k: state[k].roll(1, 0) for k in ("fc.weight", "fc.bias")}
    write_checkpoint(tmp_path / "rolled.safetensors", state, source.card)
    entry = find_checkpoint(tmp_path / "rolled.safetensors")
    assert entry.card is not None
    manifest = extracted(entry, dataset_info("digits"), "test").manifest
    assert manifest["matched"]["moved"] == 10 and manifest["matched"]["accuracy"] > 0.97
    first = health(entry.card, manifest)[0]
    assert first.level == "bad" and "10 of 10 outputs seem to stand for other classes" in first.text
