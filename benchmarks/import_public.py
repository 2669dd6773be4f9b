"""Imports every weights file of a folder and prints what it was taken for, and what it claims and reaches.

    python benchmarks/import_public.py FOLDER_OF_CHECKPOINTS DATA_FOLDER

DATA_FOLDER: images as `fnkd data add` takes them; files whose outputs are other classes are refused, in a line each. A
library of its own is used and thrown away. Accuracy is measured on the test split; normalisation and order are chosen
on the training split.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

import torch

from fnkd_core.checkpoints.importing.importer import Imported, import_checkpoint
from fnkd_core.checkpoints.importing.request import ImportRequest
from fnkd_core.checkpoints.io import load_checkpoint
from fnkd_core.data import add_folder, load_split
from fnkd_core.errors import UserError
from fnkd_core.training.evaluate import evaluate

DATA = "images"


def line(path: Path, images: int | None, measure_on: int) -> str:
    """What became of one file, in a line."""
    *_, found = import_checkpoint(ImportRequest(path=path, dataset=DATA, measure_on=measure_on))
    assert isinstance(found, Imported)
    classifier, card = load_checkpoint(found.name)
    samples = load_split(DATA, "test")
    if images is not None and images < len(samples):
        samples = samples.subset(torch.linspace(0, len(samples) - 1, images).long())
    accuracy = evaluate(classifier, samples)["accuracy"]
    texts = [finding["text"] for finding in card.findings]
    order = any("not known; its weights have the shapes" in text for text in texts)
    how = (
        "shapes in order" if order else next(t for t in texts if "names as in" in t).partition("(")[2].partition(")")[0]
    )
    claim = card.reached.get("accuracy")
    claimed = f"{claim:.4f}" if claim is not None else "-"
    return f"{card.architecture['name']}\t{how}\t{claimed}\t{accuracy:.4f} of {len(samples):,}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoints", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--images", type=int, help="so many test images, spread evenly; all by default")
    parser.add_argument("--measure-on", type=int, default=8192, help="images on which close candidates are told apart")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        os.environ["FNKD_HOME"] = home
        add_folder(DATA, str(given.data))
        print("file\tarchitecture\trecognised by\tclaimed\tmeasured on test images")
        for path in sorted(p for p in given.checkpoints.iterdir() if p.is_file()):
            try:
                said = line(path, given.images, given.measure_on)
            except UserError as error:
                said = f"refused: {error}"
            print(f"{path.name}\t{said}", flush=True)


if __name__ == "__main__":
    main()
