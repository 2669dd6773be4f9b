"""What is made inert shows as it was, by a CommonMark parser; tests/browser asks Streamlit's own the same."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from fnkd_core.errors import one_line
from fnkd_core.ui.markdown import JOINER, code, literal, prose

PARSER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
PIECES = st.sampled_from(
    [*"*_`[]()<>&#$:|~\\+-=.!^{}\"' \n", "www.a.b", "http://a.b", "a@b.c", ":x:", ":red[x]", "1.", "a", "_a", "&amp;"]
)
TEXTS = st.text() | st.lists(PIECES, max_size=9).map("".join)


def tokens(markdown: str) -> list[tuple[str, str]]:
    """Kind and text of what a line of Markdown becomes, text that stands together as one."""
    blocks = PARSER.parse(markdown)
    assert [block.type for block in blocks] in ([], ["paragraph_open", "inline", "paragraph_close"])
    found: list[tuple[str, str]] = []
    for part in blocks[1].children or [] if blocks else []:
        kind = "text" if part.type == "text_special" else part.type
        if kind == "text" and found and found[-1][0] == "text":
            found[-1] = ("text", found[-1][1] + part.content)
        else:
            found.append((kind, part.content))
    return found


def shown(text: str) -> str:
    """The text as it can be read: in one line, without what takes no room."""
    return re.sub(r"[ \t\n]+", " ", one_line(text).strip()).replace(JOINER, "")


@given(TEXTS)
def test_a_text_made_literal_is_that_text_and_nothing_else(text: str) -> None:
    found = [(kind, re.sub(r" +", " ", content).replace(JOINER, "")) for kind, content in tokens(literal(text))]
    assert found == ([("text", shown(text))] if shown(text) else [])


@given(TEXTS)
def test_it_stays_so_in_a_sentence_of_ours(text: str) -> None:
    (kind, read), *more = tokens(f"Label: {literal(text)} is here, {literal(text)}")
    assert kind == "text" and not more
    assert shown(read) == shown(f"Label: {shown(text)} is here, {shown(text)}")


@given(TEXTS)
def test_code_is_that_text(text: str) -> None:
    ((kind, read),) = tokens(code(text))
    assert kind == "code_inline" and read.strip().replace(JOINER, "") == one_line(text).strip().replace(JOINER, "")


@given(TEXTS)
def test_a_sentence_has_text_and_code_alone(text: str) -> None:
    assert {kind for kind, _ in tokens(prose(text))} <= {"text", "code_inline"}


@pytest.mark.parametrize(
    "name",
    [
        "digits-teacher",
        "cifar_resnet20",
        "T = 4.5",
        "a.b.c",
        "Gräser & Co",
        "tau 2.5, lambda 3",
        "20261125-ce",
        "a: b",
        "x (1)",
    ],
)
def test_harmless_names_are_not_touched(name: str) -> None:
    assert literal(name) == name


def test_a_sentence_keeps_its_code_and_nothing_that_it_quotes() -> None:
    text = prose("No checkpoint '*x*'; `fnkd checkpoints list` lists them, see http://evil.example.")
    assert text == f"No checkpoint '\\*x\\*'; `fnkd checkpoints list` lists them, see http{JOINER}://evil.example."
