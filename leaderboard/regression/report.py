"""A comparison for people, and as JUnit XML for machines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING
from xml.etree import ElementTree as xml

from leaderboard.regression.compare import WRONG, Finding, Verdict

if TYPE_CHECKING:
    from rich.table import Table

STYLES = {Verdict.DRIFT: "bold red", Verdict.FAILED: "bold red", Verdict.MISSING: "bold red", Verdict.NEW: "yellow"}
ELEMENTS = {
    Verdict.DRIFT: "failure",
    Verdict.MISSING: "failure",
    Verdict.FAILED: "error",
    Verdict.NEW: "skipped",
}
"""The element of a test case that did not simply pass."""


def table(findings: Sequence[Finding]) -> Table:
    """Cell, metric, reference, now, difference, band, verdict; a cell's name stands on its first line."""
    from rich.markup import escape

    from bench.cli.layout import borderless

    shown = borderless("cell", "metric", "reference", "now", "difference", "band", "verdict")
    for column in shown.columns[2:6]:
        column.justify = "right"
    for name, group in groupby(findings, key=lambda finding: finding.cell):
        first = escape(name)
        for one in group:
            numbers = (_number(one.reference), _number(one.now), _number(one.difference, "+"), _number(one.band))
            style = STYLES.get(one.verdict, "")
            verdict = f"[{style}]{one.verdict}[/]" if style else str(one.verdict)
            shown.add_row(first, one.metric, *numbers, verdict + (f" {escape(one.note)}" if one.note else ""))
            first = ""
    return shown


def _number(value: float | None, sign: str = "") -> str:
    return "" if value is None else f"{value:{sign}.5g}"


def summary(findings: Sequence[Finding]) -> str:
    """How many findings of each kind: `40 same, 2 DRIFT`."""
    counts = Counter(finding.verdict for finding in findings)
    return ", ".join(f"{counts[verdict]} {verdict}" for verdict in Verdict if counts[verdict])


def junit(findings: Sequence[Finding], seconds: float, facts: dict[str, str], host: str, time: str) -> bytes:
    """JUnit XML as Jenkins, GitLab and GitHub's reporters read it: a suite, and a test case per finding.

    Args:
        findings: of one comparison.
        seconds: that the rerun took.
        facts: properties of the suite.
        host: name of the machine.
        time: when the rerun began, ISO 8601 without a zone.
    """
    counts = Counter(ELEMENTS.get(finding.verdict) for finding in findings)
    totals = {"tests": str(len(findings)), "failures": str(counts["failure"]), "errors": str(counts["error"])}
    totals |= {"skipped": str(counts["skipped"]), "time": f"{seconds:.3f}"}
    suites = xml.Element("testsuites", {"name": "bench regress", **totals})
    suite = xml.SubElement(
        suites, "testsuite", {"name": "bench regress", **totals, "timestamp": time, "hostname": host}
    )
    properties = xml.SubElement(suite, "properties")
    for name, value in facts.items():
        xml.SubElement(properties, "property", {"name": name, "value": value})
    for finding in findings:
        case = {"classname": finding.cell, "name": finding.metric or "cell", "time": "0"}
        _ending(xml.SubElement(suite, "testcase", case), finding)
    xml.indent(suites)
    document: bytes = xml.tostring(suites, encoding="utf-8", xml_declaration=True)
    return document


def _ending(case: xml.Element, finding: Finding) -> None:
    name = ELEMENTS.get(finding.verdict)
    if name is None:
        return
    message = _sentence(finding)
    ending = xml.SubElement(case, name, {"message": message})
    if finding.verdict in WRONG:
        ending.set("type", str(finding.verdict))
        ending.text = f"{finding.cell}: {message}"


def _sentence(finding: Finding) -> str:
    """What is wrong, on one line."""
    if finding.now is not None and finding.reference is not None:
        where = "beyond the band of" if finding.band else "in the same context, where the band is"
        difference = _number(finding.difference, "+")
        return (
            f"{finding.reference:.6g} in the reference, {finding.now:.6g} now: {difference} {where} {finding.band:.5g}"
        )
    return finding.note or str(finding.verdict)
