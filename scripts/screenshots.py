"""Pictures of the panel for README and docs: a whole installation of its own with the demo goal, and a browser. `make screenshots`

Everything it starts gets a free port, lives in a temporary folder and is stopped at the end. CHROMIUM=/path names another browser.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

BASE = Path(__file__).resolve().parent.parent
FOLDER = Path(tempfile.mkdtemp(prefix="compymac-pictures-", dir="/tmp"))
FOLDER.chmod(0o711)  # the sandboxes below it have a user of their own
sys.path.insert(0, str(BASE))
for name in ("CELERY_BROKER_URL", "REDIS_URL", "REPO_ROOTS", "VENICE_API_KEY", "LLM_API_KEY"):
    os.environ.pop(name, None)
os.environ |= {
    "DJANGO_SETTINGS_MODULE": "compymac_site.settings",
    "DATA_DIR": str(FOLDER / "data"),
    "DATABASE_URL": f"sqlite:///{FOLDER / 'data' / 'pictures.sqlite3'}",
    "WORKSPACES_DIR": str(FOLDER / "workspaces"),
    "SECRET_KEY": "only-for-pictures",
    "LLM_MODEL": "scripted-demo",
    "HOUSEKEEPER_SECONDS": "0.5",
    "WORKER_THREADS": "8",
    "PYTHONUNBUFFERED": "1",
}

import django  # noqa: E402

django.setup()

from django.contrib.auth.models import User  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.utils import timezone  # noqa: E402
from playwright.sync_api import Browser, sync_playwright  # noqa: E402

from agents.llm.demo_model import answer, role_in  # noqa: E402
from agents.llm.demo_server import serve  # noqa: E402
from orchestration import dispatch, services  # noqa: E402
from orchestration.children import WORKER, child  # noqa: E402
from orchestration.demo import CHECK  # noqa: E402
from orchestration.models import Goal, Installation  # noqa: E402
from orchestration.redis_server import RedisServer  # noqa: E402
from orchestration.services.repositories import register_repository  # noqa: E402

PICTURES = BASE / "docs" / "images"
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
WEB = (
    *(sys.executable, "-m", "uvicorn", "compymac_site.asgi:application", "--host", "127.0.0.1", "--port", "0"),
    *("--timeout-graceful-shutdown", "3"),
)
TEXT = (BASE / "examples" / "demo_goal.txt").read_text()
PASSWORD = os.urandom(8).hex()
HOLDING = threading.Event()  # from now on executors wait: a goal that runs for as long as the pictures take
VIEWS: dict[str, dict[str, Any]] = {
    "": {"viewport": {"width": 1280, "height": 860}, "color_scheme": "light"},
    "-dark": {"viewport": {"width": 1280, "height": 860}, "color_scheme": "dark"},
    "-phone": {"viewport": {"width": 375, "height": 780}, "color_scheme": "light", "device_scale_factor": 2},
}
# name of the picture, address ({done}, {running}: goals), which views
PAGES: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("overview", "/", ("", "-dark", "-phone")),
    ("goals", "/goals/", ("", "-phone")),
    ("new-goal", "/goals/new/?from={done}", ("",)),
    ("goal", "/goals/{done}/", ("", "-dark", "-phone")),
    ("goal-running", "/goals/{running}/", ("",)),
    ("changes", "/goals/{done}/changes/", ("",)),
    ("workers", "/workers/", ("",)),
)


def main() -> None:
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"  # Playwright's loop lives in this thread
    go_on = threading.Event()
    with ExitStack() as stack:
        stack.callback(lambda: subprocess.run(["rm", "-rf", str(FOLDER)], check=False))
        address = stack.enter_context(installation(go_on))
        stack.callback(go_on.set)
        goals = populate()
        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        stack.callback(browser.close)
        PICTURES.mkdir(parents=True, exist_ok=True)
        for suffix, view in VIEWS.items():
            picture(browser, address, view, suffix, goals)


@contextmanager
def installation(go_on: threading.Event) -> Iterator[str]:
    """Redis, model, worker and panel; the panel's address. Once HOLDING, the model keeps executors waiting until `go_on`."""

    def held(request: Mapping[str, Any]) -> dict[str, Any]:
        if HOLDING.is_set() and role_in(request["messages"]) == "executor":
            go_on.wait(600)
        return answer(request)

    with ExitStack() as stack:
        redis = stack.enter_context(RedisServer(FOLDER / "redis"))
        model = serve(answerer=held)
        threading.Thread(target=model.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        stack.callback(model.shutdown)
        env = {**os.environ, "REDIS_URL": redis.url, "CELERY_BROKER_URL": redis.url, "LLM_BASE_URL": model.url}
        call_command("migrate", verbosity=0)
        for name, argv, sign in (("worker", WORKER, " ready."), ("panel", WEB, "Uvicorn running on")):
            log = FOLDER / f"{name}.log"

            def ready(log: Path = log, sign: str = sign) -> bool:
                return sign in log.read_text(errors="replace")

            stack.enter_context(child(name, argv, ready, env=env, folder=BASE, log=log))
        found = re.search(r"Uvicorn running on (http://[\d.:]+)", (FOLDER / "panel.log").read_text())
        assert found
        yield found[1]


def populate() -> dict[str, str]:
    """A person, a repository, and goals in several states; the ids that PAGES speaks of."""
    dispatch.use(dispatch.publish_nothing)
    ana = User.objects.create_superuser("ana", password=PASSWORD)
    shop = FOLDER / "shop"
    author = ("-c", "user.name=Ana", "-c", "user.email=ana@localhost", "-c", "commit.gpgsign=false")
    subprocess.run(["cp", "-r", str(BASE / "examples" / "demo_repo"), str(shop)], check=True)
    for words in (("init", "-q", "-b", "main"), ("add", "-A"), (*author, "commit", "-q", "-m", "Two bugs")):
        subprocess.run(["git", *words], cwd=shop, check=True)
    wish: dict[str, Any] = {"repo": register_repository(shop), "by": ana, "origin": "panel", "checks": [CHECK]}
    Installation.objects.update(beat_ticked_at=timezone.now())
    services.add_schedule(name="Nightly tests", cron="30 2 * * *", text=TEXT, repo=wish["repo"], owner=ana)
    services.add_schedule(name="Triage new bug reports", cron="0 7 * * 1-5", text=TEXT, repo=wish["repo"], owner=ana)
    done = until_ended(services.submit_goal(TEXT, **wish))
    paused = services.submit_goal(f"Rename the loyalty tiers. {TEXT}", **wish)
    services.pause_goal(paused.pk, by="ana", reason="the names are not final")
    called_off = services.submit_goal(f"Rewrite it in one file. {TEXT}", **wish)
    services.cancel_goal(called_off.pk, by="ana", reason="nobody wants it any more")
    HOLDING.set()
    running = services.submit_goal(TEXT, **wish)
    until(
        lambda: Goal.objects.get(pk=running.pk).status == "running" and running.runs.filter(status="running").exists()
    )
    return {"done": str(done.pk), "running": str(running.pk)}


def until_ended(goal: Goal) -> Goal:
    until(lambda: Goal.objects.get(pk=goal.pk).is_terminal)
    return goal


def until(fact: Any, seconds: float = 180) -> None:
    ends = time.monotonic() + seconds
    while not fact():
        if time.monotonic() > ends:
            raise SystemExit(
                f"it takes too long; the end of the worker's log:\n{(FOLDER / 'worker.log').read_text()[-3000:]}"
            )
        time.sleep(0.2)


def picture(browser: Browser, address: str, view: dict[str, Any], suffix: str, goals: Mapping[str, str]) -> None:
    """Log in and take each page that is wanted in this view."""
    context = browser.new_context(**view, base_url=address, reduced_motion="reduce")
    page = context.new_page()
    page.on("console", lambda said: said.type == "error" and print(f"console: {said.text}", file=sys.stderr))  # noqa: T201
    page.goto("/login/")
    page.get_by_label("User name").fill("ana")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(f"{address}/")
    for name, path, suffixes in PAGES:
        if suffix not in suffixes:
            continue
        answer = page.goto(path.format(**goals))
        if answer is None or not answer.ok:
            print(f"left out: {name} ({answer and answer.status} at {path})", file=sys.stderr)  # noqa: T201
            continue
        page.wait_for_timeout(300)
        page.screenshot(path=PICTURES / f"{name}{suffix}.png")
        print(PICTURES / f"{name}{suffix}.png")  # noqa: T201
    context.close()


if __name__ == "__main__":
    main()
