"""Where a visitor reads on: the paper of a method. Pure, over `results/published/papers.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field

from bench.grammar import parse_spec
from leaderboard.claims.claim import PUBLISHED
from leaderboard.claims.counterparts import Counterparts


class Paper(BaseModel):
    """A paper.

    Attributes:
        by: authors and year, for a link's text.
        venue: where it appeared; None for a preprint alone.
        url: its abstract.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    by: str
    venue: str | None = None
    url: str = Field(pattern=r"^https://")


def load_papers(counterparts: Counterparts) -> Mapping[str, Paper]:
    """The papers, by the methods' names here and by those that their authors use."""
    content = tomllib.loads((PUBLISHED / "papers.toml").read_text(encoding="utf-8"))
    papers = {name: Paper.model_validate(one) for name, one in content.items()}
    ours = {authors: parse_spec(label).name for authors, label in counterparts.methods.items()}
    return {**papers, **{authors: papers[name] for authors, name in ours.items() if name in papers}}
