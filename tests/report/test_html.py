from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from mibias_cli.report.document import Report
from mibias_cli.report.html import render_html

VOID = {"meta", "br", "img", "link", "hr", "input"}


class Page(HTMLParser):
    """Tags in order, whether they close as they opened, ids, and the text outside style."""

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


@pytest.mark.parametrize("options", [{}, {"before": None}, {"channels": ("colour",)}, {"ranks": (9.0, 0.0)}])
def test_the_page_is_whole_self_contained_and_small(make: Callable[..., Report], options: dict[str, object]) -> None:
    text = render_html(make(**options))
    page = Page(text)
    names = [tag for tag, _ in page.tags]
    assert "script" not in names
    # an empty icon, so that a browser asks no server for one
    assert [a for tag, a in page.tags if tag == "link"] == [{"rel": "icon", "href": "data:,"}]
    assert "img" not in names
    # nothing is fetched: the only addresses are names of XML namespaces
    addresses = set(re.findall(r"https?://[^\s\"'<>)]+", text))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert "@import" not in text
    assert len(text.encode()) < 1_000_000
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))
    assert "undefined" not in page.text.lower()
    assert "None" not in page.text


def test_the_page_is_sane_for_keyboard_and_screen_reader(make: Callable[..., Report]) -> None:
    page = Page(render_html(make()))
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))
    names = [tag for tag, _ in page.tags]
    assert names.count("table") == names.count("caption")
    assert all(a.get("scope") in ("row", "col") for tag, a in page.tags if tag == "th")
    ids = {a["id"] for _, a in page.tags if "id" in a}
    for tag, a in page.tags:
        if tag == "svg":
            assert a["role"] == "img"
            assert set(str(a["aria-labelledby"]).split()) <= ids
        if a.get("role") == "region":
            assert a["tabindex"] == "0"
            assert a["aria-label"]
    assert names.count("svg") == 4


def test_whatever_a_user_names_is_escaped(make: Callable[..., Report]) -> None:
    name = """<script>alert("1")</script>'&$x_1$ ü 色"""
    report = make(name=name, channels=("<img src=x>", "b"))
    data = report.model_copy(update={"provenance": {"backbone": "<b>", "command": "</code><script>"}})
    text = render_html(data)
    page = Page(text)
    tags = {tag for tag, _ in page.tags}
    assert not tags & {"script", "img"}
    assert "b" not in [tag for tag, a in page.tags if tag == "b" and a]
    assert name in page.text
    assert "<script" not in text


def test_figures_are_shown_before_and_after_with_intervals(make: Callable[..., Report]) -> None:
    text = Page(render_html(make())).text
    for shown in (
        "0.800",
        "0.780 to 0.820",
        "0.050",
        "0.030 to 0.070",
        "−0.750",
        "70.0\u00a0%",
        "90.0\u00a0%",
        "+20.0\u00a0points",
    ):
        assert shown in text


def test_a_collapse_stands_on_the_first_screen(make: Callable[..., Report]) -> None:
    text = render_html(make(ranks=(9.0, 0.0)))
    assert 'class="verdict collapsed"' in text
    assert text.index("Collapsed, not debiased") < text.index("<table")


def test_the_page_is_the_same_each_time(make: Callable[..., Report]) -> None:
    assert render_html(make()) == render_html(make())
