"""What a test does with the panel: pages as a person has them, and what must hold on each of them."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import axe_playwright_python
from django.contrib.auth.models import User
from django.urls import NoReverseMatch, reverse
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request

from orchestration import services
from orchestration.models import Goal
from tests.support.installation import EXAMPLE_CHECK, EXAMPLE_GOAL, Installation
from tests.support.web import WebProcess

AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
TAGS = ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa"]
PASSWORD = "a long password"
DESK, PHONE = {"width": 1280, "height": 900}, {"width": 375, "height": 780}
PICTURES = os.environ.get("PICTURES", "")  # a folder: each page that is checked leaves its picture there


class Site:
    """`page` is logged in. `troubles` collects console errors and requests to other hosts; a test ends by `is_clean`."""

    def __init__(self, browser: Browser, installation: Installation, web: WebProcess, person: User) -> None:
        self.browser, self.installation, self.web, self.person = browser, installation, web, person
        self.troubles: list[str] = []
        self._contexts: list[BrowserContext] = []
        self.page = self.open()

    def open(self, **more: Any) -> Page:
        """A browser window of its own, without a login."""
        # what runs under the policy is ours; axe is put in by the test itself
        context = self.browser.new_context(viewport=DESK, reduced_motion="reduce", base_url=self.web.url, **more)
        self._contexts.append(context)
        page = context.new_page()
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.troubles.append(f"script: {error}"))
        page.on("request", self._see)
        return page

    def log_in(self, page: Page) -> None:
        """By the form."""
        page.goto("/login/")
        page.get_by_label("User name").fill(self.person.get_username())
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()
        page.wait_for_url(lambda url: "/login/" not in url)

    def come_in(self, page: Page) -> None:
        """As a newcomer does: by the one-time link that the command prints, then with a password of one's own."""
        if not known("login-link", "u", "t"):
            self.log_in(page)
            return
        link = self.installation.manage("login_link", self.person.get_username()).stdout.strip().splitlines()[-1]
        page.goto(urlsplit(link).path)
        self.check(page, "login-link")
        page.get_by_role("button", name="Log in").click()
        page.wait_for_url("**/login/password/")
        self.check(page, "set-password")
        for field in page.locator("input[type=password]").all():
            field.fill("correct horse battery staple")
        page.get_by_role("button", name="Set the password").click()
        page.wait_for_url(lambda url: "/login/" not in url)

    def submit_by_form(self, page: Page, repo: Path, text: str = EXAMPLE_GOAL, check: str = EXAMPLE_CHECK) -> Goal:
        """On the page for a new goal; the browser then shows the goal's own."""
        if not known("goal-new"):
            goal = self.submit(text, (check,), repo=repo)
            page.goto(f"/goals/{goal.pk}/")
            return goal
        page.goto("/goals/new/")
        self.check(page, "goal-new")
        page.get_by_label("What is to be achieved?").fill(text)
        page.locator("#path").fill(str(repo))
        page.get_by_label("Checks", exact=True).fill(check)
        page.get_by_role("button", name="Submit").click()
        page.wait_for_url(re.compile(r"/goals/[0-9a-f-]{36}/$"))
        return Goal.objects.get(pk=page.url.rstrip("/").rsplit("/", 1)[-1])

    def submit(self, text: str = EXAMPLE_GOAL, checks: tuple[str, ...] = (EXAMPLE_CHECK,), **more: Any) -> Goal:
        """A goal of this person's, by the service that the form calls too."""
        return services.submit_goal(text, checks=checks, allow_repo=True, by=self.person, origin="panel", **more)

    def check(self, page: Page, name: str) -> None:
        """axe finds nothing, light and dark, on a desk and on a phone, and nothing sticks out to the right."""
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
            for size, wide in (("desk", DESK), ("phone", PHONE)):
                page.set_viewport_size(wide)  # type: ignore[arg-type]
                if PICTURES:
                    page.screenshot(path=f"{PICTURES}/{name}-{scheme}-{size}.png", full_page=True)
                assert sticks_out(page) <= 0, f"{name}, {scheme}, {size}"
                assert axe(page) == [], f"{name}, {scheme}, {size}"
        page.set_viewport_size(DESK)  # type: ignore[arg-type]
        page.emulate_media(color_scheme="light", reduced_motion="reduce")

    def is_clean(self, *but: str) -> bool:
        """No trouble was heard, but for those with one of these words, which the test itself has caused."""
        heard = [trouble for trouble in self.troubles if not any(word in trouble for word in but)]
        assert heard == [], "\n".join(heard)
        return True

    def close(self) -> None:
        for context in self._contexts:
            context.close()

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.troubles.append(f"console: {message.text} ({message.location.get('url')})")

    def _see(self, request: Request) -> None:
        place = urlsplit(request.url)
        if place.scheme != "data" and f"{place.scheme}://{place.netloc}" != self.web.url:
            self.troubles.append(f"request to another host: {request.url[:200]}")


def known(name: str, *args: str) -> bool:
    """Does this panel have the page? (Pages come one by one; a test uses those that are there.)"""
    try:
        return bool(reverse(f"orchestration:{name}", args=args))
    except NoReverseMatch:
        return False


def sticks_out(page: Page) -> int:
    """By how many pixels the page is wider than its window."""
    return int(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


def axe(page: Page) -> list[str]:
    """The violations, one line each."""
    page.evaluate(AXE)
    found = page.evaluate("tags => axe.run(document, {runOnly: {type: 'tag', values: tags}})", TAGS)
    return [
        f"{violation['id']}: {node['html'][:200]} ({node.get('failureSummary', '')[:300]})"
        for violation in found["violations"]
        for node in violation["nodes"][:3]
    ]
