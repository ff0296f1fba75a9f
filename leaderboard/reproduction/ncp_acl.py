"""The tables and figures of NCP-ACL."""

from __future__ import annotations

from leaderboard.claims.record import Record
from leaderboard.figures import option, silhouette
from leaderboard.layouts import Layout
from leaderboard.reproduction.exhibits import Evidence, Exhibit, PaperFigure, PaperTable
from leaderboard.reproduction.shown import in_layout, material_of
from leaderboard.tables.model import Metric, Table

METRICS = (Metric.SA, Metric.RA, Metric.AA)


def _table1(evidence: Evidence) -> tuple[Table, ...]:
    from leaderboard.studies import proof  # Networks run again: torch.

    return proof.tables(evidence.rows, evidence.store, evidence.data_dir, evidence.command, Record.shipped())


EXHIBITS: tuple[Exhibit, ...] = (
    PaperTable(
        "ncp-acl/table1",
        "Whether perturbations toward the neighbouring cluster are adversarial",
        "the largest ratios to noise, in the text",
        _table1,
    ),
    in_layout(
        Layout.NCP_TABLE2,
        "Six robust pre-trainings under standard linear fine-tuning on three data sets",
        "all numbers, no spread",
    ),
    in_layout(
        Layout.NCP_TABLE3,
        "The same on CIFAR-10, under standard and adversarial linear fine-tuning",
        "all numbers, no spread",
    ),
    in_layout(
        Layout.NCP_TABLE4,
        "Perturbations away from the own cluster, toward the neighbouring one, both",
        "nothing: its body is lost",
    ),
    in_layout(
        Layout.NCP_TABLE5,
        "Perturbations toward the n-th nearest cluster, n = 2 to 5",
        "all numbers, no spread",
    ),
    PaperFigure(
        "ncp-acl/fig2",
        "Silhouette by the number of clusters K",
        "the best K of each data set",
        lambda evidence: silhouette.build(material_of(evidence), Record.shipped()),
    ),
    PaperFigure(
        "ncp-acl/fig3",
        "SA, RA and AA by the number of clusters K, with the K of the best silhouette marked",
        "K = 10 on CIFAR-100, in the text",
        lambda evidence: option.build(material_of(evidence), "clusters", METRICS, Record.shipped()),
    ),
)
