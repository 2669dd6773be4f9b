"""One small file of a home that is damaged, whichever and however, is a sentence on the pages and never ends one.

FNKD_DAMAGES=200 tries that many, FNKD_DAMAGES_FROM=1000 others than these.
"""

from __future__ import annotations

import dataclasses
import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from fnkd_core.checkpoints.card import write_card
from fnkd_core.checkpoints.library import find_checkpoint
from fnkd_core.data import add_folder, dataset_info, look_again
from fnkd_core.data.similar import class_groups, save_groups
from fnkd_core.experiments.comparison import create_comparison
from fnkd_core.experiments.plan import plan
from fnkd_core.files import append_json, write_json
from fnkd_core.jobs.control import end_run
from fnkd_core.jobs.run import Run, create_run
from fnkd_core.locks import locked
from fnkd_core.paths import project_dir
from fnkd_core.stores.store import Store
from fnkd_core.training.config import RunConfig
from tests.pages.test_broken import BASE, LINE
from tests.pages.tools import make_folder
from tests.tools import copy_checkpoint

DAMAGES, FIRST = int(os.environ.get("FNKD_DAMAGES", "6")), int(os.environ.get("FNKD_DAMAGES_FROM", "0"))
REACHED = {"epoch": 2, "accuracy": 0.9, "nll": 0.4, "ece": 0.1, "norm": 5.0, "agreement": 0.9}
PAGES = ("overview", "data", "norms", "gallery", "map", "soft_targets", "distill", "classes", "runs", "compare")
STRANGE: tuple[Any, ...] = (
    None, True, 0, -1, 7, 1e300, -2.5, 10**400, float("nan"), float("inf"), "", "x", "weird", "a\0b", "\ud800",
    "~nobody/x", "../..", "é" * 300, "x" * 100_000, [], [[]], [None], ["x"], [1, 2], {}, {"x": 1}, {"": None},
    {"x": {"x": "x"}},
)  # fmt: skip


def finished(config: RunConfig, comparison: str | None = None, accuracy: float = 0.9) -> Run:
    """A run as it lies there once it has ended, with a shipped student in place of its own. accuracy: of last and
    best."""
    run = create_run(config.to_dict(), comparison=comparison)
    for epoch in (1, 2):
        append_json(run.path / "metrics.jsonl", LINE | {"epoch": epoch, "agreement": 0.5, "temperature": 2.0})
    session = {"started": "2026-01-01", "device": "cpu", "precision": "fp32", "threads": 1, "torch": "2"}
    append_json(run.path / "sessions.jsonl", session)
    write_json(run.path / "started.json", {"started": "2026-01-01", "pid": 1})
    reached = REACHED | {"accuracy": accuracy}
    write_json(run.path / "results.json", {"last": reached, "best": reached, "best_on_test": None})
    spec = run.spec
    resolved = {
        "identity": spec["identity"],
        "identities": {"teacher": None, "train": "a", "test": "b"},
        "groups": None,
    }
    resolved |= {"config": spec["config"], "parameters": spec["config"]["parameters"], "precision": "fp32"}
    write_json(run.path / "resolved.json", resolved | {"device": "cpu"})
    for name in ("model", "best"):
        for suffix in (".safetensors", ".json"):
            shutil.copy(project_dir() / "checkpoints" / f"digits-ce{suffix}", run.path / f"{name}{suffix}")
    (run.path / "log.txt").write_text("Finished.\n")
    end_run(run, "finished")
    return run


def test_compare_says_which_run_was_damaged_after_it_had_been_listed_and_how_its_student_is_kept(
    opened: Callable[..., AppTest], home: Path
) -> None:
    cells = plan(BASE, ["ce", "lsd"], range(1), {})
    create_comparison(cells, "mine")
    for cell in cells:
        run = finished(cell.config)

    def done(app: AppTest) -> str:
        return str(app.get("progress")[0].proto.text)

    assert done(opened("compare", what="methods")) == "2 of 2 runs done"
    whole = (run.path / "metrics.jsonl").read_text()
    (run.path / "metrics.jsonl").write_text(whole.replace("{", "", 1))
    app = opened("compare", what="methods")
    assert not app.exception and done(app) == "1 of 2 runs done"
    (error,) = app.error
    assert error.value.startswith("**lsd, seed 0** is broken. metrics.jsonl is damaged")
    assert "delete it: the student stays" in error.value
    (run.path / "metrics.jsonl").unlink()
    app = opened("compare", what="methods")
    assert not app.error and done(app) == "2 of 2 runs done"


@pytest.fixture
def furnished(
    nothing_extracted: None, home: Path, tmp_path: Path, teacher_store: Store, fn_store: Store
) -> Iterator[Path]:
    """A home with one of everything that a page reads, a run at work among it."""
    card = copy_checkpoint(home, "digits-ce", "theirs", findings=[{"level": "good", "text": "imported"}])
    write_card(home / "checkpoints" / "theirs.json", dataclasses.replace(card, sha256=""))
    assert find_checkpoint("theirs").card == card, "its weights are summed, and the sum is kept"
    add_folder("pets", str(make_folder(tmp_path / "pets")), "skip")
    info = dataset_info("digits")
    save_groups(info, class_groups(info, "none"))
    for store in (teacher_store, fn_store):
        shutil.copytree(store.path, home / "stores" / store.path.name)
    base = {"dataset": "digits", "epochs": 2, "teacher": "digits-teacher"}
    cells = plan(base, ["ce", "kd"], range(3), {"T": [2.0, 4.0]})
    comparison = create_comparison(cells, "mine")
    for cell in cells:
        finished(cell.config, comparison.id)
    end_run(create_run(RunConfig(epochs=3).to_dict()), "failed", "It broke.", "a traceback")
    alive = create_run(RunConfig(epochs=4, name="alive").to_dict())
    write_json(alive.path / "started.json", {"started": "2026-01-01", "pid": 1})
    progress = {"epoch": 1, "epochs": 4, "step": 3, "steps": 9, "elapsed_s": 1.0, "eta_s": 9.0, "samples_per_s": 99.0}
    write_json(alive.path / "progress.json", progress)
    with locked(alive.lock):
        yield home


def small_files(home: Path) -> list[Path]:
    """What is ours to read; not weights, whose sum is told before they are used, nor locks, nor logs."""
    left_out = {".safetensors", ".lock", ".txt"}
    files = (path for path in home.rglob("*") if path.is_file() and path.suffix not in left_out)
    return sorted(path for path in files if path.name != "lock" and not path.name.startswith("."))


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where in a JSON value something stands, the whole of it first."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(place for key, item in items for place in places(item, (*at, key)))]


def changed(value: Any, place: tuple[Any, ...], new: Any) -> Any:
    if not place:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[place[0]] = changed(value[place[0]], place[1:], new)
    return copy


def another_value(path: Path, chance: random.Random) -> str:
    """Something strange in place of a part of a JSON file, or of a line of one."""
    lines = path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
    number = chance.randrange(len(lines))
    value = json.loads(lines[number])
    place, new = chance.choice(places(value)), chance.choice(STRANGE)
    lines[number] = json.dumps(changed(value, place, new))
    path.write_text("\n".join(lines) + "\n")
    return f"{new!r:.40} at {place}"


def without_a_key(path: Path, chance: random.Random) -> str:
    value = json.loads(path.read_text().splitlines()[0] if path.suffix == ".jsonl" else path.read_text())
    place = chance.choice([p for p in places(value) if p and isinstance(p[-1], str)] or [()])
    inner = value
    for key in place[:-1]:
        inner = inner[key]
    if place:
        del inner[place[-1]]
    path.write_text(json.dumps(value) + "\n")
    return f"without {place}"


def another_array(path: Path, chance: random.Random) -> str:
    """An array of another kind or shape, or with other numbers."""
    array = np.load(path)
    new = chance.choice([array[:-1], array.astype(np.float64), array[None], array * 0 - 1, array[::-1], array[:0]])
    np.save(path, new)
    return f"{new.dtype} {new.shape}"


def cut(path: Path, chance: random.Random) -> str:
    size = chance.randrange(max(path.stat().st_size, 1))
    os.truncate(path, size)
    return f"cut to {size} bytes"


def other_bytes(path: Path, chance: random.Random) -> str:
    data = bytearray(path.read_bytes())
    count = chance.choice([1, 3, 50])
    for _ in range(count if data else 0):
        data[chance.randrange(len(data))] = chance.randrange(256)
    path.write_bytes(data)
    return f"{count} other bytes"


def replaced(path: Path, chance: random.Random) -> str:
    """Something else altogether."""
    content = {
        "nothing": b"",
        "deep": b"[" * 100_000,
        "deep objects": b'{"a":' * 100_000,
        "rather deep": b"[" * 900 + b"]" * 900,
        "null lines": b"null\n" * 3,
        "null": b"null",
        "an object": b"{}",
        "a list": b"[]",
        "bytes": bytes(range(256)),
        "a number": b"1" * 5000,
        "UTF-16": '{"a": 1}'.encode("utf-16"),
        "half a character": b'{"a": "\\ud800"}',
    }
    name = chance.choice([*content, "absent", "a folder", "a pipe", "a link to nowhere"])
    path.unlink()
    if name in content:
        path.write_bytes(content[name])
    elif name == "a folder":
        path.mkdir()
    elif name == "a pipe":
        os.mkfifo(path)
    elif name == "a link to nowhere":
        path.symlink_to(path.with_name("nowhere"))
    return name


def damage(path: Path, chance: random.Random) -> str:
    """Damage the file, and say how."""
    of_kind = {
        ".json": [another_value, another_value, another_value, without_a_key],
        ".jsonl": [another_value, another_value, without_a_key],
        ".npy": [another_array, another_array, cut],
    }
    ways = [cut, other_bytes, replaced, *of_kind.get(path.suffix, [])]
    return chance.choice(ways)(path, chance)


def visited(opened: Callable[..., AppTest]) -> Iterator[tuple[str, AppTest]]:
    """Every page as a visitor sees it who goes from one to the next, and the comparison of methods."""
    st.cache_data.clear()
    st.cache_resource.clear()
    look_again()
    app = opened("overview")
    yield "overview", app
    for page in PAGES[1:]:
        yield page, app.switch_page(f"pages/{page}.py").run()
    yield "methods over seeds", opened("compare", what="methods")


def test_a_home_that_is_whole_is_shown_without_a_problem(opened: Callable[..., AppTest], furnished: Path) -> None:
    for page, app in visited(opened):
        assert not app.exception and not app.error, f"{page} shows {[e.value for e in (*app.exception, *app.error)]}"


@pytest.mark.parametrize("seed", range(FIRST, FIRST + DAMAGES))
def test_a_damaged_file_ends_no_page(opened: Callable[..., AppTest], furnished: Path, seed: int) -> None:
    chance = random.Random(seed)
    files = small_files(furnished)
    # Of each kind of file as often, however many there are of it.
    name = chance.choice(sorted({path.name for path in files}))
    path = chance.choice([path for path in files if path.name == name])
    what = f"seed {seed}, {path.relative_to(furnished)}: {damage(path, chance)}"
    page = "overview"
    try:
        for page, app in visited(opened):
            said = [f"{e.message}\n{chr(10).join(e.stack_trace)}" for e in app.exception]
            assert not said, f"{what}; {page} shows {said}"
            assert app.title or app.error, f"{what}; {page} shows nothing"
    except Exception as error:
        raise AssertionError(f"{what}; after {page}: {error!r}") from error
