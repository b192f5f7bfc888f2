"""The pool of services: a machine from the first that has room, its name, and the sweep of those whose owner is gone."""

from __future__ import annotations

import logging
import os
import re
import socket
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

from ...errors import AgentError, SandboxBusy, Transient
from ...ports import Sandbox, SandboxSpec
from ..slots import own_folder, try_lock
from .answers import Machine
from .ledger import HostLedger, Ledger
from .options import SMALLEST_MEMORY, Options
from .parcels import packed
from .sandbox import RemoteSandbox
from .service import Patience, SandboxUnsure, Service, quietly

log = logging.getLogger(__name__)
GUEST_USER = 1000
LONGEST_LIFE = timedelta(hours=3)  # no run of ours lasts so long: an older machine of another host's is nobody's
WAIT_FOR_TURN = 5.0
LEAST_WAIT = 10.0  # seconds in the queue, where no service could be had


class Locale2bProvider:
    """See `ports.SandboxProvider`. `folder`: where this host's processes keep what they agree on (a test has its own)."""

    name = "locale2b"
    layers: tuple[str, ...] = (
        *("microVM", "no network", "a user without rights", "files pushed in and pulled out"),
        *("memory and processes limited", "without Firecracker's jailer"),
    )

    def __init__(
        self,
        options: Options,
        scratch: Path,
        *,
        folder: Path | None = None,
        patience: Patience | None = None,
        user: int = GUEST_USER,
        ledger: Callable[[str], Ledger] | None = None,
    ) -> None:
        self.scratch = scratch
        self._options, self._user = options, user
        self._patience = patience or Patience()
        self._folder = folder or own_folder("locale2b")
        make = ledger or (lambda name: HostLedger(f"{name} {options.api_key}", options.per_minute, self._folder))
        self.services = [Service(address, options, make(address.name), self._patience) for address in options.addresses]
        self.dependency = f"sandbox service {', '.join(service.name for service in self.services)}"[:300]
        self._names = _Names(options.installation, self._folder)
        self._next = os.getpid()
        self._unsure = set(self.services)  # where machines of ours may be that nobody owns: at first, everywhere
        self._lock = threading.Lock()

    def open(self, spec: SandboxSpec) -> Sandbox:
        """Raises SandboxBusy when no service has room or answers, with what each said."""
        folders = {place: packed(host) for place, host in spec.readonly.items()}
        said: list[Transient] = []
        wait = LEAST_WAIT
        for service in self._in_turn(said):
            try:
                return self.open_at(service, spec, folders)
            except Transient as error:
                said.append(error)
                wait = max(wait, error.retry_after or 0.0)
        away = "" if any(isinstance(error, SandboxBusy) for error in said) else self.dependency  # busy is not away
        why = f"waiting for a sandbox service: {'; '.join(map(str, said))}"
        raise SandboxBusy(why, retry_after=wait, outage_of=away)

    def open_at(self, service: Service, spec: SandboxSpec, folders: Mapping[str, bytes]) -> RemoteSandbox:
        """A machine of this service, with the runner and the folders (tars) in it."""
        box = self._made(service, spec)
        try:
            box.prepare(folders)
        except BaseException:
            box.close()
            raise
        return box

    def sweep(self) -> int:
        """Remove our machines that nobody owns any more; how many. A service that does not answer is left for the next time."""
        removed = 0
        for service in self.services:
            try:
                removed += self._clean(service)
            except AgentError as error:
                log.info("the sweep passes over %s: %s", service.name, error)
        return removed

    # ---- parts

    def _in_turn(self, said: list[Transient]) -> Sequence[Service]:
        """Those whose breaker is closed and where no command runs now, beginning with another one each time."""
        with self._lock:
            self._next += 1
            first = self._next % len(self.services)
        rested = []
        for service in (*self.services[first:], *self.services[:first]):
            if (rest := service.ledger.resting()) > 0:
                said.append(Transient(f"{service.name} rests for {rest:.0f} s after trouble"))
            else:
                rested.append(service)
        free = _until_one(rested, WAIT_FOR_TURN)
        if rested and not free:
            said.append(SandboxBusy(f"{len(rested)} of {len(self.services)} busy with a command"))
        return free

    def _made(self, service: Service, spec: SandboxSpec) -> RemoteSandbox:
        if service in self._unsure:
            self._look_for_orphans(service)
        label, release = self._names.new(spec.label)
        memory = min(max(spec.memory_mib, SMALLEST_MEMORY), self._options.memory_mb)
        try:
            machine = service.create(label, memory)
        except BaseException as error:
            release()
            if isinstance(error, SandboxUnsure):
                self._unsure.add(service)
            raise
        return RemoteSandbox(service, machine.sandbox_id, spec, self._user, release)

    def _look_for_orphans(self, service: Service) -> None:
        """A process before this one was killed, or a create was not answered: nobody owns the names of those any more."""
        self._clean(service)
        self._unsure.discard(service)

    def _clean(self, service: Service) -> int:
        now = datetime.now(UTC)
        left = [machine for machine in service.machines() if self._names.is_left_over(machine, now)]
        return sum(quietly(service.destroy, machine.sandbox_id) for machine in left)


def _until_one(services: Sequence[Service], seconds: float) -> list[Service]:
    """Those where no command runs; waits a little for the first."""
    ends = time.monotonic() + seconds
    while services:
        free = [service for service in services if _is_free(service)]
        if free or time.monotonic() > ends:
            return free
        time.sleep(0.1)
    return []


def _is_free(service: Service) -> bool:
    if (turn := service.ledger.take_turn()) is None:
        return False
    service.ledger.end_turn(turn)
    return True


class _Names:
    """`compymac-<installation>-<host>-<purpose>-<random>`: ours, this host's, and a lock that is free once its owner is gone."""

    def __init__(self, installation: str, folder: Path) -> None:
        self._ours = f"compymac-{_plain(installation).replace('-', '')}-"
        self._hosts = f"{self._ours}{sha256(socket.gethostname().encode()).hexdigest()[:6]}-"
        self._folder = folder

    def new(self, purpose: str) -> tuple[str, Callable[[], None]]:
        """(a name, how its owner lets go of it)."""
        name = f"{self._hosts}{_plain(purpose)[:40]}-{uuid.uuid4().hex[:8]}"
        path = self._folder / f"{name}.owner"
        fd = try_lock(path)
        assert fd is not None, "nobody else knows this name"

        def release() -> None:
            path.unlink(missing_ok=True)
            os.close(fd)

        return name, release

    def is_left_over(self, machine: Machine, now: datetime) -> bool:
        """Never somebody else's; ours when it does not run, its owner on this host is gone, or it is another host's and too old."""
        if not machine.workspace_id.startswith(self._ours):
            return False
        if machine.status != "running":
            return True
        if machine.workspace_id.startswith(self._hosts):  # its owner is known better than the service's clock
            return not self._is_owned(machine.workspace_id)
        return _age(machine, now) > LONGEST_LIFE

    def _is_owned(self, name: str) -> bool:
        path = self._folder / f"{name}.owner"
        if not path.exists():
            return False
        if (fd := try_lock(path)) is None:
            return True
        path.unlink(missing_ok=True)
        os.close(fd)
        return False


def _age(machine: Machine, now: datetime) -> timedelta:
    """The service's clock says UTC and does not say so."""
    try:
        made = datetime.fromisoformat(machine.created_at)
    except ValueError:
        return timedelta(0)
    return now - (made if made.tzinfo else made.replace(tzinfo=UTC))


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "x"
