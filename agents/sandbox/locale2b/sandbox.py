"""One microVM as a sandbox: the port's four methods, over the runner in the VM. See `ports.Sandbox`."""

from __future__ import annotations

import base64
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ...errors import Cancelled, EnvironmentMissing, FileProblem, Permanent, SandboxBusy, SandboxLost, Transient
from ...ports import Command, CommandResult, SandboxSpec
from ..files import clean_path, refuse_unusual, unreadable
from ..limits import refusal
from . import parcels, protocol
from .meaning import GuestRefused
from .protocol import Done, Ready, Said
from .service import Service, quietly

log = logging.getLogger(__name__)
NO_NETWORK = (
    "setup commands (--setup) need a network, and a locale2b VM has none: give the repository its tools by --toolchain, put them "
    "into the service's template (LOCALE2B_TEMPLATE), or run its steps with SANDBOX=bubblewrap"
)
QUIET = (
    10.0  # seconds without a word from the VM, after which we look whether it still runs before we say anything to it
)
OVERDUE = 20.0  # seconds that the runner may be late with the end of a command
TRIAL = 20.0
TRIAL_WAITS = 8.0  # seconds that a limiter may hold it up: nobody can cancel a sandbox that is not open yet
WORTH_A_WORD = 2.0
LONGEST_TURN = 900.0  # seconds that a command waits for those of others


class RemoteSandbox:
    """`user`: the number under which commands run in the VM; 0 leaves them the VM's root (for a test's stand-in without users)."""

    def __init__(
        self, service: Service, sandbox_id: str, spec: SandboxSpec, user: int, ended: Callable[[], None]
    ) -> None:
        self.service, self.sandbox_id, self.spec = service, sandbox_id, spec
        self.closed = False
        self.lost = ""
        self._user = user
        self._ended = ended
        self._heard_at = time.monotonic()
        self._one_at_a_time = threading.Lock()
        self.gone = False
        self._closing: threading.Thread | None = None
        self._lock = threading.Lock()
        self._owner = threading.get_ident()

    def prepare(self, folders: Mapping[str, bytes]) -> Ready:
        """The runner, and each read-only folder at its place. Raises SandboxLost when nobody lives in the VM."""
        marker = protocol.new_marker()
        with self._talking():
            order = {"user": self._user, "place": self.spec.place}
            ran = self.service.execute(self.sandbox_id, protocol.install(marker, order), TRIAL, waits=TRIAL_WAITS)
            ready = protocol.shaped(Ready, protocol.heard(marker, ran, self.service.name), self.service.name)
        for place, tar in folders.items():
            marker = protocol.new_marker()
            with self._talking():
                said = self._told("mount", marker, {"place": place, **self._send(marker, tar)})
            if said.state != "mounted":
                raise Transient(f"{place} could not be brought into the sandbox: {said.text}")
        return ready

    # ---- the port

    def run(self, command: Command) -> CommandResult:
        if refused := refusal(command.script):
            return CommandResult(126, stderr=refused)
        if command.network:
            raise EnvironmentMissing(NO_NETWORK)
        with self._one_at_a_time, self._turn():
            marker = protocol.new_marker()
            with self._talking():
                self._look_whether_it_runs()
                order = protocol.start_order(self.spec, command, self._user) | self._send(marker, command.stdin)
                done = self._until_done(marker, command, order)
                whole = self._fetch(marker, done.whole) if done.whole else b""
            return protocol.result(done, self.spec, whole)

    def read(self, path: str, max_bytes: int = 1_048_576) -> bytes:
        vault, parts = _place_of(path)
        marker = protocol.new_marker()
        order = protocol.path_order(self.spec, parts, vault)
        order |= {"most": max_bytes, "inline": protocol.READ_INLINE, "part": protocol.PART_DOWN}
        with self._one_at_a_time, self._talking():
            self._look_whether_it_runs()
            said = self._told("read", marker, order)
            if said.state == "staged":
                return self._fetch(marker, protocol.Staged(size=said.size, parts=said.parts, sha256=said.sha256))
        if said.state == "unusual":
            refuse_unusual(path, said.mode, said.names, said.size, max_bytes)
        if said.state != "file":
            raise unreadable(path, OSError(said.errno, said.text))
        return base64.b64decode(said.data)

    def write(self, path: str, data: bytes) -> None:
        vault, parts = _place_of(path)
        marker = protocol.new_marker()
        order = protocol.path_order(self.spec, parts, vault) | {"user": self._user}
        with self._one_at_a_time, self._talking():
            self._look_whether_it_runs()
            said = self._told("write", marker, order | self._send(marker, data))
        if said.state != "written":
            why = unreadable(path, OSError(said.errno, said.text))
            raise FileProblem(str(why).replace("cannot be read", "cannot be written"))

    def close(self) -> None:
        """The thread that opened it waits until the VM is gone; another one (a heartbeat) only sees to it that it goes."""
        with self._lock:
            self.closed = True
            if self._closing is None:
                self._closing = threading.Thread(target=self._destroy, name=f"destroy {self.sandbox_id}")
                self._closing.start()
        if threading.get_ident() == self._owner:
            self._closing.join(self.service.patience.destroy)

    # ---- a command's time in the VM

    def _until_done(self, marker: str, command: Command, order: dict[str, Any]) -> Done:
        """Slice by slice, so that others are answered in between and a cancel is noticed."""
        ends = time.monotonic() + command.timeout + OVERDUE
        said = self._say("start", marker, order, seconds=protocol.SLICE + 5)
        while said.get("state") == "running" and time.monotonic() < ends:
            said = self._say("wait", marker, {"slice": protocol.SLICE}, seconds=protocol.SLICE + 5)
        if said.get("state") == "running":
            left = self._told("kill", marker, {"user": self._user}).left
            raise SandboxLost(f"a command did not end at its time limit; {left} of its processes would not go")
        if said.get("state") != "done" or said.get("failed"):
            why = said.get("failed") or said.get("text") or said.get("state")
            raise SandboxLost(f"a command's record is not to be had from the sandbox: {why}")
        done = protocol.shaped(Done, said, self.service.name)
        if done.left:
            raise SandboxLost(f"{done.left} processes of a command would not end")
        return done

    def _told(self, verb: str, marker: str, order: dict[str, Any]) -> Said:
        return protocol.shaped(Said, self._say(verb, marker, order), self.service.name)

    def _say(self, verb: str, marker: str, order: dict[str, Any], seconds: float = 30.0) -> dict[str, Any]:
        """One verb to its answer, which is believed and not yet checked."""
        text = protocol.say(verb, marker, order)
        if len(text) > protocol.LONGEST_COMMAND:
            self._upload(f"{protocol.PLACE}/order-{marker}", protocol.as_json(order))
            text = protocol.say(verb, marker, {})
        seconds += order.get("parts", 0)  # a second for each part that is to be joined
        ran = self.service.execute(self.sandbox_id, text, seconds, self._given_up)
        said = protocol.heard(marker, ran, self.service.name)
        self._heard_at = time.monotonic()
        return said

    def _look_whether_it_runs(self) -> None:
        """A command for a VM that its service only remembers would block the service for half a minute."""
        if time.monotonic() - self._heard_at < QUIET:
            return
        status = self.service.machine(self.sandbox_id, self._given_up).status
        if status != "running":
            raise SandboxLost(f"the sandbox at {self.service.name} is {status}: was the service started anew?")

    # ---- parts

    def _send(self, marker: str, data: bytes) -> dict[str, Any]:
        return parcels.send(marker, data, self._upload)

    def _fetch(self, marker: str, staged: protocol.Staged) -> bytes:
        return parcels.fetch(marker, staged, lambda path: self.service.download(self.sandbox_id, path, self._given_up))

    def _upload(self, path: str, data: bytes) -> None:
        """A guest that refuses and still answers has a reason that stays; one that does not is dead."""
        try:
            self.service.upload(self.sandbox_id, path, data, self._given_up)
        except GuestRefused as refused:
            self.service.execute(self.sandbox_id, "true", 5, self._given_up)
            raise Permanent(str(refused)) from refused

    # ---- ends

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """One running command per service, over all processes of this host; waiting is not counted, and ends by `close`."""
        ledger, begun, told = self.service.ledger, time.monotonic(), False
        while (turn := ledger.take_turn()) is None:
            self._refuse_closed()
            waited = time.monotonic() - begun
            if waited > LONGEST_TURN:
                raise SandboxBusy(
                    f"the sandbox service {self.service.name} has been busy with others' commands for too long"
                )
            if waited > WORTH_A_WORD and not told:
                log.info("waiting for a turn at the sandbox service %s", self.service.name)
                told = True
            time.sleep(0.05)
        try:
            yield
        finally:
            ledger.end_turn(turn)

    @contextmanager
    def _talking(self) -> Iterator[None]:
        """What goes wrong in between: closed by somebody, lost, or a service that does not answer, which for us is the same."""
        self._refuse_closed()
        try:
            yield
        except (SandboxBusy, Cancelled):
            self._refuse_closed()
            raise
        except Transient as error:
            self._refuse_closed()
            self.lost = str(error)
            raise SandboxLost(self.lost) from error
        self._refuse_closed()

    def _refuse_closed(self) -> None:
        if self.closed:
            raise Cancelled("the sandbox is closed")
        if self.lost:
            raise SandboxLost(self.lost)

    def _given_up(self) -> bool:
        return self.closed

    def _destroy(self) -> None:
        self.gone = quietly(self.service.destroy, self.sandbox_id)
        if not self.gone:
            log.warning("sandbox %s at %s could not be removed; a sweep will", self.sandbox_id, self.service.name)
        self._ended()


def _place_of(path: str) -> tuple[bool, tuple[str, ...]]:
    """(in the vault?, the path's parts). Raises FileProblem."""
    return path.startswith("vault:"), clean_path(path.removeprefix("vault:"))
