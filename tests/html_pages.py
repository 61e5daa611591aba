"""What every page of ours keeps, whoever reads it: read with Python's own parser, as a browser and axe would look."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from itertools import pairwise

__all__ = ["Page", "check_page"]

VOID = {"meta", "br", "img", "link", "hr", "input"}


class Page(HTMLParser):
    """Tags in order, whether they close as they opened, and the text outside style."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data

    def named(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of every tag of this name."""
        return [attributes for name, attributes in self.tags if name == tag]


def check_page(text: str) -> Page:
    """A language, a title, one main and one h1, headings without gaps, tables and pictures that say what they are."""
    page = Page(text)
    names = [tag for tag, _ in page.tags]
    assert page.named("html")[0]["lang"] == "en"
    assert names.count("main") == 1
    assert names.count("title") >= 1
    assert any(a.get("name") == "viewport" for a in page.named("meta"))
    levels = [int(tag[1]) for tag in names if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))
    assert names.count("table") == names.count("caption")
    assert all(a.get("scope") in ("row", "col") for a in page.named("th"))
    assert all(a.get("alt") for a in page.named("img"))
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))
    for a in page.named("svg"):
        assert a["role"] == "img"
        assert set(str(a["aria-labelledby"]).split()) <= set(ids)
    for _, a in page.tags:
        # what scrolls can be reached by keys
        if a.get("role") == "region":
            assert a["tabindex"] == "0"
            assert a["aria-label"]
    return page
