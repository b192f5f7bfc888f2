"""`make schema-test`: schemathesis over the whole API, on a real server with a seeded database.

No 5xx, no answer that docs/openapi.yaml does not describe, nothing open without a token. The seed and the number of examples are
fixed, so that a failure is the same tomorrow. Half of the ids are real ones.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.support.installation import BASE
from tests.support.web import WebProcess

SEED, EXAMPLES = 20261125, 12
EXCLUDED = (
    "positive_data_acceptance",  # what fits the schema may still be refused: a path that is no repository, a cron that is never due
    "use_after_free",  # DELETE of a schedule that another example has removed already
    "ensure_resource_availability",
)
LONGEST = 600  # seconds; it takes a tenth of that on two idle cores


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="compymac-fuzz-", dir="/tmp") as name, ExitStack() as stack:
        folder = Path(name)
        env = os.environ | {
            "DJANGO_SETTINGS_MODULE": "compymac_site.settings",
            "DATA_DIR": str(folder / "data"),
            "DATABASE_URL": f"sqlite:///{folder / 'data' / 'fuzz.sqlite3'}",
            "REDIS_URL": "redis://127.0.0.1:1/0",  # nobody answers there, as on a bad day
            "SECRET_KEY": "only-for-tests",
            "LOG_LEVEL": "ERROR",
        }
        run(env, sys.executable, "manage.py", "migrate", "--verbosity=0")
        seeded = json.loads(run(env, sys.executable, "-m", "tests.api.seeded", str(folder)))
        (folder / "schemathesis.toml").write_text(config(seeded["ids"]))
        server = WebProcess(env, folder, stack)
        code = subprocess.run(
            argv(folder, server.url, seeded["token"], sys.argv[1:]), cwd=BASE, env=env, timeout=LONGEST, check=False
        ).returncode
        if code:
            sys.stdout.write(server.text[-5000:])
        return code


def argv(folder: Path, url: str, token: str, more: list[str]) -> list[str]:
    return [
        *(str(Path(sys.executable).parent / "schemathesis"), "--config-file", str(folder / "schemathesis.toml")),
        *("run", "docs/openapi.yaml", "--url", url, "--header", f"Authorization: Bearer {token}"),
        *("--checks", "all", "--exclude-checks", ",".join(EXCLUDED)),
        *("--seed", str(SEED), "--generation-deterministic"),
        *("--max-examples", str(EXAMPLES), "--workers", "2", "--request-timeout", "60", "--no-color"),
        *("--suppress-health-check", "all", "--warnings", "off", "--max-failures", "30", *more),
    ]  # fmt: skip


def config(ids: dict[str, list[Any]]) -> str:
    """Real ids for the paths of each collection, and for `?goal=`."""
    lines = ["[cache]", "enabled = false"]  # what an earlier run found would make this one another
    for name, found in ids.items():
        lines += [f"[dictionaries.{name}]", f"values = {json.dumps(found)}"]
    for name in ids:
        lines += ["[[operations]]", f'include-path-regex = "^/api/v1/{name}/"']
        lines += ["[operations.parameters]", f'"path.id" = {{ dictionary = "{name}", probability = 0.5 }}']
    lines += ["[parameters]", '"query.goal" = { dictionary = "goals", probability = 0.5 }']
    return "\n".join(lines)


def run(env: dict[str, Any], *words: str) -> str:
    return subprocess.run(words, env=env, cwd=BASE, check=True, capture_output=True, text=True, timeout=120).stdout


if __name__ == "__main__":
    sys.exit(main())
