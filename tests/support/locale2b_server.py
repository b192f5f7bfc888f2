"""A locale2b service that keeps the contract with its traps, over real HTTP; its VMs are bubblewraps with a /workspace and /tmp.

One request at a time, since the real one blocks on each. `python -m tests.support.locale2b_server` serves until Ctrl-C.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from agents.sandbox.locale2b.options import from_environment
from agents.sandbox.locale2b.provider import Locale2bProvider
from agents.sandbox.locale2b.service import Patience
from tests.support.locale2b_rules import Asked, Refused, Say, name_of, refuse_path, uploaded
from tests.support.locale2b_vm import GUEST_USER, Machine

MOST_BODY = 10 * 1024 * 1024
__all__ = ["GUEST_USER", "Locale2bServer", "Say", "provider_for"]


class Locale2bServer(ThreadingHTTPServer):
    """`minute`: how long the rate limit's minute is; `half_a_minute`: what a VM that does not answer costs."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self,
        *,
        key: str = "",
        rate: int = 1_000_000,
        most: int = 20,
        memory_mb: int = 16384,
        minute: float = 60.0,
        half_a_minute: float = 0.5,
        port: int = 0,
    ) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.key, self.rate, self.most, self.memory_mb = key, rate, most, memory_mb
        self.minute, self.half_a_minute = minute, half_a_minute
        self.machines: dict[str, Machine] = {}
        self.asked: list[Asked] = []
        self.says: list[tuple[str, Say]] = []  # (call, what to say once)
        self.one_at_a_time = threading.Lock()
        self.counted: list[float] = []
        self._spawner = ThreadPoolExecutor(1)  # VMs die with the thread that made them, so that is one which stays
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def calls(self, call: str = "") -> list[Asked]:
        return [asked for asked in self.asked if call in ("", asked.call)]

    def once(self, call: str, *answers: Say) -> None:
        """The next calls of this kind are answered so."""
        self.says += [(call, answer) for answer in answers]

    def kill_vm(self, sandbox_id: str = "") -> None:
        """It stays "running", and nobody answers in it any more."""
        for machine in list(self.machines.values()):
            if sandbox_id in ("", machine.id):
                machine.die()

    def forget(self) -> None:
        """404 for all of them."""
        for machine in list(self.machines.values()):
            machine.remove()
        self.machines.clear()

    def restart(self) -> None:
        """All of them are "stopped", still count, and cost half a minute when they are talked to."""
        for machine in self.machines.values():
            machine.die()
            machine.status = "stopped"

    def stop(self) -> None:
        self.shutdown()
        self.server_close()
        self._thread.join()
        self.forget()
        self._spawner.shutdown()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that hang up are part of the tests."""

    # ---- what it does; each under the lock

    def create(self, body: Mapping[str, Any]) -> dict[str, Any]:
        memory, vcpus = body.get("memory_mb") or 512, body.get("vcpu_count") or 1
        used = sum(machine.memory_mb for machine in self.machines.values() if machine.status == "running")
        if used + memory > self.memory_mb:
            raise Refused(503, f"Insufficient memory: requested {memory} MB, available {self.memory_mb - used} MB")
        if len(self.machines) >= self.most:
            raise Refused(503, f"Maximum sandbox limit reached ({self.most})")
        if not 256 <= memory <= 2048 or not 1 <= vcpus <= 4:
            raise Refused(400, "memory_mb or vcpu_count out of range")
        if body.get("template", "default") != "default":
            raise Refused(500, f"Kernel not found: {body['template']}")
        machine = Machine(body, self._spawn)
        self.machines[machine.id] = machine
        return machine.told()

    def execute(self, machine: Machine, body: Mapping[str, Any]) -> dict[str, Any]:
        if "command" not in body:
            raise Refused(422, [{"loc": ["body", "command"], "msg": "Field required", "type": "missing"}])
        self._alive(machine)
        if len(body["command"]) > 128 * 1024:
            return {"success": False, "exit_code": -1, "stdout": "", "stderr": "", "error": "Argument list too long"}
        timeout = body.get("timeout_seconds", 300)
        return machine.ask(
            op="execute", command=body["command"], timeout=timeout, dir=body.get("working_dir", "/workspace")
        )

    def write(self, machine: Machine, path: str, data: bytes) -> int:
        refuse_path(path)
        self._alive(machine)
        return int(machine.ask(op="write", path=path, content=base64.b64encode(data).decode())["size"])

    def look(self, machine: Machine, op: str, path: str) -> dict[str, Any]:
        refuse_path(path)
        self._alive(machine)
        return machine.ask(op=op, path=path)

    def numbers(self) -> dict[str, Any]:
        used = sum(machine.memory_mb for machine in self.machines.values() if machine.status == "running")
        return {
            "active_sandboxes": len(self.machines),
            "max_sandboxes": self.most,
            "memory_used_mb": used,
            "memory_available_mb": self.memory_mb - used,
            "memory_budget_mb": self.memory_mb,
        }

    def admit(self, headers: Mapping[str, str], path: str) -> None:
        """Every request is counted twice. Without a key set, everybody may do everything."""
        now = time.monotonic()
        self.counted = [at for at in self.counted if at > now - self.minute]
        if len(self.counted) + 2 > self.rate:
            raise Refused(429, "Rate limit exceeded", {"Retry-After": str(int(self.minute - (now - self.counted[0])))})
        self.counted += [now, now]
        if self.key and path != "/health" and headers.get("x-api-key") != self.key:
            raise Refused(401, "Invalid or missing API key")

    def _alive(self, machine: Machine) -> None:
        if machine.status != "running":
            time.sleep(self.half_a_minute)
            raise Refused(500, "Failed to connect to guest agent: timed out")

    def _spawn(self, argv: list[str]) -> subprocess.Popen[str]:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        return self._spawner.submit(lambda: subprocess.Popen(argv, env={}, **pipes)).result()  # type: ignore[call-overload, no-any-return]


def provider_for(
    *servers: Locale2bServer, folder: Path, patience: Patience | None = None, **env: str
) -> Locale2bProvider:
    """Our client of these services. `folder`: for what its processes agree on, and for its scratch."""
    (folder / "scratch").mkdir(exist_ok=True)
    wanted = {
        "LOCALE2B_BASE_URL": ",".join(server.url for server in servers),
        "LOCALE2B_REQUESTS_PER_MINUTE": "100000",
        **env,
    }
    return Locale2bProvider(
        from_environment(wanted, "test"), folder / "scratch", folder=folder, patience=patience, user=GUEST_USER
    )


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Locale2bServer

    def do_GET(self) -> None:
        self._answer("GET")

    def do_POST(self) -> None:
        self._answer("POST")

    def do_DELETE(self) -> None:
        self._answer("DELETE")

    def _answer(self, method: str) -> None:
        length = int(self.headers.get("content-length", 0))
        body = self.rfile.read(length)
        headers = {name.lower(): value for name, value in self.headers.items()}
        url = urlsplit(self.path)
        parts = url.path.strip("/").split("/")
        call = name_of(method, parts)
        server = self.server
        server.asked.append(Asked(call, self.path, body, headers, time.monotonic()))
        with server.one_at_a_time:
            try:
                server.admit(headers, url.path)
                if length > MOST_BODY:
                    raise Refused(413, "Request body too large")
                planned = self._planned(call)
                if planned is None or planned.done:
                    said = Say(
                        200, self._do(call, parts, body, {k: v[0] for k, v in parse_qs(url.query).items()}, headers)
                    )
                said = said if planned is None else planned
            except Refused as refused:
                said = refused.said
        time.sleep(said.after)
        self._give(said)

    def _planned(self, call: str) -> Say | None:
        for at, (wanted, answer) in enumerate(self.server.says):
            if wanted in (call, "any"):
                del self.server.says[at]
                return answer
        return None

    def _do(
        self, call: str, parts: list[str], body: bytes, query: Mapping[str, str], headers: Mapping[str, str]
    ) -> Any:
        server = self.server
        if call == "health":
            return {"status": "healthy", "version": "0.3.0", **server.numbers()}
        if call == "capacity":
            return {**server.numbers(), "can_create_default": True, "default_memory_mb": 512, "default_vcpu_count": 1}
        if call == "list":
            return json.dumps([machine.told() for machine in server.machines.values()])
        if call == "create":
            return server.create(json.loads(body or b"{}"))
        machine = server.machines.get(parts[1]) if len(parts) > 1 else None
        if machine is None:
            raise Refused(404, f"Sandbox not found: {parts[-1]}")
        if call == "status":
            return machine.told()
        if call == "destroy":
            server.machines.pop(machine.id).remove()
            return {"status": "destroyed", "sandbox_id": machine.id}
        if call == "exec":
            return server.execute(machine, json.loads(body))
        if call == "write":
            asked = json.loads(body)
            data = base64.b64decode(asked["content"]) if asked.get("is_base64") else asked["content"].encode()
            server.write(machine, asked["path"], data)
            return {"status": "written", "path": asked["path"]}
        if call == "upload":
            data = uploaded(headers["content-type"], body)
            return {"status": "uploaded", "path": query["path"], "size": server.write(machine, query["path"], data)}
        if call in ("read", "list files"):
            return server.look(machine, call.split()[0], query.get("path", "/workspace"))
        raise Refused(404, "Not Found")

    def _give(self, said: Say) -> None:
        data = said.data
        self.send_response(said.status)
        for name, value in {"content-type": "application/json", **said.headers}.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        for piece in said.pieces:
            self.wfile.write(piece)
            time.sleep(said.trickles)
        self.close_connection = self.close_connection or said.cut

    def log_message(self, format: str, *args: Any) -> None:
        """Silent: `asked` is the log."""


def main() -> None:
    server = Locale2bServer(
        key=os.environ.get("LOCALE2B_API_KEY", ""), rate=100, half_a_minute=30.0, port=int(os.environ.get("PORT", "0"))
    )
    print(server.url, flush=True)  # noqa: T201
    try:
        server._thread.join()
    except KeyboardInterrupt:
        server.stop()


if __name__ == "__main__":
    main()
