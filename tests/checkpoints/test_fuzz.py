"""A part of the fuzz of the gate; `benchmarks/fuzz_gate.py` does thousands of files."""

from __future__ import annotations

from benchmarks.fuzz_gate import fuzz


def test_damaged_files_of_every_format_are_answered_in_a_line_or_with_weights_and_leave_nothing() -> None:
    found = fuzz(30, seed=10)
    assert found["broken"] == []
    assert found["refused"] + found["accepted"] + found.get("killed", 0) == 30 and found["accepted"] >= 3
