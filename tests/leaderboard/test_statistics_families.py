"""Families of comparisons: written down first, never shrunk by what was not measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.registry import Registry
from leaderboard.statistics.families import adjust, load_family
from leaderboard.statistics.paired import benjamini_hochberg, holm

SOUND = """
proposed = "ncp"
against = ["simclr", "amoc"]
datasets = ["digits"]
protocols = ["slf-1"]
metrics = ["sa", "aa"]
"""


@pytest.mark.parametrize(("name", "members"), [("digits", 4), ("ncp-acl", 24), ("amoc", 8)])
def test_the_families_of_the_suite(name: str, members: int) -> None:
    family = load_family(name)

    assert len(family.places) == members
    known = {entry.name for entry in Registry.discover().entries}
    assert {family.proposed, *family.against} <= known


@pytest.mark.parametrize("text", [SOUND, f"methods = 'ncp'\n[family]{SOUND}"])
def test_a_file_is_a_family_or_holds_one(text: str, tmp_path: Path) -> None:
    file = tmp_path / "suite.toml"
    file.write_text(text)

    assert load_family(str(file)) == load_family("digits")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (SOUND.replace('"simclr", ', "").replace('"sa", ', ""), "has 1 member: there is nothing to adjust"),
        (SOUND.replace('"simclr", "amoc"', '"ncp"'), "has no member"),
        (SOUND.replace('"sa"', '"saa"'), "unknown metric of family .*'saa'"),
        (SOUND.replace("against", "rivals"), "cannot be read: (against|rivals).*It lists proposed, against"),
        ("proposed = [", "cannot be read as TOML"),
    ],
)
def test_a_family_that_adjusts_nothing_is_refused(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "suite.toml"
    file.write_text(text)

    with pytest.raises(BenchError, match=message):
        load_family(str(file))


def test_unknown_families_are_named() -> None:
    with pytest.raises(BenchError, match="unknown family 'digit': did you mean 'digits'"):
        load_family("digit")
    with pytest.raises(BenchError, match=r"'nowhere.toml' cannot be read \(no such file .*name a file"):
        load_family("nowhere.toml")


def test_what_was_not_measured_keeps_its_place() -> None:
    found = adjust({"a": 0.01, "b": None, "c": 0.04, "d": None})

    assert set(found) == {"a", "c"}
    assert [found[name].holm for name in "ac"] == pytest.approx([0.04, 0.12])
    assert found["a"].benjamini_hochberg == pytest.approx(benjamini_hochberg([0.01, 1.0, 0.04, 1.0])[0])
    assert found["a"].holm > holm([0.01, 0.04])[0]
