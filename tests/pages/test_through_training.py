"""Norms through training: what a run has kept is shown as it is, and where nothing was, the ways to some are said."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from fnkd_core.analysis.dynamics import by_sample, memory, norms_by_epoch
from fnkd_core.data.selections import find_selection
from fnkd_core.jobs.run import Run, create_run
from fnkd_core.jobs.worker import work
from fnkd_core.stores.epochs import KeptEpochs, kept_epochs
from fnkd_core.training.config import RunConfig
from fnkd_core.ui.selection import drawn_round
from fnkd_core.ui.through_training import ranked
from tests.pages.tools import labelled, link_of, press, sentences

SETTINGS: dict[str, Any] = {
    "method": "ce", "epochs": 3, "batch_size": 43, "per_class": 13, "threads": 1, "label_noise": 0.2, "lr": 0.2,
    "name": "kept", "keep_epochs": True,
}  # fmt: skip


@pytest.fixture(scope="module")
def _trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FNKD_HOME", str(tmp_path_factory.mktemp("trained")))
        run = create_run(RunConfig(**SETTINGS).to_dict())
        assert work(run.path, queue=False) == 0
        return run.path


@pytest.fixture
def run(_trained: Path, home: Path) -> Run:
    """A run of this home that kept its three epochs."""
    return Run(Path(shutil.copytree(_trained, home / "runs" / _trained.name)))


@pytest.fixture
def student(run: Run) -> str:
    """The name of its student."""
    return f"kept-{run.id.rpartition('-')[2]}"


def of(run: Run) -> KeptEpochs:
    kept = kept_epochs(run.path)
    assert kept is not None
    return kept


def spec(app: AppTest, key: str) -> dict[str, Any]:
    chart = next(e for e in app.get("plotly_chart") if e.proto.id.endswith(f"-{key}"))
    return dict(json.loads(chart.proto.spec))


def numbers(values: Any) -> np.ndarray:
    """What a figure's JSON holds as base64, or as a list."""
    import base64

    if isinstance(values, dict):
        return np.frombuffer(base64.b64decode(values["bdata"]), values["dtype"])
    return np.array(values)


def test_a_run_that_kept_its_epochs_shows_its_norms_its_data_map_and_what_it_forgot(
    opened: Callable[..., AppTest], run: Run, student: str
) -> None:
    app = opened("norms", when="training", student=student)
    assert not app.exception
    kept, text = of(run), sentences(app)
    assert [one.value for one in app.header] == ["Norms by epoch", "Data map"]
    assert f"Student: {student}, 3 epochs, 130 training samples, " in text and "augmented view" in text
    counts, samples = norms_by_epoch(kept), by_sample(kept)
    assert f"{counts[0].auroc:.3f} in epoch 1, {counts[2].auroc:.3f} in epoch 3" in text
    found = memory(samples)
    assert f"{found['never learnt']} never learnt" in text and f"{found['forgotten']} forgotten" in text
    moving = spec(app, "norms-at-epochs")
    assert [step["label"] for step in moving["layout"]["sliders"][0]["steps"]] == ["1", "2", "3"]
    for frame, one in zip(moving["frames"], counts, strict=True):
        shown = [int(numbers(bars["y"]).sum()) for bars in frame["data"]]
        assert shown == [one.right.sum(), one.wrong.sum()]
    points = spec(app, "data-map")["data"][0]
    assert len(numbers(points["x"])) == 130 and np.allclose(numbers(points["y"]), samples["p_mean"], atol=1e-6)
    assert len(spec(app, "norm-quantiles")["data"]) == 6
    bars = spec(app, "forgetting")["data"][0]
    assert numbers(bars["y"]).sum() == 130 and bars["x"][:2] == ["never learnt", "0"]


def test_of_a_class_alone_its_samples_are_shown_and_the_link_holds_every_choice(
    opened: Callable[..., AppTest], run: Run, student: str
) -> None:
    query = {"when": "training", "of": "3", "points": "norm_change", "those": "hard"}
    app = opened("norms", student=student, **query)
    assert query.items() <= link_of(app).items() and not app.exception
    kept = of(run)
    samples = by_sample(kept)
    own = samples[samples["label"] == 3]
    assert f"{len(own)} training samples of class 3" in sentences(app)
    assert len(numbers(spec(app, "data-map")["data"][0]["x"])) == len(own)
    hardest = own.sort_values("p_mean")["key"].tolist()
    assert app.dataframe[-1].value["key"].tolist() == hardest


def test_what_is_listed_opens_in_the_gallery_as_a_selection_of_the_training_split(
    opened: Callable[..., AppTest], run: Run, student: str
) -> None:
    app = opened("norms", when="training", student=student, those="ambiguous", split="test")
    labelled(app.number_input, "How many, at most").set_value(7)  # type: ignore[attr-defined]
    app.run()
    press(app, "Open in the gallery")
    assert not app.exception
    wanted = by_sample(of(run)).sort_values("p_sd", ascending=False, kind="stable")["key"].tolist()[:7]
    assert find_selection("training-digits").keys == wanted
    assert "7 of 1,437 samples." in sentences(app) and link_of(app)["split"] == "train"
    # Its outputs on the training split are there now, so that the page shows the pictures too.
    again = opened("norms", when="training", student=student, those="ambiguous")
    assert not again.exception and "Open them in the Gallery" not in sentences(again)


def test_models_without_kept_epochs_are_told_how_to_get_some_and_which_students_have_some(
    opened: Callable[..., AppTest], run: Run, student: str, home: Path
) -> None:
    app = opened("norms", when="training", student="digits-fn")
    assert "Neither digits-teacher nor digits-fn comes from a run that kept its epochs" in sentences(app)
    assert app.code[0].value == "fnkd train --dataset digits --method ce --keep-epochs"
    assert not [button for button in app.button if button.label == f"{student}-best"]  # of the same run
    press(app, student)
    app.switch_page("pages/norms.py").run()
    assert not app.exception and f"Student: {student}, 3 epochs" in sentences(app)
    shutil.rmtree(run.path / "epochs")
    app.run()
    assert f"Neither digits-teacher nor {student} comes" in sentences(app)
    again = app.code[0].value
    assert again.startswith("fnkd train --dataset digits --method ce") and "--keep-epochs --name kept" in again
    press(app, "Set it up in Distill")
    app.switch_page("pages/distill.py").run()
    toggle: Any = labelled(app.toggle, "Keep every epoch's norms")
    assert toggle.value is True
    # 6 bytes for each of about 130 samples in each of 3 epochs.
    assert "takes about 2 kB on the disk" in sentences(app)


def test_whatever_is_wrong_with_what_was_kept_is_a_sentence(
    opened: Callable[..., AppTest], run: Run, student: str
) -> None:
    path = run.path / "epochs" / "0002.npy"
    path.write_bytes(path.read_bytes()[:-5])
    app = opened("norms", when="training", student=student)
    assert not app.exception and "0002.npy is cut short; delete it to leave that epoch out." in sentences(app)
    path.unlink()
    app.run()
    assert not app.exception and "2 epochs without 2, 130 training samples" in sentences(app)
    for broken in ("epochs/samples.parquet", "resolved.json"):
        good = (run.path / broken).read_bytes()
        (run.path / broken).write_bytes(b"nothing of the kind")
        app.run()
        assert not app.exception and len(app.error) == 1 and "is damaged" in app.error[0].value
        (run.path / broken).write_bytes(good)
    for epoch in (run.path / "epochs").glob("*.npy"):
        epoch.unlink()
    app.run()
    assert not app.exception and "kept its epochs" in sentences(app)


def test_samples_of_images_that_have_changed_since_are_not_opened_in_the_gallery(
    opened: Callable[..., AppTest], run: Run, student: str
) -> None:
    record = json.loads((run.path / "resolved.json").read_text())
    record["identities"]["train"] = "another"
    (run.path / "resolved.json").write_text(json.dumps(record))
    app = opened("norms", when="training", student=student)
    assert not app.exception and "The training images have changed since" in sentences(app)
    assert not [button for button in app.button if button.label == "Open in the gallery"]


def test_what_a_box_or_a_lasso_holds_is_counted_among_all_samples_drawn_or_not() -> None:
    x, y = np.array([0.1, 0.5, 0.5, 0.9]), np.array([0.1, 0.9, 0.4, 0.1])

    def event(**selection: Any) -> Any:
        return SimpleNamespace(selection=selection)

    assert drawn_round(event(), x, y) is None and drawn_round(event(box=[], lasso=[]), x, y) is None
    box = [{"x": [0.6, 0.4], "y": [0.3, 1.0]}]
    assert drawn_round(event(box=box), x, y).tolist() == [False, True, True, False]  # type: ignore[union-attr]
    # A V, whose notch leaves the upper middle out.
    lasso = [{"x": [0.0, 0.5, 1.0, 0.9, 0.5, 0.1], "y": [1.0, 0.0, 1.0, 1.0, 0.5, 1.0]}]
    assert drawn_round(event(lasso=lasso), x, y).tolist() == [False, False, True, False]  # type: ignore[union-attr]
    assert drawn_round(event(lasso=lasso, box=box), x, y).tolist() == [False, True, True, False]  # type: ignore[union-attr]


def test_samples_are_listed_by_what_is_asked_for_and_those_never_seen_are_not() -> None:
    samples = pd.DataFrame(
        {
            "prediction": [0, 1, 1, 0, -1],
            "p_mean": [0.9, 0.1, 0.5, 0.4, np.nan],
            "p_sd": [0.1, 0.05, 0.4, 0.2, np.nan],
            "forgotten": [0, 0, 2, 2, 0],
            "learnt": [1, 0, 2, 1, 0],
        }
    )
    wanted = {"forgotten": [3, 2], "never learnt": [1], "hard": [1, 3, 2, 0], "easy": [0, 2, 3, 1]}
    wanted["ambiguous"] = [2, 3, 0, 1]
    for those, rows in wanted.items():
        assert ranked(samples, those, 9).index.tolist() == rows, those
        assert ranked(samples, those, 1).index.tolist() == rows[:1]
