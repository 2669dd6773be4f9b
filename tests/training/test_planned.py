"""What a run will ask its teacher of is told before it begins: how much, and how long where that is known."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from fnkd_core.checkpoints.library import find_checkpoint
from fnkd_core.data import dataset_info
from fnkd_core.files import write_json
from fnkd_core.stores.extract import extracted
from fnkd_core.stores.store import Store
from fnkd_core.training.config import RunConfig
from fnkd_core.training.planned import Asking, to_ask
from fnkd_core.training.resolve import look_up
from fnkd_core.wording import duration


def asked(teacher: str = "digits-teacher") -> Asking:
    config = RunConfig(
        method="kd", dataset="digits", teacher=teacher, teacher_outputs="cached", views=4, validation=0.1
    )
    found = to_ask([look_up(config)])
    assert found is not None
    return found


def at_pace(store: Store, **changes: object) -> None:
    write_json(store.path / "manifest.json", store.manifest | changes)


def test_the_time_is_that_of_the_images_at_the_pace_of_the_teacher_s_last_extraction() -> None:
    first = asked()
    assert first.seconds is None and "about" not in str(first)
    store = extracted(find_checkpoint("digits-teacher"), dataset_info("digits"), "test")
    assert asked().seconds == pytest.approx(first.images / store.manifest["samples_per_s"])
    at_pace(store, samples_per_s=10.0)
    assert asked().seconds == pytest.approx(first.images / 10)
    assert f"which takes about {duration(first.images / 10)}, as fast as the teacher is extracted, and" in str(asked())
    later = extracted(find_checkpoint("digits-teacher"), dataset_info("digits"), "train")
    at_pace(later, samples_per_s=20.0)
    assert asked().seconds == pytest.approx(first.images / 20)


def test_nothing_is_said_from_what_another_process_did() -> None:
    at_pace(extracted(find_checkpoint("digits-teacher"), dataset_info("digits"), "test"), samples_per_s=0.0)
    assert asked().seconds is None


def test_nothing_is_said_from_images_of_another_size(monkeypatch: pytest.MonkeyPatch) -> None:
    large, small = (
        SimpleNamespace(manifest={"image": size, "created": created, "samples_per_s": pace})
        for size, created, pace in (([1, 16, 16], "2026-02", 10.0), ([1, 8, 8], "2026-01", 20.0))
    )
    monkeypatch.setattr("fnkd_core.training.planned.stores_of", lambda entry: [large])
    assert asked().seconds is None
    monkeypatch.setattr("fnkd_core.training.planned.stores_of", lambda entry: [large, small])
    assert asked().seconds == pytest.approx(asked().images / 20)


def test_of_several_teachers_all_have_to_be_known_and_each_has_its_own_pace() -> None:
    info = dataset_info("digits")
    at_pace(extracted(find_checkpoint("digits-teacher"), info, "test"), samples_per_s=10.0)
    assert asked("digits-teacher+digits-ce").seconds is None
    at_pace(extracted(find_checkpoint("digits-ce"), info, "test"), samples_per_s=30.0)
    images = asked("digits-teacher").images
    assert asked("digits-teacher+digits-ce").seconds == pytest.approx(images / 10 + images / 30)
