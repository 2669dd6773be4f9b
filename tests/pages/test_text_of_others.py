"""Text of others is text on every page: nothing reaches Streamlit's Markdown that is neither ours nor made inert."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TypeGuard

import pytest
import streamlit as st

from fnkd_core.paths import project_dir

SOURCES = [*(project_dir() / "fnkd_core" / "ui").rglob("*.py"), *(project_dir() / "pages").glob("*.py")]
LABEL, TEXT = ("label", "help"), ("body", "help")
MARKDOWN: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("markdown", "caption", "title", "header", "subheader", "text", "latex"), TEXT),
    **dict.fromkeys(("info", "error", "warning", "success"), ("body", "title")),
    **dict.fromkeys(("button", "download_button", "link_button", "form_submit_button", "page_link", "badge"), LABEL),
    **dict.fromkeys(("selectbox", "multiselect", "slider", "text_input", "text_area", "number_input", "toggle"), LABEL),
    **dict.fromkeys(("checkbox", "file_uploader", "popover", "expander", "status"), LABEL),
    **dict.fromkeys(("segmented_control", "select_slider", "radio", "pills"), (*LABEL, "options", "format_func")),
    "metric": ("label", "value", "delta", "help", "delta_description"),
    "progress": ("text",), "spinner": ("text",), "toast": ("body",), "tabs": ("tabs",), "dialog": ("title",),
    "write": ("args",), "Page": ("title", "help"), "set_page_config": ("page_title",),
    "update": ("label",), "NumberColumn": ("label", "help"), "TextColumn": ("label", "help"),
    "LineChartColumn": ("label", "help"),
}  # fmt: skip
"""Of each widget, what Streamlit shows as Markdown; `update` is that of a status."""
INERT = {"literal", "code", "prose"}
NUMBERS = {"len", "int", "float", "round", "sum"}
NUMERIC = ("d", "e", "f", "g", "%", ",")
KEEPS = {"capitalize", "lower", "strip", "format", "replace", "join", "values", "items"}
PASSES = {"filter", "zip", "list", "tuple", "sorted", "str", "enumerate", "max", "min"}
PARTS = {
    ast.Constant: (), ast.Compare: (), ast.JoinedStr: ("values",), ast.BoolOp: ("values",),
    ast.BinOp: ("left", "right"), ast.IfExp: ("body", "orelse"), ast.Tuple: ("elts",), ast.List: ("elts",),
    ast.Dict: ("keys", "values"), ast.Starred: ("value",), ast.Subscript: ("value",), ast.Attribute: ("value",),
    ast.UnaryOp: ("operand",), ast.GeneratorExp: ("elt",), ast.ListComp: ("elt",), ast.Lambda: ("body",),
}  # fmt: skip
"""Of each expression, the parts whose text is in it."""


def arguments(call: ast.Call) -> Iterator[ast.expr]:
    """The arguments of a call that are shown as Markdown."""
    assert isinstance(call.func, ast.Attribute)
    name = call.func.attr
    shown = MARKDOWN[name]
    signature = getattr(st, name, None)
    order = list(inspect.signature(signature).parameters) if callable(signature) else []
    shaped = any(keyword.arg == "format_func" for keyword in call.keywords)  # the options themselves are not shown
    shown = tuple(one for one in shown if not (shaped and one == "options"))
    for i, argument in enumerate(call.args):
        if "args" in shown or (order and order[i] in shown):
            yield argument
    yield from (keyword.value for keyword in call.keywords if keyword.arg in shown)


class Function:
    """What the names of one function, or of a module, are bound to."""

    def __init__(self, node: ast.AST, outer: Function | None = None) -> None:
        self.outer = outer
        self.bound: dict[str, list[ast.expr | None]] = {}
        self.functions: dict[str, ast.FunctionDef] = {}
        if isinstance(node, ast.FunctionDef):
            every = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
            self.bound |= {argument.arg: [None] for argument in every}
        for child in own_nodes(node):
            self.take(child)

    def take(self, node: ast.AST) -> None:
        match node:
            case ast.Assign(targets, value):
                for target in targets:
                    self.bind(target, value)
            case ast.AnnAssign(target, _, value) | ast.AugAssign(target, _, value) | ast.NamedExpr(target, value):
                self.bind(target, value)
            case ast.For(target, iterable) | ast.comprehension(target, iterable):
                self.bind(target, iterable)
            case ast.withitem(value, ast.expr() as target):
                self.bind(target, value)
            case ast.ExceptHandler(_, str(name)):
                self.bound.setdefault(name, []).append(None)
            case ast.FunctionDef(name):
                self.functions[name] = node  # type: ignore[assignment]

    def bind(self, target: ast.expr, value: ast.expr | None) -> None:
        if isinstance(target, ast.Name):
            self.bound.setdefault(target.id, []).append(value)
        elif isinstance(target, ast.Tuple):
            apart = isinstance(value, ast.Tuple) and len(value.elts) == len(target.elts)
            zipped = isinstance(value, ast.Call) and ast.unparse(value.func) == "zip"
            parts = value.elts if apart else value.args if zipped else [value] * len(target.elts)  # type: ignore[union-attr]
            for part, one in zip(target.elts, parts, strict=True):
                self.bind(part, one)

    def is_ours(self, node: ast.expr | None, depth: int = 20) -> bool:
        """Whether every text in it is a constant of ours, a number, or made inert."""
        if depth == 0:
            return False
        match node:
            case ast.Name(name):
                return self.is_our_name(name, depth)
            case ast.Call():
                return self.is_our_call(node, depth)
            case ast.FormattedValue(value, _, spec):
                numeric = spec is not None and ast.unparse(spec).strip("'\"").endswith(NUMERIC)
                return numeric or self.is_ours(value, depth - 1)
        return type(node) in PARTS and all(self.is_ours(part, depth - 1) for part in parts_of(node))

    def is_our_name(self, name: str, depth: int) -> bool:
        if name.isupper():
            return True
        if name in self.bound:
            return all(self.is_ours(value, depth - 1) for value in self.bound[name])
        return self.outer is not None and self.outer.is_our_name(name, depth)

    def is_our_call(self, call: ast.Call, depth: int) -> bool:
        every = [*call.args, *(keyword.value for keyword in call.keywords)]
        if isinstance(call.func, ast.Attribute):
            return call.func.attr in KEEPS and all(self.is_ours(part, depth - 1) for part in (call.func.value, *every))
        name = ast.unparse(call.func)
        if name in INERT | NUMBERS:
            return True
        if name == "counted":  # of a number, which is its first
            return all(self.is_ours(part, depth - 1) for part in every[1:])
        if name in PASSES:
            return all(self.is_ours(part, depth - 1) for part in every)
        if name in self.functions:
            inner = Function(self.functions[name], self)
            returns = [node for node in own_nodes(self.functions[name]) if isinstance(node, ast.Return)]
            return all(inner.is_ours(node.value, depth - 1) for node in returns)
        return self.outer is not None and self.outer.is_our_call(call, depth)


def parts_of(node: ast.expr | None) -> Iterator[ast.expr | None]:
    """What an expression is made of, as far as its text goes."""
    for field in PARTS[type(node)]:
        part = getattr(node, field)
        yield from part if isinstance(part, list) else [part]


def own_nodes(root: ast.AST) -> Iterator[ast.AST]:
    """The nodes below it without those of functions defined in it, themselves included."""
    for child in ast.iter_child_nodes(root):
        yield child
        if not isinstance(child, ast.FunctionDef):
            yield from own_nodes(child)


def is_shown(node: ast.AST) -> TypeGuard[ast.Call]:
    """Whether it is a call of what Streamlit shows as Markdown."""
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in MARKDOWN
        and ast.unparse(node.func.value) != "archive"  # a zip is written to as well
    )


def foreign(root: ast.AST, outer: Function | None = None) -> Iterator[str]:
    """The texts that are shown as Markdown and may be of others, with their lines."""
    here = Function(root, outer)
    for node in own_nodes(root):
        if isinstance(node, ast.FunctionDef):
            yield from foreign(node, here)
        elif is_shown(node):
            for argument in arguments(node):
                if not here.is_ours(argument):
                    yield f"{node.lineno} {node.func.attr}: {ast.unparse(argument)}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_what_streamlit_shows_as_markdown_is_ours_or_made_inert(path: Path) -> None:
    assert list(foreign(ast.parse(path.read_text()))) == []


def test_no_markup_is_made_of_text_in_python_or_in_the_components() -> None:
    for path in SOURCES:
        text = path.read_text()
        assert "unsafe_allow" not in text, path.name
        assert ".html(" not in text, path.name
    scripts = [*(project_dir() / "fnkd_core" / "ui" / "components").rglob("*.js")]
    assert len(scripts) > 5
    for path in scripts:
        made = re.findall(
            r"\w*(?:inner|outer)HTML|insertAdjacentHTML|DOMParser|document\.write|ContextualFragment", path.read_text()
        )
        assert not made, path.name
