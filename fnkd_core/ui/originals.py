"""The picture that a sample is, from its file where it lies in one, and what each model reads of it."""

from __future__ import annotations

import io
from typing import Any

import streamlit as st
from PIL import Image

from fnkd_core.checkpoints.fits import read_by
from fnkd_core.checkpoints.library import Entry
from fnkd_core.data import DatasetInfo, decoding
from fnkd_core.data.catalogue import files_of
from fnkd_core.data.crops import region
from fnkd_core.data.pictures import in_full, part_read
from fnkd_core.data.types import Listing
from fnkd_core.errors import UserError
from fnkd_core.stores.store import Store
from fnkd_core.ui.components.gallery import image_uri, uri
from fnkd_core.ui.frame import View


def original(stores: dict[str, Store], sample: int) -> dict[str, Any]:
    """picture (src, note), path, and reads: who reads it, which part of the picture that is, src, note.

    Of images that are in no files, or whose file cannot be read now, the picture is the store's.
    """
    first = next(iter(stores.values()))
    kept: dict[str, Any] = {"picture": {"src": image_uri(first, sample), "note": ""}, "path": None, "reads": []}
    view: View | None = st.session_state.get("_view")
    if view is None or view.info.identity(view.split) != first.manifest["identity"]:
        return kept
    try:
        files = files_of(view.info, view.split)
        if files is None:
            return kept
        return _of_file(view, files, stores, sample) | {"path": _path(files.sources[sample])}
    except (UserError, OSError, ValueError, IndexError, Image.DecompressionBombWarning) as error:
        reason = str(error) if isinstance(error, UserError) else decoding.reason(error)
        kept["picture"]["note"] = f"The file cannot be read now ({reason}); this is what was kept of it."
        return kept


def _path(source: str | bytes) -> str | None:
    return source if isinstance(source, str) else None


def _of_file(view: View, files: Listing, stores: dict[str, Store], sample: int) -> dict[str, Any]:
    source = files.sources[sample]
    box = files.boxes[sample] if files.boxes is not None else None
    picture, size = in_full(source)
    reads: dict[tuple[Any, ...], list[str]] = {}
    entries = {entry.identity: entry for entry in (*view.models.values(), *view.offered)}
    infos: dict[tuple[Any, ...], DatasetInfo] = {}
    for role, store in stores.items():
        info = _read_by(entries.get(store.checkpoint), view.info)
        how = (info.image, info.crop_pct, info.interpolation)
        infos[how] = info
        reads.setdefault(how, []).append(role)
    found = [_read(source, size, box, infos[how], roles) for how, roles in reads.items()]
    outlined = " Outlined: what is read of it." if found and found[0]["part"] else ""
    # What is read whole, at its own size, is the picture.
    told = [
        read for read, info in zip(found, infos.values(), strict=True) if read["part"] or info.image[1:] != size[::-1]
    ]
    return {
        "picture": {"src": uri(picture), "note": f"{size[0]} × {size[1]} pixels.{outlined}"},
        "reads": told,
    }


def _read_by(entry: Entry | None, info: DatasetInfo) -> DatasetInfo:
    return info if entry is None or entry.card is None else read_by(entry, info)


def _read(source: str | bytes, size: tuple[int, int], box: Any, info: DatasetInfo, roles: list[str]) -> dict[str, Any]:
    channels, side = info.image[0], info.image[1]
    with decoding.reading(source, channels) as image:
        used = image.crop(region(image.size, box)) if box is not None else image
        read = decoding.centre(used, side, info.crop_pct, info.interpolation)
        buffer = io.BytesIO()
        read.save(buffer, "PNG")
    part = part_read(size, box, info.crop_pct)
    whole = all(abs(one - all_of_it) < 1e-3 for one, all_of_it in zip(part, (0, 0, 1, 1), strict=True))
    return {
        "who": " and ".join(roles),
        "part": None if whole else list(part),
        "src": uri(buffer.getvalue()),
        "note": f"The {side} × {side} pixels that the network is given.",
    }
