"""PURE parts of the stand-in for a locale2b service: what is said, which call a request is, which paths it refuses."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

CLOSED_FOLDERS = {"etc", "proc", "sys", "dev", "root"}


@dataclass(frozen=True)
class Say:
    """An answer instead of the true one. `cut`: half of the body, then the connection ends; `after`: seconds; `done`: but do it;
    `trickles`: seconds after each byte."""

    status: int = 200
    body: bytes | str | Mapping[str, Any] = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: bool = False
    after: float = 0.0
    done: bool = False
    trickles: float = 0.0

    @property
    def data(self) -> bytes:
        body = self.body
        return body if isinstance(body, bytes) else (body if isinstance(body, str) else json.dumps(body)).encode()

    @property
    def pieces(self) -> list[bytes]:
        """As it is written."""
        data = self.data[: len(self.data) // 2] if self.cut else self.data
        return [bytes([byte]) for byte in data] if self.trickles else [data]


@dataclass(frozen=True)
class Asked:
    call: str
    path: str
    body: bytes
    headers: Mapping[str, str]
    at: float


class Refused(Exception):
    def __init__(self, status: int, detail: Any, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.said = Say(status, {"detail": detail}, headers or {})


def name_of(method: str, parts: list[str]) -> str:
    match (method, parts):
        case ("GET", ["health" | "capacity"]):
            return parts[0]
        case ("GET" | "POST", ["sandboxes"]):
            return "list" if method == "GET" else "create"
        case ("GET" | "DELETE", ["sandboxes", _]):
            return "status" if method == "GET" else "destroy"
        case (_, ["sandboxes", _, "exec"]):
            return "exec"
        case (_, ["sandboxes", _, "files", name]):
            return "list files" if name == "list" else name
    return "unknown"


def refuse_path(path: str) -> None:
    """The real one's rules, with what they refuse by mistake."""
    *folders, _ = path.split("/")
    closed = CLOSED_FOLDERS & set(folders)
    home = "home" in folders and folders[folders.index("home") + 1 :][:1] != ["workspace"]
    outside = path.startswith("/") and not path.startswith(("/workspace", "/tmp"))
    if "\0" in path or ".." in path or closed or home or outside:
        raise Refused(400, f"Invalid path: {path}")


def uploaded(kind: str, body: bytes) -> bytes:
    """The file of a multipart body."""
    boundary = b"--" + kind.split("boundary=")[1].strip('"').encode()
    part = body.split(boundary)[1]
    return part.partition(b"\r\n\r\n")[2][:-2]
