"""The words of the pages are one press away from every page, and are those of the reference."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from fnkd_core.glossary import WORDS, words_with
from fnkd_core.ui.view import PAGES
from tests.pages.tools import sentences


def test_every_page_has_the_words_in_a_drawer(opened: Callable[..., AppTest]) -> None:
    app = opened("overview")
    assert WORDS["Decile"] not in sentences(app)
    app.button(key="words").click().run()
    assert WORDS["Decile"] in sentences(app) and not app.exception
    for name in (name for pages in PAGES.values() for name in pages if name in ("classes", "runs")):
        app.switch_page(f"pages/{name}.py").run()
        assert app.button(key="words") and WORDS["Decile"] not in sentences(app)


@pytest.mark.parametrize("word", WORDS)
def test_a_word_is_explained_in_one_or_two_short_sentences(word: str) -> None:
    assert len(WORDS[word]) <= 130 and WORDS[word].endswith(".")


def test_a_word_is_found_by_itself_and_by_what_it_means_whatever_its_case() -> None:
    assert words_with("") == WORDS and words_with(" zebra ") == {}
    assert list(words_with("DECILE")) == ["Decile"] and "Decile" in words_with("a tenth")


def test_the_words_are_in_the_order_of_the_alphabet() -> None:
    assert list(WORDS) == sorted(WORDS, key=str.casefold)
