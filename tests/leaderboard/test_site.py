"""`bench leaderboard build`: what the page holds, and that it needs nothing else. Without a browser."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_pages import CIFAR, FURTHER, HOSTILE, PAPER, data_of, gates, made, multiplied, page
from made_rows import frame, row, rows

from bench.keys import canonical
from bench.registry import Registry
from bench.schema import SCHEMA_VERSION
from bench.store import Store, parquet
from leaderboard.claims.record import Record, measured
from leaderboard.site import measured as measured_rows
from leaderboard.site import published
from leaderboard.site.model import Flag, Kind
from leaderboard.site.page import PARTS, as_data, embedded, render
from leaderboard.site.papers import load_papers
from leaderboard.statistics.paired import paired_t, smallest_significant
from tests.cli.runner import invoke, whole_app

BOARD = ("slf-1", "Linf eps 8/255")
AA = "3"
"""The place of AA among the columns."""
ABOUT = {"rows": 1, "newest": "2026-01-01", "version": "0.1"}


@pytest.fixture(scope="module")
def text() -> str:
    return page(made())


@pytest.fixture(scope="module")
def entries(text: str) -> list[dict[str, Any]]:
    """The measured ones, each with its board."""
    boards = [board for board in data_of(text)["boards"] if not board["claimed"]]
    return [{**entry, "board": board} for board in boards for entry in board["entries"]]


def boards_of(found: pd.DataFrame) -> list[Any]:
    return list(measured_rows.boards(found, measured(found), {}))


# One file


def test_nothing_is_fetched(text: str) -> None:
    markup = text.replace(re.findall(r'application/json">(.*?)</script>', text, re.DOTALL)[0], "")

    assert not re.findall(r"\b(?:src|action|poster)\s*=|@import|url\(|\bimport\(|fetch\(|XMLHttp", markup)
    assert set(re.findall(r"https?://[^\s\"'`)]+", markup)) == {"http://www.w3.org/2000/svg"}  # A name, not an address.
    assert "default-src 'none'" in markup


def test_a_thousand_entries_and_the_literature_weigh_less_than_a_megabyte() -> None:
    (board,) = boards_of(
        frame(rows("ncp", [48.4, 48.1, 48.9, 47.9, 48.3], **CIFAR, **FURTHER, **gates("warn", "a reason")))
    )
    whole = render([multiplied(board, 1000), *published.boards(Record.shipped())], ABOUT)

    assert len(data_of(whole)["boards"][0]["entries"]) == 1000
    assert len(whole.encode()) < 1_000_000


def test_no_text_of_a_row_becomes_markup(text: str) -> None:
    assert "<script>document" not in text
    assert HOSTILE in {entry["label"] for board in data_of(text)["boards"] for entry in board["entries"]}


@pytest.mark.parametrize("hostile", ["</script>", "<!--<script>", "\u2028 ]]>", "$data ${style}", '"\\"'])
def test_any_text_comes_back_as_it_was(hostile: str) -> None:
    whole = render([], {**ABOUT, "version": hostile})

    assert data_of(whole)["about"]["version"] == hostile
    assert json.loads(embedded(hostile)) == hostile


# What it says


def test_every_row_comes_back_with_its_numbers(entries: list[dict[str, Any]]) -> None:
    found = {
        (entry["label"], entry["board"]["protocol"], entry["board"]["setting"], seed, score[3][place])
        for entry in entries
        if (score := entry["scores"].get(AA))
        for place, seed in enumerate(entry["seeds"])
    }
    setting = "Linf eps 8/255"
    assert {("ncp", "slf-1", setting, 2, 48.9), ("ncp", "slf@ncp", setting, 2, 49.4)} <= found
    assert ("ncp", "slf-1", f"{setting}, limit test=500", 1, 41.0) in found
    assert len(found) == made()["aa"].notna().sum()


def test_numbers_keep_all_that_a_test_by_seed_can_see() -> None:
    values = [100 / 3, 200 / 7, 46.09375, 1e-9]
    content = as_data(boards_of(frame(rows("ncp", values, **CIFAR))), ABOUT)

    (entry,) = content["boards"][0]["entries"]
    assert entry["scores"][int(AA)][3] == pytest.approx(values, rel=1e-11)


def test_what_has_no_column_of_its_own_comes_along_unmarked(text: str, entries: list[dict[str, Any]]) -> None:
    metrics = data_of(text)["metrics"]
    names = [name for name, _, _, usual in metrics if not usual]
    assert [name for name, *_ in metrics[:4]] == ["sa", "ra_pgd20", "pgd20", "aa"]
    assert names[:3] == ["ra_worst", "corruption", "pgd-l1"]  # The literature has numbers of PGD-50 in l1.
    assert names[-1] == "transfer:x"
    assert len(set(names)) == len(names)

    (amoc,) = (entry for entry in entries if entry["label"] == "amoc")
    numbers = {metrics[int(place)][0]: score for place, score in amoc["scores"].items()}
    for name, mean in {"ra_worst": 43.5, "corruption": 61.25, "deepfool": 47.5, "transfer:x": 70.0}.items():
        assert numbers[name] == [mean, 0, 5, [mean] * 5]


def test_a_method_leads_to_its_paper(text: str) -> None:
    papers = data_of(text)["papers"]
    assert papers["amoc"] == papers["AMOC"] == ["Xu et al. 2020", "https://arxiv.org/abs/2012.13154", ""]
    assert HOSTILE not in papers


def test_every_paper_is_of_a_method_and_every_trained_method_has_one_but_ours() -> None:
    papers, counterparts = load_papers(Record.shipped().counterparts), Record.shipped().counterparts
    names = {entry.name for entry in Registry.discover().entries}
    assert papers.keys() <= names | counterparts.methods.keys() | counterparts.no_method.keys()
    assert names - papers.keys() == {"ncp", "checkpoint", "imported"}


def test_entries_are_ranked_by_aa_and_what_a_gate_failed_is_not(entries: list[dict[str, Any]]) -> None:
    board = [
        entry for entry in entries if entry["board"]["protocol"] == "slf-1" and "limit" not in entry["board"]["setting"]
    ]

    assert [(entry["label"].partition("[")[0], entry.get("rank")) for entry in board] == [
        ("ncp", 1), ("amoc", 2), ("dynacl", 3), ("checkpoint", 4), (HOSTILE, 5), ("mirage", None),
    ]  # fmt: skip
    assert all(score[4:5] in ([], ["none"]) for score in board[-1]["scores"].values())


def test_equal_numbers_share_a_rank_and_no_other_metric_counts() -> None:
    numbers = {"a": (60.0, 45.0), "b": (50.0, 45.0), "c": (90.0, 44.0), "d": (95.0, None)}
    (board,) = boards_of(frame(row(label, sa=sa, aa=aa) for label, (sa, aa) in numbers.items()))

    assert [(entry.label, entry.rank) for entry in board.entries] == [("a", 1), ("b", 1), ("c", 3), ("d", None)]


def test_boards_stand_with_what_says_most_on_top(text: str) -> None:
    boards = data_of(text)["boards"]
    measured_ones = [(board["protocol"], board["setting"]) for board in boards if not board["claimed"]]

    assert measured_ones == [BOARD, ("slf@ncp", BOARD[1]), ("slf-1", f"{BOARD[1]}, limit test=500")]
    assert [board["claimed"] for board in boards] == sorted(board["claimed"] for board in boards)


@pytest.mark.parametrize(
    ("columns", "kind"),
    [
        ({}, Kind.RETRAINED),
        ({"external_data": True, "passes": 400.0}, Kind.RETRAINED),
        ({"external_data": True, "passes": 0.0}, Kind.REMEASURED),
    ],
)
def test_weights_that_were_there_already_are_told_from_those_trained_here(columns: dict[str, Any], kind: Kind) -> None:
    (board,) = boards_of(frame(rows("any", [44.0], **columns)))

    assert board.entries[0].kind is kind


@pytest.mark.parametrize(
    ("columns", "flag"),
    [
        ({"limited": True, "limit_train": 500}, Flag.LIMITED),
        ({"legacy": True, "protocol": "slf@ncp"}, Flag.LEGACY),
        ({"external_data": True}, Flag.EXTERNAL),
        ({"labelled_pretraining": True}, Flag.LABELS),
        ({"status": "failed", "error": "the loss became NaN"}, Flag.FAILED),
    ],
)
def test_what_a_reader_must_know_is_marked(columns: dict[str, Any], flag: Flag) -> None:
    (board,) = boards_of(frame(row("ncp", 0, **columns)))
    (plain,) = boards_of(frame(rows("ncp", [44.0])))

    assert board.entries[0].flags == (flag,)
    assert plain.entries[0].flags == ()


def test_the_gravest_verdict_of_any_seed_is_the_entrys() -> None:
    bad = row("ncp", 1, aa=60.0, **gates("fail", "the gradients are masked"))
    (board,) = boards_of(frame(row("ncp", 0, aa=44.0, **gates("ok")), bad))

    (entry,) = board.entries
    assert (entry.gate_verdict, entry.rank) == ("fail", None)
    assert [(gate.name, gate.verdict, gate.rows) for gate in entry.gates] == [("G1", "fail", 1), ("O2", "ok", 2)]
    assert entry.gates[0].text == "7.5 points, of at most 4: the gradients are masked"


def test_an_entry_says_what_stands_behind_it() -> None:
    (board,) = boards_of(frame(rows("ncp[neighbour=3]", [44.0, 45.0], commit="abc", context_device="H200")))

    provenance = board.entries[0].provenance
    assert (provenance["commit"], provenance["device"]) == ("abc", "H200")
    assert provenance["command"] == (
        "bench table --methods 'ncp[neighbour=3]' --datasets digits --protocols slf-1 --schedule quick"
    )


def test_a_link_to_an_entry_outlives_new_rows() -> None:
    before = boards_of(frame(rows("ncp", [44.0])))[0].entries[0]
    after = boards_of(frame(rows("ncp", [44.0, 45.0]), rows("amoc", [50.0])))[0].entries[1]

    assert before.id == after.id
    assert before.id != boards_of(frame(rows("ncp", [44.0], **CIFAR)))[0].entries[0].id


# The literature


def test_published_numbers_are_entries_without_rank_or_seeds() -> None:
    found = [entry for board in published.boards(Record.shipped()) for entry in board.entries]

    assert {entry.kind for entry in found} == {Kind.CLAIMED}
    assert {entry.rank for entry in found} == {None}
    assert all(not score.by_seed for entry in found for score in entry.scores.values())
    assert len({entry.id for entry in found}) == len(found)
    assert all(entry.provenance["source"] for entry in found)


def test_published_numbers_stand_beside_the_rows_that_answer_them() -> None:
    groups = measured(frame(rows("ncp", [49.1, 49.3, 49.4], **PAPER), rows("ncp", [48.1, 48.3], **CIFAR)))
    beside = published.beside(Record.shipped(), groups)

    (where,) = beside
    assert where.startswith("ncp/cifar10/slf@ncp")
    (aa,) = (sentence for sentence in beside[where] if sentence.startswith("AA"))
    assert aa.startswith("AA 49.22 published, 49.27 ±0.15 (n 3) measured, difference +0.05")
    assert "reproduced (NCP-ACL, Table 2" in aa


def test_released_weights_stand_beside_the_numbers_of_the_method_that_trained_them() -> None:
    config = canonical({"layout": "dynacl", "weights_of": "dynacl-pp"})
    released = {**PAPER, "protocol": "slf@robustssl", "config": config, "external_data": True, "passes": 0.0}
    found = frame(rows("checkpoint[layout=dynacl,path=a.pt,weights_of=dynacl-pp]", [46.4, 46.5], **released))
    (entry,) = data_of(page(found))["boards"][0]["entries"]
    texts = data_of(page(found))["texts"]

    assert entry["kind"] == Kind.REMEASURED
    assert [texts[number] for number in entry["published"] if texts[number].startswith("AA 46.54 published")]


# The tests of the page are those of the tables

NODE = shutil.which("node")
PAIRS: list[tuple[str, list[float], list[float]]] = [
    ("two seeds", [44.0, 46.5], [43.0, 44.0]),
    ("three", [44.0, 46.5, 45.0], [43.0, 44.0, 46.0]),
    ("five", [48.4, 48.1, 48.9, 47.9, 48.3], [44.0, 45.5, 44.2, 44.9, 45.2]),
    ("twelve", [40 + (7 * k) % 11 for k in range(12)], [41 + (5 * k) % 9 / 7 for k in range(12)]),
    ("hardly apart", [44.0, 46.5, 45.0, 41.0], [44.1, 46.3, 45.2, 40.9]),
    ("equal", [44.0, 45.0], [44.0, 45.0]),
    ("one number apart", [44.1, 45.3, 46.7], [43.0, 44.2, 45.6]),
]


def in_node(expression: str) -> Any:
    """The value of an expression over the page's statistics; infinities as texts."""
    numbers = "(key, value) => (Math.abs(value) === Infinity ? String(value) : value)"
    script = (PARTS / "statistics.js").read_text() + f"\nconsole.log(JSON.stringify({expression}, {numbers}))"
    done = subprocess.run([str(NODE), "-e", script], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.skipif(NODE is None, reason="needs node")
def test_its_paired_t_test_is_that_of_the_tables() -> None:
    series = json.dumps([[[*enumerate(a)], [*enumerate(b)]] for _, a, b in PAIRS])
    found = in_node(f"{series}.map(([a, b]) => pairedT(new Map(a), new Map(b)))")

    for (name, a, b), ours in zip(PAIRS, found, strict=True):
        theirs = paired_t(pd.Series(a), pd.Series(b))
        assert theirs is not None
        assert (ours["n"], ours["df"], ours["constant"]) == (theirs.n, theirs.df, theirs.constant), name
        assert ours["meanDifference"] == pytest.approx(theirs.mean_difference, abs=1e-10), name
        for value in ("low", "high", "t", "p", "sd"):
            assert float(ours[value]) == pytest.approx(getattr(theirs, value), rel=1e-8, abs=1e-12), (name, value)
        assert ours["effect"] == (None if theirs.effect is None else pytest.approx(theirs.effect, rel=1e-8)), name


@pytest.mark.skipif(NODE is None, reason="needs node")
def test_only_shared_seeds_are_compared_and_two_are_needed() -> None:
    found = in_node(
        "[pairedT(new Map([[0, 44], [1, 46], [7, 50]]), new Map([[7, 47], [1, 45], [3, 1]])),"
        " pairedT(new Map([[0, 44], [1, 46]]), new Map([[1, 45]]))]"
    )
    assert (found[0]["n"], found[0]["meanDifference"], found[1]) == (2, 2, None)


@pytest.mark.skipif(NODE is None, reason="needs node")
@pytest.mark.parametrize("n", [2, 3, 5, 10, 31])
def test_what_few_seeds_can_show_is_what_the_tables_say(n: int) -> None:
    assert in_node(f"criticalT({n - 1}) / Math.sqrt({n})") == pytest.approx(smallest_significant(n), rel=1e-9)


# The command


@pytest.fixture
def store(tmp_path: Path) -> Path:
    found = Store.open(tmp_path / "runs")
    for number, one in enumerate(rows("ncp", [44.0, 45.0])):
        found.add_row(one.model_copy(update={"cell": f"cell{number}"}))
    return found.root


def build(*arguments: str) -> tuple[int, str, str]:
    return invoke("leaderboard", *arguments, app=whole_app())


def test_the_command_writes_one_file_and_replaces_it(store: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "page"
    for _ in range(2):
        code, said, _ = build("build", "--from", str(store), "--out", str(out))

    assert code == 0
    assert [path.name for path in out.iterdir()] == ["index.html"]
    assert str(out / "index.html") in said
    assert (out / "index.html").read_text().startswith("<!doctype html>")


def test_the_same_rows_make_the_same_page() -> None:
    assert page(made()) == page(made())


def test_bad_input_is_named(store: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    for arguments, message in [
        (["build", "--from", str(tmp_path / "empty")], "no results in"),
        (["build", "--from", str(store), "--out", str(tmp_path / "file")], "name another folder with --out"),
        (["bild"], "unknown action 'bild': did you mean 'build'?"),
    ]:
        code, _, errors = build(*arguments)
        assert code == 2
        assert message in " ".join(errors.split())


def test_a_store_of_a_newer_schema_is_refused(store: Path, tmp_path: Path) -> None:
    newest = max((store / "rows").glob("*.parquet"))
    content = pq.read_table(newest)
    version = pa.array([SCHEMA_VERSION + 1], content.schema.field("schema_version").type)
    place = content.schema.get_field_index("schema_version")
    newest.write_bytes(parquet(content.set_column(place, content.schema.field(place), version)))

    code, _, errors = build("build", "--from", str(store), "--out", str(tmp_path / "page"))
    assert code == 2
    assert f"schema version {SCHEMA_VERSION + 1}" in " ".join(errors.split())
    assert not (tmp_path / "page").exists()
