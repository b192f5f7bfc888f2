"""When a person must look at a plan, and when a replan asks again: a table of each."""

from __future__ import annotations

from decimal import Decimal

import pytest

from orchestration.policies import ApprovalPolicy, Scope, StepAsks, policy_of, reasons_to_ask, scope_from, scope_of

D = Decimal
ALWAYS, PROTECTED, ABOVE = (
    ApprovalPolicy("always"),
    ApprovalPolicy("protected", protected=("deploy/**", "*.lock")),
    ApprovalPolicy(above_usd="5"),
)


def scope(*paths: str, check: str = "", hints: tuple[str, ...] = (), usd: str | None = None) -> Scope:
    return scope_of([StepAsks(paths, hints, check)], None if usd is None else D(usd))


@pytest.mark.parametrize(
    ("policy", "now", "words"),
    [
        (ApprovalPolicy(), scope(check="curl x", usd="99"), ()),
        (ALWAYS, scope("src/a.py"), ("every plan",)),
        (PROTECTED, scope("src/a.py"), ()),
        (PROTECTED, scope("src/*.py", "docs/**/*.md"), ()),
        (PROTECTED, scope("src/**"), ("src/**",)),
        (PROTECTED, scope("deploy/x.yml"), ("deploy/x.yml",)),
        (PROTECTED, scope("uv.lock"), ("uv.lock",)),
        (PROTECTED, scope("dep*/x"), ("dep*/x",)),
        (PROTECTED, scope(), ("any file",)),
        (PROTECTED, scope("src/a.py", check="pip install x"), ("network",)),
        (PROTECTED, scope("src/a.py", hints=("Network",)), ("network",)),
        (ABOVE, scope("src/a.py", usd="4.99"), ()),
        (ABOVE, scope("src/a.py", usd="5.01"), ("5.01 USD",)),
        (ABOVE, scope("src/a.py"), ("not known",)),
        (ApprovalPolicy("protected"), scope(".github/workflows/ci.yml"), (".github",)),
        (ApprovalPolicy("protected"), scope("shop/migrations/0002_x.py"), ("migrations",)),
        (ApprovalPolicy("protected"), scope("shop/models.py"), ()),
    ],
)
def test_the_first_plan(policy: ApprovalPolicy, now: Scope, words: tuple[str, ...]) -> None:
    found = reasons_to_ask(policy, now)
    assert len(found) == len(words), found
    assert all(word in said for word, said in zip(words, found, strict=True)), found


@pytest.mark.parametrize(
    ("before", "now", "word"),
    [
        (scope("src/**"), scope("src/a.py"), ""),
        (scope("src/**"), scope("src/sub/**"), ""),
        (scope("src/*"), scope("src/**"), "write more: src/**"),
        (scope("src/*"), scope("src/a/b.py"), "write more: src/a/b.py"),
        (scope("src/*.py"), scope("src/a.py"), ""),
        (scope("src/a.py"), scope("src/b.py"), "write more: src/b.py"),
        (scope("src/a.py"), scope(), "any file"),
        (scope(), scope("anything"), ""),
        (scope("a"), scope("a", hints=("web",)), "network now"),
        (scope("a", hints=("web",)), scope("a", hints=("web",)), ""),
        (scope("a", check="pytest"), scope("a", check="go test ./..."), ""),
        (scope("a", check="pytest"), scope("a", check="rm -rf build"), "kinds of commands: delete"),
        (scope("a", check="rm -r x; pytest"), scope("a", check="pytest"), ""),
        (scope("a"), scope("a", check="./mine"), "kinds of commands: other"),
    ],
)
def test_a_replan_asks_again_only_if_it_asks_for_more(before: Scope, now: Scope, word: str) -> None:
    found = reasons_to_ask(ALWAYS, now, before)
    assert (len(found), word in "".join(found)) == (1 if word else 0, True), found


@pytest.mark.parametrize(
    ("before", "now", "asks"),
    [("6", "6", False), ("6", "5.5", False), ("6", "7", True), (None, "7", True), ("6", "1", False)],
)
def test_a_replan_asks_again_if_it_costs_more(before: str | None, now: str, asks: bool) -> None:
    assert bool(reasons_to_ask(ABOVE, scope("a", usd=now), scope("a", usd=before))) is asks


def test_a_scope_is_stored_whole() -> None:
    whole = scope("a", "b/**", check="curl x", usd="1.5")
    assert scope_from(whole.stored()) == whole


@pytest.mark.parametrize(
    "given",
    [
        {"policy": "sometimes"}, {"hours": 0}, {"hours": 2.5}, {"hours": True}, {"on_expiry": "approve"}, {"above_usd": "-1"},
        {"above_usd": "NaN"}, {"above_usd": "lots"}, {"protected": [""]}, {"protected": ["x"] * 51}, {"four_eyes": "yes"}, {"k": 2},
    ],
)  # fmt: skip
def test_a_policy_that_cannot_be_is_refused(given: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        policy_of(given)


def test_nobodys_wish_is_stored_as_nothing() -> None:
    assert policy_of({}).stored() == policy_of(None).stored() == {}
    assert policy_of(policy_of({"policy": "always", "protected": ["a"]}).stored()) == ApprovalPolicy(
        "always", protected=("a",)
    )
