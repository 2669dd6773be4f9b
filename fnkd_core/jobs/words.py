"""What runs have in common to say, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fnkd_core.kd.policies import PLAIN
from fnkd_core.wording import duration

LITTLE = 0.01
"""Below this share of the gradients a soft term hardly does anything."""
UNRELATED = 0.2
"""Two gradients whose cosine is nearer to 0 have little to do with each other."""


def parameters_line(parameters: Mapping[str, Any]) -> str:
    """tau 2.5, lambda 3: a method's parameters in a few words; those left open are left out, and policies that are
    none."""
    said = {k: v for k, v in parameters.items() if v is not None and (k, v) not in PLAIN.items()}
    pairs = ((k, f"{v:.3g}" if isinstance(v, float) else v) for k, v in said.items())
    return ", ".join(f"{k} {v}" for k, v in pairs)


def results_line(results: Mapping[str, Any]) -> str:
    """What a finished student reached on the test split, last epoch first."""
    last, best, flattering = (results.get(key) for key in ("last", "best", "best_on_test"))
    if not last:
        return ""
    text = f"Test accuracy {last['accuracy']:.2%} at the last epoch"
    if best:
        return f"{text}, {best['accuracy']:.2%} at epoch {best['epoch']}, which was best on validation."
    if flattering:
        return f"{text}. Nothing was held out; the epoch best on the test split had {flattering['accuracy']:.2%}."
    return f"{text}."


def soft_term_line(metrics: Sequence[Mapping[str, Any]]) -> str:
    """Whether a run's soft term does anything, in numbers: its share of the gradients that the two terms ask for."""
    measured = [line for line in metrics if line.get("gradient_hard") is not None]
    if not measured:
        return "The gradients of its two terms were not measured."
    now = measured[-1]
    share, cosine = now.get("soft_share"), now.get("gradient_cosine")
    if now.get("gradient_soft") is None:
        return "This method has no soft term; all of the gradient is the hard term's."
    if share is None:
        return f"Neither term had a gradient in epoch {now['epoch']}."
    if share == 0:
        return f"No: in epoch {now['epoch']} its gradient was 0. Give it a weight."
    text = f"{'Hardly' if share < LITTLE else 'Yes'}: in epoch {now['epoch']} its gradient had a norm of "
    text += f"{now['gradient_soft']:.3g}, the hard term's {now['gradient_hard']:.3g}, so that {share:.1%} of the two "
    text += "together were its"
    if len(measured) > 1 and measured[0].get("soft_share") is not None:
        text += f" ({measured[0]['soft_share']:.1%} in epoch {measured[0]['epoch']})"
    if cosine is not None:
        text += f"; the two pull {_direction(cosine)} (cosine {cosine:.2f})"
    return f"{text}. A larger weight would let it do more." if share < LITTLE else f"{text}."


def _direction(cosine: float) -> str:
    if abs(cosine) < UNRELATED:
        return "in unrelated directions"
    return "the same way" if cosine > 0 else "against each other"


def step_line(step: Mapping[str, Any]) -> str:
    """epoch 3, step 40: loss 1.2, 812 samples/s, 0.61 GB: where a run was when it last wrote a line of steps."""
    text = f"epoch {step['epoch']}, step {step['step']}: loss {step['loss']:.4f} (hard {step['hard']:.4f}, soft "
    text += f"{step['soft']:.4f}), learning rate {step['lr']:.3g}, {step['samples_per_s']:,.0f} samples/s"
    names = {"memory": "GB", "device_memory_peak": "GB on the device at most"}
    return ", ".join([text, *(f"{step[k] / 1e9:.2f} {v}" for k, v in names.items() if step.get(k) is not None)])


def share_of(progress: Mapping[str, Any]) -> float:
    """How much of a run is done, by its `progress`."""
    share: float = (progress["epoch"] - 1 + progress["step"] / progress["steps"]) / progress["epochs"]
    return min(max(share, 0.0), 1.0)


def time_line(asked_s: float, other_s: float, *, at_most: bool = False, devices: int = 1) -> str:
    """How long training will take, of which so long teachers are asked first.

    at_most: said of several runs, where the one that was timed costs the most. devices: that share a run; it was timed
    on one.
    """
    text = f"{'At most about' if at_most else 'About'} {duration(asked_s + other_s)}"
    asked = f", of which the teacher is asked for {duration(asked_s)}" if asked_s else ""
    shared = f" That is on one device; what {devices} save is not measured." if devices > 1 else ""
    return f"{text}{asked}.{shared}"
