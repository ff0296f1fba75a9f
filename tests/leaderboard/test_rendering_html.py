"""HTML: one file that needs nothing else, read by people and by machines."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser

import pytest
from made_tables import CLAIMED, HOSTILE, RESULTS, STUBBED, TABLES, WIDE

from leaderboard.rendering.html_page import html
from leaderboard.tables.build import build
from leaderboard.tables.model import Table

VOID = frozenset({"meta", "colgroup", "wbr"})
SETS = pytest.mark.parametrize("tables", [TABLES, WIDE, CLAIMED, STUBBED], ids=["hostile", "wide", "claimed", "stubs"])


@dataclass
class Page(HTMLParser):
    """What a page holds: its open elements are checked as it is read."""

    text: str
    tags: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)
    open: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)

    def all(self, name: str) -> list[str]:
        """The values of an attribute."""
        return [value for _, attributes in self.tags if (value := attributes.get(name)) is not None]


@SETS
def test_every_element_is_closed_and_nothing_is_fetched_or_run(tables: Sequence[Table]) -> None:
    page = Page(html(tables))

    assert {"script", "link", "img", "iframe"}.isdisjoint(tag for tag, _ in page.tags)
    assert not re.search(r"https?:|url\(|@import", page.text)
    assert page.all("src") == []


def test_hostile_texts_are_texts() -> None:
    page = Page(html(TABLES))

    assert {tag for tag, _ in page.tags}.isdisjoint({"m", "bold"})
    assert HOSTILE in "".join(page.words)
    assert "100 % of 2_000 $ {lost}" in "".join(page.words)


def test_no_command_ends_the_comment_that_it_stands_in() -> None:
    command = "bench table --out 'a--><b>x</b><!--' --methods '--!>'"

    page = Page(html(build(RESULTS, command=command)))

    assert len(page.comments) == 1
    assert [tag for tag, _ in page.tags].count("b") == len(TABLES[0].footnotes)
    assert command in "".join(page.words)


@SETS
def test_every_link_leads_to_an_id_and_no_id_is_given_twice(tables: Sequence[Table]) -> None:
    page = Page(html((*tables, *tables)))
    ids = page.all("id")

    assert len(ids) == len(set(ids))
    assert {link.removeprefix("#") for link in page.all("href")} <= set(ids)
    assert set(page.all("aria-labelledby")) <= set(ids)


def test_footnotes_are_linked_from_what_they_are_about() -> None:
    name = f"t{TABLES[0].provenance.rows_hash[:8]}-1"
    text = html(TABLES)

    assert f'failed (2 of 2)<sup><a href="#{name}-a">a</a></sup>' in text
    assert f'<li id="{name}-a"><b>a</b>2 of 2 seeds failed' in text


def test_marks_and_spread_are_shown() -> None:
    text = html(TABLES)

    assert '<strong>86.10</strong> <span class="sd">± 0.80</span>' in text
    assert '<u>69.77</u> <span class="sd">± 0.59</span>' in text


def test_headings_say_what_they_head() -> None:
    page = Page(html(WIDE[:1]))
    scopes = [attributes.get("scope") for tag, attributes in page.tags if tag == "th"]

    assert scopes == ["col"] * 2 + ["colgroup"] * 3 + ["col"] * 9 + ["row"]
    assert page.all("colspan") == ["3", "3", "3"]
    assert page.all("rowspan") == ["2", "2"]


def test_a_text_on_the_left_spans_the_lines_that_it_holds_for() -> None:
    text = html(STUBBED)

    assert '<th scope="rowgroup" class="stub" rowspan="3">MoCo</th><th scope="row" rowspan="2">128</th>' in text
    assert '<th scope="rowgroup" class="stub">AMOC†</th>' in text


def test_tests_and_published_numbers_stand_below() -> None:
    text = html((*TABLES, *CLAIMED))

    assert "<summary>Paired t-tests by seed (12)</summary>" in text
    assert f"<summary>Published numbers ({len(CLAIMED[0].claims)})</summary>" in text


def test_a_fragment_is_the_sections_alone() -> None:
    page = Page(html((*TABLES, *CLAIMED), fragment=True))
    outside = {tag for tag, _ in page.tags} & {"html", "head", "body", "style", "main"}

    assert outside == set()
    assert [tag for tag, _ in page.tags].count("section") == 2
