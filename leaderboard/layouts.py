"""The names of layouts and formats. Imports nothing heavy, so that `bench --help` stays fast."""

from __future__ import annotations

from enum import StrEnum


class Layout(StrEnum):
    """How rows are laid out, after tables of the NCP-ACL and AMOC papers."""

    TABLE2 = "ncp-acl-table2"
    """Methods against data sets x (SA, RA, AA); one table per protocol."""
    TABLE3 = "ncp-acl-table3"
    """Methods against protocols x (SA, RA, AA), side by side; one table per data set."""
    ATTACKS = "amoc-table5"
    """Methods against all attacks that they met, after Table 5 of the AMOC paper; one table per protocol."""


class ClaimsFormat(StrEnum):
    """How claims are written."""

    TERMINAL = "terminal"
    CSV = "csv"
    JSON = "json"


class Format(StrEnum):
    """How a table is written."""

    TERMINAL = "terminal"
    MARKDOWN = "markdown"
    LATEX = "latex"
    CSV = "csv"


class CompareFormat(StrEnum):
    """How a comparison is written."""

    TERMINAL = "terminal"
    JSON = "json"
