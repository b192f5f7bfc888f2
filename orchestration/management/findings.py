"""How a command prints a finding: a mark, a line, and the remedy below it where something is to be done."""

from __future__ import annotations

from django.core.management.base import OutputWrapper

from orchestration.doctor import Finding

MARKS = {"ok": "✓", "warn": "!", "fail": "✗"}


def tell(out: OutputWrapper, finding: Finding) -> None:
    out.write(f"{MARKS[finding.status]} {finding.name}: {finding.detail}")
    for line in finding.remedy.splitlines() if finding.status != "ok" else ():
        out.write(f"    {line}")
