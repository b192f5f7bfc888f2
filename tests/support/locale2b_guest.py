"""The agent in a stand-in VM: a JSON line in, one out, with what the real one does wrong (kills the shell alone, wants UTF-8 …)."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from typing import Any

LARGEST = 10_000_000


def main() -> None:
    print("ready", flush=True)
    for line in sys.stdin:
        try:
            said = {"execute": execute, "write": write, "read": read, "list": listed}[json.loads(line)["op"]](
                json.loads(line)
            )
        except Exception as error:  # noqa: BLE001 - as the real one does it
            said = {"fault": f"{type(error).__name__}: {error}"}
        text = json.dumps(said)
        print(text if len(text) < LARGEST else json.dumps({"fault": "Response too large"}), flush=True)


def execute(asked: dict[str, Any]) -> dict[str, Any]:
    os.makedirs(asked["dir"], exist_ok=True)
    try:
        done = subprocess.run(
            asked["command"],
            shell=True,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=asked["timeout"],
            cwd=asked["dir"],
            check=False,
        )
    except subprocess.TimeoutExpired:
        return failed(f"Command timed out after {asked['timeout']} seconds")
    except (UnicodeDecodeError, OSError) as error:
        return failed(str(error))
    return {"success": True, "exit_code": done.returncode, "stdout": done.stdout, "stderr": done.stderr, "error": None}


def failed(error: str) -> dict[str, Any]:
    return {"success": False, "exit_code": -1, "stdout": "", "stderr": "", "error": error}


def write(asked: dict[str, Any]) -> dict[str, Any]:
    os.makedirs(os.path.dirname(asked["path"]) or "/", exist_ok=True)
    data = base64.b64decode(asked["content"])
    try:
        with open(asked["path"], "wb") as file:
            file.write(data)
    except OSError as error:
        return {"fault": str(error.strerror)}
    return {"size": len(data)}


def read(asked: dict[str, Any]) -> dict[str, Any]:
    """Follows links, as the real one."""
    path = asked["path"]
    if not os.path.exists(path):
        return {"success": False, "content": None, "error": f"File not found: {path}"}
    if not os.path.isfile(path):
        return {"success": False, "content": None, "error": f"Not a file: {path}"}
    with open(path, "rb") as file:
        return {"success": True, "content": base64.b64encode(file.read()).decode(), "error": None}


def listed(asked: dict[str, Any]) -> dict[str, Any]:
    """Broken links are missing, sizes are those behind a link."""
    path = asked["path"]
    if not os.path.isdir(path):
        return {"success": False, "entries": [], "error": f"Directory not found: {path}"}
    names = [name for name in os.listdir(path) if os.path.exists(os.path.join(path, name))]
    entries = [
        {"name": n, "is_dir": os.path.isdir(os.path.join(path, n)), "size": os.path.getsize(os.path.join(path, n))}
        for n in names
    ]
    return {"success": True, "entries": entries, "error": None}


if __name__ == "__main__":
    main()
