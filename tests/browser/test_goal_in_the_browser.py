"""A person's way in a real browser: come in, submit a goal, watch it live, read its diff and proof, cancel another."""

from __future__ import annotations

import re
from datetime import timedelta

from django.utils import timezone
from playwright.sync_api import expect

from orchestration import services
from orchestration.models import Goal
from tests.support.installation import EXAMPLE_GOAL, Installation
from tests.support.models import Gated
from tests.support.site import PASSWORD, PHONE, Site, axe, sticks_out
from tests.support.world import Texts, hostile_goal

LONG = 60_000  # ms, for a loaded machine


def held(installation: Installation, role: str) -> Gated:
    """A worker whose model keeps the answers of one role back until the test opens it."""
    gate = Gated(role)
    installation.worker(LLM_BASE_URL=installation.serve_model(gate).url)
    return gate


def test_a_goal_is_watched_live_from_queued_to_its_proof(site: Site) -> None:
    page = site.page
    site.come_in(page)
    site.submit_by_form(page, site.installation.example())
    why, status = page.locator("#why"), page.locator("#why .status")
    expect(why).to_contain_text("no worker serves the planning queue")
    expect(page.get_by_role("heading", name="No plan yet")).to_be_visible()
    page.evaluate("window.same = true")  # gone after a reload

    gate = held(site.installation, "executor")
    expect(page.locator("ol.steps li").first).to_be_visible(timeout=LONG)
    expect(status).to_have_text("Running", timeout=LONG)
    expect(why).to_contain_text(re.compile(r"Steps? .* runs? on "), timeout=LONG)
    expect(page.locator("svg a.node.s-running").first).to_be_visible(timeout=LONG)
    expect(page.locator("#proof-card")).to_contain_text("Red before")
    site.check(page, "goal-running")

    gate.open()
    expect(status).to_have_text("Succeeded", timeout=LONG)
    expect(page.locator("#proof-card")).to_contain_text("Verified", timeout=LONG)
    expect(page.locator("#proof-card")).to_contain_text("Green after")
    assert page.evaluate("window.same") is True, "all of it came without a reload"
    expect(page.locator("#lost")).to_be_hidden()
    site.check(page, "goal-done")

    page.get_by_role("link", name="Changes", exact=True).click()
    expect(page.locator("details.diff").first).to_be_visible()
    expect(page.locator("tr.add").first).to_be_visible()
    site.check(page, "goal-changes")
    assert site.is_clean()


def test_each_page_of_a_finished_goal_is_accessible_and_quiet(site: Site) -> None:
    page = site.page
    site.log_in(page)
    site.installation.worker()
    goal = site.installation.ended(site.submit(repo=site.installation.example()))
    assert goal.verified
    for tab in ("commands", "reviews", "events", "artifacts"):
        page.goto(f"/goals/{goal.pk}/{tab}/")
        expect(page.locator("nav.tabs [aria-current=page]")).to_contain_text(tab.capitalize())
        site.check(page, f"goal-{tab}")
    page.goto(f"/goals/{goal.pk}/")
    page.locator("ol.steps a").first.click()
    expect(page.get_by_role("heading", name="Transcript")).to_be_visible()
    expect(page.locator(".card.assistant").first).to_be_visible()
    expect(page.locator(".term").first).to_contain_text("exit")
    site.check(page, "step")
    page.get_by_role("link", name="Changes", exact=True).click()
    expect(page.locator("tr.add").first).to_be_visible()
    page.goto(f"/goals/{goal.pk}/")
    page.get_by_role("link", name="Planning").click()
    expect(page.locator("summary", has_text="Brief")).to_be_visible()
    site.check(page, "run-planning")
    page.evaluate("document.querySelector('main').append(new Image())")
    assert axe(page) != [], "axe finds what is wrong"
    assert site.is_clean()


def test_a_goal_is_cancelled_by_its_dialog_and_retried(site: Site) -> None:
    page = site.page
    site.log_in(page)
    goal = site.submit(repo=site.installation.example())
    page.goto(f"/goals/{goal.pk}/")
    gate = held(site.installation, "planner")
    assert gate.reached.wait(60)
    expect(page.locator("#why .status")).to_have_text("Planning", timeout=LONG)

    page.get_by_role("button", name="Pause").click()
    page.get_by_label("Reason").and_(page.locator("#pause-reason")).fill("lunch")
    site.check(page, "dialog-pause")
    page.get_by_role("button", name="Pause goal").click()
    expect(page.locator("#why")).to_contain_text("ana paused it: lunch")
    page.get_by_role("button", name="Resume").click()
    page.get_by_role("button", name="Resume goal").click()
    expect(page.locator("#why .status")).not_to_have_text("Paused")

    page.get_by_role("button", name="Cancel").click()
    page.locator("#cancel-reason").fill("not needed any more")
    page.get_by_role("button", name="Cancel goal").click()
    expect(page.locator("#why .status")).to_have_text("Cancelled", timeout=LONG)
    expect(page.locator("#why")).to_contain_text("ana cancelled it: not needed any more")
    gate.open()

    page.get_by_role("button", name="Retry").click()
    page.get_by_role("button", name="Retry goal").click()
    expect(page.get_by_text("This is a new goal")).to_be_visible()
    assert str(goal.pk) not in page.url
    assert site.is_clean()


def test_a_page_whose_stream_is_gone_says_so_and_goes_on_by_asking(site: Site) -> None:
    page = site.page
    site.log_in(page)
    goal = site.submit(text=EXAMPLE_GOAL)
    away = [True]
    page.route("**/stream/**", lambda route: route.abort() if away else route.continue_())
    page.goto(f"/goals/{goal.pk}/")
    expect(page.locator("#lost")).to_be_visible(timeout=LONG)
    site.check(page, "goal-lost")
    gate = held(site.installation, "planner")
    assert gate.reached.wait(60)
    expect(page.locator("#why .status")).to_have_text("Planning", timeout=LONG)
    away.clear()
    expect(page.locator("#lost")).to_be_hidden(timeout=LONG)
    gate.open()
    assert site.is_clean("ERR_FAILED", "fetch")


def test_the_acts_work_without_a_script(site: Site) -> None:
    page = site.open(java_script_enabled=False)
    site.log_in(page)
    goal = site.submit(text=EXAMPLE_GOAL)
    page.goto(f"/goals/{goal.pk}/")
    page.get_by_role("button", name="Cancel").click()
    page.locator("#cancel-reason").fill("no script here")
    page.get_by_role("button", name="Cancel goal").click()
    expect(page.locator("#why")).to_contain_text("ana cancelled it: no script here")
    assert site.is_clean()


def test_hostile_text_stays_text_in_a_real_browser(site: Site) -> None:
    page = site.page
    site.log_in(page)
    goal = hostile_goal(site.person, Texts())
    page.on("dialog", lambda dialog: site.troubles.append(f"dialog: {dialog.message}"))
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    for tab in ("", "commands/", "changes/", "reviews/", "events/", "artifacts/", "steps/1-1-0/", "steps/1-1-1/"):
        page.goto(f"/goals/{goal.pk}/{tab}")
        for fold in page.locator("details").all():
            fold.evaluate("fold => { fold.open = true }")
        assert sticks_out(page) <= 0, tab
        assert page.locator("img, iframe, main script").count() == 0, tab
    site.check(page, "hostile-step")
    assert site.is_clean()


def test_a_login_that_ran_out_leads_to_the_form_and_back(site: Site) -> None:
    page = site.page
    site.log_in(page)
    goal = site.submit(text=EXAMPLE_GOAL)
    page.goto(f"/goals/{goal.pk}/events/")
    page.context.clear_cookies()
    services.pause_goal(goal.pk, reason="something new to show")
    page.wait_for_url(f"**/login/?next=%2Fgoals%2F{goal.pk}%2Fevents%2F", timeout=LONG)
    page.get_by_label("User name").fill("ana")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.locator("ol.events")).to_contain_text("something new to show")
    assert site.is_clean("401")


def test_a_login_link_pressed_twice_over_a_slow_line_lets_its_user_in(site: Site) -> None:
    page = site.open()
    page.goto(services.login_link(site.person, base=site.web.url))
    line = page.context.new_cdp_session(page)
    slow = {"offline": False, "latency": 700, "downloadThroughput": -1, "uploadThroughput": -1}
    line.send("Network.emulateNetworkConditions", slow)
    button = page.get_by_role("button", name="Log in").bounding_box()
    assert button is not None
    for _ in range(2):  # by the mouse itself: a locator's click would wait for the first answer
        page.mouse.click(button["x"] + 5, button["y"] + 5)
        page.wait_for_timeout(200)
    page.wait_for_url("**/login/password/", timeout=LONG)
    assert site.is_clean()


def test_a_cancel_that_hangs_says_what_it_waits_for_and_offers_force_by_itself(site: Site) -> None:
    page = site.page
    site.log_in(page)
    goal = services.submit_goal("Write a note", by=site.person, origin="panel")
    assert services.pull(["planning"], "host:1:abcdef") is not None, "by a worker that nobody will hear of again"
    services.cancel_goal(goal.pk, by="ana", reason="enough")
    page.goto(f"/goals/{goal.pk}/")
    expect(page.get_by_role("heading", name="It ends when each of these is confirmed")).to_be_visible()
    site.check(page, "goal-cancelling")
    page.evaluate("window.same = true")
    Goal.objects.filter(pk=goal.pk).update(cancelled_at=timezone.now() - timedelta(seconds=11))
    page.locator("#act-force").click(timeout=LONG)
    dialog = page.get_by_role("dialog", name="End this goal by force?")
    expect(dialog).to_be_visible()
    page.wait_for_timeout(4000)
    expect(dialog).to_be_visible()  # a look of the page for news closes nothing
    assert page.evaluate("window.same"), "no reload was needed"
    dialog.get_by_label("Reason").fill("it hangs")
    dialog.get_by_role("button", name="Force the end").click()
    expect(page.locator("#why .status")).to_have_text("Cancelled", timeout=LONG)
    expect(page.get_by_text("not confirmed").first).to_be_visible()
    site.check(page, "goal-forced")
    assert site.is_clean()
