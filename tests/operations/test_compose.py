"""docker-compose.yml: what it promises is in it, and its services as processes finish a goal together."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from orchestration.listening import listen
from orchestration.redis_server import RedisServer
from orchestration.states import Queue
from tests.support.compose import FILE, Service, raw, services
from tests.support.installation import BASE, EXAMPLE_CHECK, EXAMPLE_GOAL, until
from tests.support.postgres import PostgresServer

GIVEN = {"SECRET_KEY": "a-key-for-this-test-that-nobody-else-has", "POSTGRES_PASSWORD": "pw"}
OURS = ["migrate", "web", "worker-planning", "worker-execution", "worker-review", "worker-default", "beat", "flower"]
WORKERS = [f"worker-{queue}" for queue in Queue.values]
ALL = services(GIVEN)


def test_the_services_are_those_that_the_documents_name() -> None:
    assert set(ALL) == {"redis", "postgres", *OURS}
    assert "version" not in raw()
    assert ALL["flower"]["profiles"] == ["flower"]
    assert [name for name in ALL if "profiles" in ALL[name]] == ["flower"]


@pytest.mark.parametrize("missing", list(GIVEN))
def test_without_its_keys_it_does_not_start_and_says_how_to_make_them(missing: str) -> None:
    with pytest.raises(KeyError, match="make env"):
        services({name: value for name, value in GIVEN.items() if name != missing})


@pytest.mark.parametrize("name", list(ALL))
def test_each_service_has_a_health_check_and_is_reached_from_this_machine_only(name: str) -> None:
    service = ALL[name]
    assert ("healthcheck" in service) == (name != "migrate"), "a one-shot has none"
    assert service["restart"] == ("no" if name == "migrate" else "unless-stopped")
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


@pytest.mark.parametrize("name", OURS)
def test_ours_share_one_environment_wait_for_the_tables_and_may_do_little(name: str) -> None:
    service = ALL[name]
    assert service["environment"].items() >= ALL["web"]["environment"].items()
    waits = service["depends_on"]
    if name == "migrate":
        assert waits == {"postgres": {"condition": "service_healthy"}}
    else:
        assert waits["migrate"] == {"condition": "service_completed_successfully"}
    assert (service["read_only"], service["cap_drop"], service["init"]) == (True, ["ALL"], True)


def test_every_setting_of_model_and_sandbox_reaches_the_containers_and_is_harmless_when_it_is_not_set() -> None:
    """`.env` is not in the image: what the file does not name would be ignored without a word."""
    names = {*settings.LLM_ENVIRONMENT, *settings.SANDBOX_ENVIRONMENT}
    told = ALL["worker-execution"]["environment"]
    assert {name: told.get(name) for name in names} == dict.fromkeys(names, "")
    assert (told.get("SANDBOX"), told.get("LLM_TOOL_CALLS")) == ("auto", "1")


def test_each_queue_has_a_worker_and_each_worker_time_to_stop() -> None:
    served = [ALL[name]["command"][-1] for name in WORKERS]
    assert served == Queue.values
    assert all(ALL[name]["stop_grace_period"] == "45s" for name in WORKERS)


def test_redis_keeps_what_it_is_told_and_evicts_nothing() -> None:
    assert ALL["redis"]["command"][1:] == ["--appendonly", "yes", "--maxmemory-policy", "noeviction"]


def test_no_two_services_share_a_data_folder() -> None:
    folders = [v for name in OURS for v in ALL[name].get("volumes", []) if v.split(":")[-1] == "/data" and ":" in v]
    assert len(folders) == len(set(folders)) == 5


def test_no_secret_is_written_in_the_file_or_in_the_image() -> None:
    for file in (FILE, BASE / "Dockerfile"):
        told = re.findall(r"(\w*(?:KEY|PASSWORD|TOKEN)\w*)(?::\s+|=)(\S+)", file.read_text())
        assert [(name, value) for name, value in told if not value.startswith("${")] == []
    ignored = (BASE / ".dockerignore").read_text().splitlines()
    assert "*" in ignored
    assert not [line for line in ignored if "env" in line and line.startswith("!")]


def test_the_image_is_not_rooted_and_holds_what_is_imported() -> None:
    stages = re.split(r"^FROM .* AS (\w+)$", (BASE / "Dockerfile").read_text(), flags=re.M)
    named = dict(zip(stages[1::2], stages[2::2], strict=True))
    assert all("\nUSER compymac" in named[target] for target in ("panel", "flower"))
    let_in = {line[1:] for line in (BASE / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = set(re.findall(r"^COPY (\S+)", (BASE / "Dockerfile").read_text(), re.M))
    assert copied == let_in
    assert all((BASE / path).exists() for path in copied)


def test_compose_itself_accepts_the_file() -> None:
    """Where there is a Compose (no engine is needed for it); the other tests read the file by themselves."""
    plugin = ["docker", "compose"]
    has = bool(shutil.which("docker")) and not subprocess.run([*plugin, "version"], capture_output=True).returncode
    command = plugin if has else [shutil.which("docker-compose") or ""]
    if command == [""]:
        pytest.skip("no Compose on this machine")
    argv = [*command, "--file", str(FILE), "config", "--quiet"]
    done = subprocess.run(argv, env={"PATH": "/usr/bin:/bin", **GIVEN}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# ---- as processes


class Cluster:
    """Everything that `docker compose up` starts: the two servers by tests.support, ours by their own commands."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder, self._stack = folder, stack
        self.postgres = stack.enter_context(PostgresServer())
        self.redis = stack.enter_context(RedisServer(folder / "redis"))
        self.model = folder / "model.url"
        self.running: dict[str, Service] = {}
        self.here = {
            f"postgres://compymac:{GIVEN['POSTGRES_PASSWORD']}@postgres:5432/compymac": self.postgres.url,
            "redis://redis:6379/0": self.redis.url,
            "/repos": str(folder / "repos"),
            "0.0.0.0": "127.0.0.1",
            "8000": str(self._port()),
            "5555": str(self._port()),
        }

    def service(self, name: str, **given: str) -> Service:
        return Service(name, services(GIVEN | given)[name], self.here, self.folder)

    def start(self, name: str, **given: str) -> Service:
        service = self.running[name] = self.service(name, **given).start()
        self._stack.callback(service.stop)
        return service

    def healthy(self, name: str) -> bool:
        """By the health check of the file, as often as Compose would ask."""
        service = self.running[name]
        assert service.process is not None
        assert service.process.poll() is None, f"{name} has ended:\n{service.text[-3000:]}"
        return service.run(service.check, 60).returncode == 0

    def logs(self) -> str:
        return "".join(f"\n--- {name}\n{service.text[-2000:]}" for name, service in self.running.items())

    def _port(self) -> int:
        with listen("127.0.0.1", 0) as free:
            return int(free.getsockname()[1])


@pytest.fixture
def cluster(open_folder: Path) -> Iterator[Cluster]:
    with ExitStack() as stack:
        yield Cluster(open_folder, stack)


def ready(url: str) -> tuple[int, dict[str, Any]]:
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=30) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


@pytest.mark.services
@pytest.mark.long
@pytest.mark.timeout(420)
def test_the_services_finish_a_goal_together_and_share_no_folder(cluster: Cluster, installation_model: str) -> None:
    model = {"LLM_BASE_URL": installation_model, "LLM_MODEL": "scripted-demo"}
    done = cluster.service("migrate").run()
    assert done.returncode == 0, done.stderr
    for name in ["web", *WORKERS, "beat", "flower"]:
        cluster.start(name, **model)
    for name in cluster.running:
        assert until(lambda name=name: cluster.healthy(name), 90), cluster.logs()

    repo = cluster.folder / "repos" / "shop"
    shutil.copytree(BASE / "examples" / "demo_repo", repo)
    author = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    for words in (("init", "-q", "-b", "main"), ("add", "-A"), (*author, "commit", "-q", "-m", "two bugs")):
        subprocess.run(["git", *words], cwd=repo, check=True)
    web = cluster.running["web"]
    submit = ["python", "manage.py", "goal", "submit", EXAMPLE_GOAL, "--repo", str(repo), "--check", EXAMPLE_CHECK]
    said = web.run([*submit, "--watch", "--timeout", "100"])
    assert said.returncode == 0, said.stdout + said.stderr + cluster.logs()
    assert "succeeded, verified" in said.stdout

    told = json.loads(web.run(["python", "manage.py", "goal", "show", "last", "--json"]).stdout)
    by = {
        kind: {run["worker"].split(":")[1] for roll in told["rollouts"] for run in roll["runs"] if run["kind"] == kind}
        for kind in ("plan", "step", "review")
    }
    pids = {name: {str(cluster.running[name].process.pid)} for name in WORKERS}  # type: ignore[union-attr]
    assert by == {"plan": pids["worker-planning"], "step": pids["worker-execution"], "review": pids["worker-review"]}
    branch = subprocess.run(["git", "branch", "--list", "compymac/*"], cwd=repo, capture_output=True, text=True)
    assert "compymac/" in branch.stdout

    address = f"http://127.0.0.1:{cluster.here['8000']}"
    assert ready(address)[1]["status"] == "ok"
    with urllib.request.urlopen(f"http://127.0.0.1:{cluster.here['5555']}/api/workers?refresh=1", timeout=60) as listed:
        assert len(json.loads(listed.read())) >= 1
    cluster.redis.stop()
    status, found = ready(address)
    assert (status, found["status"], found["redis"]["status"]) == (200, "degraded", "down")
    cluster.postgres.stop()
    assert ready(address)[0] == 503
    with urllib.request.urlopen(f"{address}/healthz", timeout=30) as alive:
        assert alive.status == 200
    cluster.postgres.start()
    assert until(lambda: ready(address)[0] == 200, 60)
    codes = {name: cluster.running[name].stop() for name in WORKERS}
    assert set(codes.values()) == {0}, codes
