"""The seed's snippets as people type them: plain `python`, no Django variable, a bare worker, a real Redis, a model server."""

from __future__ import annotations

import shutil
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from django_celery_results.models import TaskResult

from orchestration.models import Goal, Rollout, Run
from tests.support.installation import BASE, EXAMPLE_CHECK, EXAMPLE_GOAL, Installation
from tests.support.models import Gated, Request, call, role, verdict, writes_a_file


def python(installation: Installation, code: str, **env: str) -> str:
    """The snippet's output."""
    plain = {name: value for name, value in installation.env.items() if name != "DJANGO_SETTINGS_MODULE"} | env
    argv = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(argv, env=plain, cwd=BASE, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr[-3000:] + installation.logs()
    return done.stdout.strip()


@pytest.fixture
def writing(installation: Installation) -> Installation:
    """The seed's worker, whose model writes a note for any goal."""
    installation.env["LLM_BASE_URL"] = installation.serve_model(writes_a_file).url
    installation.worker("--queues=planning,execution,review")
    return installation


@pytest.fixture
def shop(installation: Installation) -> Path:
    installation.worker()
    return installation.example()


def test_an_artifact_is_stored_read_and_seen_by_redis_cli(installation: Installation) -> None:
    said = python(
        installation,
        """
        from orchestration.artifacts import DistributedArtifactStore
        store = DistributedArtifactStore()
        store.store("test-123", {"hello": "world"})
        print(store.get("test-123"), store.exists("test-123"), store.exists("test-124"))
        """,
    )
    assert said == "{'hello': 'world'} True False"
    cli = shutil.which("redis-cli")
    assert cli, "redis-cli is missing: apt-get install redis-tools"
    argv = [cli, "-p", str(installation.redis.port), "GET", "artifact:test-123"]
    assert '"hello"' in subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def test_a_plan_is_made_by_a_task(writing: Installation) -> None:
    said = python(
        writing,
        """
        from orchestration.tasks import plan_task
        from orchestration.artifacts import DistributedArtifactStore
        result = plan_task.delay("Fix the login page", {})
        artifact_id = result.get(timeout=30)
        assert artifact_id == f"plan-{result.id}", artifact_id
        print(DistributedArtifactStore().get(artifact_id)["steps"][0]["description"])
        """,
    )
    assert said == "Fix the login page"
    stored = TaskResult.objects.get()
    assert (stored.task_name, stored.status) == ("plan_task", "SUCCESS"), "the engine's own messages store nothing"


def test_a_workflow_is_executed(installation: Installation, shop: Path) -> None:
    said = python(
        installation,
        f"""
        from orchestration import DistributedOrchestrator
        from orchestration.artifacts import DistributedArtifactStore
        done = DistributedOrchestrator().execute_workflow({EXAMPLE_GOAL!r}, {{"repo": {str(shop)!r}, "checks": [{EXAMPLE_CHECK!r}]}})
        store = DistributedArtifactStore()
        assert store.get(done["plan_artifact_id"])["steps"], done
        assert [store.get(id)["success"] for id in done["execution_results"]] == [True, True], done
        assert done["goal_id"]
        print(done["status"], done["review"]["action"])
        """,
    )
    assert said == "succeeded complete"


def test_a_goal_is_submitted_and_its_id_is_there_at_once(installation: Installation) -> None:
    said = python(
        installation,
        """
        from orchestration.orchestrator import DistributedOrchestrator
        print(DistributedOrchestrator().submit("Write a note", {"why": "to see it"}))
        """,
    )
    assert str(Goal.objects.get().pk) == said


@pytest.mark.parametrize("early", [True, False])
def test_rollouts_race_or_are_compared(installation: Installation, shop: Path, early: bool) -> None:
    said = python(
        installation,
        f"""
        from orchestration import DistributedOrchestrator
        context = {{"repo": {str(shop)!r}, "checks": [{EXAMPLE_CHECK!r}]}}
        done = DistributedOrchestrator().execute_parallel_rollouts({EXAMPLE_GOAL!r}, n=3, early_termination={early}, context=context)
        assert done["winner"]["verified"], done
        assert ("results" in done) == {not early}, done
        print(done["strategy"], len(done.get("results", [])))
        """,
    )
    assert said == ("early_termination 0" if early else "best_of_n 3")
    goal = installation.ended(Goal.objects.get())
    assert goal.selected is not None
    ended = {row.status for row in Rollout.objects.exclude(pk=goal.selected.pk)}
    assert ended <= ({"cancelled", "succeeded"} if early else {"succeeded"})


def test_rollouts_that_all_fail_have_no_winner_but_reasons(installation: Installation) -> None:
    def gives_up(request: Request) -> dict[str, object]:
        if role(request) == "executor":
            return call("finish", success=False, summary="it cannot be done", evidence=[])
        if role(request) == "reviewer":
            return verdict("stop", request, "nobody can")
        return writes_a_file(request)

    installation.worker(LLM_BASE_URL=installation.serve_model(gives_up).url)
    said = python(
        installation,
        """
        from orchestration import DistributedOrchestrator
        done = DistributedOrchestrator().execute_parallel_rollouts("Square the circle", n=2, early_termination=False)
        print(done["winner"], len(done["results"]), done["reasons"])
        """,
    )
    assert said.startswith("None 2 [")
    assert "nobody can" in said


def test_a_group_of_steps_runs_side_by_side(writing: Installation) -> None:
    said = python(
        writing,
        """
        from celery import group
        from orchestration.tasks import execute_step, review_result
        from orchestration.artifacts import DistributedArtifactStore
        a, b = {"index": 0, "description": "write a"}, {"index": 1, "description": "write b"}
        ids = group(execute_step.s(a), execute_step.s(b)).apply_async().get(timeout=60)
        store = DistributedArtifactStore()
        assert all(store.get(id)["success"] for id in ids), ids
        verdict = review_result.delay(ids[0]).get(timeout=30)
        print(len(ids), sorted(verdict), verdict["action"])
        """,
    )
    assert said == "2 ['action', 'confidence', 'reasoning', 'suggested_changes'] complete"


@pytest.mark.long
def test_a_worker_that_is_told_to_stop_hands_on_what_it_was_called_with(installation: Installation) -> None:
    gate = Gated("executor", writes_a_file)
    installation.env["LLM_BASE_URL"] = installation.serve_model(gate).url
    first = installation.worker()
    code = """
        from orchestration.tasks import execute_step
        print(execute_step.delay("write a note").get(timeout=60))
        """
    with ThreadPoolExecutor(1) as pool:
        said = pool.submit(python, installation, code)
        assert gate.reached.wait(30), installation.logs()
        assert first.stop() == 0, "it ends although the step has not"
        gate.open()
        installation.worker()
        assert said.result(60).startswith("result-")
    assert set(Run.objects.values_list("status", "losses", "attempt")) == {("succeeded", 0, 1)}


def test_a_task_that_is_called_like_a_function_works_here(installation: Installation) -> None:
    said = python(
        installation,
        """
        from orchestration.tasks import plan_task
        from orchestration.artifacts import DistributedArtifactStore
        first, second = plan_task("write a", {}), plan_task("write b", {})
        print([DistributedArtifactStore().get(id)["steps"][0]["description"] for id in (first, second)])
        """,
        LLM_BASE_URL=installation.serve_model(writes_a_file).url,
    )
    assert said == "['write a', 'write b']"


def test_the_agents_work_without_any_engine(installation: Installation) -> None:
    model = installation.serve_model(writes_a_file)
    folder = installation.folder / "mine"
    folder.mkdir()
    said = python(
        installation,
        f"""
        from agents import ExecutorAgent, LLMClient, PlannerAgent, ReflectorAgent
        plan = PlannerAgent(LLMClient()).create_plan("write a note", {{}})
        result = ExecutorAgent(workspace={str(folder)!r}).execute(plan["steps"][0])
        print(result.success, ReflectorAgent(LLMClient()).review(result)["action"])
        """,
        LLM_BASE_URL=model.url,
    )
    assert said == "True complete"
    assert (folder / "note-0.txt").read_text() == "write a note\n"
    assert len(model.calls) == 5, "one plan, three turns, one review"


def test_waiting_too_long_names_the_goal_which_goes_on(installation: Installation) -> None:
    said = python(
        installation,
        """
        from orchestration import DistributedOrchestrator
        try:
            DistributedOrchestrator(timeout=0.5).execute_workflow("Write a note", {})
        except TimeoutError as error:
            print(error)
        """,
    )
    goal = Goal.objects.get()
    assert str(goal.pk) in said
    assert not goal.is_terminal
