"""The database itself goes away for a moment: what is paid for is kept, and the work goes on without a person."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from tests.support.installation import EXAMPLE_CHECK, EXAMPLE_GOAL, Installation, until
from tests.support.models import Gated
from tests.support.postgres import PostgresServer


@pytest.mark.long
def test_postgresql_is_restarted_while_a_step_waits_for_the_model(installation: Installation) -> None:
    gate = Gated("executor", after=1)
    installation.model = installation.serve_model(gate)
    with PostgresServer() as server:
        installation.env |= {"DATABASE_URL": server.url, "LLM_BASE_URL": installation.model.url}
        installation.manage("migrate", "--verbosity=0")
        worker = installation.worker()
        repo = installation.example()
        installation.manage("goal", "submit", EXAMPLE_GOAL, "--repo", str(repo), "--check", EXAMPLE_CHECK)
        assert gate.reached.wait(30), installation.logs()
        server.stop()
        server.start()
        gate.open()

        def told() -> dict[str, object]:
            return json.loads(installation.manage("goal", "show", "last", "--json").stdout)  # type: ignore[no-any-return]

        assert until(lambda: told()["status"] == "succeeded", 60), f"{told()}{installation.logs()}"
        assert told()["verified"] is True
        assert worker.stop() == 0
    asked = Counter(entry["prompt"] for entry in installation.model.calls)
    assert max(asked.values()) <= 2, "at most the call in flight of a lost run is repeated"
