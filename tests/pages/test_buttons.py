"""Every button of every page is pressed, and none ends in an exception."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import types
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
from streamlit.testing.v1 import AppTest

from fnkd_core.data import add_folder, dataset_info
from fnkd_core.data.similar import save_groups
from fnkd_core.experiments.comparison import create_comparison
from fnkd_core.experiments.plan import plan
from fnkd_core.jobs.control import end_run
from fnkd_core.jobs.run import Run, create_run
from fnkd_core.paths import project_dir
from fnkd_core.training.config import RunConfig
from fnkd_core.ui.view import PAGES
from tests.pages.test_broken import LINE
from tests.pages.tools import labelled, link_of, make_folder, press, select, sentences

NAMES = [name for pages in PAGES.values() for name in pages]
FILTERS = {
    "cls": ("Label", "3"), "predicted": ("Prediction", "3"), "outcome": ("Outcome", "right"),
    "other": ("Other model", "right"),
}  # fmt: skip
"""Name in the URL -> label and a value."""
URL = {name: value for name, (_, value) in FILTERS.items()}
RANGES = {"norm": "11~15", "confidence": "0.9~0.99", "entropy": "0.05~1"}


def run_of(config: Mapping[str, Any], status: str | None) -> Run:
    """A run that ended like this after an epoch; its student is the shipped one. None: it was interrupted."""
    run = create_run(config)
    (run.path / "metrics.jsonl").write_text(json.dumps(LINE) + "\n")
    if status == "finished":
        for name in ("model", "best"):
            for suffix in (".safetensors", ".json"):
                shutil.copy(project_dir() / "checkpoints" / f"digits-ce{suffix}", run.path / f"{name}{suffix}")
    if status:
        end_run(run, status, "It broke.", "a traceback")
    return run


@pytest.fixture
def furnished(home: Path, opened: Callable[..., AppTest], monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home in which every page has something to press, and in which nothing is trained or downloaded."""
    (home / "checkpoints").mkdir()
    for suffix in (".safetensors", ".json"):
        shutil.copy(project_dir() / "checkpoints" / f"digits-kd{suffix}", home / "checkpoints" / f"mine{suffix}")
    card = home / "checkpoints" / "mine.json"
    found = {"level": "good", "text": "Imported from theirs.pth.", "check": "import"}
    card.write_text(json.dumps(json.loads(card.read_text()) | {"name": "mine", "findings": [found]}))
    add_folder("animals", str(make_folder(home / "animals")))
    save_groups(dataset_info("digits"), ("a", "a", *[None] * 8))
    cells = plan({"dataset": "digits", "epochs": 1}, ["ce", "lsd"], range(1), {})
    for cell in cells:
        run_of(cell.config.to_dict(), "finished")
    for status in (None, "failed", "cancelled"):
        run_of(RunConfig(epochs=1, name=str(status)).to_dict(), status)
    (create_run(RunConfig(epochs=1).to_dict()).path / "spec.json").write_text("{")
    create_comparison(cells, "done")
    create_comparison(plan({"dataset": "digits", "epochs": 1}, ["he"], range(1), {}), "open")
    # A process that is started does nothing: what happens in it is not the page's.
    started = types.SimpleNamespace(Popen=Started, DEVNULL=subprocess.DEVNULL, STDOUT=subprocess.STDOUT)
    monkeypatch.setattr("fnkd_core.jobs.control.subprocess", started)
    monkeypatch.setattr("fnkd_core.training.spread.DRAWN", 20)
    yield home
    for descriptor in Started.owned:
        os.close(descriptor)
    Started.owned.clear()


class Started:
    """Owns what it was started to own, and does nothing."""

    owned: ClassVar[list[int]] = []

    def __init__(self, *_: object, pass_fds: tuple[int, ...], **__: object) -> None:
        self.owned += [os.dup(descriptor) for descriptor in pass_fds]

    def poll(self) -> int:
        return 0


def nothing(app: AppTest) -> None: ...


def rows(*numbers: int) -> Callable[[AppTest], None]:
    return lambda app: select(app, *numbers)


def chosen(*names: str, slider: bool = False) -> Callable[[AppTest], None]:
    def choose(app: AppTest) -> None:
        for name in names:
            labelled(app.selectbox, FILTERS[name][0]).select(FILTERS[name][1])
        if slider:
            labelled(app.slider, "Norm ‖f‖").set_value((12.0, 14.0))
        app.run()

    return choose


SCENES: dict[str, tuple[str, dict[str, str], Callable[[AppTest], None]]] = {
    **{name: (name, {}, nothing) for name in NAMES},
    **{f"{name}, nothing fits": (name, {"dataset": "animals"}, nothing) for name in ("overview", "norms", "compare")},
    "overview, to download": ("overview", {"dataset": "cub200"}, nothing),
    "compare, a comparison that is done": ("compare", {"what": "methods", "comparison": "done", "new": "{}"}, nothing),
    "compare, one that is open": ("compare", {"what": "methods", "comparison": "open", "new": "{}"}, nothing),
    **{f"runs, row {i}": ("runs", {}, rows(i)) for i in range(6)},
    "runs, several": ("runs", {}, rows(0, 1, 2)),
    "gallery, sorted": ("gallery", {"show": "sorted"}, nothing),
    "gallery, filtered": ("gallery", URL | RANGES, nothing),
    "gallery, nothing passes": ("gallery", {"norm": "0.1~0.2"}, nothing),
}
EXPECTED = {
    "overview": {"Import", "Add", "Forget", "Export", "Delete for good"},
    "soft_targets": {"Download as CSV"},
    "compare": {"Open all"},
    "classes": {"Fill the table", "Save", "Delete for good", "Download"},
    "distill": {"Start", "Delete for good"},
    "runs, several": {"Delete for good"},
    "compare, a comparison that is done": {"Start", "Delete for good"},
    "compare, one that is open": {"Start", "Go on"},
    "gallery, filtered": {"Reset filters"},
    "gallery, nothing passes": {"Reset filters"},
}
"""Labels, or their beginnings, that must be among the buttons of a scene."""


@pytest.mark.parametrize("scene", SCENES)
def test_every_button_of_a_page_can_be_pressed(
    opened: Callable[..., AppTest], furnished: Path, tmp_path: Path, scene: str
) -> None:
    name, query, prepare = SCENES[scene]
    if "comparison" in query:
        query = query | {
            "comparison": next(p.name for p in (furnished / "comparisons").glob(query["comparison"] + "*"))
        }
    shutil.copytree(furnished, tmp_path / "before")

    def fresh() -> AppTest:
        app = opened(name, **query)
        prepare(app)
        assert not app.exception
        return app

    app, pressed = fresh(), set()
    number = len([*app.button, *app.get("download_button")])
    for i in range(number):
        if i:
            shutil.rmtree(furnished)
            shutil.copytree(tmp_path / "before", furnished)
            app = fresh()
        button = [*app.button, *app.get("download_button")][i]
        before = [warning.value for warning in app.warning]
        pressed.add(button.label)
        if not button.disabled:
            button.click()
            app.run()
            said = [warning.value for warning in app.warning if warning.value not in before]
            assert not app.exception and not said, f"{button.label} ends in an exception"
    for label in EXPECTED.get(scene, ()):
        assert any(one.startswith(label) for one in pressed), f"{label} is not among {sorted(pressed)}"


FILTERED: dict[str, tuple[dict[str, str], Callable[[AppTest], None]]] = {
    **{f"{name} in the URL": ({name: value}, nothing) for name, value in (URL | RANGES).items()},
    **{name: ({}, chosen(name)) for name in FILTERS},
    "the slider": ({}, chosen(slider=True)),
    "the slider after a plot": ({"norm": RANGES["norm"]}, chosen(slider=True)),
    "all in the URL": (URL | RANGES, nothing),
    "all": (RANGES, chosen(*FILTERS, slider=True)),
    "none passes": ({"norm": "0.1~0.2", "outcome": "wrong"}, nothing),
}


@pytest.mark.parametrize("filtered", FILTERED)
def test_reset_filters_shows_all_samples_again(opened: Callable[..., AppTest], furnished: Path, filtered: str) -> None:
    query, prepare = FILTERED[filtered]
    app = opened("gallery", **query)
    prepare(app)
    assert "360 of 360 samples" not in sentences(app)
    press(app, "Reset filters")
    assert not app.exception and not app.warning and "360 of 360 samples." in sentences(app)
    assert [labelled(app.selectbox, label).value for label, _ in FILTERS.values()] == ["all"] * 4
    slider = labelled(app.slider, "Norm ‖f‖")
    assert slider.value == (slider.min, slider.max)
    assert not set(link_of(app)) & {*URL, *RANGES}
    assert not any(button.label == "Reset filters" for button in app.button)
