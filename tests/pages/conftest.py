"""Fixtures of the tests of pages."""

from tests.pages.tools import opened

__all__ = ["opened"]
