"""`bench claims`, `bench table --claims` and `bench compare`, from a store to standard output and exit codes."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest
from made_rows import rows
from rich.console import Console

from bench.keys import canonical
from bench.store import Store, read_rows
from leaderboard.claims.listing import Listing
from leaderboard.claims.record import Record, measured
from leaderboard.claims.selection import select
from leaderboard.layouts import Format
from tests.cli.runner import invoke, whole_app

APP = whole_app()
RECORD = Record.shipped()


@pytest.fixture
def out(tmp_path: Path) -> str:
    """NCP-ACL on CIFAR-10 as its paper says, with numbers near its own, beside a short run and a rival."""
    store = Store.open(tmp_path / "runs")
    facts = {"dataset": "cifar10", "dataset_like": "cifar10", "eps": 8 / 255, "protocol": "slf@ncp", "legacy": True}
    config = canonical({"epochs": 200, "batch_size": 256})
    stored = [
        *rows("ncp", [49.1, 49.3, 49.4], schedule="paper", config=config, test_images=10_000, **facts),
        *rows("dynacl", [44.0, 45.0, 44.5], schedule="paper", config=config, test_images=10_000, **facts),
        *rows("ncp", [49.1, 49.3, 49.4], schedule="short", config=config, test_images=10_000, **facts),
    ]
    for number, one in enumerate(stored):
        store.add_row(one.model_copy(update={"cell": f"cell{number}"}))
    return str(store.root)


def bench(*arguments: str) -> tuple[int, str, str]:
    return invoke(*arguments, app=APP)


def test_claims_stand_beside_ours_with_a_verdict(out: str) -> None:
    code, text, _ = bench("claims", "ncp", "--metric", "aa", "--dataset", "cifar10", "--out", out)

    assert code == 0
    assert re.search(
        r"^NCP-ACL on cifar10, slf \(1000\+200 epochs, batch 512\+256\): NCP-ACL, Table 2\n"
        r" +beside ncp/cifar10/slf@ncp, schedule paper, Linf eps 8/255 *\n"
        r" +aa +49\.22 +49\.27 ±0\.15 \(n 3\) +\+0\.05 \[-0\.33, 0\.43\] +1\.00 +reproduced",
        text,
        re.MULTILINE,
    )
    assert "The margin is 1 point, or how far the published" in " ".join(text.split())
    assert "D10-ncp-neighbour" in text


@pytest.mark.parametrize("width", [80, 120])
def test_claims_fit_the_console_with_every_number_whole(out: str, width: int) -> None:
    groups = measured(read_rows(Path(out)))
    entries = [entry for claim in select(RECORD, "ncp") for entry in RECORD.entries(claim, groups)]
    text = io.StringIO()
    Console(file=text, width=width).print(Listing(RECORD, entries))

    assert max(map(len, text.getvalue().splitlines())) <= width
    assert re.search(r"49\.22 +49\.27 ±0\.15 \(n 3\) +\+0\.05 ", text.getvalue())
    assert "[-0.33, 0.43]" in text.getvalue()


def test_as_csv_every_claim_keeps_its_source(out: str) -> None:
    _, text, _ = bench("claims", "--format", "csv", "--out", out)

    lines = list(csv.DictReader(io.StringIO(text)))
    assert len(lines) == 1000
    assert all(line["source"] for line in lines)
    assert {line["verdict"] for line in lines} >= {"reproduced", "not comparable", "not measured"}


def test_as_json_contradictions_come_along(out: str) -> None:
    _, text, _ = bench("claims", "AMOC", "--metric", "pgd20", "--protocol", "alf", "--format", "json", "--out", out)

    content = json.loads(text)
    assert [one["id"] for one in content["contradictions"]] == ["D10-amoc-pgd20"]
    assert {one["method"] for one in content["claims"]} >= {"AMOC"}


def test_without_a_store_the_published_numbers_stand_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    code, text, _ = bench("claims", "ncp", "--dataset", "stl10")
    assert code == 0
    assert "not measured: ncp on stl10 under slf@ncp or slf@ncp-bn" in text
    assert "sa 84.06, ra_pgd20 68.11, aa 63.55" in text


@pytest.mark.parametrize(
    ("format", "expected"),
    [
        (Format.TERMINAL, r"CIFAR-10 AA +ncp +49\.22 +NCP-ACL, Table 2, Table 3, Table 5 \(n=2\).*reproduced"),
        (Format.MARKDOWN, r"\| CIFAR-10 AA \| ncp \| 49\.22 \| NCP-ACL, Table 2.* \| reproduced \| 1\.00 \|"),
        (Format.LATEX, r"CIFAR-10 AA & ncp & 49\.22 & \\raggedright NCP-ACL, Table 2.*reproduced & 1\.00"),
        (Format.CSV, r"paper,.*,ncp,cifar10,slf@ncp,aa,.*,49\.22,.NCP-ACL, Table 2.*,1\.0,reproduced"),
    ],
)  # fmt: skip
def test_a_table_shows_claims_in_every_format(out: str, format: Format, expected: str) -> None:
    code, text, _ = bench("table", "--claims", "--format", format, "--schedule", "paper", "--out", out)

    assert code == 0
    assert re.search(expected, text), text
    assert "--claims" in text or format is Format.CSV


def test_a_short_schedule_is_not_comparable_in_a_table_either(out: str) -> None:
    _, text, _ = bench("table", "--claims", "--format", "csv", "--schedule", "short", "--out", out)

    lines = list(csv.DictReader(io.StringIO(text)))
    assert {line["verdict"] for line in lines} == {"not comparable: schedule short, not paper"}
    assert {line["difference"] for line in lines} == {""}


def test_without_claims_a_table_is_as_before(out: str) -> None:
    _, text, _ = bench("table", "--format", "csv", "--out", out)

    assert "published" not in text.splitlines()[0]


def test_a_comparison_is_said_in_words_and_as_json(out: str) -> None:
    code, text, _ = bench("compare", "ncp", "dynacl", "--out", out)
    _, data, _ = bench("compare", "ncp", "dynacl", "--out", out, "--format", "json")

    assert code == 0
    assert "ncp against dynacl on cifar10 under slf@ncp (schedule paper, Linf eps 8/255)" in text
    assert "In a word: ncp is better than dynacl" in text
    assert json.loads(data)[0]["metrics"][0]["conclusion"].startswith("In a word: ncp is better")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["claims", "amok"], "unknown method of the claims 'amok'"),
        (["claims", "--format", "html"], "unknown format 'html'"),
        (["claims", "--out", "nowhere"], "no results in 'nowhere'"),
        (["compare", "ncp", "dynacll"], "unknown method (in these results) 'dynacll': did you mean 'dynacl'?"),
        (["compare", "ncp", "dynacl", "--family", "digits"], "the family does not hold this comparison"),
        (["compare", "ncp", "dynacl", "--family", "one.toml"], "has 1 member"),
        (["compare", "ncp", "dynacl", "--margin", "0"], "--margin 0 is no number of points"),
        (["compare", "ncp", "dynacl", "--format", "csv"], "unknown format 'csv'"),
        (["compare", "ncp", "dynacl", "--schedule", "shrt"], "did you mean 'short'"),
    ],
)
def test_bad_input_is_named(
    arguments: list[str], message: str, out: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    facts = {"proposed": "ncp", "against": ["dynacl"], "datasets": ["cifar10"], "protocols": ["slf@ncp"]}
    lines = [f"{name} = {json.dumps(value)}" for name, value in {**facts, "metrics": ["aa"]}.items()]
    (tmp_path / "one.toml").write_text("\n".join(lines))

    code, _, errors = bench(*arguments, *([] if "--out" in arguments else ["--out", out]))
    assert code == 2
    assert message in " ".join(errors.split())
