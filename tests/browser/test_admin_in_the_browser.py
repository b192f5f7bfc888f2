"""The admin in a real browser: no script or style that the policy refuses, no missing file, and an action that tells what it did."""

from __future__ import annotations

from django.contrib.auth.models import User
from django_celery_beat.models import IntervalSchedule, PeriodicTask
from playwright.sync_api import expect

from tests.support.site import Site
from tests.support.world import Texts, hostile_goal


def test_the_admin_works_under_the_policy(site: Site) -> None:
    page = site.page
    User.objects.filter(pk=site.person.pk).update(is_staff=True, is_superuser=True)
    site.log_in(page)
    goal = hostile_goal(site.person, Texts())
    page.on("dialog", lambda dialog: site.troubles.append(f"dialog: {dialog.message}"))
    ticks = PeriodicTask.objects.create(
        name="sweep", task="sweep", interval=IntervalSchedule.objects.create(every=30, period="seconds")
    )
    for address in (
        "",
        "orchestration/call/",
        f"orchestration/goal/{goal.pk}/change/",
        "django_celery_results/taskresult/",
        f"django_celery_beat/periodictask/{ticks.pk}/change/",
        "django_celery_beat/crontabschedule/add/",
    ):
        page.goto(f"/admin/{address}")
        assert page.locator("#content").count() == 1, address
    page.goto("/admin/orchestration/goal/")
    page.locator("input.action-select").first.check()
    page.locator("select[name=action]").select_option("pause")
    page.get_by_label("Reason:").fill("lunch")
    page.get_by_role("button", name="Go").click()
    expect(page.locator(".messagelist")).to_contain_text(f"{goal.short_id}: is paused")
    assert site.is_clean()
