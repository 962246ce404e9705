"""What a delegate would do with a graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from edgestyle.lint.graph import Graph, Op, cut
from edgestyle.lint.table import REFUSALS, Rule, Severity, Table
from edgestyle.runner import Placement


@dataclass(frozen=True)
class Finding:
    """Something that a delegate will not like, and what cures it."""

    severity: Severity
    ops: tuple[str, ...]
    """Types of the ops, as the format calls them, sorted."""
    where: tuple[str, ...]
    """Each op: the layer of the model where it is known, else its name in the file."""
    why: str
    rewrite: str
    source: str


@dataclass(frozen=True)
class Verdict:
    """What is expected of a file on a delegate."""

    delegate: str
    title: str
    placement: Placement
    findings: tuple[Finding, ...]
    """Worst first."""

    @property
    def outlook(self) -> Literal["runs whole", "falls back", "will not compile"]:
        """The placement in words."""
        severities = {finding.severity for finding in self.findings}
        return next((s for s in ("will not compile", "falls back") if s in severities), "runs whole")


@dataclass(frozen=True)
class _Complaint:
    op: Op
    severity: Severity
    came: str
    rule: Rule


def judge(
    table: Table,
    graph: Graph,
    taken: set[Op] | None = None,
    cuts: Callable[[Graph, set[Op]], list[list[Op]]] = lambda graph, delegated: cut(graph.ops, delegated),
) -> Verdict:
    """Hold a graph against a delegate's table.

    Args:
        table: The rules.
        graph: What they are for.
        taken: The ops that another tool says the delegate takes, in place of `table.supported`.
        cuts: The pieces in which the delegate is given some ops.
    """
    complaints = [complaint for op in graph.ops for complaint in _complaints(table, op, taken)]
    refused = {complaint.op for complaint in complaints if complaint.severity in REFUSALS}
    pieces = cuts(graph, set(graph.ops) - refused)
    if table.largest_piece_only:
        pieces = sorted(pieces, key=len)[-1:]
    placement = Placement(
        total=len(graph.ops),
        delegated=sum(map(len, pieces)),
        partitions=len(pieces),
        fallback_ops=tuple(sorted({op.type for op in refused})),
    )
    return Verdict(table.name, table.title, placement, _findings(table, graph, complaints))


def _complaints(table: Table, op: Op, taken: set[Op] | None) -> list[_Complaint]:
    """All that a table has against an op. The first refusal is enough: it needs no advice on how to run."""
    met = [
        _Complaint(op, rule.severity or table.otherwise, came, rule)
        for rule in table.rule
        if (came := rule.complaint(op)) is not None
    ]
    refusals = [complaint for complaint in met if complaint.severity in REFUSALS]
    if refusals:
        return refusals[:1]
    if not _takes(table, op, taken):
        unlisted = Rule(ops=(op.type,), why=table.why, rewrite=table.rewrite)
        return [_Complaint(op, table.otherwise, "", unlisted)]
    return met


def _takes(table: Table, op: Op, taken: set[Op] | None) -> bool:
    if taken is not None:
        return op in taken
    return table.supported is None or op.type in table.supported


def _findings(table: Table, graph: Graph, complaints: list[_Complaint]) -> tuple[Finding, ...]:
    """One finding for all ops that a table is against for the same reason; what came is told of the first."""
    places = graph.places()
    groups: dict[tuple[str, str], list[_Complaint]] = {}
    for complaint in complaints:
        groups.setdefault((complaint.severity, complaint.rule.why), []).append(complaint)
    findings = [
        Finding(
            severity=group[0].severity,
            ops=tuple(sorted({complaint.op.type for complaint in group})),
            where=tuple(dict.fromkeys(places[complaint.op] for complaint in group)),
            why=f"{why} ({group[0].came})" if group[0].came else why,
            rewrite=group[0].rule.rewrite,
            source=group[0].rule.source or table.source,
        )
        for (_, why), group in groups.items()
    ]
    order: tuple[Severity, ...] = (*REFUSALS, "risky in fp16", "slow")
    return tuple(sorted(findings, key=lambda finding: order.index(finding.severity)))
