"""What a weights file is, by its first bytes, and whether its listing is sound, before anything in it is loaded.

No torch: most files that are no use are refused here, at once.
"""

from __future__ import annotations

import json
import math
import re
import stat
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fnkd_core.errors import UserError, require

SAFETENSORS, ZIP, LEGACY, MXNET = "safetensors", "torch zip", "torch legacy", "MXNet params"
TAR, GZIP = "tar", "gzip"
PARTS = ("student", "teacher")
ITEM_BYTES = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1,
}  # fmt: skip
MAX_HEADER = 16 << 20
MAX_PICKLE = 4 << 20
MAX_TENSORS = 20_000
MAX_NDIM = 8
# Only a tensor without values can claim more than its file holds.
MAX_EMPTY_DIM = 1 << 20

_MAGIC = (
    (b"PK\x03\x04", ZIP),
    (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", LEGACY),
    ((0x112).to_bytes(8, "little") + bytes(8), MXNET),
    (b"7z\xbc\xaf\x27\x1c", "7z"),
    (b"Rar!\x1a\x07", "rar"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"BZh", "bzip2"),
    (b"\x28\xb5\x2f\xfd", "zstandard"),
)
ARCHIVES = (TAR, GZIP, "7z", "rar", "xz", "bzip2", "zstandard")
# Its version, then the name of what wrote it, the domain, the graph or the operators.
_ONNX = re.compile(rb"\x08[\x01-\x40][\x12\x22\x3a\x42]")
_INSTEAD = (
    "export the checkpoint as safetensors or state_dict instead, or load it where you trust it and save its state_dict."
)
_PLAIN_PICKLE = re.compile(rb"\x80[\x00-\x05]|\(dp|\(lp|c[\w.]+\n")
_NAME = re.compile(r"[\w-]+(\.[\w-]+)*", re.ASCII)
_MEMBER = re.compile(r"data\.pkl|data/[0-9]{1,20}|version|byteorder|\.format_version|\.storage_alignment"
                     r"|\.data/serialization_id", re.ASCII)  # fmt: skip


def shown(name: str, length: int = 80) -> str:
    """A name out of a file, in one line that is safe to print."""
    short = name if len(name) <= length else name[: length - 1] + "…"
    return short if short.isprintable() else ascii(short)


def sniff(path: Path) -> str:
    """The format's name, by the first bytes and never by the suffix. `UserError` for what is not read here."""
    name = shown(path.name)
    try:
        status = path.stat()
        require(stat.S_ISREG(status.st_mode), f"{name} is not a file; give the path of a weights file.")
        with path.open("rb") as file:
            start = file.read(512)
    except OSError as error:
        raise UserError(f"{name} cannot be read ({error.strerror}); check the path.") from None
    for magic, found in _MAGIC:
        if start.startswith(magic):
            return found
    if start[8:9] == b"{":
        return SAFETENSORS
    if start.startswith(b"\x1f\x8b\x08"):
        return GZIP
    if start[257:262] == b"ustar":
        return TAR
    if _PLAIN_PICKLE.match(start):
        raise UserError(f"{name} is a bare pickle, which can run programs; save the weights by torch.save as it is.")
    require(_ONNX.match(start) is None, f"{name} is an ONNX graph, which is a program; {_INSTEAD}")
    if start.startswith(b"version https://git-lfs"):
        raise UserError(f"{name} is a Git LFS pointer, not the weights; run git lfs pull.")
    if start.lstrip()[:1] == b"<":
        raise UserError(f"{name} is a web page, not the weights; download the file itself.")
    raise UserError(
        f"{name} is neither safetensors nor written by torch.save or MXNet; save its weights as safetensors, "
        "or copy it again."
    )


def check_name(key: object, name: str) -> None:
    """`UserError` unless this can be the name of a parameter: words joined by dots."""
    require(
        isinstance(key, str) and len(key) <= 256 and _NAME.fullmatch(key) is not None,
        f"{name} has a tensor named {shown(str(key), 40)!r}, and names are words joined by dots; rename it.",
    )


def check_shape(shape: Sequence[Any], key: str, name: str) -> None:
    """`UserError` unless the shape is that of a tensor one can have."""
    fits = len(shape) <= MAX_NDIM and all(type(n) is int and n >= 0 for n in shape)
    require(
        fits and (0 not in shape or max(shape) <= MAX_EMPTY_DIM),
        f"{name} gives {key} the shape {shown(str(list(shape)))}, which no tensor has; save its weights anew.",
    )


def program(member: str) -> str | None:
    """What kind of program a zip with this member is, or None."""
    inner = member.partition("/")[2]
    if inner == "constants.pkl" or inner.startswith("code/"):
        return "TorchScript, which is a program"
    if inner in ("archive_format", "archive_version") or "serialized_exported_program" in member:
        return "an exported program (.pt2)"
    return None


def check_zip(path: Path) -> None:
    """`UserError` unless the zip's listing is one that torch.save writes."""
    name = shown(path.name)
    size = path.stat().st_size
    try:
        with zipfile.ZipFile(path) as archive:
            members, comment = archive.infolist(), archive.comment
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        raise UserError(f"{name} is not a whole zip file; copy it again.") from None
    # filename is what zipfile made of it; torch reads the original.
    names = [member.orig_filename for member in members]
    found = next((p for n in names if (p := program(n))), None)
    require(found is None, f"{name} is {found}; {_INSTEAD}")
    for member in members:
        root, _, inner = member.orig_filename.partition("/")
        plain = root.isprintable() and 0 < len(root) <= 255 and not set(root) & set("\\:") and root.strip(".")
        require(
            bool(plain) and _MEMBER.fullmatch(inner) is not None,
            f"{name} is a zip with {shown(member.orig_filename)!r} in it, which torch.save does not write; "
            "save its state_dict with torch.save.",
        )
        require(
            member.compress_type == zipfile.ZIP_STORED
            and member.compress_size == member.file_size
            and not member.flag_bits & 1,
            f"{name} has a packed member {shown(member.orig_filename)!r}, and torch.save packs none; "
            "save its state_dict with torch.save.",
        )
    pickles = [member for member in members if member.orig_filename.endswith("/data.pkl")]
    require(
        len(pickles) == 1
        and len(set(names)) == len(names)
        and len({n.partition("/")[0] for n in names}) == 1
        and not comment
        and sum(member.file_size for member in members) <= size,
        f"{name} is not a zip as torch.save writes it (one data.pkl, no name twice, no more data than bytes); "
        "copy it again.",
    )
    require(
        pickles[0].file_size <= MAX_PICKLE and len(members) <= 3 * MAX_TENSORS,
        f"{name} describes more than {MAX_TENSORS} tensors; save the network's state_dict alone.",
    )


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a key stands twice")
    return values


def safetensors_header(path: Path) -> dict[str, Any]:
    """The header in the file's order: names to dtype, shape and offsets, and `__metadata__`. `UserError` otherwise."""
    name = shown(path.name)
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        require(length <= MAX_HEADER, f"{name} has a header of {length} bytes, at most {MAX_HEADER} fit; save it anew.")
        text = file.read(length)
    try:
        if len(text) != length:
            raise ValueError("its header is cut off")
        header = json.loads(text.decode(), object_pairs_hook=_without_duplicates)
        end = size - 8 - length
        for key, entry in header.items():
            if key == "__metadata__":
                continue
            start, stop = entry["data_offsets"]
            shape, dtype = entry["shape"], entry["dtype"]
            check_name(key, name)
            require(dtype in ITEM_BYTES, f"{name} has {key} in {shown(str(dtype), 20)}; save it in float32 or float16.")
            check_shape(shape, key, name)
            if not 0 <= start <= stop <= end or stop - start != math.prod(shape) * ITEM_BYTES[dtype]:
                raise ValueError("a tensor does not fit its bytes")
    except UserError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = str(error) if type(error) is ValueError else "its header is broken"
        raise UserError(f"{name} is not a sound safetensors file ({shown(reason, 40)}); copy it again.") from None
    require(
        0 < len(header) - ("__metadata__" in header) <= MAX_TENSORS,
        f"{name} has {len(header)} entries, and a checkpoint has 1 to {MAX_TENSORS} tensors; save it anew.",
    )
    return header
