"""What the tests of pages share."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import numpy as np
import pytest
from PIL import Image
from streamlit.runtime.pages_manager import PagesManager
from streamlit.testing.v1 import AppTest

from fnkd_core.kd.objective import parameters
from fnkd_core.paths import project_dir
from fnkd_core.stores.store import Store
from fnkd_core.ui.markdown import JOINER


class Served(PagesManager):
    """The pages as a server knows them once `app.py` has run.

    AppTest would run a page's file alone first, as a server does for its very first request, and what was pressed
    would be lost with that run.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        PagesManager.uses_pages_directory = False


@pytest.fixture
def nothing_extracted() -> None:
    """For a test in whose home no model's outputs are to be."""


@pytest.fixture
def opened(
    home: Path, _stores: dict[str, Store], request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., AppTest]:
    """A page, opened as by its URL; the outputs of the shipped models are there, which take longer than most tests."""
    if "nothing_extracted" not in request.fixturenames:
        shutil.copytree(_stores["teacher"].path.parent, home / "stores", dirs_exist_ok=True)
    monkeypatch.setattr("streamlit.testing.v1.app_test.PagesManager", Served)
    # Ours come with their pages; looking through every installed package for others takes most of a page's time.
    monkeypatch.setattr("streamlit.components.v2.manifest_scanner.scan_component_manifests", list)

    def open_page(name: str, **query: str) -> AppTest:
        app = AppTest.from_file(str(project_dir() / "app.py"), default_timeout=300)
        for key, value in query.items():
            app.query_params[key] = value
        if name != "overview":
            app.switch_page(f"pages/{name}.py")
        return app.run()

    return open_page


def link_of(app: AppTest) -> dict[str, str]:
    """The query of the address as the page has last written it."""
    return dict(parse_qsl(app.session_state["_view_written"]))


def sentences(app: AppTest) -> str:
    """All that the page says in words."""
    kinds = (app.markdown, app.caption, app.info, app.error, app.warning, app.success, app.subheader, app.header)
    return "\n".join(shown(str(element.value)) for kind in kinds for element in kind)


def shown(markdown: str) -> str:
    """Markdown without what makes the text of others inert in it."""
    return re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", markdown).replace(JOINER, "")


def make_folder(root: Path) -> Path:
    """Two classes of six real little PNG files each, without splits."""
    generator = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (root / name).mkdir(parents=True)
        for i in range(6):
            pixels = generator.integers(0, 255, (12, 12, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{i}.png")
    return root


def labelled(elements: object, label: str) -> object:
    return next(e for e in elements if e.label == label)  # type: ignore[attr-defined]


def counted(app: AppTest) -> dict[str, str]:
    return {metric.label: metric.value for metric in app.metric}


def select(app: AppTest, *rows: int) -> None:
    """Selects these rows of the page's first table, and nothing else in it."""
    app.session_state[app.dataframe[0].key] = {"selection": {"rows": list(rows), "columns": [], "cells": []}}
    app.run()


def press(app: AppTest, label: str) -> None:
    """Presses a button, and stays on the page that it leads to."""
    labelled(app.button, label).click()  # type: ignore[attr-defined]
    app.run()
    app._page_hash = ""


def fields(app: AppTest, method: str) -> dict[str, Any]:
    """The method's parameters as the form on Distill shows them."""
    if labelled(app.selectbox, "Method").value != method:
        labelled(app.selectbox, "Method").select(method)
        app.run()
    assert not app.exception and not app.error and not app.warning
    names = {p.name for p in parameters(method)}
    kinds = (app.number_input, app.selectbox, app.toggle, app.text_input)
    return {e.label: e.value for kind in kinds for e in kind if e.label in names}
