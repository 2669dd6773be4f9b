"""Where the server only shows, nothing that writes, runs or names a path is drawn, and nothing of the kind is done."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from fnkd_core.data import add_folder
from fnkd_core.experiments.comparison import create_comparison
from fnkd_core.experiments.plan import plan
from fnkd_core.jobs.control import end_run
from fnkd_core.jobs.run import create_run
from fnkd_core.paths import project_dir
from fnkd_core.training.config import RunConfig
from fnkd_core.ui import guard
from fnkd_core.ui.view import PAGES
from tests.pages.tools import labelled, make_folder, select, sentences

NAMES = [name for pages in PAGES.values() for name in pages]
HARMLESS = ("Reset filters", "Fill the table", "Choose it as student", "Open all ", "Words")
"""How the buttons begin that change what one session sees, and nothing else."""


@pytest.fixture
def furnished(home: Path, tmp_path: Path, opened: Callable[..., AppTest], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with something of each kind that could be added to, started again or deleted."""
    add_folder("animals", str(make_folder(tmp_path / "animals")))
    config = RunConfig(epochs=1).to_dict()
    for status in ("failed", "cancelled"):
        end_run(create_run(config), status, "It broke." if status == "failed" else None)
    create_run(config)  # interrupted
    (create_run(config).path / "spec.json").write_text("{")  # broken
    create_comparison(plan({"dataset": "digits", "epochs": 1}, ["ce"], range(2)), "mine")
    own = home / "checkpoints"
    own.mkdir(exist_ok=True)
    shutil.copy(project_dir() / "checkpoints" / "digits-ce.safetensors", own / "theirs.safetensors")
    card = json.loads((project_dir() / "checkpoints" / "digits-ce.json").read_text())
    found = [{"level": "good", "text": "Fine."}]
    (own / "theirs.json").write_text(json.dumps(card | {"name": "theirs", "findings": found}))
    (home / "stores" / "0123456789abcdef-left-v1").mkdir()  # to be pruned
    monkeypatch.setenv("FNKD_READONLY", "1")
    return home


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    """All files but those of the cache, which can be made anew."""
    found = (path for path in folder.rglob("*") if path.is_file() and folder / "cache" not in path.parents)
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in found}


def acting(app: AppTest) -> list[str]:
    """The controls of the page that take text, numbers or files, and the buttons that are not known as harmless."""
    found = [f"text {e.label}" for kind in (app.text_input, app.text_area) for e in kind if e.label != "Find"]
    found += [f"button {e.label}" for e in app.button if not e.label.startswith(HARMLESS)]
    for kind in ("file_uploader", "form"):
        found += [kind for _ in app.get(kind)]
    return found


@pytest.mark.parametrize("name", NAMES)
def test_a_page_that_only_shows_has_no_control_that_acts(
    opened: Callable[..., AppTest], furnished: Path, name: str
) -> None:
    before = tree(furnished)
    app = opened(name)
    assert not app.exception and all("is broken" in error.value for error in app.error)
    assert guard.READ_ONLY in [info.value for info in app.info]
    assert acting(app) == []
    if name == "runs":
        select(app, 0)
        assert acting(app) == [] and not app.exception
    if name == "compare":
        app = opened(name, what="methods")
        assert acting(app) == [] and not app.exception
    assert tree(furnished) == before


def test_nothing_is_extracted_or_downloaded_where_the_server_only_shows(
    nothing_extracted: None, opened: Callable[..., AppTest], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FNKD_READONLY", "1")
    app = opened("norms")
    command = "fnkd extract --checkpoint {} --dataset digits --split test"
    assert app.code[0].value.splitlines() == [command.format(name) for name in ("digits-teacher", "digits-fn")]
    offer = "from fnkd_core.ui.downloads import offer_download\noffer_download('mnist', 'MNIST')"
    offered = AppTest.from_string(offer).run()
    assert "MNIST is not on this machine yet." in sentences(offered) and acting(offered) == []
    assert not app.exception and not offered.exception and tree(home) == {}


def test_a_control_that_was_drawn_before_does_nothing_any_more(
    opened: Callable[..., AppTest], furnished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FNKD_READONLY")
    app = opened("overview")
    labelled(app.button, "Forget").click()  # type: ignore[attr-defined]
    before = tree(furnished)
    monkeypatch.setenv("FNKD_READONLY", "1")
    app.run()
    assert tree(furnished) == before and not app.exception


def test_a_callback_that_writes_cannot_even_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FNKD_READONLY", "1")
    with pytest.raises(guard.UserError, match="only shows"):
        guard.callback(print)
    guard.callback(print, writes=False)
