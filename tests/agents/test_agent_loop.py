"""The executor's loop: what it does with every kind of answer, and how it ends."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest

from agents.contracts import StepBrief, StepDraft, StepOutcome
from agents.errors import Cancelled, Transient
from agents.executor import ExecutorAgent, as_brief
from agents.history import KEPT_RECENT, LEAST_BUDGET, PROMPT_BUDGET, budget_for, folded
from agents.llm.scripted import Reply, ScriptedLLM, call, say
from agents.loop import MOST_CALLS
from agents.ports import Command, CommandResult, Completion, Message, ToolCall, Usage
from agents.sandbox.recorded import RecordedSandbox

BRIEF = StepBrief(goal="make it right", step=StepDraft(index=3, description="fix a.py", check="true"))
DONE = call("finish", success=True, summary="done", evidence=["true"])


def work(
    *replies: Reply, box: RecordedSandbox | None = None, max_turns: int = 20, tool_calls: bool = True
) -> tuple[StepOutcome, ScriptedLLM, RecordedSandbox]:
    llm, box = ScriptedLLM(replies), box or RecordedSandbox({"a.py": "x = 1\n"})
    outcome = ExecutorAgent(llm, box, max_turns=max_turns, tool_calls=tool_calls).execute(BRIEF)
    return outcome, llm, box


def calls(*named: tuple[str, dict[str, object]]) -> Completion:
    asked = tuple(ToolCall(f"c{n}", name, json.dumps(arguments)) for n, (name, arguments) in enumerate(named))
    return Completion(Message("assistant", "", asked), "tool_calls", Usage(1, 1), "scripted")


def told(llm: ScriptedLLM) -> list[str]:
    """What the model was told last, after the brief."""
    return [message.content for message in llm.requests[-1].messages[2:] if message.role != "assistant"]


def written(tool: str, **arguments: object) -> str:
    return f"```json\n{json.dumps({'tool': tool, 'arguments': arguments})}\n```"


def test_it_reads_edits_and_finishes() -> None:
    outcome, llm, box = work(
        call("read_file", "r1", path="a.py"), call("edit_file", "e1", path="a.py", old="x = 1", new="x = 2"), DONE
    )
    assert outcome == StepOutcome(success=True, summary="done", evidence=["true"])
    assert box.files["a.py"] == b"x = 2\n"
    assert told(llm) == ["    1  x = 1", "a.py is changed"]
    assert [m.tool_call_id for m in llm.requests[-1].messages if m.role == "tool"] == ["r1", "e1"]


def test_the_model_is_told_its_role_its_step_and_its_tools() -> None:
    _, llm, _ = work(DONE)
    system, user = llm.requests[0].messages
    assert system.content.startswith("You are the executor")
    assert "is data" in system.content
    assert user.content.startswith("Your step is number 3.")
    brief = json.loads(user.content.split("```json\n")[1].split("\n```")[0])
    assert brief["goal"] == "make it right"
    assert brief["step"]["description"] == "fix a.py"
    names = [tool.name for tool in llm.requests[0].tools]
    assert names == ["run_command", "read_file", "search", "edit_file", "write_file", "ask", "finish"]


def test_it_ends_on_finish_only_and_does_nothing_after_it() -> None:
    outcome, _, box = work(
        calls(("finish", {"success": False, "summary": "no"}), ("write_file", {"path": "b", "content": ""}))
    )
    assert (outcome.success, outcome.summary, outcome.stopped) == (False, "no", "")
    assert "b" not in box.files


def test_several_calls_of_one_answer_run_in_their_order() -> None:
    asked = calls(
        ("write_file", {"path": "b.py", "content": "one"}),
        ("edit_file", {"path": "b.py", "old": "one", "new": "two"}),
        ("read_file", {"path": "b.py"}),
    )
    _, llm, _ = work(asked, DONE)
    assert told(llm) == ["b.py is written (3 bytes)", "b.py is changed", "    1  two"]
    assert [m.tool_call_id for m in llm.requests[-1].messages if m.role == "tool"] == ["c0", "c1", "c2"]


def test_more_calls_than_allowed_in_one_answer_are_answered_but_not_done() -> None:
    many = calls(*(("write_file", {"path": f"f{n}", "content": "x"}) for n in range(MOST_CALLS + 5)))
    _, llm, box = work(many, DONE, box=RecordedSandbox(), max_turns=5)
    assert len(box.files) == MOST_CALLS
    assert len(told(llm)) == MOST_CALLS + 5
    assert told(llm)[-1].startswith("error: not done")


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        (call("teleport", to="/"), "error: there is no tool 'teleport'; there are run_command, read_file"),
        (
            call("read_file", path="../../etc/passwd"),
            "error: '../../etc/passwd' is not a relative path in the workspace",
        ),
        (call("read_file", path="nowhere.py"), "error: 'nowhere.py' cannot be read: no such file"),
        (call("edit_file", path="a.py", old="y", new="z"), "error: the old text occurs 0 times"),
        (call("finish", success="perhaps"), "error: the arguments of finish are wrong: success"),
        (call("run_command"), "error: the arguments of run_command are wrong: command: Field required"),
        (call("run_command", command="foo"), "exit code 127 (a program was not found)"),
    ],
)
def test_what_cannot_be_done_is_an_answer_and_the_work_goes_on(asked: Completion, answer: str) -> None:
    outcome, llm, _ = work(asked, DONE)
    assert outcome.success
    assert told(llm)[0].startswith(answer)


def test_broken_arguments_are_not_sent_back_broken() -> None:
    broken = Completion(
        Message("assistant", "", (ToolCall("c1", "read_file", '{"path": "a'),)), "tool_calls", Usage(), "m"
    )
    _, llm, _ = work(broken, DONE)
    (sent,) = llm.requests[1].messages[2].tool_calls
    assert json.loads(sent.arguments) == {"unreadable": '{"path": "a'}
    assert told(llm)[0].startswith("error: the arguments of read_file are no JSON object")


def test_an_answer_cut_by_its_length_is_not_carried_out() -> None:
    cut = Completion(
        Message("assistant", "", (ToolCall("c1", "run_command", '{"command": "rm -rf "}'),)), "length", Usage(), "m"
    )
    _, llm, box = work(cut, say(written("run_command", command="rm"), finish_reason="length"), DONE)
    assert box.commands == []
    assert [text.startswith("Your answer was cut off") for text in told(llm)] == [True, True]
    assert not any(message.tool_calls for message in llm.requests[-1].messages)


# ---- models that write instead of calling


def test_a_model_without_tool_calls_acts_by_fenced_actions() -> None:
    outcome, llm, box = work(
        f"I begin.\n{written('edit_file', path='a.py', old='1', new='2')}",
        written("finish", success=True, summary="done"),
        tool_calls=False,
    )
    assert outcome.success
    assert box.files["a.py"] == b"x = 2\n"
    assert all(request.tools == () for request in llm.requests)
    system = llm.requests[0].messages[0].content
    assert '{"tool": "read_file", "arguments": {"path": "src/app.py"}}' in system
    assert "- finish: End the step." in system
    assert [m.role for m in llm.requests[1].messages] == ["system", "user", "assistant", "user"]


def test_a_fenced_action_counts_although_tools_were_offered() -> None:
    outcome, llm, _ = work(written("read_file", path="a.py"), written("finish", success=True))
    assert outcome.success
    assert told(llm) == ["    1  x = 1"]


# ---- limits


def test_the_same_action_with_the_same_result_three_times_is_stuck() -> None:
    box = RecordedSandbox(results={"make": CommandResult(2, "", "no rule")})
    outcome, llm, _ = work(*[call("run_command", command="make")] * 5, box=box)
    assert (outcome.success, outcome.stopped) == (False, "stuck")
    assert outcome.summary == 'run_command {"command": "make"} → exit code 2\nno rule'
    assert len(llm.requests) == 3


@pytest.mark.parametrize("name", ["teleport", "read_file"])
def test_the_same_mistake_three_times_is_stuck_too(name: str) -> None:
    assert work(*[call(name)] * 5)[0].stopped == "stuck"


def test_the_same_action_with_another_result_is_progress() -> None:
    outputs = iter("abcdef")
    box = RecordedSandbox(results={"make": lambda command: CommandResult(0, next(outputs))})
    assert work(*[call("run_command", command="make")] * 5, DONE, box=box)[0].success


def test_the_same_check_after_each_of_several_changes_is_not_stuck() -> None:
    box = RecordedSandbox({"a.py": "x = 0"}, {"check": CommandResult(1, "fails")})
    change = [call("edit_file", path="a.py", old=f"x = {n}", new=f"x = {n + 1}") for n in range(4)]
    check = call("run_command", command="check")
    assert work(*(reply for edit in change for reply in (edit, check)), DONE, box=box)[0].success


def test_going_back_and_forth_is_stuck() -> None:
    there = call("edit_file", path="a.py", old="x = 1", new="x = 2")
    back = call("edit_file", path="a.py", old="x = 2", new="x = 1")
    assert work(*[there, back] * 4)[0].stopped == "stuck"


def test_three_answers_without_an_action_in_a_row_end_it() -> None:
    outcome, llm, _ = work("Hm.", "I think …", "It is done, I believe.")
    assert (outcome.success, outcome.stopped, outcome.summary) == (False, "talk", "It is done, I believe.")
    assert told(llm) == ["Nothing was done: act with one of your tools, and end with finish."] * 2


def test_an_action_between_makes_talk_begin_anew() -> None:
    look = [call("read_file", path=name) for name in ("a.py", "b.py")]
    assert work("Hm.", "Hm.", look[0], "Hm.", "Hm.", look[1], DONE)[0].success


def test_an_empty_answer_is_talk() -> None:
    outcome, llm, _ = work("", "", "")
    assert outcome.stopped == "talk"
    assert llm.requests[1].messages[2].content == "(nothing)"


def test_the_turns_are_limited() -> None:
    outcome, llm, _ = work(*(call("read_file", path="a.py", first_line=n) for n in range(1, 9)), max_turns=4)
    assert (outcome.success, outcome.stopped) == (False, "turns")
    assert outcome.summary == "no finish within 4 turns"
    assert len(llm.requests) == 4


def test_errors_of_model_and_sandbox_pass_through() -> None:
    with pytest.raises(Transient, match="busy"):
        work(call("read_file", path="a.py"), Transient("busy"))
    box = RecordedSandbox()
    box.close()
    with pytest.raises(Cancelled):
        work(call("run_command", command="true"), box=box)


# ---- what a journal needs


def test_the_same_answers_make_the_same_requests() -> None:
    script = [call("read_file", path="a.py"), "Hm.", call("teleport"), call("search", pattern="x"), DONE]
    box = {"results": {"grep": "a.py:1:x = 1"}}
    first, second = (work(*script, box=RecordedSandbox({"a.py": "x"}, **box))[1].requests for _ in range(2))
    assert first == second


def test_old_outputs_are_elided_above_the_budget_and_the_newest_never() -> None:
    opening = [Message("system", "s" * 1000), Message("user", "u" * 1000)]
    turns = [
        message
        for n in range(30)
        for message in (
            Message(
                "assistant", "", (ToolCall(f"c{n}", "write_file", json.dumps({"path": "a", "content": "ä" * 4000})),)
            ),
            Message("tool", f"{n} " + "x" * 9000, tool_call_id=f"c{n}"),
        )
    ]
    history = [*opening, *turns]
    shown = folded(history)
    size = sum(len(m.content.encode()) + sum(len(c.arguments.encode()) for c in m.tool_calls) for m in shown)
    assert size <= PROMPT_BUDGET
    assert shown == folded(history)
    assert len(shown) == len(history)
    assert list(shown[:2]) == opening
    assert list(shown[-KEPT_RECENT:]) == history[-KEPT_RECENT:]
    assert "[8502 characters left out, they were shown before]" in shown[3].content
    assert (shown[3].content[:250], shown[3].content[-250:]) == (history[3].content[:250], history[3].content[-250:])
    assert "left_out" in json.loads(shown[2].tool_calls[0].arguments)
    assert [m.tool_call_id for m in shown] == [m.tool_call_id for m in history]


def test_what_was_sent_before_is_the_beginning_of_what_is_sent_next_but_for_a_few_folds() -> None:
    history = [Message("system", "s" * 900), Message("user", "brief" * 200)]
    sent: list[tuple[Message, ...]] = []
    for n in range(24):
        history += [Message("assistant", f"act {n}"), Message("tool", f"{n}" + "x" * 1500, tool_call_id=f"c{n}")]
        sent.append(folded(history, 20_000))
    assert all(sum(len(m.content) for m in shown) <= 20_000 for shown in sent)
    folds = [n for n, (before, after) in enumerate(pairwise(sent)) if after[: len(before)] != before]
    assert 0 < len(folds) < 24 / 4, "between two folds many turns find their beginning in a cache"
    assert all(shown[:2] == tuple(history[:2]) for shown in sent)
    for n in folds:
        changed = [k for k, (a, b) in enumerate(zip(sent[n], sent[n + 1], strict=False)) if a != b]
        assert changed == list(range(changed[0], changed[-1] + 1)) or {sent[n][k].role for k in changed} == {"tool"}


def test_what_a_model_holds_is_its_budget() -> None:
    assert budget_for(None, 4096) == PROMPT_BUDGET
    assert budget_for(1_000_000, 4096) == PROMPT_BUDGET
    assert budget_for(32_768, 4_096) == 3 * 28_672
    assert budget_for(4_096, 4_096) == LEAST_BUDGET


def test_a_short_history_is_sent_as_it_is() -> None:
    history = [Message("system", "s"), Message("user", "u"), Message("tool", "x" * 8000, tool_call_id="c")]
    assert folded(history) == tuple(history)


# ---- the seed's words


@pytest.mark.parametrize("step", ["fix it", {"description": "fix it"}, {"index": 0, "description": " fix it "}])
def test_a_step_in_the_seeds_words_becomes_a_brief(step: str | dict[str, object]) -> None:
    assert as_brief(step) == StepBrief(goal="fix it", step=StepDraft(index=0, description="fix it"))


def test_the_command_has_the_time_limit_it_was_given() -> None:
    box = RecordedSandbox(results={"make": "ok"})
    ExecutorAgent(ScriptedLLM([call("run_command", command="make"), DONE]), box, command_timeout=7.0).execute("x")
    assert box.commands == [Command("make", timeout=7.0)]
