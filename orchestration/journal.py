"""The journal of a run: stands before its ports (the model in `journaled_llm`), so that nothing recorded is ever bought or run twice.

Live, a call goes: intent with reserved cost (needs the gate and the fence) → no connection held → the call → answer, cost,
checkpoint and lease in one transaction. After a take-over the loop is fed the recorded answers in their order, from a workspace
restored to the last checkpoint, and goes on live. If the loop asks for something else than what was recorded at that place, the
rest of the record is superseded, the workspace goes back to the checkpoint there, and the work goes on live from that point.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol, TypeVar

from django.db import connection

from agents.errors import AgentError, Cancelled, FileProblem, SandboxBusy, SandboxLost
from agents.ports import Command, CommandResult, Sandbox
from agents.text import storable

from . import hotpath
from .active import ActiveRun
from .blobs import load_blob, save_blob
from .hotpath import Position
from .mail import Mail
from .models import Artifact, Call, Run
from .pricing import Price
from .secrecy import redact, told_by
from .services.journaling import note_divergence, note_take_over
from .states import CallKind, CallStatus, RunKind

T = TypeVar("T")


class Checkpoints(Protocol):
    """The workspace's tree, saved as a commit after each call that may have changed it."""

    def save(self) -> tuple[str, bytes]:
        """(commit of the tree as it is now, bundle that holds it); the bundle is empty when nothing changed since the last."""

    def restore(self, commit: str, bundle: bytes) -> None:
        """The tree as it was at `commit`; an empty commit means as the run began."""


@dataclass(frozen=True, slots=True)
class Stake:
    """What is reserved for a call: the most that it may use. `price` None: nobody knows what it costs (a command costs nothing)."""

    tokens: int = 0
    price: Price | None = None
    micro_usd: int = 0

    @property
    def money(self) -> dict[str, Any]:
        return {"price": self.price, "micro_usd": self.micro_usd}


class Journal:
    """One per claim of a run. Not shared between threads."""

    def __init__(self, active: ActiveRun, checkpoints: Checkpoints | None = None) -> None:
        self.active = active
        self.run: Run = active.run
        self.checkpoints = checkpoints
        self.at = Position(0, 0)
        self._recorded: dict[Position, Call] = {}
        self._saved: tuple[str, Artifact | None] = ("", None)
        self.mail = Mail(self.run)

    def open(self) -> None:
        """Load what earlier claims of this run recorded, and put the workspace where the record ends."""
        if self.run.fence > 1:
            calls = Call.objects.filter(run_id=self.run.pk, status=CallStatus.DONE).select_related("checkpoint_bundle")
            self._recorded = {Position(call.turn, call.index): call for call in calls}
            self._restore(max(self._recorded, key=lambda at: (at.turn, at.index), default=None))
            self.mail.load()
            note_take_over(self.run, self._recorded.values(), self._saved[0])
        release_connection()

    def sandbox(self, port: Sandbox) -> Sandbox:
        return _JournaledSandbox(self, port)

    # ---- what both ports share

    def replay(self, at: Position, request_hash: str) -> Call | None:
        """The record of this very call; None: do it live. A record of something else ends the replay."""
        self.at = at
        call = self._recorded.get(at)
        if call is None:
            return None
        if call.request_hash == request_hash:
            return call
        hotpath.supersede(self.run, at)
        note_divergence(self.run, at)
        earlier = [position for position in self._recorded if _order(position) < _order(at)]
        self._recorded = {position: self._recorded[position] for position in earlier}
        self._restore(max(earlier, key=_order, default=None))
        return None

    def live(
        self, kind: CallKind, request_hash: str, request: Mapping[str, Any], stake: Stake, call: Callable[[], T]
    ) -> tuple[int, T]:
        """Intent, then the call itself without a connection; the caller settles. A broken call is settled here."""
        self.active.check()
        tokens, money = stake.tokens, stake.money
        begun = (self.run, self.at, kind, request_hash, request, tokens, self.mail.heard)
        pk = hotpath.begin_call(*begun, **money, steps=int(self._begins_step(kind)))
        release_connection()
        try:
            return pk, call()
        except Cancelled as error:
            hotpath.lose_call(self.run, pk, tokens, str(error), **money)
            raise (self.active.stopped() if self.active.stop_reason else error) from error
        except (SandboxBusy, SandboxLost) as error:
            hotpath.lose_call(self.run, pk, tokens, str(error), **money)  # the same run makes it again, at this place
            raise
        except AgentError as error:
            said = redact(storable(str(error)))[:2000]
            if error.billed:
                hotpath.lose_call(self.run, pk, tokens, said, **money)
            else:
                hotpath.settle_call(self.run, pk, reserved=tokens, **money, status=CallStatus.FAILED, error=said)
            raise
        except BaseException as error:
            hotpath.lose_call(self.run, pk, tokens, type(error).__name__, **money)
            raise
        finally:
            release_connection()

    def _begins_step(self, kind: CallKind) -> bool:
        """The first model call of an attempt at a step, also when whoever was to make it was lost before."""
        if kind != CallKind.LLM or self.run.kind != RunKind.STEP or self.at.turn != 1:
            return False
        return self.run.fence == 1 or not Call.objects.filter(run_id=self.run.pk, kind=CallKind.LLM).exists()

    def checkpoint(self) -> dict[str, Any]:
        """Columns of a Call that say where the tree stands after it; the bundle is stored before they are written."""
        if self.checkpoints is None:
            return {}
        commit, bundle = self.checkpoints.save()
        if bundle:
            self._saved = (
                commit,
                save_blob("checkpoint", bundle, media_type="application/x-git-bundle", goal=self.run.goal),
            )
        elif commit != self._saved[0]:
            self._saved = (commit, None)
        return {"checkpoint": commit, "checkpoint_bundle": self._saved[1]}

    def _restore(self, last: Position | None) -> None:
        if self.checkpoints is None:
            return
        marked = [at for at, call in self._recorded.items() if call.checkpoint and last and _order(at) <= _order(last)]
        if not marked:
            self.checkpoints.restore("", b"")
            return
        call = self._recorded[max(marked, key=_order)]
        bundle = load_blob(call.checkpoint_bundle_id) if call.checkpoint_bundle_id else b""
        release_connection()
        self.checkpoints.restore(call.checkpoint, bundle)
        self._saved = (call.checkpoint, call.checkpoint_bundle)


class _JournaledSandbox:
    def __init__(self, journal: Journal, port: Sandbox) -> None:
        self._journal = journal
        self._port = port

    @property
    def gone(self) -> bool:
        return self._port.gone

    def run(self, command: Command) -> CommandResult:
        journal = self._journal
        said = {"script": redact(storable(command.script)), "timeout": command.timeout, "network": command.network}
        request_hash = hash_of({**said, "stdin": hashlib.sha256(command.stdin).hexdigest()})
        if known := journal.replay(_next(journal.at), request_hash):
            return CommandResult(**(known.answer or {}))
        with journal.active.closing(self._port.close):
            run = self._port.run
            pk, result = journal.live(CallKind.COMMAND, request_hash, said, Stake(), lambda: told_by(run(command)))
            checkpoint = journal.checkpoint()
        output = {}
        if result.whole:
            output["output"] = save_blob("output", result.whole, media_type="text/plain", goal=journal.run.goal)
        result = replace(result, stdout=storable(result.stdout), stderr=storable(result.stderr), whole=b"")
        answer = {name: value for name, value in asdict(result).items() if name != "whole"}
        settled = {"answer": answer, "exit_code": result.exit_code, "duration": result.duration, **output, **checkpoint}
        hotpath.settle_call(journal.run, pk, **settled)
        release_connection()
        return result

    def read(self, path: str, max_bytes: int = 1_048_576) -> bytes:
        journal = self._journal
        request = {"read": storable(path), "max_bytes": max_bytes}
        if known := journal.replay(_next(journal.at), hash_of(request)):
            return _read_answer(known.answer or {})
        journal.active.check()
        answer = _attempt(lambda: self._port.read(path, max_bytes))
        hotpath.note_file(journal.run, journal.at, hash_of(request), request, answer=answer)
        release_connection()
        return _read_answer(answer)

    def write(self, path: str, data: bytes) -> None:
        journal = self._journal
        request = {"write": storable(path), "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        if known := journal.replay(_next(journal.at), hash_of(request)):
            _read_answer(known.answer or {})
            return
        journal.active.check()
        answer = _attempt(lambda: self._written(path, data))
        checkpoint = journal.checkpoint()
        hotpath.note_file(journal.run, journal.at, hash_of(request), request, answer=answer, **checkpoint)
        release_connection()
        _read_answer(answer)

    def _written(self, path: str, data: bytes) -> bytes:
        self._port.write(path, data)
        return b""

    def close(self) -> None:
        self._port.close()


def release_connection() -> None:
    """Nothing that waits holds a connection. (Inside a test's own transaction there is nothing to give back.)"""
    if not connection.in_atomic_block:
        connection.close()


def _next(at: Position) -> Position:
    return Position(at.turn, at.index + 1)


def _order(at: Position) -> tuple[int, int]:
    return at.turn, at.index


def hash_of(value: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _attempt(access: Callable[[], bytes]) -> dict[str, Any]:
    """A file access as it is recorded: its bytes, or the sentence that the model is told."""
    try:
        data = access()
    except FileProblem as error:
        return {"problem": storable(str(error))}
    return {"base64": base64.b64encode(data).decode()}


def _read_answer(answer: Mapping[str, Any]) -> bytes:
    if problem := answer.get("problem"):
        raise FileProblem(problem)
    return base64.b64decode(answer.get("base64", ""))
