"""The tables and figures of AMOC."""

from __future__ import annotations

from leaderboard.figures import ladder, option, tests
from leaderboard.figures.model import Figure
from leaderboard.layouts import Layout
from leaderboard.reproduction.exhibits import Evidence, Exhibit, PaperFigure
from leaderboard.reproduction.shown import in_layout, material_of
from leaderboard.tables.model import Metric

METRICS = (Metric.SA, Metric.PGD)
NO_CORRUPTIONS = (
    "corrupted images were published for cifar10 and cifar100, and digits has none; use --schedule short, with "
    "CIFAR-10-C in the data folder"
)


def _fig2(evidence: Evidence) -> Figure:
    from leaderboard.figures import embedding  # Networks run again: torch.

    return embedding.build(material_of(evidence))


def _fig4(evidence: Evidence) -> Figure:
    from leaderboard.figures import corruptions  # Torch, too.

    return corruptions.build(material_of(evidence))


EXHIBITS: tuple[Exhibit, ...] = (
    in_layout(
        Layout.AMOC_TABLE3,
        "MoCo, ACL and AMOC by batch size and epochs",
        "all numbers, no spread",
    ),
    in_layout(
        Layout.AMOC_TABLE4,
        "What pre-training ACL and AMOC takes, in hours and in seconds per epoch",
        "all numbers, of one RTX 2080 Ti",
    ),
    in_layout(
        Layout.AMOC_TABLE5,
        "Supervised defences, AMOC and fine-tuned AMOC under eight attacks, on CIFAR-10",
        "all numbers, no spread",
    ),
    in_layout(
        Layout.AMOC_TABLE6,
        "The same on CIFAR-100",
        "all numbers, no spread",
    ),
    in_layout(
        Layout.AMOC_TABLE8,
        "Who is attacked and whose keys are negatives: six variants of AMOC",
        "all numbers, no spread",
    ),
    PaperFigure(
        "amoc/fig2",
        "t-SNE of the features of ACL and AMOC after 200 and 1000 epochs",
        "no numbers",
        _fig2,
    ),
    PaperFigure(
        "amoc/fig3",
        "p-values of paired t-tests between MoCo, ACL and AMOC, of four measures",
        "no numbers",
        lambda evidence: tests.build(material_of(evidence), METRICS),
    ),
    PaperFigure(
        "amoc/fig4",
        "Accuracy on CIFAR-10-C by type of corruption, of ACL and AMOC after 200 and 1000 epochs",
        "no numbers",
        _fig4,
        not_quick=NO_CORRUPTIONS,
    ),
    PaperFigure(
        "amoc/fig5",
        "Accuracy under PGD-20 against eps, of PGD-AT, ALP, TRADES and fine-tuned AMOC",
        "no numbers",
        lambda evidence: ladder.build(material_of(evidence), Metric.PGD),
    ),
    PaperFigure(
        "amoc/fig6",
        "AMOC by the length of its memory banks",
        "no numbers",
        lambda evidence: option.build(material_of(evidence), "bank_size", METRICS),
    ),
    PaperFigure(
        "amoc/fig7",
        "AMOC by lambda, the weight of the clean loss",
        "no numbers",
        lambda evidence: option.build(material_of(evidence), "leverage", METRICS),
    ),
)
