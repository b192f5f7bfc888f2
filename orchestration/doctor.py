"""What is ready on this machine and what is not: each finding with what to do about it. Looks only; changes nothing."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

from agents.errors import AgentError
from agents.llm import registry as models
from agents.sandbox import registry as sandboxes
from agents.sandbox.locale2b import examination
from agents.sandbox.locale2b.options import Options, from_environment, warnings
from agents.sandbox.locale2b.provider import Locale2bProvider

from .broker import check_redis, where
from .errors import BrokerAway, BrokerRefused
from .readiness import LEAST_DISK, beat_is_heard
from .selectors.operations import START_A_WORKER, live_workers, unserved_queues, worker_lives_on
from .selectors.outages import outages

Status = Literal["ok", "warn", "fail"]
SET_REMOTE = (
    "Set LOCALE2B_BASE_URL and LOCALE2B_API_KEY (docs/sandboxes.md), or SANDBOX=auto without them for a local sandbox."
)


@dataclass(frozen=True, slots=True)
class Finding:
    """`remedy` is a command or a sentence; empty where nothing is to be done."""

    name: str
    status: Status
    detail: str
    remedy: str = ""


def examine() -> list[Finding]:
    """All that costs nothing; without a database only what needs none."""
    found = [_python(), _git(), _data_folder(), _disk(), *sandbox(), model_settings()]
    database = _database()
    found.append(database)
    if database.status == "ok":
        found += [_redis(), *_workers(), *_breakers()]
    return found


def alive(part: str) -> list[Finding]:
    """Is this machine's worker, or the installation's beat, still heard of? For health checks: quick, nothing else is looked at."""
    try:
        heard = worker_lives_on(socket.gethostname()) if part == "worker" else beat_is_heard()
    except DatabaseError as error:
        return [
            Finding(
                part, "fail", f"the database cannot be asked: {type(error).__name__}", "Is it running? DATABASE_URL"
            )
        ]
    if heard:
        return [Finding(part, "ok", "it is heard of")]
    return [Finding(part, "fail", "nothing was heard of it lately", "Look at its log, and start it again.")]


def sandbox() -> list[Finding]:
    """Which provider is used, after a look at it: the remote one where it is set, else a real trial of each local one."""
    if sandboxes.is_remote(settings.SANDBOX, settings.SANDBOX_ENVIRONMENT):
        return list(_remote_glance())
    return _local_sandbox()


def remote_sandbox(*, rate: bool = False) -> Iterator[Finding]:
    """The configured services, tried step by step in a VM each."""
    try:
        provider, options = _remote()
    except AgentError as error:
        yield Finding("settings", "fail", str(error), SET_REMOTE)
        return
    for finding in examination.examine(provider, options, rate=rate):
        yield Finding(**asdict(finding))


def _remote() -> tuple[Locale2bProvider, Options]:
    options = from_environment(settings.SANDBOX_ENVIRONMENT, "check")
    scratch = sandboxes.prepare_root(settings.WORKSPACES_DIR) / "scratch"
    return Locale2bProvider(options, scratch), options


def _remote_glance() -> Iterator[Finding]:
    try:
        provider, options = _remote()
    except AgentError as error:
        yield Finding("sandbox", "fail", str(error), SET_REMOTE)
        return
    for sentence in warnings(options):
        yield Finding("sandbox locale2b", "warn", sentence)
    seen = [examination.glance(service) for service in provider.services]
    yield from (Finding(**asdict(finding)) for finding in seen)
    answering = sum(finding.status == "ok" for finding in seen)
    detail = f"locale2b is used, {answering} of {len(seen)} services answer ({', '.join(provider.layers)})"
    yield Finding(
        "sandbox", "ok" if answering else "fail", detail, "See the remedies above; runs wait until one answers."
    )


def _local_sandbox() -> list[Finding]:
    probes = [sandboxes.probe(name, settings.WORKSPACES_DIR) for name in sandboxes.KNOWN]
    wanted = settings.SANDBOX
    usable = [probe.name for probe in probes if probe.ok and wanted in ("auto", probe.name)]
    findings = []
    for probe in probes:
        if probe.ok:
            findings.append(Finding(f"sandbox {probe.name}", "ok", f"a trial ran ({', '.join(probe.layers)})"))
        else:
            status: Status = "warn" if usable else "fail"
            findings.append(Finding(f"sandbox {probe.name}", status, probe.cause, probe.remedy))
    if usable:
        instead = (
            "" if usable[0] == next(iter(sandboxes.KNOWN)) else " (the second provider: it has no loopback network)"
        )
        return [*findings, Finding("sandbox", "ok", f"{usable[0]} is used{instead}")]
    if wanted not in ("auto", *sandboxes.KNOWN):
        known = f"Set SANDBOX to auto, {' or '.join(sandboxes.KNOWN)}."
        return [*findings, Finding("sandbox", "fail", f"SANDBOX={wanted} is not known", known)]
    why = f"SANDBOX={wanted} cannot start" if wanted != "auto" else "none can start; nothing runs without one"
    return [*findings, Finding("sandbox", "fail", why, "See the remedies above.")]


def llm() -> list[Finding]:
    """Ask the configured model: is it found, does it know JSON and tool calls, how long does it take?"""
    probe = models.probe(settings.LLM_ENVIRONMENT)
    if probe.problem:
        return [Finding("model", "fail", probe.problem, "Set LLM_BASE_URL, LLM_MODEL and LLM_API_KEY, then try again.")]
    found = [Finding("model", "ok", f"{probe.model} answered in {probe.seconds:.1f} s")]
    if not probe.json_mode:
        found.append(Finding("model: JSON", "warn", "it did not answer with JSON alone", "Fenced blocks are used."))
    else:
        found.append(Finding("model: JSON", "ok", "it answers with JSON"))
    if probe.tool_calls:
        return [*found, Finding("model: tools", "ok", "it calls tools")]
    return [
        *found,
        Finding("model: tools", "warn", "it does not call tools", "Set LLM_TOOL_CALLS=0: actions are fenced."),
    ]


def _python() -> Finding:
    return Finding("python", "ok", f"{sys.version.split()[0]} at {sys.executable}")


def _git() -> Finding:
    found = shutil.which("git")
    return Finding("git", "ok", found) if found else Finding("git", "fail", "not on PATH", "apt-get install git")


def _data_folder() -> Finding:
    folder = Path(settings.DATA_DIR)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return Finding("data folder", "fail", f"{folder}: {error.strerror}", "Set DATA_DIR to a folder of yours.")
    if not os.access(folder, os.W_OK):
        return Finding("data folder", "fail", f"{folder} cannot be written", "Set DATA_DIR to a folder of yours.")
    return Finding("data folder", "ok", str(folder))


def _disk() -> Finding:
    free = shutil.disk_usage(
        next(p for p in (Path(settings.DATA_DIR), *Path(settings.DATA_DIR).parents) if p.exists())
    ).free
    shown = f"{free / 1024**3:.1f} GiB free"
    if free < LEAST_DISK:
        return Finding("disk", "warn", shown, "Free some space, or set DATA_DIR to a larger disk.")
    return Finding("disk", "ok", shown)


def model_settings() -> Finding:
    env = settings.LLM_ENVIRONMENT
    if not env["LLM_BASE_URL"] and not env["VENICE_API_KEY"]:
        return Finding("model settings", "warn", "no model is set", models.HOW)
    if not env["LLM_MODEL"]:
        return Finding(
            "model settings", "warn", "LLM_MODEL is empty", "Set it to a name that the server lists at /models."
        )
    return Finding("model settings", "ok", f"{env['LLM_MODEL']} (`doctor --llm` asks it)")


def _database() -> Finding:
    kind = connection.vendor
    try:
        executor = MigrationExecutor(connection)
        missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except DatabaseError as error:
        return Finding("database", "fail", f"{kind}: {str(error).splitlines()[0]}", "Is it running? DATABASE_URL")
    if missing:
        return Finding("database", "fail", f"{kind}: {len(missing)} migration(s) are missing", "manage.py migrate")
    return Finding("database", "ok", kind)


def _redis() -> Finding:
    url = settings.CELERY_BROKER_URL
    try:
        check_redis(url)
    except BrokerAway as error:
        return Finding(
            "redis", "warn", f"{error}; queued goals are worked from the database", "redis-server, or set REDIS_URL"
        )
    except BrokerRefused as error:
        return Finding("redis", "fail", str(error))
    return Finding("redis", "ok", where(url))


def _workers() -> Iterator[Finding]:
    alive = live_workers()
    if not alive:
        yield Finding("workers", "warn", "none is running", f"manage.py up, or only a worker: {START_A_WORKER}")
        return
    used = ", ".join(sorted({worker.sandbox for worker in alive}))
    yield Finding(
        "workers", "ok", f"{len(alive)} with {sum(worker.threads for worker in alive)} threads, sandbox {used}"
    )
    for state in unserved_queues(alive):
        waits = f"; {state.waiting} run(s) wait, the oldest {state.oldest_seconds:.0f} s" if state.waiting else ""
        yield Finding(f"queue {state.queue}", "warn", f"no worker serves it{waits}", state.command)


def _breakers() -> Iterator[Finding]:
    for outage in outages():
        row = outage.breaker
        detail = f"{row} is away since {row.opened_at:%Y-%m-%d %H:%M:%S} UTC: {row.last_error}"
        yield Finding("breaker", "warn", detail, f"It is tried by itself; at once: manage.py breakers --close '{row}'")
