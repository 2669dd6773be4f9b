"""Which T, tau and weight suit a teacher, told from its own outputs, with the reasons as sentences.

The sharpest T worth trying is where the targets of the samples that it has right say most beyond what their label says,
the information I(sample; class | label) = H(mean target of the label) - mean H(target), which is 0 where targets are
one-hot and where they are uniform. (Of samples that it has wrong a sharp target says much, and it is an error.)
Students were as good or better from flatter targets: T is `FLATTER` times that; see docs/results/suggestion.md. tau: at
equal mean temperature. lambda: the paper's gauge, lambda^2 tau^2 / mean ||f||^2 = 1, at most `MOST_LAMBDA`. alpha: at
which kd's soft term has the same share of the first gradient as fn's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fnkd_core.analysis.matching import least
from fnkd_core.analysis.targets import Source, entropy_and_top, part_of
from fnkd_core.kd.rules import T_HIGH, T_LOW

FEW = 2**18
"""Logits of which the information is measured, many times over."""
FLATTER = 2.0
"""Times the T at which targets say most. At that T itself fn students of both teachers that were tried were the worst,
or learned nothing; kd students of the one were better from flatter targets, those of the other as good."""
MOST_LAMBDA = 3.0
"""The paper's. A larger one, with which the gauge would be 1, was never trained here, and steps grow with lambda^2."""
PER_CLASS = 64
"""Samples of a class from which its mean target is known well enough."""


@dataclass(frozen=True)
class Suggestion:
    """values: t, tau and lambda for the lab. alpha: kd's weight. says: why, a sentence each."""

    values: dict[str, float]
    alpha: float
    says: tuple[str, ...]


def rows_by_class(labels: NDArray[np.integer], num_classes: int, most: int) -> NDArray[np.int64]:
    """Sorted numbers of at most `most` samples, `PER_CLASS` of a class where it has so many: of some classes where all
    would be too many. Drawn by a fixed seed.

    (n,), n at most `most`.
    """
    generator = np.random.default_rng(0)
    order = generator.permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    first = np.searchsorted(labels[order], np.arange(num_classes + 1))
    picked: list[NDArray[np.int64]] = []
    left = most
    for k in generator.permutation(num_classes).tolist():
        of_class = order[first[k] : first[k + 1]][: min(PER_CLASS, left)]
        picked.append(of_class)
        left -= len(of_class)
    return np.sort(np.concatenate(picked))


def information(source: Source, rule: str, values: Mapping[str, Any], rows: NDArray[np.int64]) -> float:
    """I(sample; class | label) of the targets, in nats: the mean KL of a target from its label's mean target."""
    labels = source.store.samples["label"].to_numpy()[rows]
    q = np.concatenate([source.targets(rule, values, block) for _, block in source.blocks(rows)])
    order = np.argsort(labels, kind="stable")
    _, first, counts = np.unique(labels[order], return_index=True, return_counts=True)
    means = np.add.reduceat(q[order], first, axis=0) / counts[:, None]
    of_means = _entropies(means) @ counts / len(labels)
    return float(of_means - _entropies(q).mean())


def _entropies(q: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = -(q * np.log(np.maximum(q, 1e-300))).sum(axis=1)
    return found


def first_gradients(source: Source, values: Mapping[str, Any], rows: NDArray[np.int64] | None) -> dict[str, float]:
    """Mean length of each term's gradient in the logits of a student that knows nothing yet, all its logits 0.

    hard: u - q, q one-hot and u uniform. kd: T (u - s(v/T)), of T^2 times the soft term. fn: lambda^2 (u - s(v/T_i)) /
    T_i, of lambda^2 times it, where the student's norms are the teacher's.
    """
    k = source.num_classes
    sums, count = dict.fromkeys(("hard", "kd", "fn"), 0.0), 0
    for _, block in source.blocks(rows):
        t_i = source.temperatures("fn", values)
        assert t_i is not None
        kd = np.linalg.norm(1 / k - source.targets("t", values, block), axis=1)
        fn = np.linalg.norm(1 / k - source.targets("fn", values, block), axis=1)
        sums["kd"] += float(values["t"] * kd.sum())
        sums["fn"] += float(values["lambda"] ** 2 * (fn / t_i[block]).sum())
        count += len(kd)
    return {"hard": math.sqrt(1 - 1 / k), "kd": sums["kd"] / count, "fn": sums["fn"] / count}


def suggest(source: Source) -> Suggestion:
    """Values for a teacher from its own outputs on this split; see this module for what each follows from."""
    store, k = source.store, source.num_classes
    labels = store.samples["label"].to_numpy()
    right = np.flatnonzero(store.samples["correct"].to_numpy())
    right = right if len(right) else np.arange(len(labels))
    rows = right[rows_by_class(labels[right], k, max(FEW // k, 2 * PER_CLASS))]
    values = source.defaults()

    def said_less(t: float) -> float:
        return -information(source, "t", values | {"t": t}, rows)

    sharpest = float(f"{least(said_less, max(T_LOW, 0.5), T_HIGH / 2, points=13, steps=12):.2g}")
    values["t"] = t = float(f"{FLATTER * sharpest:.2g}")
    mean = float(source.statistic("norm").mean())
    values["tau"] = float(f"{mean / t:.3g}")
    values["lambda"] = float(f"{min(t, MOST_LAMBDA):.3g}")
    part = part_of(len(labels), k)
    entropy = float(entropy_and_top(source, "t", values, part)[0].mean())
    plain = float(store.samples["entropy"].mean())
    spreads = [float(entropy_and_top(source, rule, values, part)[0].std()) for rule in ("t", "fn")]
    sizes = first_gradients(source, values, part_of(len(labels), k, FEW))
    share = sizes["fn"] / (sizes["fn"] + sizes["hard"])
    # alpha kd / (alpha kd + (1 - alpha) hard) is the same share.
    alpha = float(f"{share * sizes['hard'] / (share * sizes['hard'] + (1 - share) * sizes['kd']):.2f}")
    known, kept = (information(source, "t", values | {"t": x}, rows) for x in (sharpest, t))
    gauge = (values["lambda"] * values["tau"] / mean) ** 2
    rule = "1 is its rule"
    if t > MOST_LAMBDA:
        rule += f", for which λ would be {t:g}, and more than the paper's own λ = {MOST_LAMBDA:g} is not suggested"
    says = (
        f"At T = {sharpest:g} the targets of samples that it has right say most beyond their label, {known:.3g} nats. "
        f"Lower, they approach one-hot labels; higher, no opinion. T = {t:g} is {FLATTER:g} times that ({kept:.3g} "
        "nats): where students were trained to check it, they learned as well or better from flatter targets.",
        f"At T = 1 this teacher's outputs have {plain:.3g} nats of entropy on average; at T = {t:g} the targets have "
        f"{entropy:.3g}, {entropy / math.log(k):.0%} of ln K = {math.log(k):.3g}.",
        f"τ = {values['tau']:.3g} gives τ/‖f‖ the same mean temperature (mean‖f‖ = {mean:.3g} on this split); the "
        f"targets' entropy then varies over the samples by {spreads[1]:.3g} instead of {spreads[0]:.3g} nats"
        + (", more evenly." if spreads[1] < spreads[0] else ", not more evenly."),
        f"λ = {values['lambda']:.3g} puts the paper's gauge λ²τ²/mean‖f‖² at {gauge:.2g}; {rule}. Of the first "
        f"gradient of a student that knows nothing, fn's soft term is then {share:.0%}.",
        f"alpha = {alpha:g} gives kd's soft term, times T², the same share; the field's usual 0.9 gives it "
        f"{_share(0.9, sizes):.0%}.",
    )
    return Suggestion({name: float(values[name]) for name in ("t", "tau", "lambda")}, alpha, says)


def _share(alpha: float, sizes: Mapping[str, float]) -> float:
    return alpha * sizes["kd"] / (alpha * sizes["kd"] + (1 - alpha) * sizes["hard"])
