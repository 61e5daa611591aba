"""Text as it leaves the program: what would steer a terminal or turn a line around is shown, and does nothing.

Keys, columns, classes, attributes and files are named by whoever made the data. They are kept as they are, and escaped
where they leave: on the standard streams, in logs, reports, exports and what continuous integration reads.
"""

from __future__ import annotations

import re
import textwrap
import unicodedata

__all__ = ["appearance", "no_formula", "one_line", "shown", "wrapped"]

# control characters but tab and line feed, marks and overrides of direction, Unicode's own line breaks, the byte-order
# mark, tags, and halves of characters, which stand for bytes of file names that are no text
_STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff\U000e0000-\U000e007f]"
)
_UNSEEN = re.compile("[\u00ad\u200b-\u200f\u2060\ufeff]")
"""Characters without width: soft hyphens, joiners, marks of direction and of byte order."""


def shown(text: str) -> str:
    r"""The text with what steers escaped as JSON escapes it, so that JSON stays JSON and means the same.

    Example:
        >>> shown("red\x1b[2J\u202eder")
        'red\\u001b[2J\\u202eder'
    """
    return _STEERING.sub(_escape, text)


def appearance(text: str) -> str:
    r"""What texts that look alike have in common: accents as one character or two, no signs without width.

    Example:
        >>> appearance("caf\u00e9") == appearance("cafe\u0301"), appearance("a\u200b") == appearance("a")
        (True, True)
    """
    return unicodedata.normalize("NFKC", _UNSEEN.sub("", text))


def wrapped(text: str, width: int) -> str:
    """Words on lines of this width at most, the further ones indented by two; paths and long words stay whole.

    Example:
        >>> print(wrapped("  a longer sentence about words", 16))
          a longer
            sentence
            about words
    """
    indent = text[: len(text) - len(text.lstrip())]
    return textwrap.fill(
        text.strip(), width, initial_indent=indent, subsequent_indent=indent + "  ",
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def one_line(text: str) -> str:
    r"""The same, with line feeds escaped too: for names and messages, none of which begins a line of its own.

    Example:
        >>> one_line("sex\nwarning: none")
        'sex\\nwarning: none'
    """
    return shown(text).replace("\n", "\\n")


def no_formula(cell: str) -> str:
    """The text of a cell of a CSV file, behind an apostrophe where spreadsheets would take it for a formula.

    Example:
        >>> no_formula("=1+1"), no_formula("-1.5"), no_formula("cat")
        ("'=1+1", '-1.5', 'cat')
    """
    if not cell.startswith(("=", "+", "-", "@", "\t", "\r")):
        return cell
    try:
        float(cell)
    except ValueError:
        return f"'{cell}"
    return cell


def _escape(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be", errors="surrogatepass")
    return "".join(f"\\u{units[k : k + 2].hex()}" for k in range(0, len(units), 2))
