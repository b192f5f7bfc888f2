"""The bench of a run: a fresh sandbox with the goal's repository in it at one commit, and the means to run checks there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from django.conf import settings

from agents.checking import as_check
from agents.contracts import CheckResult
from agents.counts import REPORT_BYTES, report_named_in
from agents.environment import prepare_environment
from agents.errors import AgentError, EnvironmentMissing, FileProblem
from agents.ports import LLM, Command, Sandbox, SandboxProvider, SandboxSpec
from agents.workspace import Workspace

from ..active import ActiveRun
from ..blobs import load_blob, save_blob
from ..journal import release_connection
from ..llms import Client, client_for
from ..models import Artifact, Goal, Provider, Repository
from ..secrecy import told_by
from ..services.breaking import heard_from

REMEDY = (
    "{program!r} is not installed in the sandbox, so the check {command!r} says nothing about the work. "
    "Give the repository its tools: --setup 'python3 -m venv .venv && .venv/bin/pip install -r requirements.txt' "
    "(run once, with network), or --toolchain /folder/of/tools"
)


@dataclass(frozen=True)
class Tools:
    """What a worker process has for its runs; made once by `equipment`."""

    worker: str
    provider: SandboxProvider
    make_llm: Callable[[], LLM]
    tool_calls: bool = True
    context: int | None = None  # tokens that the machine's own model holds
    make_client: Callable[[Provider, str], Client] = client_for
    folder: Path = field(default_factory=lambda: Path(settings.DATA_DIR))

    @cached_property
    def needs(self) -> tuple[str, ...]:
        """The dependencies, as breakers are named. A model that is not set is none: each run says so."""
        try:
            model = self.make_llm().dependency
        except AgentError:
            model = ""
        return tuple(filter(None, (model, self.provider.dependency)))


@dataclass
class Bench:
    """One sandbox and the git workspace in it. `when` (epoch seconds) dates its commits, the same on every worker."""

    sandbox: Sandbox
    workspace: Workspace
    base_sha: str
    when: int
    environment: str = ""
    _last: str = ""

    def check(self, command: str, origin: str, commit: str) -> CheckResult:
        """Run one check on the tree as it is."""
        result = told_by(self.sandbox.run(Command(command, timeout=float(settings.CHECK_TIMEOUT_SECONDS))))
        return as_check(command, origin, commit, result, self._report(command), self.environment)

    def check_all(self, checks: Sequence[tuple[str, str]], commit: str) -> list[CheckResult]:
        """Run (command, origin) pairs one after another."""
        return [self.check(command, origin, commit) for command, origin in checks]

    def confirm(self, checks: Sequence[CheckResult], doubted: Sequence[CheckResult]) -> list[CheckResult]:
        """The doubted ones of `checks` are run once more on the same tree: whose second answer is another is flaky.

        One that ran out of time, or whose program is missing, is believed.
        """
        return [
            self._confirmed(check) if check in doubted and not (check.timed_out or check.missing) else check
            for check in checks
        ]

    def _confirmed(self, check: CheckResult) -> CheckResult:
        again = self.check(check.command, check.origin, check.commit)
        return check.model_copy(update={"flaky": again.passed != check.passed})

    def _report(self, command: str) -> bytes:
        """The JUnit XML that the check was told to write, if it did."""
        try:
            return self.sandbox.read(path, REPORT_BYTES) if (path := report_named_in(command)) else b""
        except FileProblem:
            return b""

    # ---- the journal's checkpoints

    def save(self) -> tuple[str, bytes]:
        commit = self.workspace.checkpoint(self.when)
        if commit == self._last:
            return commit, b""
        self._last = commit
        return commit, self.workspace.bundle(self.base_sha, commit)

    def restore(self, commit: str, bundle: bytes) -> None:
        if bundle:
            self.workspace.fetch(bundle)
        self.workspace.restore(commit)
        self._last = commit


class Watched:
    """The provider as one run uses it: what it opens, for a set-up too, closes with `stack`, or at once when the run is stopped."""

    def __init__(self, provider: SandboxProvider, active: ActiveRun, stack: ExitStack) -> None:
        self.name, self.layers, self.scratch = provider.name, provider.layers, provider.scratch
        self.dependency = provider.dependency
        self._provider, self._active, self._stack = provider, active, stack

    def open(self, spec: SandboxSpec) -> Sandbox:
        sandbox = self._provider.open(spec)
        self._active.sandboxes += 1
        self._stack.callback(self._close, sandbox)
        self._stack.enter_context(self._active.closing(sandbox.close))
        return sandbox

    def sweep(self) -> int:
        return self._provider.sweep()

    def _close(self, sandbox: Sandbox) -> None:
        sandbox.close()
        self._active.sandboxes -= int(sandbox.gone)


@contextmanager
def bench(tools: Tools, active: ActiveRun, goal: Goal, label: str, environment: bool = True) -> Iterator[Bench]:
    """A fresh bench with the goal's base in its vault; its sandbox is gone afterwards, and at once when the run is stopped."""
    base = _bytes(goal.base_bundle)
    label = f"{label}-{active.run.fence}"
    with ExitStack() as stack:
        provider = Watched(tools.provider, active, stack)
        spec = spec_for(tools.folder, provider, goal, base, label) if environment else SandboxSpec(label=label)
        release_connection()
        sandbox = provider.open(spec)
        heard_from(provider.dependency)
        release_connection()
        when = int(goal.created_at.timestamp())
        yield Bench(sandbox, Workspace(sandbox), goal.base_sha, when, environment_of(provider, goal, spec))


def open_at(bench: Bench, goal: Goal, bundle: Artifact | None, commit: str) -> None:
    """Put the tree of `commit` on the bench; `bundle` holds what is not in the base."""
    base, more = _bytes(goal.base_bundle), _bytes(bundle)
    release_connection()
    bench.workspace.open(base, more or None, commit)


def spec_for(folder: Path, provider: SandboxProvider, goal: Goal, base: bytes, label: str) -> SandboxSpec:
    """The sandbox of a goal: its repository's toolchain folders and its built environment, both read-only."""
    repository: Repository | None = goal.repository
    if repository is None:
        return SandboxSpec(label=label)
    readonly = {f"/opt/toolchain/{n}": Path(tools) for n, tools in enumerate(repository.toolchain)}
    path = tuple(place if not (tools / "bin").is_dir() else f"{place}/bin" for place, tools in readonly.items())
    if repository.setup and repository.setup_allowed and base:
        release_connection()
        root = folder / "environments"
        built = prepare_environment(provider, root, repository.setup, base, goal.base_sha, repository.path)
        readonly[built.place] = built.folder
        path = (*built.path, *path)
    return SandboxSpec(label=label, readonly=readonly, path=path)


def environment_of(provider: SandboxProvider, goal: Goal, spec: SandboxSpec) -> str:
    """A hash of what checks run in: the kind of sandbox, the mounted tools, the built set-up (its folder is named by its contents)."""
    mounted = {place: folder.name for place, folder in spec.readonly.items()}
    setup = goal.repository.setup if goal.repository is not None else ""
    told = json.dumps([provider.name, provider.layers, mounted, spec.path, setup], default=str, sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()


def keep_logs(goal: Goal, checks: Sequence[CheckResult]) -> list[CheckResult]:
    """Each with its whole output as an artifact; nothing is stored for one that said nothing."""
    return [check.model_copy(update={"log": _log(goal, check.output)}) if check.output else check for check in checks]


def _log(goal: Goal, output: str) -> str:
    stored = save_blob("check-output", output.encode("utf-8", "surrogateescape"), media_type="text/plain", goal=goal)
    return str(stored.pk)


def refuse_missing(checks: Sequence[CheckResult]) -> None:
    """A check whose program the sandbox lacks proves nothing: say what to do about it, and never count it as a failed attempt."""
    for check in checks:
        if check.missing:
            raise EnvironmentMissing(REMEDY.format(program=check.missing, command=check.command))


def _bytes(artifact: Artifact | None) -> bytes:
    return load_blob(artifact.pk) if artifact is not None else b""
