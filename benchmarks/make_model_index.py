"""Writes the index of recognition: which weights belong to which architecture of the zoo, torchvision and timm.

Every architecture is built once, on the meta device, where weights have shapes and no memory. Takes some five minutes;
to be run again when the zoo or its layouts change, or timm or torchvision bring new models.

    python benchmarks/make_model_index.py
"""

from __future__ import annotations

import json
import time
import warnings
from collections import defaultdict

from tqdm import tqdm

from fnkd_core.files import replacing
from fnkd_core.models.architecture import TIMM, TORCHVISION, ZOO
from fnkd_core.models.index import PATH, fingerprint, order_of_shapes, sketch
from fnkd_core.models.recognition.layouts import apply, layouts
from fnkd_core.models.recognition.shapes import network_shapes
from fnkd_core.models.zoo import timm_names, torchvision_names


def main() -> None:
    index: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    orders: dict[str, list[str]] = defaultdict(list)
    start, left_out = time.monotonic(), []
    # The plain variant comes first: its name is the shortest.
    others = [TORCHVISION + n for n in sorted(torchvision_names(), key=lambda n: (len(n), n))]
    others += [TIMM + n for n in sorted(timm_names(), key=lambda n: (len(n), n))]
    names = [*ZOO, *others]
    warnings.simplefilter("ignore")
    for name in tqdm(names, unit="models", mininterval=10):
        try:
            shapes = network_shapes(name, 1000)
        except Exception as error:
            left_out.append(f"{name}: {str(error).splitlines()[0][:150]}")
            continue
        orders[order_of_shapes(shapes)].append(name)
        for _, rules in layouts(name):
            theirs = {apply(rules, key): shape for key, shape in shapes.items()}
            index[sketch(theirs)][fingerprint(theirs)].append(name)
    with replacing(PATH) as temporary:
        temporary.write_text(json.dumps({"names": index, "orders": orders}, separators=(",", ":")) + "\n")
    print(f"{len(names) - len(left_out)} models in {time.monotonic() - start:.0f} s, {PATH.stat().st_size:,} bytes.")
    for line in left_out:
        print(f"Left out: {line}")


if __name__ == "__main__":
    main()
