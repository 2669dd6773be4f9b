"""Every public function of the library is documented, and the reference is built of it without a warning."""

from __future__ import annotations

import ast
import re
import runpy
from collections.abc import Iterator
from pathlib import Path

from fnkd_core.kd.methods import METHODS
from fnkd_core.paths import project_dir

CORE = project_dir() / "fnkd_core"
LEFT_OUT = ("cli", "ui")
"""No library: the command line has a page of its own, and the pages of the dashboard are to be looked at."""
ARRAYS = re.compile(r"^(?!Callable).*\b(Tensor|NDArray|ndarray)\b")
SHAPE = re.compile(r"\([A-Za-z0-9_, +*:.-]+,?\)|[Ss]hape|same ones")


def public(body: list[ast.stmt], place: str) -> Iterator[tuple[str, str | None]]:
    """Each public class, function and method, and what it says of itself. `forward` is what torch's modules have."""
    for node in body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        if node.name.startswith("_") or node.name == "forward":
            continue
        yield f"{place}.{node.name}", ast.get_docstring(node)
        if isinstance(node, ast.ClassDef):
            yield from public(node.body, f"{place}.{node.name}")


def modules() -> list[Path]:
    return [path for path in CORE.rglob("*.py") if path.relative_to(CORE).parts[0] not in LEFT_OUT]


def test_every_public_class_and_function_says_what_it_is() -> None:
    found = [pair for path in modules() for pair in public(ast.parse(path.read_text()).body, path.stem)]
    assert len(found) > 800
    assert [name for name, said in found if not said] == []


def functions() -> Iterator[tuple[str, ast.FunctionDef, str]]:
    """Each public function of a module, and what it says of itself; but for methods, whose words are the form's."""
    for path in modules():
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_") and node.name not in METHODS:
                yield f"{path.relative_to(CORE)} {node.name}", node, ast.get_docstring(node) or ""


def test_a_function_that_gives_arrays_says_their_shapes() -> None:
    given = [(name, said) for name, node, said in functions() if ARRAYS.search(ast.unparse(node.returns or node))]
    assert len(given) >= 60
    assert [name for name, said in given if not SHAPE.search(said)] == []


def test_a_function_that_refuses_something_says_when() -> None:
    def refuses(node: ast.AST) -> bool:
        calls = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "require"
        return calls or (isinstance(node, ast.Raise) and "UserError" in ast.unparse(node))

    refusing = [(name, said) for name, node, said in functions() if any(map(refuses, ast.walk(node)))]
    assert len(refusing) > 100
    assert [name for name, said in refusing if "UserError" not in said] == []


def test_every_module_says_what_it_is_for() -> None:
    silent = [path for path in CORE.rglob("*.py") if not ast.get_docstring(ast.parse(path.read_text()))]
    assert [path for path in silent if path.name != "__init__.py"] == []


def test_the_reference_is_built_without_a_warning(tmp_path: Path) -> None:
    written = runpy.run_path(str(project_dir() / "docs" / "write_reference.py"))
    names = written["modules"]()
    assert {"fnkd_core", "fnkd_core.kd", "fnkd_core.training", "fnkd_core.data.sources"} <= set(names)
    assert not [name for name in names if name.startswith(("fnkd_core.ui", "fnkd_core.cli"))]
    written["write"](tmp_path, ["fnkd_core", "fnkd_core.kd", "fnkd_core.data"])
    assert "hard_weight * hard + soft_weight * soft" in (tmp_path / "fnkd_core" / "kd" / "losses.html").read_text()
    assert "Penultimate features and logits" in (tmp_path / "fnkd_core.html").read_text()
