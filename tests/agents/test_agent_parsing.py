"""Replies of every kind become a contract, or a sentence that the model is shown."""

from __future__ import annotations

import json
import logging

import pytest

from agents.contracts import PlanDraft, Verdict
from agents.errors import InvalidReply, Transient
from agents.llm.scripted import ScriptedLLM, call, say
from agents.parsing import ParseProblem, ask, calls_of, find_json, parse_reply
from agents.ports import Message

PLAN = '{"summary": "s", "steps": [{"index": 0, "description": "a {brace} and a ``` fence"}]}'
ASKED = [Message("system", "You are the planner"), Message("user", "Plan.")]


def steps(*items: dict[str, object]) -> str:
    return json.dumps({"steps": [{"description": "x", **item} for item in items]})


@pytest.mark.parametrize(
    "text",
    [
        PLAN,
        f"\n  {PLAN}\n",
        f"```json\n{PLAN}\n```",
        f"```\n{PLAN}\n```",
        f"Here it is:\n\n```json\n{PLAN}\n```\nI hope this {{helps}}.",
        f"Here it is: {PLAN} and that is {{all}}.",
        f"<think>maybe {{this}} or {{that}}</think>{PLAN}",
        f"maybe {{this}}</think>\n```json\n{PLAN}\n```",
    ],
)
def test_json_is_found_plain_fenced_and_in_prose(text: str) -> None:
    assert parse_reply(text, PlanDraft).steps[0].description == "a {brace} and a ``` fence"


@pytest.mark.parametrize("before", ["", "hm </think>", "<think>hm</think>\n"])
def test_an_answer_that_speaks_of_the_end_of_a_thought_is_kept_whole(before: str) -> None:
    said = {"summary": "strip all up to </think>", "steps": [{"index": 0, "description": "see </think> {x}"}]}
    assert find_json(before + json.dumps(said)) == said


def test_nearly_json_is_mended_and_that_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert find_json("{'action': 'stop', 'steps': [1, 2,],}") == {"action": "stop", "steps": [1, 2]}
    assert "mended by json_repair" in caplog.text


@pytest.mark.parametrize(
    "text",
    [
        '{"steps": [{"index": 0, "description": "a"}, {"index": 1, "desc',
        '{"steps": [{"index": 0, "description": "a"}, {"index": 1, "description": "b"}',
        '```json\n{"steps": [{"index": 0, "description": "a"},\n```',
    ],
)
def test_half_a_plan_is_never_mended_into_a_whole_one(text: str) -> None:
    with pytest.raises(ParseProblem, match="its JSON is broken"):
        parse_reply(text, PlanDraft)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("I would rather not.", "no JSON object"),
        ("", "no JSON object"),
        ("[1, 2]", "no JSON object"),
        ("null", "no JSON object"),
        ('{"a":' * 20_000, "JSON"),
        ("{" * 90_000, "JSON"),
        ("x" * 500_000, "answer with much less"),
        ("{}", "steps: Field required"),
        ('{"steps": []}', "at least 1 item"),
        (steps({"index": 0}, {"index": 0}), "must be unique; doubled: [0]"),
        (steps({"index": 0, "dependencies": [7]}), "step 0 depends on unknown steps [7]"),
        (steps({"index": 0, "dependencies": [1]}, {"index": 1, "dependencies": [0]}), "form a cycle"),
        (steps({"index": 0, "dependencies": [0]}), "form a cycle"),
        (steps({"index": -1}), "greater than or equal to 0"),
        (steps({"index": 0, "colour": "red"}), "steps.0.colour: Extra inputs are not permitted"),
        (steps(*({"index": n} for n in range(51))), "at most 50 items"),
        (steps(*({"index": n} for n in range(10_000))), "at most 50 items"),
        (steps(*({"index": n} for n in range(10_000))) * 3, "answer with much less"),
    ],
)
def test_an_unusable_plan_is_refused_with_what_is_wrong(text: str, told: str) -> None:
    with pytest.raises(ParseProblem) as refused:
        parse_reply(text, PlanDraft)
    assert told in str(refused.value)
    assert len(str(refused.value)) < 2_100


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-0.1", '"high"'])
def test_a_confidence_that_is_no_share_is_refused(number: str) -> None:
    with pytest.raises(ParseProblem, match="confidence"):
        parse_reply(f'{{"action": "complete", "confidence": {number}}}', Verdict)


def test_the_model_is_shown_its_error_and_asked_again() -> None:
    llm = ScriptedLLM(["no", '{"steps": []}', PLAN])
    assert ask(llm, ASKED, PlanDraft, "plan").summary == "s"
    assert [len(request.messages) for request in llm.requests] == [2, 4, 6]
    assert "no JSON object" in llm.requests[1].messages[-1].content
    assert "at least 1 item" in llm.requests[2].messages[-1].content
    assert all(request.schema and request.schema_name == "plan" for request in llm.requests)


def test_after_two_more_tries_the_reply_is_kept_in_the_error() -> None:
    llm = ScriptedLLM(["no", "still no", "never"])
    with pytest.raises(InvalidReply, match="no usable plan in 3 answers; the last problem: there is no JSON") as failed:
        ask(llm, ASKED, PlanDraft, "plan")
    assert failed.value.reply == "never"
    assert failed.value.kind == "invalid_reply"


def test_a_reply_cut_by_its_length_is_asked_again_even_if_it_could_be_read() -> None:
    llm = ScriptedLLM([say(PLAN, finish_reason="length"), PLAN])
    ask(llm, ASKED, PlanDraft, "plan")
    assert "cut off" in llm.requests[1].messages[-1].content


def test_a_giant_reply_is_not_sent_back_whole() -> None:
    llm = ScriptedLLM(["y" * 3_000_000, PLAN])
    ask(llm, ASKED, PlanDraft, "plan")
    assert sum(len(message.content) for message in llm.requests[1].messages) < 25_000


def test_errors_of_the_model_pass_through() -> None:
    with pytest.raises(Transient, match="busy"):
        ask(ScriptedLLM([Transient("busy")]), ASKED, PlanDraft, "plan")


def test_an_action_is_called_or_written() -> None:
    assert calls_of(call("search", pattern="x"))[0].name == "search"
    (written,) = calls_of(say('I look.\n```json\n{"tool": "read_file", "arguments": {"path": "a.py"}}\n```'))
    assert (written.id, written.name, json.loads(written.arguments)) == ("", "read_file", {"path": "a.py"})
    assert calls_of(say(PLAN)) == ()
    assert calls_of(say('{"tool": 7}')) == ()
    assert calls_of(say("just talk")) == ()
