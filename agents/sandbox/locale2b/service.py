"""One locale2b service: each of its calls as a method, under its rate limit, with every answer checked and every refusal mapped."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

from ...errors import AgentError, Cancelled, SandboxBusy, SandboxLost, Transient
from .answers import Capacity, ContractError, Destroyed, FileRead, Health, Machine, Ran, Uploaded, detail_of, understood
from .ledger import FAILURE, LOSS, Ledger
from .meaning import INSIDE, Call, refusal
from .options import Options
from .transport import Address, Answer, NoAnswer, Transport

QUICK_AGAIN = 2  # more tries after a broken connection, where asking twice does nothing twice
TICK = 0.25

T = TypeVar("T")


class Patience:
    """Seconds, one each for what can take long. Whoever shortens them (a test) shortens all by the same factor."""

    def __init__(self, scale: float = 1.0) -> None:
        self.health = 20.0 * scale  # longer than the longest slice of somebody's command, which blocks it
        self.create = 60.0 * scale
        self.transfer = 60.0 * scale
        self.destroy = 25.0 * scale
        self.more_than_command = 15.0 * scale
        self.turned_away = 120.0 * scale  # by 429, in the midst of a sandbox's life
        self.own_limit = 900.0 * scale  # our own limiter is slow, and fails nobody
        self.again = 0.3 * scale


def never() -> bool:
    return False


class Service:
    """Safe for any thread. A call asks `given_up` while it waits, and then raises Cancelled; `waits`: for how long it does at most."""

    def __init__(self, address: Address, options: Options, ledger: Ledger, patience: Patience | None = None) -> None:
        self.name = address.name
        self.ledger = ledger
        self.patience = patience or Patience()
        self._options = options
        self._transport = Transport(address, options.headers)

    # ---- its calls

    def health(self) -> Health:
        return understood(Health, self._ask("health", "GET", "/health", self.patience.health), self.name)

    def capacity(self) -> Capacity:
        return understood(Capacity, self._ask("capacity", "GET", "/capacity", self.patience.health), self.name)

    def machines(self) -> list[Machine]:
        return understood(
            list[Machine], self._ask("list", "GET", "/sandboxes", self.patience.health, waits=10.0), self.name
        )

    def machine(self, sandbox_id: str, given_up: Callable[[], bool] = never) -> Machine:
        answer = self._ask("status", "GET", f"/sandboxes/{sandbox_id}", self.patience.health, given_up=given_up)
        return understood(Machine, answer, self.name)

    def create(self, label: str, memory_mb: int) -> Machine:
        """Asked once only. Turned away is at once an error (another service may have room); no answer may mean an orphan."""
        body = {
            "template": self._options.template,
            "memory_mb": memory_mb,
            "vcpu_count": self._options.vcpus,
            "workspace_id": label,
        }
        answer = self._ask("create", "POST", "/sandboxes", self.patience.create, body=body, tries=1, waits=0.0)
        return understood(Machine, answer, self.name)

    def destroy(self, sandbox_id: str) -> None:
        """Gone already is as good. Uses the requests that are kept for this."""
        try:
            answer = self._ask(
                "destroy", "DELETE", f"/sandboxes/{sandbox_id}", self.patience.destroy, urgent=True, waits=10.0
            )
        except SandboxLost:
            return
        understood(Destroyed, answer, self.name)

    def execute(
        self,
        sandbox_id: str,
        command: str,
        seconds: float,
        given_up: Callable[[], bool] = never,
        waits: float | None = None,
    ) -> Ran:
        """Asked again after a broken connection: what we send does nothing twice (see `guest`)."""
        body = {"command": command, "timeout_seconds": int(seconds) + 1, "working_dir": "/workspace"}
        patience = seconds + self.patience.more_than_command
        url = f"/sandboxes/{sandbox_id}/exec"
        answer = self._ask("exec", "POST", url, patience, body=body, given_up=given_up, waits=waits)
        return understood(Ran, answer, self.name)

    def upload(self, sandbox_id: str, path: str, data: bytes, given_up: Callable[[], bool] = never) -> None:
        file, query = (path.rsplit("/", 1)[-1], data), {"path": path}
        url = f"/sandboxes/{sandbox_id}/files/upload"
        answer = self._ask("upload", "POST", url, self.patience.transfer, file=file, query=query, given_up=given_up)
        got = understood(Uploaded, answer, self.name)
        if got.size != len(data):
            raise ContractError(f"the sandbox service {self.name} took {got.size} of {len(data)} bytes (size)")

    def download(self, sandbox_id: str, path: str, given_up: Callable[[], bool] = never) -> bytes:
        url, query = f"/sandboxes/{sandbox_id}/files/read", {"path": path}
        answer = self._ask("read", "GET", url, self.patience.transfer, query=query, given_up=given_up)
        got = understood(FileRead, answer, self.name)
        if not got.success:
            raise SandboxLost(f"a part that was just made is not in the sandbox at {self.name}: {got.error}")
        try:
            return got.data()
        except ValueError:
            raise ContractError(
                f"the sandbox service {self.name} does not keep the contract: content: not base64"
            ) from None

    # ---- asking

    def _ask(
        self,
        call: Call,
        method: str,
        path: str,
        patience: float,
        *,
        urgent: bool = False,
        tries: int = 1 + QUICK_AGAIN,
        waits: float | None = None,
        given_up: Callable[[], bool] = never,
        **content: Any,
    ) -> Answer:
        """One call to its answer: waits where the limiter or the service says so, tries again where a connection broke."""
        begun, longest = time.monotonic(), self.patience.turned_away if waits is None else waits
        limiter = begun + (self.patience.own_limit if waits is None else waits)
        while True:
            self._pass_limiter(limiter, urgent, given_up)
            tries -= 1
            try:
                answer = self._transport.send(method, path, patience=patience, **content)
            except NoAnswer as error:
                self.ledger.went(FAILURE)
                if tries <= 0 or error.silent or given_up():
                    raise self._silence(error, call) from None
                time.sleep(self.patience.again)
                continue
            problem = self._problem(call, answer)
            if problem is None:
                return answer
            if not isinstance(problem, SandboxBusy) or time.monotonic() - begun >= longest:
                raise problem
            self._wait(problem.retry_after or 1.0, given_up)

    def _problem(self, call: Call, answer: Answer) -> AgentError | None:
        """What an answer that is none means; the breaker is told: being busy or refusing is no trouble, not working is."""
        if answer.status == 200:
            if call in INSIDE:  # only a VM that answers proves that the service does its work
                self.ledger.went(0)
            return None
        problem = refusal(call, answer.status, detail_of(answer), answer.headers.get("retry-after"), self.name)
        if isinstance(problem, SandboxLost) and call != "destroy":
            self.ledger.went(LOSS)
        elif type(problem) is Transient:
            self.ledger.went(FAILURE)
        return problem

    def _pass_limiter(self, until: float, urgent: bool, given_up: Callable[[], bool]) -> None:
        while (wait := self.ledger.admit(urgent)) > 0:
            if time.monotonic() >= until:
                raise SandboxBusy(
                    f"the requests of this minute to the sandbox service {self.name} are used", retry_after=wait
                )
            self._wait(min(wait, 5.0), given_up)

    def _wait(self, seconds: float, given_up: Callable[[], bool]) -> None:
        ends = time.monotonic() + seconds
        while (left := ends - time.monotonic()) > 0:
            if given_up():
                raise Cancelled("the sandbox was closed while it waited for its service")
            time.sleep(min(left, TICK))

    def _silence(self, error: NoAnswer, call: Call) -> Transient:
        text = f"the sandbox service {self.name} does not answer ({call}: {error}); is it running? (manage.py check_sandbox)"
        return SandboxUnsure(text) if error.arrived else Unreachable(text)


class Unreachable(Transient):
    """Nothing was sent: nobody is there."""


class SandboxUnsure(Transient):
    """Sent and not answered: it may have happened."""


def quietly(destroy: Callable[[str], None], sandbox_id: str) -> bool:
    """Best effort; what stays is found by its name later."""
    try:
        destroy(sandbox_id)
    except AgentError:
        return False
    return True
