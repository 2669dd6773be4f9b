"""A store whose files are damaged is a sentence with a remedy, whenever that is; rows are those that numpy maps."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fnkd_core import cli
from fnkd_core.analysis.confusion import confusion
from fnkd_core.checkpoints.io import read_state, write_checkpoint
from fnkd_core.checkpoints.library import find_checkpoint
from fnkd_core.data import dataset_info
from fnkd_core.errors import Damaged, UserError
from fnkd_core.files import write_json
from fnkd_core.paths import project_dir, stores_dir
from fnkd_core.records import read_json
from fnkd_core.stores import extract, store
from fnkd_core.stores.checked import check_once
from fnkd_core.stores.curves import softmax
from fnkd_core.stores.extract import extracted
from fnkd_core.stores.store import Store, open_store
from fnkd_core.stores.upkeep import delete_damaged, holdings, list_stores


@pytest.fixture
def copied(home: Path, teacher_store: Store) -> Store:
    """The teacher's store, in this test's home."""
    return Store(Path(shutil.copytree(teacher_store.path, home / "stores" / teacher_store.path.name)))


def manifest(**changes: object) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        write_json(path, read_json(path, dict[str, object]) | changes)

    return damage


def array(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    return lambda path: np.save(path, change(np.load(path)))


def flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 0xFF
    path.write_bytes(data)


def without_a_column(path: Path) -> None:
    import pandas as pd

    pd.read_parquet(path).drop(columns="norm").to_parquet(path)


def another_label(path: Path) -> None:
    import pandas as pd

    pd.read_parquet(path).assign(label=10).to_parquet(path)


def claims_more(path: Path) -> None:
    """A header that says that the file has a billion rows and more."""
    data = path.read_bytes()
    assert b"(360, 10), }      " in data
    path.write_bytes(data.replace(b"(360, 10), }      ", b"(3600000000, 10),}", 1))


DAMAGES: dict[str, tuple[str, Callable[[Path], object]]] = {
    "an empty manifest": ("manifest.json", lambda path: path.write_text("{}")),
    "a deep manifest": ("manifest.json", lambda path: path.write_text("[" * 100_000)),
    "a manifest of other classes": ("manifest.json", manifest(classes=["0"])),
    "a manifest of dead outputs that there are not": ("manifest.json", manifest(dead_outputs=[10])),
    "a manifest with text for a number": ("manifest.json", manifest(accuracy="high")),
    "a manifest of no image": ("manifest.json", manifest(image=[8])),
    "no pixels": ("pixels.npy", Path.unlink),
    "pixels of other images": ("pixels.npy", array(lambda a: a[:, :, 1:])),
    "no samples": ("samples.parquet", Path.unlink),
    "samples of bytes": ("samples.parquet", lambda path: path.write_bytes(b"PAR1" * 9)),
    "samples without a column": ("samples.parquet", without_a_column),
    "samples of other classes": ("samples.parquet", another_label),
    "a flipped bit of the samples": ("samples.parquet", flipped),
    "logits that are cut short": ("logits.npy", lambda path: os.truncate(path, 500)),
    "logits without a header": ("logits.npy", lambda path: path.write_bytes(b"x" * 500)),
    "logits of another kind": ("logits.npy", array(lambda a: a.astype(np.float64))),
    "logits of fewer samples": ("logits.npy", array(lambda a: a[1:])),
    "logits that claim more than there are": ("logits.npy", claims_more),
    "features of another shape": ("features.npy", array(np.transpose)),
    "no features": ("features.npy", Path.unlink),
    "no order": ("order.npy", Path.unlink),
    "an order of what there is not": ("order.npy", array(lambda a: a + 1)),
    "a bias that is no number": ("bias.npy", array(lambda a: a * np.float32("nan"))),
    "curves that are cut short": ("curves.npz", lambda path: os.truncate(path, 5000)),
    "a flipped bit of the curves": ("curves.npz", flipped),
    "a folder in place of curves": ("curves.npz", lambda path: (path.unlink(), path.mkdir())),
}


LARGER: dict[str, tuple[str, Callable[[Path], object]]] = {
    "no pictures": ("thumbnails.bin", Path.unlink),
    "offsets of fewer pictures": ("thumbnail_offsets.npy", array(lambda a: a[1:])),
}
"""Of images that are not kept as pixels."""


@pytest.fixture
def of_larger_images(monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store as it is of images that are larger than these."""
    for room in (extract, store):
        monkeypatch.setattr(room, "PIXELS", 4)
    return extracted(find_checkpoint("digits-teacher"), dataset_info("digits"), "test")


@pytest.mark.parametrize("case", LARGER)
def test_what_is_damaged_of_encoded_pictures_is_said_and_its_remedy_works(of_larger_images: Store, case: str) -> None:
    name, damage = LARGER[case]
    assert Image.open(io.BytesIO(of_larger_images.thumbnail(359))).size == (8, 8)
    damaged(of_larger_images, name, damage)


@pytest.mark.parametrize("case", DAMAGES)
def test_what_is_damaged_is_said_and_its_remedy_works(copied: Store, case: str) -> None:
    damaged(copied, *DAMAGES[case])


def damaged(store: Store, name: str, damage: Callable[[Path], object]) -> None:
    store.check(deep=True)
    damage(store.path / name)
    with pytest.raises(Damaged) as caught:
        Store(store.path).check(deep=True)
    text = str(caught.value)
    assert text.startswith(f"The store {store.path.name} is damaged ({name} ") and "\n" not in text
    assert "`fnkd stores prune`" in text
    assert cli.main(["stores", "prune"]) == 0
    assert not store.path.exists() and list_stores() == []


def test_curves_that_were_found_whole_are_read_again_when_their_file_is_another(
    copied: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []
    whole = store._all_finite
    monkeypatch.setattr(store, "_all_finite", lambda path: read.append(path) or whole(path))
    for _ in range(2):
        check_once(Store(copied.path))
    assert len(read) == 1
    flipped(copied.path / "curves.npz")
    with pytest.raises(Damaged):
        check_once(Store(copied.path))
    with pytest.raises(Damaged):
        check_once(Store(copied.path))


def test_a_store_that_was_damaged_and_pruned_is_extracted_anew_to_the_same_numbers(copied: Store) -> None:
    entry, info, logits = find_checkpoint("digits-teacher"), dataset_info("digits"), np.asarray(copied.logits)
    (copied.path / "manifest.json").unlink()
    assert open_store(entry, info, "test") is None
    assert holdings({entry.identity}).leftovers == [copied.path]
    made = extracted(entry, info, "test")
    made.check(deep=True)
    assert made.path == copied.path and np.allclose(made.logits, logits, atol=1e-4)


def test_only_a_store_that_is_damaged_is_deleted_as_such(copied: Store) -> None:
    delete_damaged(copied.path)
    assert copied.path.exists()
    (copied.path / "logits.npy").unlink()
    delete_damaged(copied.path)
    assert not copied.path.exists()
    delete_damaged(copied.path)


def test_an_array_that_is_cut_short_while_it_is_open_is_a_sentence_and_ends_no_process(
    copied: Store,
) -> None:
    code = (
        "import os, sys; import numpy as np; from pathlib import Path\n"
        "from fnkd_core.errors import UserError; from fnkd_core.stores.store import Store\n"
        "store = Store(Path(sys.argv[1]))\n"
        "wholes = [store.logits, store.features]; [rows[5] for rows in wholes]; store.thumbnail(3)\n"
        "for name in ('logits.npy', 'features.npy', 'pixels.npy'): os.truncate(store.path / name, 300)\n"
        "for read in (lambda: wholes[0][359], lambda: np.asarray(wholes[1]).sum(), lambda: store.thumbnail(300)):\n"
        "    try: read()\n"
        "    except UserError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(copied.path)], capture_output=True, text=True, cwd=project_dir(), check=False
    )
    assert done.returncode == 0, f"{done.returncode}: {done.stderr}"
    lines = done.stdout.splitlines()
    assert [name in line for name, line in zip(("logits.npy", "features.npy", "pixels.npy"), lines, strict=True)]
    assert all("is cut short" in line for line in lines)


def test_rows_are_those_that_numpy_maps(copied: Store) -> None:
    for name, rows in (("logits.npy", copied.logits), ("features.npy", copied.features)):
        mapped = np.load(copied.path / name, mmap_mode="r")
        assert len(rows) == len(mapped) and rows.shape == mapped.shape and rows.dtype == mapped.dtype
        for index in (
            0,
            359,
            np.int64(7),
            slice(3, 9),
            slice(None),
            slice(9, 3),
            slice(0, 20, 3),
            [5, 2, 5],
            np.arange(0),
        ):
            found = rows[index]
            assert found.dtype == mapped.dtype and np.array_equal(found, mapped[index])
        assert np.array_equal(np.asarray(rows), mapped) and np.asarray(rows, np.float64).dtype == np.float64
        for index in (360, -1, [360]):
            with pytest.raises(IndexError):
                rows[index]


def test_who_has_a_store_open_keeps_reading_it_when_it_is_deleted(copied: Store) -> None:
    copied.check(deep=True)
    shutil.rmtree(copied.path)
    assert np.isfinite(copied.logits[359]).all() and copied.thumbnail(359)[:4] == b"RIFF"


def test_confusion_in_parts_is_confusion_of_all_at_once(teacher_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fnkd_core.analysis.confusion.PART", 100)
    labels = teacher_store.samples["label"].to_numpy()
    p = softmax(np.asarray(teacher_store.logits, np.float64) / 4.0)
    wanted = np.stack([p[labels == k].mean(0) for k in range(10)])
    assert np.allclose(confusion(teacher_store), wanted, rtol=1e-12)


def test_outputs_that_are_not_finite_are_a_sentence_and_leave_nothing(home: Path) -> None:
    source = find_checkpoint("digits-ce")
    assert source.card is not None
    state = read_state(source.path)
    name = next(key for key in state if key.endswith("running_var"))
    state[name] = torch.full_like(state[name], -1.0)
    write_checkpoint(home / "checkpoints" / "sick.safetensors", state, source.card)
    with pytest.raises(UserError, match="Outputs are not finite on 360 of 360 images"):
        extracted(find_checkpoint("sick"), dataset_info("digits"), "test")
    assert not list(stores_dir().iterdir())
