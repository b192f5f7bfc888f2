"""The pages of schedules in a real browser: nothing is wider than the screen, axe finds nothing, the console is silent."""

from __future__ import annotations

from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.contrib.auth.models import User
from django.test import Client
from playwright.sync_api import sync_playwright

from orchestration import dispatch, services
from orchestration.models import RecurringGoal

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
CHROMIUM = "/usr/bin/chromium"
LONG = "long" * 29
FIT = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
DANGLING = """[...document.querySelectorAll("[aria-describedby]")].flatMap(field =>
    field.getAttribute("aria-describedby").split(" ").filter(id => id && !document.getElementById(id)))"""


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One that ran, one that is paused, one in trouble, each with words that no line can hold; the list and the forms."""
    monkeypatch.setattr(dispatch, "_publisher", dispatch.publish_nothing)
    boss = User.objects.create_superuser("boss")
    more: dict[str, Any] = {"cron": "30 2 * * *", "text": "w" * 400, "owner": boss, "checks": ["x" * 200]}
    ran, paused, broken = (services.add_schedule(name=f"{name}{LONG}", **more) for name in ("a", "b", "c"))
    services.run_now(ran.pk, by="boss")
    services.pause_schedule(paused.pk, by="boss", reason="r" * 300)
    RecurringGoal.objects.filter(pk=broken.pk).update(trouble=f"there is no folder '/{LONG}'")
    ones = [f"/schedules/{row.pk}/" for row in (ran, paused, broken)]
    return ["/schedules/", *ones, f"{ones[0]}change/", "/schedules/new/"]


@pytest.mark.parametrize(("scheme", "width"), [("light", 375), ("dark", 1280)])
def test_the_pages_fit_are_accessible_and_break_no_policy(
    live_server: Any, pages: list[str], scheme: Any, width: int
) -> None:
    client, wrong = Client(), []
    client.force_login(User.objects.get(username="boss"))
    session = {"name": "sessionid", "value": client.cookies["sessionid"].value, "url": live_server.url}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(color_scheme=scheme, viewport={"width": width, "height": 800})
        page.context.add_cookies([session])  # type: ignore[list-item]
        page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
        for url in pages:
            page.goto(live_server.url + url)
            wrong += [f"{url}: {found['id']}" for found in Axe().run(page).response["violations"]]
            wrong += [] if page.evaluate(FIT) else [f"{url}: wider than the screen"]
        page.goto(f"{live_server.url}/admin/django_celery_beat/periodictask/add/")
        assert wrong == []
        page.goto(f"{live_server.url}/schedules/new/")
        page.locator("form.form").evaluate("form => form.noValidate = true")
        page.get_by_role("button", name="Schedule it").click()
        assert page.locator(".error").count() >= 3
        assert page.evaluate(DANGLING) == []
        browser.close()
