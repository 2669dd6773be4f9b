"""A checkpoint leaves with its card, in the form that its next home reads."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from fnkd_core.checkpoints.card import Card
from fnkd_core.checkpoints.io import load_checkpoint
from fnkd_core.checkpoints.library import EXPORTS, Entry
from fnkd_core.errors import UserError, require, shortages_said, unknown
from fnkd_core.files import check_name, temporary_folder, write_json
from fnkd_core.locks import locked
from fnkd_core.models.classifier import Classifier

TOLERANCE = 1e-4
"""An exported network may differ from the checkpoint by this much, relative to its largest logit."""


class Deployed(nn.Module):
    """Images (N, C, H, W), float in [0, 1], to logits (N, K) and feature norms (N,). Normalisation is inside."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        outputs = self.classifier(images)
        return outputs.logits, outputs.norms


def export_checkpoint(
    entry: Entry, folder: str | Path, formats: Sequence[str] = ("safetensors",), name: str | None = None
) -> list[Path]:
    """Write a checkpoint in these formats, and its card, into a folder; returns the files.

    formats: of `EXPORTS`. name: of the files, without suffix. A traced format is run on random images and compared
    with the checkpoint before it counts. `UserError` where a file is there already, the comparison fails, the disk is
    full or there is not enough memory; nothing of it is there then. What a killed export has left does not count.
    """
    for form in formats:
        if form not in EXPORTS:
            raise unknown("export format", form, EXPORTS)
    name, target = check_name("checkpoint", name or entry.name), Path(folder).expanduser()
    require(not target.exists() or target.is_dir(), f"{target} is a file; give a folder.")
    paths = [target / f"{name}{EXPORTS[form]}" for form in formats] + [target / f"{name}.json"]
    with shortages_said(target), _moving(target, name) as move, temporary_folder(target / name) as folder:
        for path in paths:
            require(not path.exists(), f"{path} exists already; remove it, or export to another folder.")
        classifier, card = load_checkpoint(entry.path)
        for form, path in zip(formats, paths, strict=False):
            WRITERS[form](entry, classifier, card, folder / path.name)
        write_json(folder / paths[-1].name, card.to_dict() | {"name": name})
        move(folder, paths)
    return paths


@contextlib.contextmanager
def _moving(target: Path, name: str) -> Iterator[Callable[[Path, Sequence[Path]], None]]:
    """What moves the files of this name into their place, all or none; meanwhile a file beside them names them."""
    target.mkdir(parents=True, exist_ok=True)
    marker = target / f".{name}.exporting"
    busy = f"{name} is being exported to {target} already; wait for it, or export to another folder."

    def move(folder: Path, paths: Sequence[Path]) -> None:
        for path in paths:
            with (folder / path.name).open("rb+") as file:
                os.fsync(file.fileno())
        marker.write_text("\n".join(path.name for path in paths))
        try:
            for path in paths:
                os.replace(folder / path.name, path)
        except BaseException:
            _remove_named(marker, name)
            raise

    with locked(marker, wait=False, busy=busy):
        try:
            _remove_named(marker, name)
            yield move
        finally:
            marker.unlink()


def _remove_named(marker: Path, name: str) -> None:
    """Remove what an export was moving when it ended: nothing was there under these names before."""
    for file in set(marker.read_text(errors="replace").split("\n")) & {
        f"{name}{s}" for s in (*EXPORTS.values(), ".json")
    }:
        marker.with_name(file).unlink(missing_ok=True)


def _safetensors(entry: Entry, classifier: Classifier, card: Card, path: Path) -> None:
    shutil.copyfile(entry.path, path)


def _state_dict(entry: Entry, classifier: Classifier, card: Card, path: Path) -> None:
    with path.open("wb") as file:  # writing to a path, torch does not say why it could not
        torch.save(classifier.state(), file)


def _traced(classifier: Classifier, card: Card) -> torch.export.ExportedProgram:
    """The network as a graph that takes any number of images."""
    example = torch.rand(2, classifier.architecture.in_channels, *card.image_size)
    try:
        return torch.export.export(
            Deployed(classifier).eval(), (example,), dynamic_shapes=({0: torch.export.Dim("N")},), strict=False
        )
    except Exception as error:
        raise UserError(
            f"{card.name} ({classifier.architecture.name}) cannot be traced ({type(error).__name__}); "
            "export it as safetensors or state_dict."
        ) from None


def _compare(classifier: Classifier, card: Card, run: Callable[[Tensor], Sequence[Tensor]]) -> None:
    """`UserError` unless the exported network says the same of five random images as the checkpoint does."""
    images = torch.rand(5, classifier.architecture.in_channels, *card.image_size)
    with torch.no_grad():
        wanted, found = Deployed(classifier)(images), run(images)
    for name, mine, theirs in zip(("logits", "norms"), wanted, found, strict=True):
        error = float((mine - theirs).abs().max() / mine.abs().max().clamp(min=1))
        require(
            error <= TOLERANCE,
            f"The exported {name} of {card.name} differ from the checkpoint's by {error:.2g}, at most {TOLERANCE:g} is "
            "allowed; export it as safetensors or state_dict.",
        )


def _torch_export(entry: Entry, classifier: Classifier, card: Card, path: Path) -> None:
    # Into memory first: where the disk is full, torch's own writer of files ends the process.
    buffer = io.BytesIO()
    torch.export.save(_traced(classifier, card), buffer, extra_files={"card.json": json.dumps(card.to_dict())})
    path.write_bytes(buffer.getbuffer())
    _compare(classifier, card, torch.export.load(path).module())


def _onnx(entry: Entry, classifier: Classifier, card: Card, path: Path) -> None:
    import onnxruntime

    with warnings.catch_warnings():
        # About its own use of torch, not about the network.
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            _traced(classifier, card), input_names=["images"], output_names=["logits", "norms"], verbose=False
        )
    assert program is not None
    program.model.metadata_props["card"] = json.dumps(card.to_dict())
    program.save(path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    _compare(
        classifier, card, lambda images: [torch.from_numpy(x) for x in session.run(None, {"images": images.numpy()})]
    )


WRITERS: dict[str, Callable[[Entry, Classifier, Card, Path], None]] = dict(
    zip(EXPORTS, (_safetensors, _state_dict, _torch_export, _onnx), strict=True)
)
