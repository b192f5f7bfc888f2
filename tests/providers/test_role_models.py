"""Who thinks for a goal: named by role, checked at submission, noted in the run and in each call; a team's default; a take-over."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from agents.errors import Permanent
from agents.llm.demo_server import DemoServer
from orchestration import services, story
from orchestration.errors import BadInput
from orchestration.models import Call, Goal, Run
from orchestration.role_models import as_lines, first_choices, parse, varied
from orchestration.services.access import create_token
from tests.api.conftest import Api, expect_problem
from tests.support.engine import Engine
from tests.support.models import role, writes_a_file
from tests.support.people import member, team

EACH = ("planner", "executor", "reviewer", "judge")


# ---- words


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ([], {}),
        (["v/m"], {name: ["v/m"] for name in EACH}),
        (["reviewer=o/a/b, v/m"], {"reviewer": ["o/a/b", "v/m"]}),
        (["v/m", "judge=environment"], {**{name: ["v/m"] for name in EACH}, "judge": ["environment"]}),
    ],
)
def test_what_is_typed_is_read_and_said_again(lines: list[str], told: dict[str, list[str]]) -> None:
    assert parse(lines) == told
    assert parse(as_lines(told)) == told


@pytest.mark.parametrize(
    "lines",
    [["v"], ["/m"], ["v/"], ["boss=v/m"], ["v/m", "w/m"], ["planner=v/m", "planner=w/m"], ["v/\x1b"], ["v/m," * 6]],
)
def test_a_mistake_is_a_sentence(lines: list[str]) -> None:
    lines = [",".join(f"v/m{n}" for n in range(6))] if lines == ["v/m," * 6] else lines
    with pytest.raises(ValueError, match=r"provider/model|there is no role|twice|in a row"):
        parse(lines)


def test_a_rollout_s_own_model_is_of_the_same_server_or_of_the_provider_that_it_names() -> None:
    assert varied("venice/qwen", "glm", ["venice"]) == "venice/glm"
    assert varied("venice/qwen", "zai/glm", ["venice"]) == "venice/zai/glm"
    assert varied("venice/qwen", "other/glm", ["other"]) == "other/glm"
    assert first_choices({"planner": ["v/a", "v/b"], "judge": ["v/a"]}) == ["v/a", "environment"]


# ---- at submission


@pytest.mark.django_db
class TestSubmission:
    def test_an_unknown_provider_and_a_model_that_it_does_not_offer_are_refused(self) -> None:
        services.add_provider("venice", team=team(), base_url="http://127.0.0.1:9/v1", model_names=["m"], by="x")
        services.add_provider("theirs", team=team("elsewhere"), base_url="http://127.0.0.1:9/v1", by="x")
        for asked, said in ((["mercury/m"], "knows no provider 'mercury'"), (["venice/x"], "offers no model 'x'")):
            with pytest.raises(BadInput, match=said):
                services.submit_goal("x", role_models=asked, team=team())
        with pytest.raises(BadInput, match="knows no provider 'theirs'"):
            services.submit_goal("x", role_models=["theirs/m"], team=team())
        assert not Goal.objects.exists()

    def test_a_team_s_default_fills_the_roles_that_a_goal_does_not_name_and_is_a_snapshot(self) -> None:
        out = io.StringIO()
        services.add_provider("venice", team=None, base_url="http://127.0.0.1:9/v1", by="x")
        ours = team()
        call_command("team", "models", "default", "--model", "venice/m", "--model", "judge=venice/j", stdout=out)
        assert "venice/m" in out.getvalue()
        goal = services.submit_goal("x", role_models={"reviewer": ["environment"]}, team=services.default_team())
        call_command("team", "models", ours.name, stdout=out)
        goal.refresh_from_db()
        assert goal.role_models == {
            "planner": ["venice/m"], "executor": ["venice/m"], "reviewer": ["environment"], "judge": ["venice/j"],
        }  # fmt: skip
        assert services.submit_goal("x", team=services.default_team()).role_models == {}

    def test_command_api_panel_and_schedule_take_it(self) -> None:
        services.add_provider("venice", team=None, base_url="http://127.0.0.1:9/v1", by="x")
        ada = member("ada")
        with pytest.raises(CommandError, match="there is no role"):
            call_command("goal", "submit", "x", "--model", "boss=venice/m")
        call_command("goal", "submit", "by command", "--model", "executor=venice/m", stdout=io.StringIO())
        api = Api(create_token(ada, "x")[1])
        made = api.post("/goals", {"text": "by api", "role_models": {"executor": ["venice/m"]}})
        assert made.json()["role_models"] == {"executor": ["venice/m"]}
        expect_problem(api.post("/goals", {"text": "x", "role_models": {"executor": ["mercury/m"]}}), 422)
        expect_problem(api.post("/goals", {"text": "x", "role_models": {"boss": ["venice/m"]}}), 422)
        client = Client()
        client.force_login(ada)
        form = {"key": "k", "text": "by panel", "rollouts": 1, "role_models": "executor=venice/m"}
        client.post("/goals/new/", form)
        assert "in a row" in client.post("/goals/new/", form | {"key": "l", "role_models": "a/b," * 9}).content.decode()
        said = {"name": "n", "cron": "0 1 * * *", "text": "by schedule", "role_models": {"executor": ["venice/m"]}}
        row = api.post("/schedules", said)
        assert row.json()["role_models"] == {"executor": ["venice/m"]}
        services.run_now(row.json()["id"], by="ada")
        goals = {goal.text: goal.role_models for goal in Goal.objects.all()}
        assert goals == {key: {"executor": ["venice/m"]} for key in ("by command", "by api", "by panel", "by schedule")}
        page = client.get(f"/goals/new/?from={Goal.objects.get(text='by panel').pk}").content.decode()
        assert "executor=venice/m" in page


# ---- at work


@pytest.fixture
def engine(tmp_path: Path, transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    with ExitStack() as stack:
        made = Engine(tmp_path, stack)
        stack.callback(made.close)
        yield made


class Heard:
    """A model that notes who asked it what, and writes files."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, float]] = []

    def __call__(self, request: Any) -> dict[str, Any]:
        self.asked.append((role(request), request["model"], request.get("temperature", 0.0)))
        return writes_a_file(request)


def provided(engine: Engine, name: str, key: str = "sk-own-0123456789", **more: Any) -> tuple[DemoServer, Heard]:
    heard = Heard()
    server = engine.serve(heard, key=key)
    services.add_provider(name, team=None, base_url=server.url, key=key, by="x", **more)
    return server, heard


def test_each_role_asks_its_own_model_and_rows_and_pages_say_so(engine: Engine) -> None:
    _, thinker = provided(engine, "thinker")
    _, worker = provided(engine, "worker", key="sk-other-9876543210")
    own = Heard()
    engine.serve(own)
    asked = {"planner": ["thinker/big"], "executor": ["worker/small"]}
    goal = engine.work(engine.goal("one", role_models=asked))
    assert (goal.status, goal.model) == ("succeeded", "thinker/big, worker/small, test-model")
    assert {(who, model) for who, model, _ in thinker.asked} == {("planner", "big")}
    assert {(who, model) for who, model, _ in worker.asked} == {("executor", "small")}
    assert {who for who, _, _ in own.asked} == {"reviewer"}
    calls = Call.objects.filter(run__goal=goal, kind="llm").values_list("run__kind", "provider", "request__model")
    assert set(calls) == {("plan", "thinker", "big"), ("step", "worker", "small"), ("review", "", "test-model")}
    assert Run.objects.get(goal=goal, kind="step").brief["models"] == {"executor": ["worker/small"]}
    told = story.story(goal)
    assert {(used["work"], used["provider"]) for used in told["models_used"]} == {
        ("plan", "thinker"), ("step", "worker"), ("review", ""),
    }  # fmt: skip
    out = io.StringIO()
    call_command("goal", "show", str(goal.pk), stdout=out)
    assert "asked for: planner=thinker/big" in out.getvalue()
    assert "step: worker/" in out.getvalue()
    vera = Client()
    vera.force_login(member("vera", "viewer"))
    page = vera.get(f"/goals/{goal.pk}/").content.decode()
    assert "worker/" in page
    assert "thinker/big" in page
    assert "sk-own" not in json.dumps(told) + page


def none_is_set() -> Any:
    raise Permanent("no model is set")


def test_a_goal_whose_every_role_has_a_provider_needs_no_model_of_the_machine(engine: Engine) -> None:
    server, heard = provided(engine, "only")
    engine.worker._tools = replace(engine.worker.tools, make_llm=none_is_set)
    assert services.submit_goal("x").role_models == {}
    goal = engine.work(
        engine.goal("one", role_models=["only/m"], rollouts=2, diversity=[{"model": "n", "temperature": 0.5}])
    )
    assert (goal.status, goal.model) == ("succeeded", "only/m")
    assert {(who, model, heat) for who, model, heat in heard.asked} >= {
        ("planner", "n", 0.5), ("executor", "n", 0.5), ("reviewer", "m", 0.0),
    }  # fmt: skip
    assert server is not None


def test_a_provider_that_is_gone_ends_the_goal_with_a_sentence(engine: Engine) -> None:
    provided(engine, "brief")
    goal = engine.goal("one", role_models=["brief/m"])
    services.remove_provider(services.provider_named("brief").pk, by="x")
    engine.work(goal)
    assert goal.status == "failed"
    assert "the provider brief is gone" in Goal.objects.get(pk=goal.pk).reason
