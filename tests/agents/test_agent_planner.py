"""The planner: it reads before it answers, within its limit, and answers with a valid plan or a clear failure."""

from __future__ import annotations

import json

import pytest

from agents.contracts import PlanBrief, PlanDraft
from agents.errors import InvalidReply
from agents.llm.scripted import Reply, ScriptedLLM, call, say
from agents.planner import PlannerAgent
from agents.ports import CompletionRequest, Sandbox
from agents.sandbox.recorded import RecordedSandbox

PLAN = json.dumps({"summary": "s", "steps": [{"index": 0, "description": "do it"}]})
BRIEF = PlanBrief(goal="make it right", survey="Files (1):\na.py", commit="abc")


def plan(*replies: Reply, box: Sandbox | None = None, **options: object) -> tuple[PlanDraft, ScriptedLLM]:
    llm = ScriptedLLM(replies)
    return PlannerAgent(llm, box, **options).plan(BRIEF), llm  # type: ignore[arg-type]


def test_a_goal_that_names_a_function_is_planned_with_the_right_file(box: Sandbox) -> None:
    """The scripted model knows only what it is told: the file's name comes out of its search."""
    box.write("lib/money/vat.py", b"def net(gross):\n    return gross\n\n\ndef vat_of(gross):\n    return 0\n")
    box.write("lib/money/tax.py", b"def tax(x):\n    return x\n")

    def from_the_search(request: CompletionRequest) -> str:
        found = request.messages[-1].content
        path = found.split(":")[0].removeprefix("./")
        return json.dumps({"steps": [{"index": 0, "description": f"Fix vat_of in {path}", "writes": [path]}]})

    llm = ScriptedLLM([call("search", "s1", pattern="def vat_of"), from_the_search])
    draft = PlannerAgent(llm, box).plan(PlanBrief(goal="vat_of returns 0", survey="Files (2): …"))
    assert llm.requests[1].messages[-1].content == "./lib/money/vat.py:5:def vat_of(gross):"
    assert llm.requests[1].messages[-1].tool_call_id == "s1"
    assert draft.steps[0].description == "Fix vat_of in lib/money/vat.py"
    assert draft.steps[0].writes == ["lib/money/vat.py"]


def test_the_model_is_told_its_role_its_rules_and_its_brief() -> None:
    _, llm = plan(PLAN, box=RecordedSandbox())
    system, user = llm.requests[0].messages
    assert system.content.startswith("You are the planner")
    assert "is data" in system.content
    assert "`check` is a shell command" in system.content
    assert "`writes` lists globs" in system.content
    assert "10 calls at most" in system.content
    assert json.loads(user.content.split("```json\n")[1].split("\n```")[0]) == {
        "goal": "make it right",
        "commit": "abc",
        "survey": "Files (1):\na.py",
    }


def test_it_may_only_read(box: Sandbox) -> None:
    _, llm = plan(call("write_file", path="a", content="x"), call("run_command", command="touch b"), PLAN, box=box)
    assert [tool.name for tool in llm.requests[0].tools] == ["read_file", "search"]
    answers = [message.content for message in llm.requests[2].messages if message.role == "tool"]
    assert answers == [
        "error: there is no tool 'write_file'; there are read_file, search",
        "error: there is no tool 'run_command'; there are read_file, search",
    ]


def test_it_may_not_read_what_is_ours(box: Sandbox) -> None:
    _, llm = plan(call("read_file", path="vault:config"), call("read_file", path="../../etc/passwd"), PLAN, box=box)
    answers = [message.content for message in llm.requests[2].messages if message.role == "tool"]
    assert [answer.startswith("error: ") for answer in answers] == [True, True]


def test_after_ten_reads_the_tools_are_withdrawn() -> None:
    reads = [call("read_file", f"r{n}", path=f"f{n}") for n in range(10)]
    _, llm = plan(*reads, PLAN, box=RecordedSandbox({f"f{n}": "x" for n in range(10)}))
    assert [bool(request.tools) for request in llm.requests] == [True] * 10 + [False]
    assert llm.requests[10].schema is not None
    assert llm.requests[10].messages[-1].content == "You have read enough. Answer with the plan now."


def test_calls_beyond_the_limit_in_one_answer_are_answered_but_not_done() -> None:
    box = RecordedSandbox(results={"grep": "a:1:x"})
    two = call("search", "s1", pattern="x").message.tool_calls + call("search", "s2", pattern="y").message.tool_calls
    both = call("search", pattern="x")
    both = type(both)(type(both.message)("assistant", "", two), "tool_calls", both.usage, "scripted")
    _, llm = plan(both, PLAN, box=box, max_reads=1)
    assert len(box.commands) == 1
    answers = [m.content for m in llm.requests[1].messages if m.role == "tool"]
    assert answers == ["a:1:x", "error: no more reading; answer with the plan now"]


def test_without_a_sandbox_it_is_asked_for_the_plan_at_once() -> None:
    _, llm = plan(PLAN)
    assert llm.requests[0].tools == ()
    assert llm.requests[0].schema_name == "plan"


def test_a_model_without_tool_calls_reads_by_fenced_actions() -> None:
    read = '```json\n{"tool": "read_file", "arguments": {"path": "a.py"}}\n```'
    draft, llm = plan(read, PLAN, box=RecordedSandbox({"a.py": "x = 1"}), tool_calls=False)
    assert draft.summary == "s"
    assert all(request.tools == () for request in llm.requests)
    assert "- search: Search the files" in llm.requests[0].messages[0].content
    assert "run_command" not in llm.requests[0].messages[0].content
    assert llm.requests[1].messages[-1].content == "    1  x = 1"


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        ("I'd plan it like this: first, …", "no JSON object"),
        ('{"steps": [{"index": 0, "description": "a", "dependencies": [0]}]}', "cycle"),
        ('{"steps": [{"index": 0, "description": "a", "dependencies": [5]}]}', "unknown steps [5]"),
        (json.dumps({"steps": [{"index": 0, "description": "a"}] * 2}), "must be unique; doubled: [0]"),
        (json.dumps({"steps": [{"index": n, "description": "a"} for n in range(10_000)]}), "at most 50 items"),
    ],
)
@pytest.mark.parametrize("box_there", [True, False])
def test_a_bad_plan_is_asked_again_twice_and_then_fails_with_its_text(bad: str, told: str, box_there: bool) -> None:
    box = RecordedSandbox() if box_there else None
    draft, llm = plan(bad, PLAN, box=box)
    assert draft.summary == "s"
    assert told in llm.requests[1].messages[-1].content
    with pytest.raises(InvalidReply) as failed:
        plan(bad, bad, bad, box=box)
    assert told in str(failed.value)
    assert failed.value.reply == bad[:20_000]


def test_a_plan_or_a_read_that_was_cut_is_not_used() -> None:
    box = RecordedSandbox(results={"grep": "a:1:x"})
    draft, llm = plan(say(PLAN, finish_reason="length"), PLAN, box=box)
    assert "cut off" in llm.requests[1].messages[-1].content
    assert draft.summary == "s"
    cut = call("search", pattern="x")
    plan(type(cut)(cut.message, "length", cut.usage, "scripted"), PLAN, box=box)
    assert box.commands == []


def test_the_seeds_words() -> None:
    made = PlannerAgent(ScriptedLLM([PLAN])).create_plan("Fix it", {"language": "Python"})
    assert made["summary"] == "s"
    assert made["steps"][0]["description"] == "do it"
    assert json.loads(json.dumps(made)) == made
