r"""Text of others in what Streamlit reads as Markdown, which nearly all of it is: see `MARKDOWN` in the tests.

Class, file and checkpoint names, fields of cards, paths and errors that quote them come from files of others. In
Markdown they would be links, pictures that the browser fetches, colours and formulas. The rule:

- A sentence of ours is Markdown, and what it quotes goes through `literal`: f"**{literal(name)}** is broken." Numbers
  with a format need nothing, since no text passes it: f"{count:,}".
- What is a sentence as a whole (an error, a finding, a note) goes through `prose`: it is text, in which only what
  stands between single backticks is code. Code is inert, so that nobody gains by a backtick of their own.
- What is always code, such as a path, goes through `code`.

Tables show text as it is, and the browser exports them as CSV: they go through `fnkd_core.ui.tables`. Options of
`st.selectbox`, `st.code` and our components show text as it is and need nothing. A test reads every page for what came
another way.
"""

from __future__ import annotations

import re

from fnkd_core.errors import one_line

JOINER = "\N{WORD JOINER}"
"""Takes no room. It parts what Streamlit looks for in the finished text, where no escape can reach."""
_PARTED = re.compile(
    r"(?<=http)(?=s?://)|(?<=www)(?=\.)|(?<=[\w.+-])(?=@[\w-])"  # addresses become links
    r"|(?<=:)(?=material/|[\w+/-]+(?::|$))"  # :smile:, :material/home:
    r"|(?<![^\s`*][<>~-])(?<=[<>~-])(?=(?:->|[-=>])(?![^\s`*]))",  # -> becomes an arrow, -- a dash
    re.IGNORECASE,
)
_SPECIAL = re.compile(
    r"[\\`*\[\]<~$|]"
    r"|(?<![^\W_])_|_(?![^\W_])"  # within a word it is a character like others
    rf"|&(?=[#\w]|$)|:(?=[\w:{JOINER}])"
)
_FIRST = re.compile(r"^(\d*(?=[.)](?:\s|$))|(?=[#>+=-]))")
"""What makes a heading, a quotation or a list of a line that begins with it."""
_CODE = re.compile(r"(?<!`)`([^`]+)`(?!`)")


def literal(text: object) -> str:
    """Markdown that shows this text and nothing else, in one line; see `one_line`."""
    return _inert(one_line(text).strip())


def code(text: object) -> str:
    """Markdown that shows this text as code."""
    line = one_line(text).replace(":material/", f":{JOINER}material/")
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", line)), default=0))
    space = " " if line.strip() != line or line[:1] == "`" or line[-1:] == "`" else ""
    return f"{fence}{space}{line or ' '}{space}{fence}"


def prose(text: object) -> str:
    """Markdown that shows this text, where only what stands between single backticks is code; see above."""
    pieces = _CODE.split(one_line(text).strip())
    return "".join(code(piece) if i % 2 else _inert(piece) for i, piece in enumerate(pieces))


def _inert(line: str) -> str:
    escaped = _SPECIAL.sub(r"\\\g<0>", _PARTED.sub(JOINER, line))
    return _FIRST.sub(r"\1\\", escaped)
