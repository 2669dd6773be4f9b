"""What runs have in common to say, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def parameters_line(parameters: Mapping[str, Any]) -> str:
    """tau 2.5, lambda 3: a method's parameters in a few words; those left open are left out."""
    pairs = ((k, f"{v:.3g}" if isinstance(v, float) else v) for k, v in parameters.items() if v is not None)
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
