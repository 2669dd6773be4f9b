"""What lies in a folder of images, fit for use or not. No torch."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

from fnkd_core.data import check, decoding
from fnkd_core.data.listing import same_name
from fnkd_core.data.sources.layout import arrange
from fnkd_core.data.tree import Place, Walk


def survey(path: Path, deep: bool, follow_links: bool = False) -> dict[str, Any]:
    """What lies in a folder, fit for use or not; see `catalogue.check_data`."""
    layout = arrange(Place(str(path), Walk(decoding.SUFFIXES, follow_links)))
    empty, outside, names, splits = [], [], dict[str, None](), {}
    left_out = layout.left_out + sum((part.left_out() for part in layout.parts.values()), Counter())
    for part in layout.parts.values():
        leading_out = part.leading_out() if not follow_links else []
        outside += [check.key_of(path, link) for link in leading_out]
        images = part.images()
        for name, places in part.classes().items():
            names.update(dict.fromkeys(check.printable(place.name) for place in places) or {name: None})
            if not images[name]:
                empty.append(check.key_of(path, places[0].path if places else os.path.join(part.folder.path, name)))
        paths = [file.path for held in images.values() for file in held if file.path not in set(leading_out)]
        report = check.report(paths, [check.key_of(path, p) for p in paths], deep)
        splits["all" if layout.is_whole else check.printable(part.folder.name)] = report
    return {
        "classes": len({same_name(name) for name in names}),
        "empty": empty,
        "same_names": check.same_names(list(names)),
        "outside": outside,
        "left_out": dict(check.most_first(left_out)),
        "problem": layout.problem,
        "notes": list(map(check.printable, layout.notes)),
        "splits": splits,
    }
