"""The pages of `docs/`, as tests read them: their blocks of code, their commands, and running both."""

from __future__ import annotations

import doctest
import re
import shlex
from collections.abc import Mapping
from typing import Any

from fnkd_core.paths import project_dir

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def text_of(page: str) -> str:
    return (project_dir() / "docs" / page).read_text()


def blocks(page: str, language: str) -> list[tuple[int, str]]:
    """Line and text of each block of a language."""
    text = text_of(page)
    return [(text[: m.start()].count("\n") + 2, m[2]) for m in BLOCK.finditer(text) if m[1] == language]


def commands(page: str) -> list[str]:
    """The `fnkd` commands of a page, in their order, each as one line."""
    joined = [text.replace("\\\n", " ") for _, text in blocks(page, "bash")]
    return [line.split("  #")[0].strip() for text in joined for line in text.splitlines() if line.startswith("fnkd ")]


FEWER = {"--epochs": "1", "--seeds": "1", "--student": "cifar_resnet8", "--image-size": "32", "--per-class": "4"}
"""What is smaller here than on the page: the value of an option -> the stand-in's."""


def smaller(command: str, paths: Mapping[str, str] = {}) -> list[str]:
    """The command with the stand-in's values, without what would go on behind the test's back."""
    words = shlex.split(command)[1:]
    found = [paths.get(word, word) for word in words if word != "--background"]
    for i, word in enumerate(found[:-1]):
        if word in FEWER:
            found[i + 1] = FEWER[word]
        if word == "--grid":
            found[i + 1] = found[i + 1].partition(",")[0]
    trains = found[0] in ("train", "compare")
    return [*found, "--threads", "1"] if trains else found


def run(page: str, line: int, text: str, names: dict[str, Any]) -> None:
    """A block of Python, in a namespace that it adds to; one with prompts has to print what it says."""
    if ">>>" not in text:
        exec(compile("\n" * (line - 1) + text, page, "exec", dont_inherit=True), names)
        return
    test = doctest.DocTestParser().get_doctest(text, names, page, page, line - 1)
    said: list[str] = []
    runner = doctest.DocTestRunner()
    runner.run(test, out=said.append, clear_globs=False)
    names.update(test.globs)
    assert runner.failures == 0, "".join(said)
