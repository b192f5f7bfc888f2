"""The four seams at which a process may die: transactions, publishing, port calls, subprocesses. Each occurrence has a name.

They are laid into a process of the suite from outside; nothing in the product knows of them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from orchestration import dispatch, runtime, writing
from orchestration.journal import Journal
from orchestration.models import Run
from orchestration.runs.bench import Tools

KILLED = 137  # as a shell tells of a process that got SIGKILL
OURS = ("orchestration.", "agents.")
DEPTH = 2  # functions of ours that name a place


@dataclass(frozen=True, slots=True)
class Point:
    """An occurrence: which seam and which functions of ours, in whose work, from which call on, the how many-th time since then.

    The same one has the same name in each case, also in a run that somebody else has begun. `run`: the id of the one that is worked.
    """

    place: str
    whose: str
    n: int
    run: str = ""

    def __str__(self) -> str:
        return f"{self.place} [{self.whose}, {self.n}]"


class Seams:
    """Names what passes; where `dies` says so the process is gone, without any cleaning up."""

    def __init__(self, dies: Callable[[Point], bool], died: Callable[[Point], None]) -> None:
        self._dies, self._died = dies, died
        self.points: list[Point] = []
        self._passed: Counter[tuple[str, ...]] = Counter()
        self._worked = threading.local()
        self._over = False
        self._lock = threading.Lock()

    def over(self) -> list[Point]:
        """The life has come to its end: nothing counts any more."""
        with self._lock:
            self._over = True
            return self.points

    def at(self, whose: str, run: str = "") -> None:
        """What this thread does from now on."""
        self._worked.at = whose, run

    def pass_by(self, seam: str) -> None:
        place = f"{seam}: {_functions_of_ours()}"
        whose, run = getattr(self._worked, "at", (_thread(), ""))
        with self._lock:
            if self._over:
                return
            self._passed[place, whose, run] += 1
            point = Point(place, whose, self._passed[place, whose, run], run)
            self.points.append(point)
            if self._dies(point):
                self._died(point)
                os._exit(KILLED)

    def working(self, name_of: Callable[[Run], str]) -> None:
        """From now on each thread of this process knows whose work it does, and how far that is."""
        perform, replay = runtime.perform, Journal.replay

        def named(tools: Tools, active: Any) -> Run | None:
            whose = name_of(active.run), str(active.run.pk)
            self.at(*whose)
            try:
                return perform(tools, active)
            finally:
                self.at(f"after {whose[0]}", whose[1])

        def told(journal: Journal, at: Any, request_hash: str) -> Any:
            self.at(f"{name_of(journal.run)}, call {at.turn}.{at.index}", str(journal.run.pk))
            return replay(journal, at, request_hash)

        runtime.perform = named
        Journal.replay = told  # type: ignore[method-assign]

    def around(self, seam: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def seamed(*args: Any, **kwargs: Any) -> Any:
            self.pass_by(f"before {seam}")
            try:
                return call(*args, **kwargs)
            finally:
                self.pass_by(f"after {seam}")

        return seamed

    def lay(self) -> None:
        """Into this process, for good: transactions, publishing, subprocesses."""
        wrapper: Any = BaseDatabaseWrapper
        popen: Any = subprocess.Popen
        wrapper.commit = self.around("commit", wrapper.commit)
        wrapper.set_autocommit = self._begins(wrapper.set_autocommit)
        writing._autocommitted = self.around(
            "write", writing._autocommitted
        )  # a statement that is a transaction of its own
        popen.__init__ = self.around("spawn", popen.__init__)
        popen._handle_exitstatus = self.around("exit", popen._handle_exitstatus)
        dispatch.use(self.around("publish", dispatch.publish_nothing))

    def _begins(self, set_autocommit: Callable[..., Any]) -> Callable[..., Any]:
        def seamed(connection: Any, autocommit: bool, *args: Any, **kwargs: Any) -> Any:
            if not autocommit:
                self.pass_by("before begin")
            return set_autocommit(connection, autocommit, *args, **kwargs)

        return seamed

    def tools(self, tools: Tools) -> Tools:
        """The same tools, with seams around every call of a port."""

        def make_llm() -> Any:
            return _Ported(tools.make_llm(), self, ("complete",))

        provider: Any = _Ported(tools.provider, self, ("open",), made=("run", "read", "write", "close"))
        return replace(tools, provider=provider, make_llm=make_llm)


class _Ported:
    """A port whose named methods are seams; so are the methods `made` of what `open` returns."""

    def __init__(self, port: Any, seams: Seams, methods: tuple[str, ...], made: tuple[str, ...] = ()) -> None:
        self._port, self._seams, self._methods, self._made = port, seams, methods, made

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._port, name)
        if name not in self._methods:
            return value
        call = self._seams.around(name, value)
        if not self._made:
            return call
        return lambda *args, **kwargs: _Ported(call(*args, **kwargs), self._seams, self._made)


def _functions_of_ours() -> str:
    """The innermost functions of the product that led here, outermost first."""
    found: list[str] = []
    frame = sys._getframe(2)
    while frame is not None and len(found) < DEPTH:
        module = frame.f_globals.get("__name__", "")
        if module.startswith(OURS) and not module.startswith("orchestration.transitions"):
            found.append(f"{module.rpartition('.')[2]}.{frame.f_code.co_name}")
        frame = frame.f_back  # type: ignore[assignment]
    return " > ".join(reversed(found)) or "(the suite)"


def _thread() -> str:
    """What a thread does that works on no run just now."""
    return threading.current_thread().name.rstrip("0123456789-_ ").lower().removesuffix("thread")
