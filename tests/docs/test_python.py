"""docs/python.md is true: its blocks run, in their order, and `import fnkd_core` offers what it teaches."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

import fnkd_core as fnkd
from fnkd_core.paths import project_dir
from tests.docs.pages import blocks, run, text_of

PAGE = "python.md"


class PlainTrainer:
    """What the page asks of Lightning's trainer, as a loop."""

    def __init__(self, max_epochs: int, **_options: Any) -> None:
        self.max_epochs = max_epochs

    def fit(self, module: Any, loader: Any) -> None:
        assert isinstance(loader, DataLoader), "Lightning takes a list for several loaders"
        optimizer = module.configure_optimizers()
        for _ in range(self.max_epochs):
            module.train()
            for index, batch in enumerate(loader):
                optimizer.zero_grad()
                module.training_step(batch, index).backward()
                optimizer.step()


@pytest.fixture
def _lightning(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lightning, or a plain loop in its place where it is not installed."""
    if importlib.util.find_spec("lightning") is None:
        standin: Any = ModuleType("lightning")
        standin.LightningModule = type("LightningModule", (nn.Module,), {"log_dict": lambda self, values: None})
        standin.Trainer = PlainTrainer
        monkeypatch.setitem(sys.modules, "lightning", standin)


@pytest.mark.usefixtures("_lightning")
def test_every_block_of_the_page_runs_and_prints_what_it_says() -> None:
    names: dict[str, Any] = {"__name__": "page"}
    weights = None
    for line, text in blocks(PAGE, "python"):
        if "lightning.Trainer" in text:
            weights = [p.clone() for p in names["student"].parameters()]
        run(PAGE, line, text, names)
        if "lightning.Trainer" in text:
            assert weights and not all(map(torch.equal, weights, names["student"].parameters()))
    assert weights is not None


def test_the_package_offers_exactly_what_the_page_teaches() -> None:
    taught = set(re.findall(r"\bfnkd\.([A-Za-z_]\w*)", "".join(text for _, text in blocks(PAGE, "python"))))
    assert taught == set(fnkd.EXPORTS) - {"UserError"}
    assert "`UserError`" in text_of(PAGE)
    assert sorted(fnkd.__all__) == sorted(fnkd.EXPORTS)
    assert set(fnkd.EXPORTS) <= set(dir(fnkd))


def test_what_is_offered_is_the_thing_itself_and_no_module_of_that_name() -> None:
    for name in fnkd.EXPORTS:
        assert callable(getattr(fnkd, name)) and not isinstance(getattr(fnkd, name), ModuleType), name
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        _ = fnkd.nonsense


def test_asking_for_an_objective_loads_no_torch() -> None:
    code = "import sys, fnkd_core as fnkd; fnkd.objective('kd', {}); fnkd.RunConfig(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=project_dir(), check=True)
    assert done.stdout.strip() == "False"
