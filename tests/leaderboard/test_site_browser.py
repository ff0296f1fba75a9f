"""The leaderboard's page in a real browser: `nox -s browser`, skipped where there is none."""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from made_pages import HOSTILE, made, page

from bench.schema import Status
from leaderboard.statistics.paired import paired_t

playwright = pytest.importorskip("playwright.sync_api", reason="needs Playwright: nox -s browser")

pytestmark = pytest.mark.browser
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
"""A system's own; else the one that Playwright brings along."""
MEASURED = 8


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        try:
            found = started.chromium.launch(executable_path=CHROMIUM)
        except playwright.Error as error:
            pytest.skip(f"no Chromium can be started: {str(error).splitlines()[0]}")
        yield found
        found.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("page") / "index.html"
    path.write_text(page(made()), encoding="utf-8")
    return path.as_uri()


@pytest.fixture
def tab(browser: Any, address: str) -> Iterator[Any]:
    """The page, opened from a file; whatever its console says is an error."""
    context = browser.new_context(accept_downloads=True)
    opened = context.new_page()
    opened.set_default_timeout(5_000)
    said: list[str] = []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.on("request", lambda request: said.append(request.url) if not request.url.startswith("file:") else None)
    opened.goto(address)
    yield opened
    assert said == []
    context.close()


def labels(tab: Any) -> list[str]:
    """The methods of the measured entries, from top to bottom."""
    return [text.strip() for text in tab.locator("tr.entry:not([data-kind=claimed]) th > a").all_text_contents()]


def choose(tab: Any, **filters: str) -> None:
    for name, value in filters.items():
        tab.select_option(f"#{name}", value)


def entry(tab: Any, label: str) -> Any:
    """The line of a method on the board that is chosen."""
    return tab.locator("tr.entry:not([data-kind=claimed])").filter(has=tab.get_by_role("link", name=label, exact=True))


def opener(tab: Any, label: str) -> Any:
    """What opens it, and closes it again."""
    return entry(tab, label).get_by_role("link", name=label, exact=True)


def test_every_entry_is_there_and_a_label_is_text(tab: Any) -> None:
    assert tab.locator("tr.entry:not([data-kind=claimed])").count() == MEASURED
    assert HOSTILE in labels(tab)
    assert tab.title() == "acl-bench leaderboard"


def test_filters_leave_what_fits(tab: Any) -> None:
    choose(tab, dataset="cifar10", protocol="slf@ncp", schedule="paper")
    assert labels(tab) == ["ncp"]

    tab.click("#reset")
    choose(tab, external="used")
    assert labels(tab) == ["checkpoint[path=acl.pt]"]

    choose(tab, external="", kind="claimed")
    assert labels(tab) == []
    assert tab.locator("tr.entry[data-kind=claimed]").count() > 300


def test_a_search_leaves_the_methods_that_contain_it(tab: Any) -> None:
    tab.keyboard.press("/")
    tab.keyboard.type("AMO")

    assert labels(tab) == ["amoc"]
    assert tab.evaluate("document.activeElement.id") == "text"
    assert tab.input_value("#text") == "AMO"


def test_columns_sort_both_ways_within_a_board(tab: Any) -> None:
    choose(tab, dataset="cifar10", protocol="slf-1", kind="retrained")
    full = labels(tab)[:5]
    assert full == ["ncp", "amoc", "dynacl", HOSTILE, "mirage"]  # Failed by a gate, without a rank.

    tab.click("#sort-aa")
    assert labels(tab)[:5] == ["mirage", "ncp", "amoc", "dynacl", HOSTILE]
    assert tab.get_attribute("th:has(#sort-aa)", "aria-sort") == "descending"

    tab.click("#sort-aa")
    assert labels(tab)[:5] == [HOSTILE, "dynacl", "amoc", "ncp", "mirage"]


def test_every_attack_has_a_column_where_it_is_asked_for(tab: Any) -> None:
    choose(tab, protocol="slf-1", kind="retrained")
    assert tab.locator("#sort-deepfool").count() == 0

    tab.click("#columns")
    assert tab.get_attribute("#columns", "aria-pressed") == "true"
    assert entry(tab, "amoc").locator("td[data-metric=deepfool]").inner_text() == "47.50±0.00"
    tab.click("#sort-corruption")
    assert labels(tab)[0] == "amoc"
    assert tab.evaluate("document.documentElement.scrollWidth") <= tab.viewport_size["width"]

    tab.click("#columns")
    assert tab.locator("#sort-deepfool").count() == 0


def test_an_entry_names_its_paper(tab: Any) -> None:
    link = entry(tab, "amoc").get_by_role("link", name="Xu et al. 2020")
    assert link.get_attribute("href") == "https://arxiv.org/abs/2012.13154"


def test_what_a_gate_failed_has_a_badge_and_no_rank(tab: Any) -> None:
    choose(tab, protocol="slf-1")
    line = entry(tab, "mirage")

    assert line.locator("td.rank").inner_text() == "–"  # noqa: RUF001 - a dash
    assert line.locator("[data-badge=gate-fail]").inner_text() == "fail"
    assert line.locator(".mark-best, .mark-tied").count() == 0


def test_an_entry_opens_and_its_address_leads_back_to_it(tab: Any, browser: Any) -> None:
    opener(tab, "mirage").click()
    assert "the gradients are masked" in tab.locator("tr.details").inner_text()

    other = browser.new_page()
    other.goto(tab.url)
    assert other.locator("tr.details").count() == 1
    assert other.locator("tr.entry[data-opened] th > a").inner_text() == "mirage"
    assert other.locator("tr.entry[data-opened]").is_visible()
    permalink = other.get_by_role("link", name="Permalink").get_attribute("href")
    assert permalink == tab.url[tab.url.index("#") :]
    other.close()


def test_two_entries_are_compared_by_the_test_of_the_tables(tab: Any) -> None:
    choose(tab, protocol="slf-1")
    entry(tab, "ncp").first.get_by_role("checkbox").check()
    entry(tab, "amoc").get_by_role("checkbox").check()

    rows = made()
    of = {label: _aa(rows, label) for label in ("ncp", "amoc")}
    expected = paired_t(of["ncp"], of["amoc"])
    assert expected is not None
    cells = tab.locator("#comparison tr[data-metric=aa] td").all_text_contents()
    assert cells[:2] == [f"{expected.mean_difference:+.2f}", f"{expected.low:+.2f} to {expected.high:+.2f}"]
    assert cells[2:6] == [f"{expected.p:.4f}", f"{expected.t:.2f} (df 4)", f"{expected.effect:.2f}", "5"]

    tab.keyboard.press("Escape")
    assert tab.locator("#comparison").is_hidden()


def _aa(rows: pd.DataFrame, label: str) -> pd.Series:
    wanted = rows["label"].eq(label) & rows["protocol"].eq("slf-1") & ~rows["limited"] & rows["status"].eq(Status.OK)
    return rows[wanted].set_index("seed_pretrain")["aa"]


@pytest.mark.parametrize(
    ("labels_chosen", "said"),
    [
        (("ncp", "checkpoint[path=acl.pt]"), "fewer than two seeds in common"),
        (("ncp", "mirage"), "A gate failed mirage"),
    ],
)
def test_what_a_comparison_cannot_show_is_said(tab: Any, labels_chosen: tuple[str, str], said: str) -> None:
    for label in labels_chosen:
        entry(tab, label).first.get_by_role("checkbox").check()

    assert said in tab.locator("#comparison").inner_text()


def test_entries_of_two_boards_are_not_tested(tab: Any) -> None:
    entry(tab, "ncp").nth(0).get_by_role("checkbox").check()
    entry(tab, "ncp").nth(1).get_by_role("checkbox").check()

    assert "different boards" in tab.locator("#comparison").inner_text()
    assert tab.locator("#comparison table").count() == 0


def test_what_is_shown_is_downloaded(tab: Any) -> None:
    choose(tab, protocol="slf-1", kind="retrained")
    with tab.expect_download() as waited:
        tab.click("#csv")

    lines = list(csv.DictReader(io.StringIO(Path(waited.value.path()).read_text(encoding="utf-8"))))
    assert [line["method"] for line in lines] == labels(tab)
    assert (lines[0]["aa"], lines[0]["aa by seed"]) == ("48.32", "0:48.4 1:48.1 2:48.9 3:47.9 4:48.3")


def test_the_keyboard_alone_will_do(tab: Any) -> None:
    choose(tab, protocol="slf-1", kind="retrained")
    tab.focus("#csv")
    for key in ["Tab", "Enter"]:  # The first column's button.
        tab.keyboard.press(key)
    assert tab.evaluate("document.activeElement.id") == "sort-rank"
    opener(tab, "amoc").focus()
    tab.keyboard.press("Enter")
    assert tab.locator("tr.entry[data-opened] th > a").inner_text() == "amoc"
    tab.keyboard.press("Enter")
    assert tab.locator("tr.entry[data-opened]").count() == 0
    entry(tab, "amoc").get_by_role("checkbox").focus()
    tab.keyboard.press("Space")
    assert entry(tab, "amoc").get_by_role("checkbox").is_checked()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_follow_the_system_until_one_is_chosen(tab: Any, scheme: str) -> None:
    def brightness() -> int:
        return int(tab.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g)[0]"))

    tab.emulate_media(color_scheme=scheme)
    assert (brightness() > 127) == (scheme == "light")
    for chosen in (True, False):  # The button goes from the system's to light to dark.
        tab.click("#theme")
        assert (brightness() > 127) == chosen


def test_a_phone_needs_no_scrolling_aside(tab: Any) -> None:
    tab.set_viewport_size({"width": 360, "height": 740})
    opener(tab, "mirage").click()
    entry(tab, "amoc").get_by_role("checkbox").check()
    entry(tab, "ncp").first.get_by_role("checkbox").check()

    assert tab.evaluate("document.documentElement.scrollWidth") <= 360
    assert tab.locator("#sort").is_visible()
    tab.select_option("#sort", "label")
    assert labels(tab)[1] == "amoc"
