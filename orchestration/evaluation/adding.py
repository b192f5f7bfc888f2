"""A finished goal becomes a case: its base, its checks, and the tests of its accepted patch as withheld checks."""

from __future__ import annotations

from pathlib import Path

from agents.checking import CHECK_FILES
from agents.ports import Command, SandboxProvider, SandboxSpec
from agents.workspace import Workspace

from ..blobs import load_blob
from ..errors import BadInput
from ..models import Goal
from ..states import GoalStatus
from .cases import write_case

LARGEST = 4 * 1024 * 1024


def add_case(goal: Goal, suite: Path, name: str, provider: SandboxProvider) -> Path:
    """The new case's folder. Raises BadInput."""
    folder = suite / (name or f"goal-{goal.short_id}")
    if "/" in name or name.startswith("."):
        raise BadInput("a case's name is the name of a folder, without / and no dot first")
    if goal.status != GoalStatus.SUCCEEDED or goal.selected is None or goal.selected.patch_id is None:
        raise BadInput(f"goal {goal.short_id} is {goal.status}: only what succeeded shows what a right answer is")
    if goal.base_bundle_id is None:
        raise BadInput(f"goal {goal.short_id} has no base commit")
    base, patch = load_blob(goal.base_bundle_id), load_blob(goal.selected.patch_id)
    tests = _tests_of(provider, goal, base, patch)
    said = {
        "goal": goal.text,
        "checks": list(goal.checks),
        "hidden_checks": list(goal.hidden_checks),
        "withheld_checks": list(goal.checks) if tests else [],
        "allow_check_edits": goal.allow_check_edits,
        "setup": goal.repository.setup if goal.repository else "",
        "base": goal.base_sha,
    }
    withheld = {f"withheld/{path}": data for path, data in tests.items()}
    write_case(folder, said, {"base.bundle": base, "accepted.patch": patch, **withheld})
    return folder


def _tests_of(provider: SandboxProvider, goal: Goal, base: bytes, patch: bytes) -> dict[str, bytes]:
    """Test files that the accepted patch made or changed, as it left them: whoever solves the case again has to pass them, unseen."""
    assert goal.selected is not None
    sandbox = provider.open(SandboxSpec(label=f"case-{goal.short_id}"))
    try:
        workspace = Workspace(sandbox)
        bundle = goal.selected.head_bundle_id
        workspace.open(base, load_blob(bundle) if bundle else None, goal.base_sha)
        if wrong := workspace.apply(patch, goal.selected.head):
            raise BadInput(f"the result of goal {goal.short_id} cannot be used: {wrong}")
        globs = " ".join(f"':(glob){glob}'" for glob in CHECK_FILES)
        script = f'git --git-dir="$VAULT" --work-tree=. diff --cached --name-only --diff-filter=AM -z {goal.base_sha} -- {globs}'
        listed = sandbox.run(Command(script, vault=True))
        return {path: sandbox.read(path, LARGEST) for path in listed.stdout.split("\0") if path}
    finally:
        sandbox.close()
