"""The lists and forms in a real browser: a goal from the form, pages that refresh themselves, colours, and no JavaScript at all."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.utils import timezone
from playwright.sync_api import Page, expect

from agents.contracts import PlanDraft, StepOutcome
from agents.contracts import Question as Asked
from orchestration import services
from orchestration.models import ApiToken, Approval, Goal, Membership, Question, Worker
from orchestration.services.repositories import register_repository
from tests.support.installation import EXAMPLE_CHECK, EXAMPLE_GOAL
from tests.support.people import join
from tests.support.site import PHONE, Site

LONG = 60_000  # ms, for a loaded machine
REFRESH = 30_000  # ms: a page asks every 5 s


def test_a_goal_from_the_form_appears_in_the_lists_by_itself(site: Site) -> None:
    page = site.page
    register_repository(site.installation.example())
    site.log_in(page)
    expect(page.get_by_role("heading", name="First steps")).to_be_visible()
    expect(page.get_by_text("No goals yet")).to_be_visible()
    site.check(page, "overview-fresh")
    page.goto("/goals/")
    site.check(page, "goals-nothing-yet")

    second = page.context.new_page()
    second.goto("/")
    page.get_by_role("link", name="New goal").first.click()
    page.get_by_label("What is to be achieved?").fill(EXAMPLE_GOAL)
    page.get_by_role("textbox", name="Checks", exact=True).fill(EXAMPLE_CHECK)
    page.get_by_text("Limits, attempts and review").click()
    page.get_by_label("Model calls").fill("100")
    site.check(page, "goal-new")
    page.get_by_role("button", name="Submit the goal").dblclick()
    page.wait_for_url("**/goals/*-*/")
    goal = Goal.objects.get()
    assert (goal.origin, goal.submitted_by, goal.budget.max_calls) == ("panel", site.person, 100)

    row = second.locator("section[aria-labelledby=now]")
    expect(row).to_contain_text("No worker serves the planning queue", timeout=REFRESH)
    expect(second.get_by_role("heading", name="No worker serves the queue planning")).to_be_visible()
    site.installation.worker()
    expect(second.locator("section[aria-labelledby=day]")).to_contain_text("1 goal ended", timeout=LONG)
    site.check(second, "overview")
    assert site.is_clean()


def test_every_list_is_accessible_in_both_colours_and_on_a_phone(site: Site) -> None:
    page = site.page
    populate(site)
    join(site.person, "admin", "shop")  # in several teams, lists and forms name them
    held = Membership.objects.get(user=site.person, team__name="shop")
    approval = ask_people(site.person)
    site.log_in(page)
    for name, address in (
        ("overview-full", "/"),
        ("goals", "/goals/"),
        ("goals-no-match", "/goals/?q=nothing&status=failed&since=2020-01-01"),
        ("goals-bad-address", "/goals/?page_size=1000000000&status=garbage"),
        ("workers", "/workers/"),
        ("repositories", "/repositories/"),
        ("costs", "/costs/"),
        ("providers", "/providers/"),
        ("approvals", "/approvals/"),
        ("approval", f"/approvals/{approval.pk}/"),
        ("questions", "/questions/"),
        ("tokens", "/tokens/"),
        ("goal-new-empty", "/goals/new/"),
        ("teams", "/teams/"),
        ("team", f"/teams/{held.team_id}/"),
    ):
        page.goto(address)
        site.check(page, name)
    assert site.is_clean()


def test_a_form_that_said_no_is_accessible_and_keeps_what_was_typed(site: Site) -> None:
    page = site.page
    site.log_in(page)
    page.goto("/goals/new/")
    page.get_by_label("What is to be achieved?").fill("Sell \x1b[31mmore")
    page.get_by_role("button", name="Submit the goal").click()
    expect(page.get_by_role("alert")).to_contain_text("control character")
    expect(page.get_by_label("What is to be achieved?")).to_have_value("Sell \x1b[31mmore")
    site.check(page, "goal-new-refused")
    # the browser itself reports the answer's status, 422, on its console: that is how the form said no
    assert [trouble for trouble in site.troubles if "422" not in trouble] == []


def test_filters_are_in_the_address_and_lead_back(site: Site) -> None:
    page = site.page
    populate(site)
    site.log_in(page)
    page.goto("/goals/")
    page.locator("a.chip", has_text="Failed").click()
    expect(page).to_have_url(f"{site.web.url}/goals/?status=failed")
    page.get_by_label("Search goals").fill("nothing like it")
    page.get_by_role("button", name="Filter").click()
    expect(page.get_by_role("heading", name="No goal matches")).to_be_visible()
    assert "status=failed" in page.url
    page.get_by_role("link", name="Clear filters").click()
    expect(page).to_have_url(f"{site.web.url}/goals/")
    page.go_back()
    expect(page.get_by_role("heading", name="No goal matches")).to_be_visible()
    assert site.is_clean()


def test_a_token_is_made_copied_and_revoked(site: Site) -> None:
    page = site.page
    page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=site.web.url)
    site.log_in(page)
    page.goto("/tokens/")
    page.get_by_label("Which program uses it?").fill("nightly report")
    page.get_by_role("button", name="Make a token").click()
    secret = page.locator("code.secret")
    expect(secret).to_be_visible()
    site.check(page, "token-shown")
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == secret.inner_text()
    page.get_by_role("button", name="Revoke nightly report").click()
    expect(page.get_by_role("status")).to_contain_text("opens nothing any more")
    assert ApiToken.objects.get().revoked_at is not None
    assert site.is_clean()


def test_the_colours_stay_without_a_flash_and_the_menu_opens_on_a_phone(site: Site) -> None:
    page = site.page
    site.log_in(page)
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    page.get_by_role("button", name="Menu").click()
    page.get_by_role("button", name="Dark").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    assert "13, 15" in background(page) or background(page).startswith("rgb(16")
    page.goto("/goals/")
    page.set_viewport_size({"width": 320, "height": 700})
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    assert site.is_clean()


def test_everything_works_without_javascript(site: Site) -> None:
    page = site.open(java_script_enabled=False)
    site.log_in(page)
    page.goto("/goals/new/")
    page.get_by_label("What is to be achieved?").fill("Sell more")
    page.get_by_role("button", name="Submit the goal").click()
    page.wait_for_url("**/goals/*-*/")
    page.goto("/goals/?q=sell")
    expect(page.locator("td.what a")).to_have_text("Sell more")
    page.get_by_role("button", name="Dark").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    expect(page).to_have_url(f"{site.web.url}/goals/?q=sell")
    assert site.is_clean()


def test_a_page_whose_panel_is_gone_says_so_and_comes_back(site: Site) -> None:
    page = site.page
    site.log_in(page)
    page.goto("/goals/")
    lost = page.locator("#lost")
    expect(lost).to_be_hidden()
    page.context.set_offline(True)
    expect(lost).to_be_visible(timeout=LONG)
    page.context.set_offline(False)
    expect(lost).to_be_hidden(timeout=LONG)


def background(page: Page) -> str:
    return str(page.evaluate("getComputedStyle(document.documentElement).backgroundColor"))


def ask_people(person: User) -> Approval:
    """A plan that waits for approval, and a step's question."""
    plan = PlanDraft.model_validate(
        {"summary": "by hand", "steps": [{"index": 0, "description": "Paint the <b>shop</b>"}]}
    )
    for policy in ("never", "always"):
        goal = services.submit_goal("Sell more", by=person, team="default", approval={"policy": policy})
        run = services.claim(goal.runs.get().pk, "w")
        assert run is not None
        services.record_base(run, services.Base("0" * 40, None, []))
        services.record_plan(run, plan)
        if step := goal.runs.filter(kind="step").first():
            claimed = services.claim(step.pk, "w")
            assert claimed is not None
            asked = Asked(text="Red or green?", choices=["red", "green"], default="red")
            services.record_question(claimed, StepOutcome(success=False, stopped="asks", question=asked))
    assert Question.objects.exists()
    return Approval.objects.get()


def populate(site: Site) -> None:
    """Goals in most states, a worker that lives and one that fell silent, a schedule, a token."""
    person: User = site.person
    repo = register_repository(site.installation.example())
    states: list[dict[str, Any]] = [
        {"status": "running"},
        {"status": "paused", "reason": "the goal reached its limit of tokens"},
        {"status": "succeeded", "verified": True},
        {"status": "succeeded"},
        {"status": "failed", "reason": "the glossary check fails"},
        {"status": "cancelled", "reason": "nobody wants it"},
        {"stuck": "Traceback"},
    ]
    now = timezone.now()
    for columns in states:
        goal = services.submit_goal("Reject expired coupons at checkout " * 3, repo=repo, by=person, origin="panel")
        ended = columns.get("status") in ("succeeded", "failed", "cancelled")
        Goal.objects.filter(pk=goal.pk).update(**columns, started_at=now, ended_at=now if ended else None)
    Worker.objects.create(id="build-1:1:abcdef", queues=["execution"], threads=8, started_at=now, seen_at=now)
    silent = now - timedelta(minutes=9)
    Worker.objects.create(id="build-2:1:abcdef", queues=["review"], threads=8, started_at=silent, seen_at=silent)
    for name in ("Nightly tests", "x" * 120):  # a name without a place to break at
        services.add_schedule(name=name, cron="30 2 * * *", text="Sell more", owner=person)
