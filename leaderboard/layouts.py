"""The names of layouts and formats. Imports nothing heavy, so that `bench --help` stays fast."""

from __future__ import annotations

from enum import StrEnum

from bench.errors import unknown


class Arrangement(StrEnum):
    """How rows are laid out where no paper is followed."""

    BY_PROTOCOL = "protocol"
    """A table per protocol, data sets side by side."""
    BY_DATASET = "dataset"
    """A table per data set, protocols side by side."""


class Layout(StrEnum):
    """Whose table is followed: the paper's short name, and the table's number there."""

    NCP_TABLE2 = "ncp-acl/table2"
    """Methods against data sets x (SA, RA, AA); a table per protocol."""
    NCP_TABLE3 = "ncp-acl/table3"
    """Methods against SLF and ALF x (SA, RA, AA), side by side; a table per data set."""
    NCP_TABLE4 = "ncp-acl/table4"
    """As Table 2, of what NCP-ACL's perturbations pursue."""
    NCP_TABLE5 = "ncp-acl/table5"
    """As Table 2, of the neighbouring cluster that NCP-ACL's perturbations pursue."""
    AMOC_TABLE3 = "amoc/table3"
    """MoCo, ACL and AMOC by batch size and epochs, against StdEv and AdEv; a table per data set."""
    AMOC_TABLE4 = "amoc/table4"
    """What pre-training cost, by batch size and epochs; a table per data set."""
    AMOC_TABLE5 = "amoc/table5"
    """Supervised methods, and AMOC before and after fine-tuning, against all attacks that they met."""
    AMOC_TABLE6 = "amoc/table6"
    """The same on CIFAR-100."""
    AMOC_TABLE8 = "amoc/table8"
    """AMOC's variants against StdEv and AdEv; a table per data set."""

    @classmethod
    def named(cls, text: str) -> Layout:
        """The layout of that name; `ncp-acl-table2` is `ncp-acl/table2`.

        Raises:
            BenchError: for an unknown name, with the closest one suggested.
        """
        found = {layout.replace("/", "-"): layout for layout in cls}.get(text.lower().replace("/", "-"))
        if found is None:
            raise unknown("layout", text, cls)
        return found


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
    HTML = "html"
    CSV = "csv"


class CompareFormat(StrEnum):
    """How a comparison is written."""

    TERMINAL = "terminal"
    JSON = "json"
