"""How the tables of the NCP-ACL and AMOC papers are laid out, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from leaderboard.claims.claim import Claim
from leaderboard.layouts import Layout
from leaderboard.tables.model import DATASET_NAMES, Cost, Metric


class Shape(StrEnum):
    """What stands where."""

    DATASETS = "datasets"
    """A table per protocol, data sets side by side."""
    PROTOCOLS = "protocols"
    """A table per data set, and per set of protocols that belong together; these side by side."""
    ATTACKS = "attacks"
    """A table per data set, and per set of protocols; attacks side by side, protocols one below the other."""
    COSTS = "costs"
    """A table per data set of what pre-training cost, under whatever protocol it was judged."""


@dataclass(frozen=True)
class Option:
    """A column left of the numbers.

    Attributes:
        name: of an option of the methods; its value is that of their resolved settings.
        heading: of the column.
        texts: how the paper writes a value, from top to bottom; other values stand below as they are.
        own: the value of the paper's method; empty where its tables say it.
    """

    name: str
    heading: str
    texts: Mapping[str, str] = field(default_factory=dict)
    own: str = ""

    def text(self, value: str) -> str:
        """A value as the paper writes it."""
        return self.texts.get(value, value)

    def value(self, text: str) -> str:
        """The value that the paper writes so."""
        return {written: value for value, written in self.texts.items()}.get(text, text)

    def place(self, value: str) -> tuple[int, float, str]:
        """Its place from top to bottom: the paper's values, then numbers by size, then words."""
        listed = list(self.texts)
        number = float(value) if value.replace(".", "", 1).isdigit() else float("inf")
        return (listed.index(value) if value in listed else len(listed), number, value)


@dataclass(frozen=True)
class PaperLayout:
    """A table of a paper.

    Attributes:
        layout: its name here.
        paper, table: its name in the record of published numbers.
        shape: what stands where.
        methods: names to how the paper writes them, from top to bottom.
        closed: whether these methods alone are shown, with no options set but `options` and `silent`; else all others
            stand below them.
        options: columns left of the numbers.
        silent: options that say nothing of a method, because it does not run without.
        protocols: sets of protocols that stand in one table, each with its heading, or with what is put behind a
            method's name where protocols stand one below the other; the paper's own set first.
        headings: metrics to how the paper heads them, from left to right.
        datasets: those of the paper, in its order.
    """

    layout: Layout
    paper: str
    table: str
    shape: Shape
    methods: Mapping[str, str]
    protocols: tuple[Mapping[str, str], ...]
    headings: Mapping[str, str]
    datasets: tuple[str, ...]
    closed: bool = True
    options: tuple[Option, ...] = ()
    silent: frozenset[str] = frozenset()

    @property
    def title(self) -> str:
        """`NCP-ACL, Table 2`."""
        return f"{self.paper}, {self.table}"

    @property
    def variants(self) -> bool:
        """Whether its lines are variants of one method: its columns on the left then name the option alone."""
        return self.closed and len(self.methods) == 1

    @property
    def stub(self) -> tuple[str, ...]:
        """Headings of the columns left of the numbers."""
        return (*(() if self.variants else ("method",)), *(option.heading for option in self.options))

    def publishes(self, claim: Claim) -> bool:
        """Whether a published number stands in this very table."""
        return claim.paper == self.paper and claim.table.partition(" (")[0] == self.table


FINE_TUNED = "†"
"""What AMOC's tables put behind the name of a method whose whole network was fine-tuned."""

_NCP_DATASETS = tuple(DATASET_NAMES)
_NCP_HEADINGS: Mapping[str, str] = {Metric.SA: "SA", Metric.RA: "RA", Metric.AA: "AA"}
_NCP_METHODS = {
    "advcl": "AdvCL", "deacl": "DeACL", "dynacl": "DynACL", "dynacl-pp": "DynACL++", "air-pp": "DynACL-AIR++",
    "ncp": "NCP-ACL",
}  # fmt: skip
_NCP_SLF: tuple[Mapping[str, str], ...] = ({"slf@ncp": "SLF"}, {"slf-1": "slf-1"})
_LABELS = frozenset({"labels", "labels_from"})

_AMOC_HEADINGS: Mapping[str, str] = {Metric.SA: "Clean", Metric.PGD: "PGD20"}
_AMOC_EVALUATIONS: tuple[Mapping[str, str], ...] = (
    {"slf@amoc": "StdEv", "alf@amoc": "AdEv"},
    {"slf-1": "slf-1", "alf-1": "alf-1"},
)
_SUPERVISED = {"standard": "Standard Training", "pgd-at": "PGD-AT", "alp": "ALP", "trades": "TRADES", "amoc": "AMOC"}
_AMOC_LINES: tuple[Mapping[str, str], ...] = (
    {"own-1": "", "alf@amoc": "", "aff@amoc": FINE_TUNED},
    {"own-1": "", "alf-1": "", "aff-1": FINE_TUNED},
)
_AMOC_ATTACKS: Mapping[str, str] = {
    Metric.SA: "Clean", Metric.PGD: "PGD20", "deepfool": "DeepFool", Metric.AA: "AutoAttack", "pgd-l1": "PGD50",
    "slide": "SLIDE", "pgd-l2": "PGD50", "cw-l2": "C&W",
}  # fmt: skip
_LENGTHS = (Option("batch_size", "batch size"), Option("epochs", "epochs"))

_BRANCHES = ("ACA", "ACC", "AAC", "AAA", "CAC", "CAA")

_ALL: tuple[PaperLayout, ...] = (
    PaperLayout(
        Layout.NCP_TABLE2, "NCP-ACL", "Table 2", Shape.DATASETS, _NCP_METHODS, _NCP_SLF, _NCP_HEADINGS, _NCP_DATASETS,
        closed=False, silent=_LABELS,
    ),
    PaperLayout(
        Layout.NCP_TABLE3, "NCP-ACL", "Table 3", Shape.PROTOCOLS, _NCP_METHODS,
        ({"slf@ncp": "SLF", "alf@ncp": "ALF"}, {"slf-1": "slf-1", "alf-1": "alf-1"}),
        _NCP_HEADINGS, ("cifar10",), closed=False, silent=_LABELS,
    ),
    PaperLayout(
        Layout.NCP_TABLE4, "NCP-ACL", "Table 4", Shape.DATASETS, {"ncp": "NCP-ACL"}, _NCP_SLF, _NCP_HEADINGS,
        _NCP_DATASETS,
        options=(
            Option("strategy", "strategy", {
                "away": "(i) away from its own cluster",
                "toward": "(ii) toward the neighbouring cluster",
                "both": "(iii) both (NCP-ACL)",
            }, own="both"),
        ),
    ),
    PaperLayout(
        Layout.NCP_TABLE5, "NCP-ACL", "Table 5", Shape.DATASETS, {"ncp": "NCP-ACL"}, _NCP_SLF, _NCP_HEADINGS,
        _NCP_DATASETS,
        options=(
            Option("neighbour", "neighbour", {
                "2": "n = 2 (NCP-ACL)", "3": "n = 3", "4": "n = 4", "5": "n = 5",
            }, own="2"),
        ),
    ),
    PaperLayout(
        Layout.AMOC_TABLE3, "AMOC", "Table 3", Shape.PROTOCOLS, {"moco": "MoCo", "acl": "ACL", "amoc": "AMOC"},
        _AMOC_EVALUATIONS, _AMOC_HEADINGS, ("cifar10",), options=_LENGTHS,
    ),
    PaperLayout(
        Layout.AMOC_TABLE4, "AMOC", "Table 4", Shape.COSTS, {"moco": "MoCo", "acl": "ACL", "amoc": "AMOC"},
        (), {Cost.HOURS: "total time", Cost.EPOCH_SECONDS: "time per epoch"}, ("cifar10",), options=_LENGTHS,
    ),
    PaperLayout(
        Layout.AMOC_TABLE5, "AMOC", "Table 5", Shape.ATTACKS, _SUPERVISED, _AMOC_LINES, _AMOC_ATTACKS, ("cifar10",),
        closed=False,
    ),
    PaperLayout(
        Layout.AMOC_TABLE6, "AMOC", "Table 6", Shape.ATTACKS, _SUPERVISED, _AMOC_LINES, _AMOC_ATTACKS, ("cifar100",),
        closed=False,
    ),
    PaperLayout(
        Layout.AMOC_TABLE8, "AMOC", "Table 8", Shape.PROTOCOLS, {"amoc": "AMOC"}, _AMOC_EVALUATIONS, _AMOC_HEADINGS,
        ("cifar10",),
        options=(
            Option("branches", "variant", dict(zip(_BRANCHES, _BRANCHES, strict=True)), own="ACA"),
        ),
    ),
)  # fmt: skip

PAPERS: Mapping[Layout, PaperLayout] = {paper.layout: paper for paper in _ALL}
"""Each by its name; orders, names and headings are those of the papers' own tables."""
