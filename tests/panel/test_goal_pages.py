"""The pages of a goal: who sees them, that no text in them can do harm, what they cost, what a person can do there."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from datetime import timedelta
from html.parser import HTMLParser
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.http import HttpResponse
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from orchestration import services
from orchestration.blobs import save_blob
from orchestration.models import Budget, Call, Check, Event, Goal, Plan, Review, Rollout, Run, Step, Worker
from orchestration.states import RunStatus
from tests.support.people import member, outsider
from tests.support.world import EVIL, Texts, hostile_goal

pytestmark = pytest.mark.django_db
TABS = ("detail", "commands", "changes", "reviews", "events", "artifacts", "handover")
LYING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def pages(goal: Goal) -> list[str]:
    """The address of each page that shows something of a goal."""
    tabs = [reverse(f"orchestration:goal-{tab}", args=[goal.pk]) for tab in TABS]
    rollout = goal.rollouts.first()
    steps = [
        reverse("orchestration:step-detail", args=(goal.pk, s.rollout.number, s.plan.revision, s.index))
        for s in Step.objects.filter(rollout=rollout).select_related("plan", "rollout")
    ]
    runs = [reverse("orchestration:run-detail", args=(goal.pk, r.pk)) for r in Run.objects.filter(goal=goal, step=None)]
    return [*tabs, *steps, *(f"{step}?show=changes" for step in steps), *runs]


class Reader(HTMLParser):
    """What a browser would make of a page: tags, attributes, text."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.text += data


def harm_in(html: str) -> list[str]:
    """Everything in a page that a text could have put there."""
    found = [f"the character {sign!r}" for sign in LYING.findall(html)]
    live = {"stream", "live"}
    for tag, attributes in Reader(html).tags:
        names = " ".join(attributes)
        if tag in {"img", "iframe", "object", "embed", "base", "style", "marquee"}:
            found.append(f"<{tag}>")
        if tag == "script" and not attributes.get("src", "").startswith("/static/"):
            found.append("<script>")
        if re.search(r"(^| )(on\w+|style)( |$)", names):
            found.append(f"{tag}: {names}")
        if "hx-" in names and tag != "body" and attributes.get("id") not in live:
            found.append(f"{tag}: {names}")
        address = attributes.get("href", attributes.get("action", "/"))
        if not re.match(r"/(?!/)|\?|#", address):
            found.append(f"{tag} → {address}")
    return found


def test_a_stranger_is_sent_to_the_login_and_another_user_finds_nothing(client: Client, ana: User) -> None:
    goal = hostile_goal(ana, Texts())
    addresses = [*pages(goal), *(reverse(f"orchestration:goal-{name}", args=[goal.pk]) for name in ("json", "stream"))]
    addresses += [
        reverse("orchestration:goal-artifact", args=[goal.pk, goal.artifacts.get().pk]),
        reverse("orchestration:goal-output", args=[goal.pk, Call.objects.filter(kind="command").first().pk]),
    ]
    for address in addresses:
        assert client.get(address).status_code in {302, 401}, address
    client.force_login(outsider("mallory"))
    for address in addresses:
        assert client.get(address).status_code == 404, address
    for verb in ("cancel", "pause", "resume", "retry"):
        answer = client.post(reverse("orchestration:goal-act", args=[goal.pk, verb]), {"reason": "mine now"})
        assert answer.status_code == 404
    goal.refresh_from_db()
    assert (goal.status, goal.cancelled_at) == ("running", None)


def test_a_superuser_sees_every_goal(client: Client, ana: User) -> None:
    goal = hostile_goal(ana, Texts())
    client.force_login(User.objects.create_superuser("boss"))
    assert [address for address in pages(goal) if client.get(address).status_code != 200] == []


def test_no_text_does_harm_on_any_page_and_each_is_shown_somewhere(page: Client, ana: User) -> None:
    texts = Texts()
    goal = hostile_goal(ana, texts)
    shown = ""
    for address in pages(goal):
        answer = page.get(address)
        html = answer.content.decode()
        assert answer.status_code == 200
        assert harm_in(html) == [], address
        shown += html
    never = {name for name, word in texts.words.items() if word not in shown}
    assert never == {"summary 1"}, "(a summary is shown when its step is done)"


def test_the_search_for_harm_finds_it() -> None:
    tries = (
        EVIL,
        "<p style='x'>",
        "<b onclick=x>",
        '<a href="javascript:x">',
        '<a href="//evil">',
        '<p hx-get="/x">',
        "\u202e",
    )
    assert [text for text in tries if not harm_in(text)] == []


def test_the_json_of_a_goal_is_json_and_no_page(page: Client, ana: User) -> None:
    goal = hostile_goal(ana, Texts())
    answer = page.get(reverse("orchestration:goal-json", args=[goal.pk]))
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.json()["text"] == goal.text


@pytest.mark.parametrize("name", ["goal-artifact", "goal-output"])
def test_a_download_is_an_attachment_in_a_sandbox_and_never_sniffed(page: Client, ana: User, name: str) -> None:
    goal = hostile_goal(ana, Texts())
    what = goal.artifacts.get().pk if name == "goal-artifact" else Call.objects.filter(kind="command").first().pk
    answer = page.get(reverse(f"orchestration:{name}", args=[goal.pk, what]))
    assert answer.status_code == 200
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert answer.headers["Content-Security-Policy"] == "sandbox"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_the_handover_packet_is_a_file_of_its_own(page: Client, ana: User) -> None:
    goal = hostile_goal(ana, Texts())
    address = reverse("orchestration:goal-handover-file", args=[goal.pk])
    answer = page.get(address)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/markdown; charset=utf-8")
    assert answer.headers["Content-Disposition"].startswith("attachment;")
    text = answer.content.decode()
    assert "## Open questions" in text
    assert not LYING.search(text)
    page.logout()
    assert page.get(address).status_code == 302


def test_an_artifact_of_another_goal_and_one_of_nothing_are_not_found(page: Client, ana: User) -> None:
    goal, other = services.submit_goal("a", by=ana), services.submit_goal("b", by=outsider("mallory"))
    foreign = save_blob("patch", b"secret", goal=other)
    for pk in (foreign.pk, "patch-nothing", "a" * 300, "\0", "a\0b"):
        assert page.get(reverse("orchestration:goal-artifact", args=[goal.pk, pk])).status_code == 404
        assert page.get(reverse("orchestration:goal-artifact", args=[other.pk, pk])).status_code == 404


@pytest.mark.parametrize(
    "address",
    [
        "/goals/{goal}/?rollout=9", "/goals/{goal}/?rollout=x", "/goals/{goal}/?revision=7", "/goals/{goal}/?node=-1",
        "/goals/{goal}/commands/?after=99999999999999999999", "/goals/{goal}/events/?before=%00", "/goals/{none}/",
        "/goals/{goal}/steps/1-1-9/", "/goals/{goal}/steps/1-1-99999999999999999999/", "/goals/{goal}/steps/1-1-0/?attempt=5",
        "/goals/{goal}/runs/{none}/", "/goals/{goal}/calls/99999999999999999999/output", "/goals/{goal}/act/explode/",
    ],
)  # fmt: skip
def test_addresses_that_lead_nowhere_are_404(page: Client, ana: User, address: str) -> None:
    goal = hostile_goal(ana, Texts())
    url = address.format(goal=goal.pk, none=uuid.uuid4())
    answer = page.post(url) if "/act/" in url else page.get(url)
    assert answer.status_code == 404


def test_the_fragment_is_the_page_without_its_shell(page: Client, ana: User) -> None:
    goal = services.submit_goal("Say hello", by=ana)
    address = reverse("orchestration:goal-detail", args=[goal.pk])
    whole = page.get(address)
    part = page.get(address, headers={"HX-Request": "true", "HX-Request-Type": "partial"})
    assert part.content.decode().strip() in whole.content.decode().replace("\r", "")
    assert b"<html" not in part.content
    assert "HX-Request-Type" in part.headers["Vary"]
    back = page.get(address, headers={"HX-Request": "true", "HX-History-Restore-Request": "true"})
    assert b"<html" in back.content


def test_htmx_and_its_extension_come_in_one_file(page: Client, ana: User) -> None:
    """In two, htmx may start before the second has arrived, and then nobody opens the stream (seen on a loaded machine)."""
    goal = services.submit_goal("Say hello", by=ana)
    html = page.get(reverse("orchestration:goal-detail", args=[goal.pk])).content.decode()
    scripts = [a["src"] for tag, a in Reader(html).tags if tag == "script" and "htmx" in a["src"]]
    assert scripts == ["/static/django_htmx/htmax-4.min.js"]
    assert '"extensions": "sse"' in html, "of the others that are in it, none is wanted"


def test_a_goal_that_is_over_has_no_stream(page: Client, ana: User) -> None:
    goal = services.submit_goal("Say hello", by=ana)
    address = reverse("orchestration:goal-detail", args=[goal.pk])
    assert b"hx-sse:connect" in page.get(address).content
    services.cancel_goal(goal.pk)
    assert b"hx-sse:connect" not in page.get(address).content
    assert b"hx-get" not in page.get(address).content


def test_a_goal_says_whether_a_worker_serves_its_queue(page: Client, ana: User) -> None:
    goal = services.submit_goal("Say hello", by=ana)
    address = reverse("orchestration:goal-detail", args=[goal.pk])
    assert "no worker serves the planning queue. Start one: manage.py worker --queues planning" in said(
        page.get(address)
    )
    old = Worker.objects.create(
        id="a:1:0", queues=["planning"], started_at=timezone.now(), seen_at=timezone.now() - timedelta(minutes=5)
    )
    assert "no worker serves the planning queue" in said(page.get(address)), "it is silent for five minutes"
    Worker.objects.filter(pk=old.pk).update(seen_at=timezone.now())
    assert "The planner waits for a free worker, since" in said(page.get(address))


def test_a_run_that_broke_is_named_with_its_remedy_and_the_retry_with_its_wait(page: Client, ana: User) -> None:
    goal = services.submit_goal("Say hello", by=ana)
    run = services.claim(Run.objects.get(goal=goal).pk, "build-1:7:abc")
    assert run is not None
    Worker.objects.create(id="build-1:7:abc", queues=["planning"], started_at=timezone.now(), seen_at=timezone.now())
    assert "The planner works on build-1:7 since" in said(
        page.get(reverse("orchestration:goal-detail", args=[goal.pk]))
    )
    services.record_failure(run, RunStatus.ERRORED, "transient", "503 from the model", retry_after=300)
    shown = said(page.get(reverse("orchestration:goal-detail", args=[goal.pk])))
    assert re.search(r"The planner broke \(transient\) and is tried again in (300|29\d) s, as attempt 2", shown)
    assert "503 from the model" in shown
    whole = said(page.get(reverse("orchestration:run-detail", args=[goal.pk, run.pk])))
    assert "What helps: It is tried again by itself" in whole


# ---- what a page costs


def many(ana: User, steps: int) -> Goal:
    """A goal that grew: so many steps, each with runs, commands, checks, reviews, events and artifacts."""
    goal = services.submit_goal("grow", by=ana, rollouts=2)
    rollout = goal.rollouts.get(number=1)
    plan = Plan.objects.create(rollout=rollout, revision=1, sha256="c" * 64)
    Worker.objects.create(id=f"w{steps}:1:a", queues=["planning"], started_at=goal.created_at, seen_at=goal.created_at)
    for index in range(steps):
        after = [index - 1] if index else []
        step = Step.objects.create(plan=plan, rollout=rollout, index=index, description="do", dependencies=after)
        facts = {"goal": goal, "rollout": rollout, "kind": "step", "queue": "execution", "step": step}
        Run.objects.create(**facts, status="failed", error="no", error_kind="work", ended_at=goal.created_at)
        run = Run.objects.create(**facts, status="running", lease_until=goal.created_at, started_at=goal.created_at)
        for place in range(3):
            Call.objects.create(
                run=run, turn=1, index=place, kind="command", fence=1, request_hash="x", request={"script": "ls"}
            )
        Check.objects.create(
            goal=goal, rollout=rollout, run=run, phase="final", origin="person", command=f"c{index}", passed=True
        )
        Review.objects.create(rollout=rollout, plan=plan, action="continue", reasoning="r")
        Event.objects.create(goal=goal, seq=100 + index, kind="run.status")
        save_blob("output", f"{index}".encode(), goal=goal)
    return goal


def queries(page: Client, address: str) -> int:
    with CaptureQueriesContext(connection) as asked:
        assert page.get(address).status_code == 200
    blobs = [q["sql"] for q in asked if '"orchestration_artifact"."data"' in q["sql"].split(" FROM ")[0]]
    assert blobs == [], "no page reads bytes that it does not show"
    return len(asked)


@pytest.mark.parametrize("tab", TABS)
def test_a_tab_asks_as_many_questions_for_2_steps_as_for_30(page: Client, ana: User, tab: str) -> None:
    few, lots = (reverse(f"orchestration:goal-{tab}", args=[many(ana, n).pk]) for n in (2, 30))
    assert queries(page, few) == queries(page, lots) <= (39 if tab == "handover" else 27)


def test_a_step_page_asks_as_many_questions_for_2_steps_as_for_30(page: Client, ana: User) -> None:
    few, lots = (reverse("orchestration:step-detail", args=(many(ana, n).pk, 1, 1, 1)) for n in (2, 30))
    assert queries(page, few) == queries(page, lots) <= 25


def test_the_changes_read_the_patch_and_nothing_else(page: Client, ana: User) -> None:
    goal = hostile_goal(ana, Texts())
    save_blob("bundle", b"x" * 100, goal=goal)
    with CaptureQueriesContext(connection) as asked:
        page.get(reverse("orchestration:goal-changes", args=[goal.pk]))
    read = [q["sql"] for q in asked if '"orchestration_artifact"."data"' in q["sql"].split(" FROM ")[0]]
    assert len(read) == 1


# ---- what a person can do


def said(answer: HttpResponse) -> str:
    return " ".join(Reader(answer.content.decode()).text.split())


@pytest.fixture
def act(page: Client) -> Callable[..., HttpResponse]:
    def do(goal: Goal, verb: str, **form: Any) -> HttpResponse:
        sent = {"key": uuid.uuid4().hex} | form
        return page.post(reverse("orchestration:goal-act", args=[goal.pk, verb]), sent, follow=True)

    return do


Act = Callable[..., HttpResponse]


def test_pause_resume_cancel_and_retry_say_what_happened(ana: User, act: Act) -> None:
    goal = services.submit_goal("Say hello", by=ana)
    assert "The goal is paused" in said(act(goal, "pause", reason="lunch"))
    assert "The goal goes on" in said(act(goal, "resume"))
    shown = said(act(goal, "cancel", reason="not needed"))
    assert "Cancel is asked" in shown
    assert "ana cancelled it: not needed" in shown
    answer = act(goal, "retry")
    again = Goal.objects.get(retry_of=goal)
    assert answer.request["PATH_INFO"] == reverse("orchestration:goal-detail", args=[again.pk])
    assert again.submitted_by == ana, "who retries a goal sees the new one"


def test_a_retry_that_is_sent_twice_is_one_goal_and_one_of_a_new_page_another(
    page: Client, ana: User, act: Act
) -> None:
    goal = services.submit_goal("Say hello", by=ana)
    services.cancel_goal(goal.pk)
    address = reverse("orchestration:goal-detail", args=[goal.pk])

    def key() -> str:
        tags = Reader(page.get(address).content.decode()).tags
        return next(a["value"] for tag, a in tags if tag == "input" and a.get("name") == "key")

    drawn = key()
    first, again = act(goal, "retry", key=drawn), act(goal, "retry", key=drawn)
    assert first.request["PATH_INFO"] == again.request["PATH_INFO"] != address
    assert Goal.objects.filter(retry_of=goal).count() == 1
    act(goal, "retry", key=key())
    assert Goal.objects.filter(retry_of=goal).count() == 2
    assert "load the page again" in said(act(goal, "retry", key=""))
    assert Goal.objects.filter(retry_of=goal).count() == 2


@pytest.mark.parametrize("verb", ["cancel", "pause"])
def test_a_danger_without_a_reason_changes_nothing(ana: User, act: Act, verb: str) -> None:
    goal = services.submit_goal("Say hello", by=ana)
    assert f"Nothing was changed: say in a few words why you {verb} it" in said(act(goal, verb, reason="  "))
    goal.refresh_from_db()
    assert goal.status == "planning"


def test_a_goal_that_has_moved_on_says_so_and_stays(ana: User, act: Act) -> None:
    goal = services.submit_goal("Say hello", by=ana)
    services.cancel_goal(goal.pk)
    for verb in ("cancel", "pause", "resume"):
        shown = said(act(goal, verb, reason="late"))
        assert "Nothing was changed, because the goal has moved on meanwhile" in shown
        assert "cancelled" in shown
    other = services.submit_goal("Say hello again", by=ana)
    assert "has moved on" in said(act(other, "retry"))
    assert Goal.objects.count() == 2


def test_a_goal_at_its_limit_goes_on_only_with_a_higher_one(ana: User, act: Act) -> None:
    goal = services.submit_goal("Say hello", by=ana, limits={"calls": 3})
    Budget.objects.filter(goal=goal).update(calls=3)
    services.pause_goal(goal.pk, cap="calls", reason="3 of 3 model calls are used")
    assert "resume it with a higher one" in said(act(goal, "resume"))
    assert "calls: Enter a whole number" in said(act(goal, "resume", calls="many"))
    assert "must be raised" in said(act(goal, "resume", calls="2"))
    assert "The goal goes on" in said(act(goal, "resume", calls="10"))
    assert Budget.objects.get(goal=goal).max_calls == 10


def test_an_act_needs_the_forms_token_and_a_post(ana: User) -> None:
    goal = services.submit_goal("Say hello", by=ana)
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(ana)
    address = reverse("orchestration:goal-act", args=[goal.pk, "cancel"])
    assert strict.post(address, {"reason": "forged"}).status_code == 403
    assert strict.get(address).status_code == 405
    goal.refresh_from_db()
    assert goal.status == "planning"


def test_only_what_can_be_done_now_is_offered(page: Client, ana: User) -> None:
    def offered(goal: Goal) -> set[str]:
        html = page.get(reverse("orchestration:goal-detail", args=[goal.pk])).content.decode()
        return {
            a["popovertarget"] for tag, a in Reader(html).tags if tag == "button" and a.get("id", "").startswith("act-")
        }

    goal = services.submit_goal("Say hello", by=ana)
    assert offered(goal) == {"pause", "cancel", "message", "priority"}
    services.pause_goal(goal.pk, reason="x", finish_running=True)
    assert offered(goal) == {"resume", "cancel", "pause", "message", "priority"}, "what goes on can be stopped"
    services.pause_goal(goal.pk, reason="x")
    assert offered(goal) == {"resume", "cancel", "message", "priority"}
    services.cancel_goal(goal.pk)
    assert offered(goal) == {"retry"}


def test_rollouts_are_listed_and_each_can_be_shown(page: Client, ana: User) -> None:
    goal = hostile_goal(ana, Texts())
    second = Rollout.objects.get(goal=goal, number=2)
    Plan.objects.create(rollout=second, revision=1, summary="the other way", sha256="0" * 64)
    shown = page.get(reverse("orchestration:goal-detail", args=[goal.pk]), {"rollout": "2"}).content.decode()
    assert "the other way" in shown
    assert "?rollout=1" in shown


def test_a_goal_that_hangs_while_it_is_cancelled_names_what_it_waits_for_and_offers_force(client: Client) -> None:
    ada = member("cancelling-ada")
    client.force_login(ada)
    goal = services.submit_goal("a goal", by=ada)
    assert services.pull(["planning"], "host:1:abcdef") is not None
    services.cancel_goal(goal.pk, by="ada", reason="enough")
    page, act = reverse("orchestration:goal-detail", args=[goal.pk]), ("orchestration:goal-act", [goal.pk, "force"])
    early = client.get(page).content.decode()
    assert "Sandbox: the plan on host:1:abcdef, <b>not confirmed yet</b>" in early
    assert 'id="act-force"' not in early
    refused = client.post(reverse(act[0], args=act[1]), {"reason": "it hangs"}, follow=True).content.decode()
    assert "it can be forced in" in refused
    Goal.objects.filter(pk=goal.pk).update(cancelled_at=timezone.now() - timedelta(seconds=11))
    assert 'id="act-force"' in client.get(page).content.decode()
    done = client.post(reverse(act[0], args=act[1]), {"reason": "it hangs"}, follow=True).content.decode()
    assert "ended by force" in done
    assert "the plan on host:1:abcdef, <b>not confirmed</b>" in done
    assert "Ended by force; not confirmed: sandbox: the plan on host:1:abcdef: it hangs" in done
    goal.refresh_from_db()
    assert (goal.status, goal.runs.get().fence) == ("cancelled", 2)


def test_a_retry_can_start_again_from_a_step_and_a_pause_can_let_what_runs_end(client: Client) -> None:
    ada = member("retrying-ada")
    client.force_login(ada)
    goal = hostile_goal(ada, Texts())
    act = lambda verb, **words: client.post(  # noqa: E731
        reverse("orchestration:goal-act", args=[goal.pk, verb]), words, follow=True
    ).content.decode()
    Goal.objects.filter(pk=goal.pk).update(status="running", cancelled_at=None)
    assert "The goal is paused" in act("pause", reason="lunch", finish_running="1")
    goal.refresh_from_db()
    assert goal.finishes_running
    Goal.objects.filter(pk=goal.pk).update(status="failed")
    page = client.get(reverse("orchestration:goal-detail", args=[goal.pk])).content.decode()
    assert '<select class="input" id="retry-from" name="from_step">' in page
    assert "there is no step 77" in act("retry", from_step="77", rollout="1", key="k")
    assert Goal.objects.filter(retry_of=goal).count() == 0
