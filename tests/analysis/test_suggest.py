"""Matches, suggestions, class means and factors against plain references."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
import torch

from fnkd_core.analysis.class_targets import by_likeness, class_mean, class_means, most_said, off_label
from fnkd_core.analysis.divergence import between_rules
from fnkd_core.analysis.factors import cosines, factors, sample_factors, weight_norms
from fnkd_core.analysis.matching import bisected, least, matched
from fnkd_core.analysis.suggest import first_gradients, information, rows_by_class, suggest
from fnkd_core.analysis.targets import Source, entropy_and_top, summary_under
from fnkd_core.checkpoints.io import load_checkpoint
from fnkd_core.checkpoints.library import find_checkpoint
from fnkd_core.data import load_split
from fnkd_core.errors import UserError
from fnkd_core.kd.losses import loss_terms
from fnkd_core.kd.objective import objective
from fnkd_core.kd.outputs import Outputs
from fnkd_core.kd.rules import RULES
from fnkd_core.stores.curves import softmax
from fnkd_core.stores.store import Store

ONE_SLIDER = [name for name, rule in RULES.items() if len(rule.sliders) == 1]


@pytest.fixture
def source(teacher_store: Store, fn_store: Store) -> Source:
    return Source(teacher_store, fn_store, tuple((k ^ 1,) for k in range(10)))


def test_the_table_s_rows_are_those_of_the_targets(source: Source) -> None:
    values = source.defaults()
    table = summary_under(source, values).set_index("rule")
    assert list(table.index) == [rule.title for rule in RULES.values()]
    for name, rule in RULES.items():
        q = source.targets(name, values, slice(0, 360))
        assert table["entropy"][rule.title] == pytest.approx(scipy.stats.entropy(q, axis=1).mean(), abs=5e-3)
        assert table["top probability"][rule.title] == pytest.approx(q.max(axis=1).mean(), abs=5e-3)
        moved = (q.argmax(axis=1) != source.store.samples["prediction"]).mean()
        assert table["largest class changed"][rule.title] == pytest.approx(moved)
    mean = source.store.manifest["norm"]["mean"]
    assert table["temperature"]["τ/‖f‖"] == pytest.approx(mean / values["tau"], rel=1e-5)
    assert table["temperature sd"]["T"] == 0 and np.isnan(table["temperature"]["LSD"])
    never = summary_under(source, values | {"tau": 1e6}, ["fn_released"])
    assert never["temperature"][0] == 1
    assert never["entropy"][0] == pytest.approx(source.store.samples["entropy"].mean(), abs=5e-3)


def test_mass_on_dead_outputs_is_that_of_the_targets(source: Source) -> None:
    store = Store(source.store.path)
    store.__dict__["manifest"] = source.store.manifest | {"dead_outputs": [2, 7]}
    sick = Source(store)
    table = summary_under(sick, sick.defaults(), ["t", "lsd"])
    expected = softmax(store.logits[:] / 4)[:, [2, 7]].sum(axis=1).mean()
    assert table["on dead outputs"][0] == pytest.approx(expected)
    assert table["on dead outputs"][1] > 0.02


@pytest.mark.parametrize("second", ONE_SLIDER)
@pytest.mark.parametrize("by", ["temperature", "entropy", "divergence"])
def test_a_match_is_where_a_plain_search_finds_it(source: Source, second: str, by: str) -> None:
    first = "fn" if second == "t" else "t"
    values, rule = source.defaults() | {"t": 2.0, "tau": 5.0}, RULES[second]
    if by == "temperature" and not rule.statistic:
        with pytest.raises(UserError, match="match the entropy"):
            matched(source, first, second, values, by)
        return
    match = matched(source, first, second, values, by)
    at = values | {match.slider: match.value}
    assert f"{match.value:.3g}" in match.says and match.says.count(".") >= 2
    low, high, _ = source.bounds()[match.slider]
    assert low <= match.value <= high
    if by == "temperature":
        t = [source.temperatures(name, at) for name in (first, second)]
        assert t[1].mean() == pytest.approx(t[0].mean(), rel=1e-3)  # type: ignore[union-attr]
    elif by == "entropy":
        h = [entropy_and_top(source, name, at)[0].mean() for name in (first, second)]
        assert h[1] == pytest.approx(h[0], rel=2e-3)
    else:

        def apart(x: float) -> float:
            return float(between_rules(source, first, second, values | {match.slider: np.exp(x)}).mean())

        found = scipy.optimize.minimize_scalar(apart, bounds=(np.log(low), np.log(high)), method="bounded")
        assert apart(np.log(match.value)) <= found.fun * 1.001 + 1e-9


def test_what_cannot_be_matched_is_one_line(source: Source) -> None:
    for first, second, by, text in (
        ("t", "alsd", "entropy", "2 sliders"), ("t", "one_hot", "entropy", "0 sliders"),
        ("t", "t", "entropy", "itself"),
        ("lsd", "t", "temperature", "LSD has no temperature"), ("t", "fn", "colour", "choose temperature"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=text):
            matched(source, first, second, source.defaults(), by)


def test_searches_end_at_the_ends_where_nothing_is_found() -> None:
    assert bisected(lambda x: x, 3.0, 0.5, 10.0) == pytest.approx(3.0)
    assert (bisected(lambda x: x, 0.1, 0.5, 10.0), bisected(lambda x: x, 99.0, 0.5, 10.0)) == (0.5, 10.0)
    assert least(lambda x: (np.log(x) - 1.3) ** 2, 0.1, 100.0) == pytest.approx(np.exp(1.3), rel=1e-3)
    assert least(lambda x: x, 0.5, 10.0) == pytest.approx(0.5, rel=1e-2)


def test_class_means_are_means_of_targets(source: Source) -> None:
    values, labels = source.defaults(), source.store.samples["label"].to_numpy()
    q = source.targets("fn", values, slice(0, 360))
    means = class_means(source, "fn", values)
    expected = np.stack([q[labels == k].mean(axis=0) for k in range(10)])
    assert means == pytest.approx(expected)
    assert class_mean(source, "fn", values, 4) == pytest.approx(expected[4])
    off = off_label(means)
    assert np.diag(off).max() == 0 and off.sum(axis=1) == pytest.approx(1 - np.diag(expected))
    few = class_means(source, "fn", values, np.flatnonzero(labels == 3))
    assert few[3] == pytest.approx(expected[3]) and np.isnan(few[4]).all() and off_label(few)[4].max() == 0


def test_classes_that_are_confused_stand_beside_each_other() -> None:
    chain = np.diag(np.ones(11), 1) + np.diag(np.ones(11), -1)
    shuffled = np.random.default_rng(0).permutation(12)
    order = by_likeness(chain[np.ix_(shuffled, shuffled)])
    back = shuffled[order].tolist()
    assert back in (list(range(12)), list(range(11, -1, -1)))
    assert most_said(np.array([[0, 0, 0], [0, 0, 5], [0, 0, 0]]), 2).tolist() == [1, 2]


def test_information_is_the_mean_divergence_from_the_label_s_mean_target(source: Source) -> None:
    rows, values = np.arange(0, 360, 3), source.defaults()
    q, labels = source.targets("t", values, rows), source.store.samples["label"].to_numpy()[rows]
    means = np.stack([q[labels == k].mean(axis=0) for k in range(10)])
    expected = scipy.stats.entropy(q, means[labels], axis=1).mean()
    assert information(source, "t", values, rows) == pytest.approx(expected)
    assert information(source, "one_hot", values, rows) == pytest.approx(0, abs=1e-12)
    assert information(source, "t", values | {"t": 1e5}, rows) == pytest.approx(0, abs=1e-6)


def test_first_gradients_are_those_of_the_losses(source: Source) -> None:
    values = source.defaults() | {"t": 3.0, "lambda": 2.0}
    store = source.store
    norms = torch.tensor(store.samples["norm"].to_numpy(), dtype=torch.float64)
    teacher = Outputs.of_norms(norms, torch.tensor(store.logits[:], dtype=torch.float64))
    labels = torch.tensor(store.samples["label"].to_numpy())
    wanted = {
        "hard": objective("ce", {}),
        "kd": objective("kd", {"T": 3.0, "alpha": 1.0}),
        "fn": objective("fn", {"tau": values["tau"], "lambda": 2.0, "student_norm": "teacher"}),
    }
    sizes = first_gradients(source, values, None)
    for name, trained in wanted.items():
        z = torch.zeros(360, 10, dtype=torch.float64, requires_grad=True)
        terms = loss_terms(trained, Outputs.of_norms(norms, z), labels, teacher)
        (terms["loss"] - (trained.hard_weight * terms["hard"] if name != "hard" else 0)).sum().backward()
        assert z.grad is not None
        assert sizes[name] == pytest.approx(float(z.grad.norm(dim=1).mean()), rel=1e-5), name


def test_a_suggestion_is_twice_the_t_that_a_plain_scan_finds_most_said_at_and_says_why(source: Source) -> None:
    found = suggest(source)
    labels = source.store.samples["label"].to_numpy()
    right = np.flatnonzero(source.store.samples["correct"])
    rows = right[rows_by_class(labels[right], 10, 10**6)]
    scan = {t: information(source, "t", {"t": t}, rows) for t in np.geomspace(0.5, 32, 60)}
    assert information(source, "t", {"t": found.values["t"] / 2}, rows) >= max(scan.values()) * 0.999
    values = source.defaults() | found.values
    of_samples = source.temperatures("fn", values)
    assert of_samples is not None and of_samples.mean() == pytest.approx(found.values["t"], rel=0.01)
    gauge = (found.values["lambda"] * found.values["tau"] / source.store.manifest["norm"]["mean"]) ** 2
    assert gauge == pytest.approx(1, rel=0.01) or (found.values["lambda"] == 3 and gauge < 1)
    assert f"at {gauge:.2g}; 1 is its rule" in " ".join(found.says)
    sizes = first_gradients(source, values, None)
    fn = sizes["fn"] / (sizes["fn"] + sizes["hard"])
    kd = found.alpha * sizes["kd"] / (found.alpha * sizes["kd"] + (1 - found.alpha) * sizes["hard"])
    assert kd == pytest.approx(fn, abs=0.02)
    assert len(found.says) == 5 and all(sentence.endswith(".") for sentence in found.says)


def test_rows_by_class_are_few_whole_classes_where_all_would_be_too_many() -> None:
    labels = np.random.default_rng(1).integers(0, 50, 20_000)
    rows = rows_by_class(labels, 50, 640)
    assert len(rows) == 640 and len(set(labels[rows])) == 10 and (np.diff(rows) > 0).all()
    assert np.array_equal(rows, rows_by_class(labels, 50, 640))
    assert len(rows_by_class(labels, 50, 10**6)) == 50 * 64


def test_the_three_factors_make_the_logit_and_decide_as_a_head_without_them_would(teacher_store: Store) -> None:
    entry = find_checkpoint("digits-teacher")
    weights = weight_norms(entry)
    classifier, _ = load_checkpoint(entry.path)
    test = load_split("digits", "test")
    with torch.no_grad():
        outputs = classifier(test.images)
        w, b = classifier.head.weight.double(), classifier.head.bias.double()
        f = outputs.features.double()
        cos = torch.nn.functional.normalize(f) @ torch.nn.functional.normalize(w).T
    assert weights == pytest.approx(w.norm(dim=1).numpy())
    assert cosines(teacher_store, weights, slice(0, 360)) == pytest.approx(cos.numpy(), abs=1e-4)
    table = sample_factors(teacher_store, weights, 17)
    assert (table["‖f‖"] * table["‖W‖"] * table["cos θ"] + table["bias"]).to_numpy() == pytest.approx(table["logit"])
    found, labels = factors(teacher_store, weights), test.labels
    plain = {
        "nothing": f @ w.T + b, "the bias": f @ w.T, "‖W‖ and the bias": cos,
        "‖W‖": f.norm(dim=1, keepdim=True) * w.norm(dim=1).mean() * cos + b,
    }  # fmt: skip
    for name, scores in plain.items():
        assert found.accuracy[name] == pytest.approx(float((scores.argmax(1) == labels).double().mean()), abs=0.003)
    assert found.accuracy["nothing"] == pytest.approx(teacher_store.manifest["accuracy"])
    assert found.changed["nothing"] == 0
    own = cos.gather(1, labels[:, None])[:, 0]
    assert found.cos_label == pytest.approx(own.numpy(), abs=1e-4)
    other = cos.scatter(1, labels[:, None], -2).amax(1)
    assert found.cos_other == pytest.approx(other.numpy(), abs=1e-4)
