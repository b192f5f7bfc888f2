"""manage.py check_llm: try a model with a few real calls, and remember what it can do."""

from __future__ import annotations

import json
import sys
from argparse import RawDescriptionHelpFormatter
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from agents.errors import AgentError
from agents.llm.registry import from_environment
from agents.llm.trial import Trial, try_model
from orchestration import llms, services
from orchestration.doctor import Finding
from orchestration.errors import BadInput
from orchestration.management.findings import tell
from orchestration.management.problems import EXIT_ERROR, in_a_sentence
from orchestration.states import AnswerShape
from orchestration.terminal import plain


class Command(BaseCommand):
    help = (
        "Try a model live: JSON by schema, any JSON, tool calls, whether it says what it billed, its limits. Costs a few small "
        "calls. What it can do is stored; agents then ask it so (workers look when they start). Exit codes: 0 it answers, 1 not."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.formatter_class = RawDescriptionHelpFormatter
        parser.epilog = (
            "examples:\n  manage.py check_llm                                   (the model of LLM_BASE_URL and LLM_MODEL)\n"
            "  manage.py check_llm --provider venice --model qwen3-coder"
        )
        parser.add_argument(
            "--provider", default="", metavar="P", help="one that was added (default: the machine's own)"
        )
        parser.add_argument("--model", default="", metavar="M", help="which (default: each that the provider names)")
        parser.add_argument("--team", default="", metavar="TEAM", help="whose provider")
        parser.add_argument("--json", action="store_true", help="print JSON on stdout")

    def handle(self, *args: Any, **options: Any) -> None:
        with in_a_sentence():
            try:
                found = [try_model(llm) for llm in _clients(options)]
            except AgentError as error:
                raise CommandError(plain(error), returncode=EXIT_ERROR) from error
            for trial in found:
                _remember(trial)
        if options["json"]:
            self.stdout.write(json.dumps([asdict(trial) for trial in found], indent=1))
        else:
            for trial in found:
                for finding in findings(trial):
                    tell(self.stdout, finding)
        if any(trial.problem for trial in found):
            sys.exit(EXIT_ERROR)


def _clients(options: dict[str, Any]) -> Iterator[Any]:
    if not options["provider"]:
        wanted = {"LLM_MODEL": options["model"]} if options["model"] else {}
        yield from_environment(settings.LLM_ENVIRONMENT | wanted)
        return
    team = services.team_of_machine(options["team"]) if options["team"] else None
    provider = services.provider_named(options["provider"], team)
    models = [options["model"]] if options["model"] else provider.model_names
    if not models:
        raise BadInput(f"say which model: manage.py check_llm --provider {provider} --model M")
    yield from (llms.client_of(provider, model) for model in models)


def _remember(trial: Trial) -> None:
    """Of one that does not answer nothing is known, not even that it cannot."""
    if not trial.problem:
        found = {name: getattr(trial, name) for name in ("answers", "tool_calls", "usage", "cached", "limits")}
        services.record_capability(trial.name, **found)


def findings(trial: Trial) -> Iterator[Finding]:
    name = plain(trial.name)
    if trial.problem:
        yield Finding(name, "fail", plain(trial.problem), "Nothing was stored about it.")
        return
    yield Finding(
        name, "ok", f"{plain(trial.model)} answered, {trial.calls} calls, {trial.tokens} tokens, {trial.seconds:g} s"
    )
    good = trial.answers == AnswerShape.JSON_SCHEMA
    yield Finding(
        "JSON", "ok" if good else "warn", AnswerShape(trial.answers).label, "Its answers are checked all the same."
    )
    yield _yes(
        "tool calls", trial.tool_calls, "it calls tools", "it calls none", "Agents have it write its actions down."
    )
    yield _yes("usage", trial.usage, "it says what it billed", "it does not", "Tokens are estimated by size.")
    yield _yes("cache", trial.cached, "it says what came from its cache", "it does not", "No hit rate is shown.")
    limits = ", ".join(f"{value} {key.replace('_', ' ')}" for key, value in sorted(trial.limits.items()))
    yield Finding("limits", "ok", limits or "it says nothing of them")


def _yes(name: str, good: bool, yes: str, no: str, remedy: str) -> Finding:
    return Finding(name, "ok", yes) if good else Finding(name, "warn", no, remedy)
