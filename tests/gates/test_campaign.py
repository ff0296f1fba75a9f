"""The controls of a campaign."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bench.data import loading
from bench.executors import campaign as campaigns
from bench.executors.campaign import CONTROLS, Campaign
from bench.gates.verdicts import Result, Verdict, attempted
from bench.plan import DataRef
from bench.store import Store
from tests.cli.runner import invoke
from tests.gates.conftest import Cell
from tests.leaderboard.made_rows import row
from tests.stores import finish


def verdict_of(store: Store, control: str) -> Result:
    asked = CONTROLS[control]
    return attempted(asked, partial(asked.measure, Campaign(store, Path(), "cpu", lambda *_: None)))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "runs")


@pytest.mark.parametrize(
    ("control", "columns", "verdict"),
    [
        ("C1", {"aa": 0.0, "ra_pgd20": 10.0}, Verdict.OK),
        ("C1", {"aa": 1.5}, Verdict.OK),  # two of 128 images
        ("C1", {"aa": 2.4}, Verdict.FAIL),
        ("C1", {}, Verdict.NOT_RUN),
        ("C1-pgd", {"aa": 0.0, "ra_pgd20": 10.0}, Verdict.NOT_RUN),  # on digits it says nothing
        ("C1-pgd", {"ra_pgd20": 0.5, "dataset": "cifar10", "dataset_like": "cifar10"}, Verdict.OK),
        ("C1-pgd", {"ra_pgd20": 3.0, "dataset": "cifar10", "dataset_like": "cifar10"}, Verdict.FAIL),
    ],
)
def test_undefended_methods_fall(store: Store, control: str, columns: dict[str, Any], verdict: Verdict) -> None:
    store.add_row(row("simclr", **columns))
    assert verdict_of(store, control).verdict is verdict


@pytest.mark.parametrize(("aa", "verdict"), [(46.0, Verdict.OK), (42.0, Verdict.WARN)])
def test_trades_comes_out_where_it_was_published(store: Store, aa: float, verdict: Verdict) -> None:
    columns = {"dataset": "cifar10", "schedule": "paper", "protocol": "own-1", "sa": 81.0, "ra_pgd20": 52.0}
    store.add_row(row("trades", aa=aa, **columns))
    assert verdict_of(store, "C3").verdict is verdict


@pytest.mark.parametrize(
    ("reads", "verdict"),
    [
        ({"reads": [["digits", "pool"]]}, Verdict.OK),
        ({"reads": [["digits", "train"], ["digits", "test"]]}, Verdict.FAIL),
        ({}, Verdict.NOT_RUN),
    ],
)
def test_test_images_wait_for_the_final_scoring(store: Store, reads: dict[str, Any], verdict: Verdict) -> None:
    finish(store, "a", **reads)
    finish(store, "b", kind="attack", reads=[["digits", "test"]])
    assert verdict_of(store, "C5").verdict is verdict


@pytest.mark.parametrize(
    ("seeds", "bits", "verdict"), [((0, 1), "ab", Verdict.OK), ((0, 1), "aa", Verdict.FAIL), ((0, 0), "aa", Verdict.OK)]
)
def test_seeds_have_weights_of_their_own(store: Store, seeds: tuple[int, int], bits: str, verdict: Verdict) -> None:
    for number, (seed, own) in enumerate(zip(seeds, bits, strict=True)):
        finish(store, f"k{number}", bits=own)
        store.add_row(row("simclr", seed, cell=f"cell{number}", pretrain_key=f"k{number}"))
    assert verdict_of(store, "C7").verdict is verdict


def test_a_campaign_of_one_cell(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(campaigns, "SHUFFLED_PROTOCOL", "cheap")
    where = ["--out", str(cell.store.root), "--device", "cpu"]
    code, text, err = invoke("audit", "--campaign", *where)
    assert (code, err) == (0, ""), text
    verdicts = {line.split()[0]: line for line in text.splitlines() if line[:1] == "C"}
    assert set(verdicts) >= set(CONTROLS)
    assert "rounded inputs: G4" in text
    for control in ("C2", "C4", "C5", "C7"):
        assert " ok " in verdicts[control]


def test_a_broken_model_that_passes_is_a_fail(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(campaigns, "BROKEN", {"nothing": lambda x, encode: encode(x)})
    assert verdict_of(cell.store, "C2").verdict is Verdict.FAIL


def test_labels_that_leak_are_found(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    """A head that knows the classes whatever labels it is fitted on."""
    honest = campaigns.head

    def leaking(encoder: Any, data: Any, *args: Any) -> Any:
        return honest(encoder, loading.data_set(DataRef("digits", "train=400,test=20"), Path()), *args)

    monkeypatch.setattr(campaigns, "head", leaking)
    assert verdict_of(cell.store, "C4").verdict is Verdict.FAIL


def test_the_loader_notes_what_it_hands_out() -> None:
    ref = DataRef("digits", "train=40,test=20")
    with loading.logged() as reads:
        head_sees = loading.training_set(ref, Path())
    assert reads == [("digits", loading.Part.TRAIN)]
    assert (len(head_sees.train), len(head_sees.test)) == (40, 0)
    with loading.logged() as reads:
        assert len(loading.test_images(ref, Path())) == 20
        loading.pool(ref, Path())
    assert reads == [("digits", loading.Part.TEST), ("digits", loading.Part.POOL)]
