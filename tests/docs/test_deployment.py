"""What the container's file copies is all that the dashboard needs; it starts where it was said who may come in."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from fnkd_core.paths import project_dir
from tests.docs.pages import blocks
from tests.serving import closed_port
from tests.waiting import until_it_serves

FOLDER = project_dir() / "docs" / "deploy"
LINES = (FOLDER / "Containerfile").read_text().splitlines()


def arguments(word: str) -> list[str]:
    """What follows each of these instructions."""
    return [line.removeprefix(f"{word} ") for line in LINES if line.startswith(f"{word} ")]


def ignored(path: str) -> bool:
    """Whether the builder never sees it."""
    kept = [line[1:] for line in (FOLDER / "Containerfile.dockerignore").read_text().split() if line.startswith("!")]
    name = path.rstrip("/")
    return not any(Path(name).match(pattern) or pattern.startswith(f"{name}/") for pattern in kept)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the file copies, as the image's would be."""
    root = tmp_path_factory.mktemp("image")
    for copied in arguments("COPY"):
        source, target = copied.split()
        assert (project_dir() / source).exists(), source
        if source.endswith("/"):
            skipped = shutil.ignore_patterns("__pycache__")
            shutil.copytree(project_dir() / source, root / target, ignore=skipped)
        else:
            (root / target).mkdir(parents=True, exist_ok=True)
            shutil.copy(project_dir() / source, root / target)
    return root


def environment(image: Path, home: Path, **more: str) -> dict[str, str]:
    """Of a process in the image: what the file sets, with the image's folder and a home here."""
    pairs = dict(pair.split("=", 1) for line in arguments("ENV") for pair in line.split())
    there = {"PYTHONPATH": str(image), "FNKD_HOME": str(home)}
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FNKD_", "STREAMLIT_"))}
    return kept | pairs | there | more


@contextlib.contextmanager
def started(image: Path, home: Path, **more: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    (command,) = (json.loads(line) for line in arguments("CMD"))
    port = closed_port()
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, *command[1:], "--port", str(port)],
            cwd=image, env=environment(image, home, **more), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        yield process, port
    finally:
        process.kill()
        process.wait(60)


def test_what_is_copied_serves_the_pages_where_somebody_said_that_all_may_come_in(image: Path, home: Path) -> None:
    with started(image, home, FNKD_OPEN="1") as (process, port):
        until_it_serves(process, port, home / "log")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/app/static/icon.png") as answer:
            assert answer.status == 200


def test_it_does_not_start_where_nobody_said_who_may_come_in(image: Path, home: Path) -> None:
    with started(image, home) as (process, _):
        assert process.wait(120) != 0
    assert "FNKD_OPEN=1" in (home / "log").read_text()


def test_nothing_that_is_copied_is_hidden_from_the_builder_and_nothing_private_is_shown() -> None:
    sources = [copied.split()[0] for copied in arguments("COPY")]
    assert [source for source in sources if ignored(source)] == []
    for private in (
        "runs",
        "stores",
        "data",
        ".git",
        ".venv",
        ".streamlit/secrets.toml",
        "checkpoints/mine.safetensors",
    ):
        assert ignored(private)


def test_the_page_builds_and_runs_it_as_the_file_says() -> None:
    said = [line.strip("# ").split("  ")[0] for line in LINES[:2]]
    shown = "\n".join(text for _, text in blocks("deployment.md", "bash"))
    assert all(command in shown for command in said)
    assert re.search(r"-v fnkd:(\S+)", shown)[1] == arguments("VOLUME")[0]  # type: ignore[index]
