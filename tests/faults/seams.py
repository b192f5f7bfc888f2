"""The four seams at which a process may die: transactions, publishing, port calls, subprocesses. Each occurrence has a number.

They are laid into a process of the suite from outside; nothing in the product knows of them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from orchestration import dispatch
from orchestration.runs.bench import Tools

KILLED = 137  # as a shell tells of a process that got SIGKILL
OURS = ("orchestration.", "agents.")
DEPTH = 2  # functions of ours that name a place


class Seams:
    """Counts what passes; at occurrence `die_at` the process is gone, without any cleaning up.

    `places`: the points in order, each as "when seam: our functions", so that the same place has the same name in each life.
    """

    def __init__(self, die_at: int = 0, died: Callable[[str], None] = lambda place: None) -> None:
        self.die_at, self._died = die_at, died
        self.places: list[str] = []
        self._lock = threading.Lock()

    def pass_by(self, seam: str) -> None:
        place = f"{seam}: {_functions_of_ours()}"
        with self._lock:
            self.places.append(place)
            if len(self.places) == self.die_at:
                self._died(place)
                os._exit(KILLED)

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
        return Tools(tools.worker, provider, make_llm, tools.tool_calls, tools.folder)


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
