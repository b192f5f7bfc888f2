"""A browser before the whole installation: panel, worker, Redis and the scripted model, each a real process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.contrib.auth.models import User
from playwright.sync_api import Browser, sync_playwright

from orchestration import broker, dispatch
from tests.support.installation import Installation
from tests.support.people import join
from tests.support.site import PASSWORD, Site
from tests.support.web import WebProcess

os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "1")  # Playwright's loop lives in the test's own thread
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
# one process tree of its own, and nobody asked who was not named by the page
FLAGS = (
    *("--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-default-apps", "--disable-domain-reliability", "--no-first-run", "--disable-dev-shm-usage"),
    *("--disable-features=OptimizationHints,MediaRouter,Translate", "--metrics-recording-only", "--no-pings"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(item.path).parent == Path(__file__).parent:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    if not Path(CHROMIUM).exists():
        pytest.fail(f"there is no {CHROMIUM}: apt-get install chromium, or name one by CHROMIUM=")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def site(
    chromium: Browser, transactional_db: None, open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Site]:
    """Ana, logged in by her password, before a panel whose worker she can start."""
    monkeypatch.setattr(broker, "_known", None)
    monkeypatch.setattr(dispatch, "_publisher", dispatch.publish_nothing)
    with ExitStack() as stack:
        installation = Installation(open_folder, stack)
        installation.start_redis()
        installation.env |= {"REPO_ROOTS": str(open_folder), "SECRET_KEY": "only-for-tests"}
        web = WebProcess(installation.env, open_folder, stack)
        # as the panel's process checks it: the tests' own quick hasher is not in its settings
        person = User.objects.create(username="ana", password=PBKDF2PasswordHasher().encode(PASSWORD, "salt"))
        join(person)
        made = Site(chromium, installation, web, person)
        stack.callback(made.close)
        yield made
