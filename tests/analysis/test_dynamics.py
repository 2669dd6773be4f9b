"""Data map, forgetting and norms through training are what plain loops over each sample's history give."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from fnkd_core.analysis import dynamics
from fnkd_core.analysis.dynamics import (
    QUANTILES,
    NormCounts,
    by_sample,
    common_edges,
    memory,
    most_forgotten,
    norms_by_epoch,
)
from fnkd_core.stores.epochs import KeptEpochs, kept_epochs, unseen, write_epoch, write_samples

NOBODY = unseen(3)
History = list[tuple[float, float, int] | None]


def written(folder: Path, labels: list[int], histories: list[History]) -> KeptEpochs:
    """Kept epochs in which each sample has this history: norm, p_label and prediction, None where it was left out."""
    folder.mkdir(parents=True, exist_ok=True)
    data = {"classes": ["a", "b", "c"]}
    made = {"data": data, "config": {"epochs": len(histories[0])}, "identities": {"train": "x"}}
    (folder / "resolved.json").write_text(json.dumps(made))
    write_samples(folder, [f"key {i}" for i in range(len(labels))], np.array(labels))
    for epoch in range(len(histories[0])):
        rows = [history[epoch] or (math.nan, math.nan, NOBODY) for history in histories]
        norms, p_label, predictions = (np.array(column) for column in zip(*rows, strict=True))
        write_epoch(folder, epoch + 1, norms, p_label, predictions.astype(np.uint16))
    kept = kept_epochs(folder)
    assert kept is not None
    return kept


def plain(label: int, history: History) -> dict[str, Any]:
    """One sample's row, as the papers define its parts."""
    seen = [(e, *one) for e, one in enumerate(history, 1) if one is not None]
    right = [prediction == label for *_, prediction in seen]
    p = [float(np.float16(one[2])) for one in seen]
    norms = [float(np.float16(one[1])) for one in seen]
    return {
        "p_mean": np.mean(p),
        "p_sd": np.std(p),
        "p_change": p[-1] - p[0],
        "correctness": np.mean(right),
        "forgotten": sum(a and not b for a, b in itertools.pairwise(right)),
        "learnt": next((one[0] for one, ok in zip(seen, right, strict=True) if ok), 0),
        "flips": sum(a[3] != b[3] for a, b in itertools.pairwise(seen)),
        "norm_mean": np.mean(norms),
        "norm_sd": np.std(norms),
        "norm_first": norms[0],
        "norm_last": norms[-1],
        "norm_change": norms[-1] - norms[0],
        "prediction": seen[-1][3],
    }


values = st.tuples(st.floats(0, 60000, width=16), st.floats(0, 1, width=16), st.integers(0, 2))


@given(
    histories=st.integers(1, 6).flatmap(
        lambda epochs: st.lists(
            st.lists(st.none() | values, min_size=epochs, max_size=epochs).filter(any), min_size=1, max_size=8
        )
    ),
    data=st.data(),
)
def test_a_sample_s_row_is_what_its_history_gives(
    histories: list[History],
    data: st.DataObject,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    labels = [data.draw(st.integers(0, 2)) for _ in histories]
    monkeypatch.setattr(dynamics, "PART", data.draw(st.integers(1, 9)))
    found = by_sample(written(tmp_path_factory.mktemp("kept"), labels, histories))
    for i, (label, history) in enumerate(zip(labels, histories, strict=True)):
        for column, value in plain(label, history).items():
            assert found[column].iat[i] == pytest.approx(value, rel=1e-5, abs=1e-5), (column, i)


def test_what_is_right_wrong_right_wrong_was_forgotten_twice_and_what_is_never_right_was_never_learnt(
    tmp_path: Path,
) -> None:
    right, wrong = (5.0, 0.8, 0), (4.0, 0.1, 1)
    histories: list[History] = [
        [right, wrong, right, wrong],
        [right, None, wrong, wrong],  # an epoch that left it out is none in which it was forgotten or not
        [wrong, wrong, wrong, wrong],
        [wrong, right, right, right],
        [None, None, None, None],
    ]
    kept = written(tmp_path, [0] * 5, histories)
    found = by_sample(kept)
    assert found["forgotten"].tolist() == [2, 1, 0, 0, 0]
    assert found["learnt"].tolist() == [1, 1, 0, 2, 0]
    assert memory(found) == {"never learnt": 2, "never forgotten": 1, "forgotten": 2}
    assert most_forgotten(found, 5).tolist() == [0, 1]
    assert math.isnan(found["p_mean"].iat[4]) and found["prediction"].iat[4] == -1
    # Of equally often forgotten ones, the less probable first.
    assert kept.numbers == (1, 2, 3, 4)
    (tmp_path / "epochs" / "0002.npy").unlink()
    without = kept_epochs(tmp_path)
    assert without is not None and by_sample(without)["forgotten"].tolist() == [1, 1, 0, 0, 0]


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> tuple[KeptEpochs, np.ndarray, np.ndarray, np.ndarray]:
    """400 samples over 3 epochs, whose norms have ties: kept, norms (E, N), predictions (E, N), labels (N,)."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 3, 400)
    norms = generator.gamma(20, 0.3, (3, 400)).astype(np.float16)
    predictions = np.where(generator.random((3, 400)) < 0.6, labels, (labels + 1) % 3)
    histories: list[History] = [
        [(float(norms[e, i]), 0.5, int(predictions[e, i])) for e in range(3)] for i in range(400)
    ]
    return written(tmp_path_factory.mktemp("many"), labels.tolist(), histories), norms, predictions, labels


@pytest.mark.parametrize("label", [None, 1])
def test_quantiles_auroc_and_histograms_of_the_counts_are_those_of_the_norms(
    many: tuple[KeptEpochs, np.ndarray, np.ndarray, np.ndarray], label: int | None
) -> None:
    kept, norms, predictions, labels = many
    found = norms_by_epoch(kept, label)
    edges = common_edges(found, 17)
    of = slice(None) if label is None else labels == label
    for one, own, predicted in zip(found, norms.astype(float), predictions, strict=True):
        right = (predicted == labels)[of]
        assert one.accuracy == pytest.approx(right.mean())
        assert one.auroc == pytest.approx(roc_auc_score(right, own[of]))
        for group, those in (("right", own[of][right]), ("wrong", own[of][~right])):
            assert one.quantiles(group) == np.quantile(those, QUANTILES, method="inverted_cdf").tolist()
            assert one.histogram(group, edges).tolist() == np.histogram(those, edges)[0].tolist()
    lows = min(float(row.min()) for row in norms[:, of].astype(float))
    assert edges[0] == lows and len(edges) == 18
    assert edges[-1] == max(np.quantile(row, 0.999, method="inverted_cdf") for row in norms[:, of].astype(float))


def test_where_all_are_right_or_nothing_was_seen_there_is_no_auroc_and_nothing_breaks() -> None:
    nothing = np.zeros(0, np.int64)
    empty = NormCounts(1, np.zeros(0), nothing, nothing)
    alone = NormCounts(2, np.array([2.0]), np.array([3]), np.array([0]))
    assert all(math.isnan(x) for x in (empty.auroc, alone.auroc, empty.accuracy, *empty.quantiles("right")))
    assert all(math.isnan(x) for x in alone.quantiles("wrong")) and alone.quantiles("right") == [2.0] * 5
    assert common_edges([empty]).tolist()[0] == 0 and common_edges([empty, alone])[-1] == 3
