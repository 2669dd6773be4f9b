"""What is read off a sample's outputs: norm, confidence, margin, entropy; and sums over samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fnkd_core.kd.outputs import Outputs, at_least_float32

if TYPE_CHECKING:
    from torch import Tensor


def sample_statistics(outputs: Outputs, labels: Tensor) -> dict[str, Tensor]:
    """A column per quantity, each (N,), at T = 1. labels: (N,) int64, < K.

    prediction: argmax. correct: prediction == label. norm: ||f||. confidence: max p. margin: largest p
    minus second largest. entropy, nll = -log p_label: nats. p_label. max_logit. logit_std over classes.
    """
    logits = at_least_float32(outputs.logits)
    log_p = logits.log_softmax(1)
    p = log_p.exp()
    largest = p.topk(min(2, p.shape[1]), dim=1).values
    log_p_label = log_p.gather(1, labels[:, None])[:, 0]
    prediction = logits.argmax(1)
    return {
        "prediction": prediction,
        "correct": prediction == labels,
        "norm": outputs.norms,
        "confidence": largest[:, 0],
        "margin": largest[:, 0] - largest[:, -1] if p.shape[1] > 1 else largest[:, 0],
        "entropy": -(p * log_p.clamp(min=-1e4)).sum(1),
        "nll": -log_p_label,
        "p_label": log_p_label.exp(),
        "max_logit": logits.amax(1),
        "logit_std": logits.std(dim=1, correction=0),
    }


def expected_calibration_error(confidence: Tensor, correct: Tensor, num_bins: int = 15) -> float:
    """Expected calibration error in [0, 1]: mean |accuracy - confidence| over equal-width bins.

    confidence: (N,) in [0, 1]; correct: (N,) bool. Bins are (i/n, (i+1)/n] (Guo et al., ICML 2017).
    """
    confidence = confidence.double()
    index = ((confidence * num_bins).ceil().long() - 1).clamp(0, num_bins - 1)
    gap = confidence.new_zeros(num_bins).index_add_(0, index, correct.double() - confidence)
    return float(gap.abs().sum() / max(len(confidence), 1))
