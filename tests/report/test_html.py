from __future__ import annotations

import re
from collections.abc import Callable
from importlib.resources import files

import pytest
from html_pages import Page, check_page

from mibias_cli.report.document import Report
from mibias_cli.report.html import render_html
from mibias_cli.report.plots.svg import DARK, LIGHT


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
    page = check_page(render_html(make()))
    assert len(page.named("svg")) == 4


def luminance(colour: str) -> float:
    """Relative luminance as WCAG 2 defines it."""
    digits = colour if len(colour) == 6 else "".join(2 * digit for digit in colour)
    shares = [int(digits[k : k + 2], 16) / 255 for k in (0, 2, 4)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_every_colour_of_text_can_be_read_on_both_grounds(mode: str) -> None:
    style = (files("mibias_cli.report") / "templates" / "style.css").read_text(encoding="utf-8")
    roots = re.findall(r":root \{(.*?)\}", style, flags=re.DOTALL)  # light, dark, print
    colours = dict(re.findall(r"--([a-z]+): #([0-9a-f]{3,6})", roots[0]))
    assert colours == {**colours, "paper": "fff"}
    if mode == "dark":
        colours |= dict(re.findall(r"--([a-z]+): #([0-9a-f]{3,6})", roots[1]))
    for text in ("ink", "muted", "before", "after", "good", "alarm"):
        for ground in ("paper", "panel"):
            low, high = sorted(luminance(colours[name]) for name in (text, ground))
            assert (high + 0.05) / (low + 0.05) >= 4.5, (text, ground)  # WCAG 2 AA
    # plots as files of their own have the page's colours
    drawn = dict(re.findall(r"--([a-z]+):#([0-9a-f]{3,6})", LIGHT if mode == "light" else DARK))
    assert drawn == {name: colours[name] for name in drawn}


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
