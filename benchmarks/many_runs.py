"""How long each page takes where there are very many runs.

    python benchmarks/many_runs.py [--runs 10000] [--times 5] [--json]

Makes a home of its own with so many finished runs: the files of one that was trained, each with a name, a seed and an
identity of its own; half of them single, half in comparisons of a hundred. Weights are links, since no page reads them
all. Every page is then opened and run again a few times through Streamlit's AppTest, the data being extracted already
and the index of the runs made. Prints the first opening, the median and the slowest of the others, and the processor's
time of the median, in seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from streamlit.runtime.pages_manager import PagesManager
from streamlit.testing.v1 import AppTest

from fnkd_core.experiments.comparison import create_comparison
from fnkd_core.experiments.plan import Cell, plan
from fnkd_core.jobs.run import Run, create_run
from fnkd_core.jobs.worker import work
from fnkd_core.paths import project_dir, runs_dir
from fnkd_core.training.config import RunConfig
from fnkd_core.training.resolve import Memo, look_up

METHODS = ("ce", "lsd", "kd", "fn")
BASE: dict[str, Any] = {"dataset": "digits", "teacher": "digits-teacher", "epochs": 3, "threads": 1}
PER_COMPARISON = 100
COPIED = ("metrics.jsonl", "sessions.jsonl", "results.json", "started.json", "end.json", "log.txt", "submitted")
LINKED = ("model.safetensors", "best.safetensors")
PAGES: dict[str, tuple[str, dict[str, str]]] = {
    "Overview": ("overview", {}),
    "Data": ("data", {}),
    "Norms": ("norms", {}),
    "Gallery": ("gallery", {}),
    "Map": ("map", {}),
    "Soft targets": ("soft_targets", {}),
    "Compare, two models": ("compare", {}),
    "Compare, methods": ("compare", {"what": "methods"}),
    "Similar classes": ("classes", {}),
    "Distill": ("distill", {}),
    "Runs": ("runs", {}),
}


class Served(PagesManager):
    """The pages as a server knows them once `app.py` has run."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        PagesManager.uses_pages_directory = False


def trained() -> Run:
    """One small run that was really trained."""
    run = create_run(RunConfig(**BASE, method="fn").to_dict())
    assert work(run.path) == 0
    return run


def cells_of(number: int) -> list[Cell]:
    """The cells of a comparison, which has seeds of its own."""
    seeds = PER_COMPARISON // len(METHODS)
    return plan(BASE, METHODS, range(number * seeds, (number + 1) * seeds))


def copy(source: Run, number: int, config: RunConfig, memo: Memo, comparison: str | None) -> None:
    """The source's files as another run of this configuration."""
    day, second = divmod(number, 86_400)
    clock = f"{second // 3600:02d}{second // 60 % 60:02d}{second % 60:02d}"
    folder = runs_dir() / f"{20250101 + day}-{clock}-{config.method}-{number % 65536:04x}"
    folder.mkdir()
    identity = look_up(config, memo).identity
    spec = source.spec | {"id": folder.name, "name": config.name, "comparison": comparison, "identity": identity}
    write(folder / "spec.json", spec | {"config": config.to_dict()})
    resolved = json.loads((source.path / "resolved.json").read_text())
    parameters = dict(config.parameters)
    write(
        folder / "resolved.json",
        resolved | {"identity": identity, "config": config.to_dict(), "parameters": parameters},
    )
    for name in COPIED:
        if (source.path / name).exists():
            (folder / name).write_bytes((source.path / name).read_bytes())
    for name in LINKED:
        os.link(source.path / name, folder / name)
        card = json.loads((source.path / name).with_suffix(".json").read_text())
        card |= {"name": config.name or folder.name, "method": config.method, "seed": config.seed}
        write((folder / name).with_suffix(".json"), card)


def write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2))


def fill(count: int) -> None:
    """So many finished runs."""
    source, memo, made = trained(), Memo(), 1
    for number in range(count // 2 // PER_COMPARISON):
        cells = cells_of(number)
        name = create_comparison(cells, f"matrix{number}").id
        for cell in cells:
            copy(source, made, cell.config, memo, name)
            made += 1
    while made < count:
        method = METHODS[made % len(METHODS)]
        config = RunConfig(**BASE, method=method, seed=1_000_000 + made, name=f"{method}-{made}")
        copy(source, made, config, memo, None)
        made += 1


def seconds_of(name: str, query: dict[str, str], times: int) -> dict[str, Any]:
    """What a page takes: to open, and then each time that it is run."""

    def timed() -> tuple[float, float]:
        begun, worked = time.perf_counter(), time.process_time()
        app.run()
        taken = time.perf_counter() - begun, time.process_time() - worked
        assert not app.exception and not app.error, [e.value for e in (*app.exception, *app.error)]
        return taken

    app = AppTest.from_file(str(project_dir() / "app.py"), default_timeout=600)
    for key, value in query.items():
        app.query_params[key] = value
    if name != "overview":
        app._page_hash = ""
        app.switch_page(f"pages/{name}.py")
    first, _ = timed()
    later, worked = zip(*(timed() for _ in range(times)), strict=True)
    found = {"first_s": first, "median_s": statistics.median(later), "slowest_s": max(later)}
    return found | {"processor_s": statistics.median(worked)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000, help="how many there are (10000)")
    parser.add_argument("--times", type=int, default=5, help="how often each page is run again (5)")
    parser.add_argument("--home", type=Path, help="keep the runs here, and use those that are there")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    a = parser.parse_args()
    import streamlit.testing.v1.app_test as app_test

    vars(app_test)["PagesManager"] = Served
    with tempfile.TemporaryDirectory() as temporary:
        os.environ["FNKD_HOME"] = str(a.home or temporary)
        if not runs_dir().is_dir():
            fill(a.runs)
        count = sum(1 for _ in runs_dir().iterdir())
        seconds_of("norms", {}, 1)  # what has to be extracted is, and what is imported late
        indexed = seconds_of("runs", {}, 1)["first_s"]
        seconds_of("compare", {"what": "methods"}, 1)  # torch is imported, and a step of the form's run is timed
        found = {title: seconds_of(name, query, a.times) for title, (name, query) in PAGES.items()}
        print(f"{count:,} runs. Seconds to open a page; of {a.times} more runs of it the median, the slowest, and what")
        print(f"of the median a processor worked. The index of the runs was made anew before, in {indexed:.1f} s.")
        for title, row in found.items():
            print(f"{title:<22}" + "".join(f"{seconds:>8.2f}" for seconds in row.values()))
        if a.json:
            print(json.dumps({"runs": count, "index_s": indexed, "pages": found}))


if __name__ == "__main__":
    main()
