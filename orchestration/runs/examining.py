"""An exam run: the clean room of one of several candidates. Its patch on the base in a fresh sandbox, then all checks there.

No model is asked.
"""

from __future__ import annotations

from collections.abc import Sequence

from agents.contracts import CheckResult

from .. import services
from ..active import ActiveRun
from ..blobs import load_blob
from ..journal import release_connection
from ..models import Run
from ..proof import gating, proven
from ..services import Examined
from .bench import Tools, bench, open_at
from .planning import base_checks
from .reviewing import checks_on_result


def examine(tools: Tools, active: ActiveRun) -> Run | None:
    """Work a claimed exam run to its record."""
    run = active.run
    head = run.base_commit or run.goal.base_sha
    patch = load_blob(run.rollout.patch_id) if run.rollout.patch_id else b""
    before = base_checks(run.goal)
    with bench(tools, active, run.goal, f"exam-{str(run.pk)[:8]}") as place:
        open_at(place, run.goal, run.rollout.head_bundle, run.goal.base_sha)
        release_connection()
        wrong = place.workspace.apply(patch, head)
        after = [] if wrong else checks_on_result(place, run, before, head)
    active.check()
    said = wrong or _failures(gating(before, after))
    found = Examined(head, after, not said, not said and proven(before, after), said or run.brief.get("reason", ""))
    return services.record_exam(run, found, active.successor)


def _failures(counting: Sequence[CheckResult]) -> str:
    """A hidden check is not named: what is said here is read by whoever works on a retry."""
    failed = [check for check in counting if not check.passed]
    return "; ".join(
        f"{'a hidden check' if check.origin == 'hidden' else repr(check.command)} fails (exit code {check.exit_code})"
        for check in failed
    )
