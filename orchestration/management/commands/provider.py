"""manage.py provider add|change|list|test|remove|reseal: model servers that goals may use, each with its key and its limits."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from agents.errors import AgentError
from agents.ports import CompletionRequest, Message
from orchestration import llms, services
from orchestration.errors import BadInput
from orchestration.management.problems import EXIT_ERROR, in_a_sentence
from orchestration.models import Provider, Team
from orchestration.services.providers import LIMITS
from orchestration.terminal import plain

VERBS = (
    ("add", "A new one.", "provider add venice --base-url https://api.venice.ai/api/v1 --key-file venice.key"),
    ("change", "Other values; what is not said stays.", "provider change venice --requests-per-minute 50"),
    ("list", "All of them; no key is ever shown.", "provider list"),
    ("test", "Ask it one small question.", "provider test venice --model qwen3-coder"),
    ("remove", "Goals that still name it end with a sentence that says so.", "provider remove venice"),
    ("reseal", "Store every key under the SECRET_KEY of now.", "provider reseal"),
)
LONGEST_FILE = 10_000


class Command(BaseCommand):
    help = (
        "Providers: goals name their models as provider/model. Without --team it is for the whole installation. "
        "A key comes from a file or from standard input, never from the command line, and is never shown again."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
        for name, words, example in VERBS:
            made: argparse.ArgumentParser = verbs.add_parser(
                name, help=words, description=words, epilog=f"example: manage.py {example}"
            )
            made.add_argument("--json", action="store_true", help="print JSON on stdout")
            if name == "reseal":
                continue
            if name != "list":
                made.add_argument("name", help="what goals call it")
            made.add_argument("--team", default="", metavar="TEAM", help="of this team alone")
            if name == "test":
                made.add_argument(
                    "--model", default="", metavar="M", help="which of its models (the first that it names)"
                )
            if name in ("add", "change"):
                _add_values(made, is_new=name == "add")

    def handle(self, *args: Any, **options: Any) -> None:
        with in_a_sentence():
            told, line = getattr(self, f"_{options['verb']}")(options)
        self.stdout.write(json.dumps(told, indent=1) if options["json"] else line)

    def _add(self, options: dict[str, Any]) -> tuple[Any, str]:
        made = services.add_provider(options["name"], team=_team(options), by="shell", **_said(options))
        key = "with a key" if made.has_key else "without a key"
        return row_of(
            made
        ), f"{made} is at {plain(made.base_url)}, {key}; try it: manage.py check_llm --provider {made}"

    def _change(self, options: dict[str, Any]) -> tuple[Any, str]:
        changed = services.change_provider(_named(options).pk, by="shell", **_said(options))
        return row_of(changed), f"{changed} is changed"

    def _list(self, options: dict[str, Any]) -> tuple[Any, str]:
        rows = Provider.objects.select_related("team").order_by("name", "team__name")
        if options["team"]:
            rows = rows.filter(team=_team(options))
        found = [row_of(row) for row in rows]
        return found, "\n".join(map(_line, found)) or "none: goals use the model of LLM_BASE_URL and LLM_MODEL"

    def _test(self, options: dict[str, Any]) -> tuple[Any, str]:
        row, begun = _named(options), time.monotonic()
        model = options["model"] or next(iter(row.model_names), "")
        if not model:
            raise BadInput(f"say which model: manage.py provider test {row} --model M")
        try:
            ask = CompletionRequest((Message("user", "Answer with the one word: ok"),), max_tokens=200)
            answer = llms.client_of(row, model).complete(ask)
        except AgentError as error:
            raise CommandError(plain(error), returncode=EXIT_ERROR) from error
        seconds = round(time.monotonic() - begun, 2)
        told = {"provider": row.name, "model": answer.model, "seconds": seconds, "tokens": answer.usage.total}
        return told, f"{plain(answer.model)} at {row} answered in {seconds:g} s ({answer.usage.total} tokens)"

    def _remove(self, options: dict[str, Any]) -> tuple[Any, str]:
        gone = services.remove_provider(_named(options).pk, by="shell")
        return {"removed": gone.name}, f"{gone} is removed, and its key with it"

    def _reseal(self, options: dict[str, Any]) -> tuple[Any, str]:
        count = services.reseal_providers()
        return {
            "resealed": count
        }, f"{count} key(s) are stored under the SECRET_KEY of now; older ones can be forgotten"


def _add_values(parser: argparse.ArgumentParser, *, is_new: bool) -> None:
    parser.add_argument("--base-url", required=is_new, metavar="URL", help="where its /chat/completions is")
    parser.add_argument("--key-file", metavar="FILE", help="its key (- for standard input; an empty one forgets it)")
    parser.add_argument(
        "--model", action="append", metavar="M", help="a model that may be used; repeat it (default: any)"
    )
    for name in LIMITS:
        words = "0: none" if name != "context_tokens" else "what prompt and answer may hold together; 0: unknown"
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, metavar="N", help=words)


def _said(options: dict[str, Any]) -> dict[str, Any]:
    said = {name: options[name] or None for name in LIMITS if options[name] is not None}
    if options["base_url"] is not None:
        said["base_url"] = options["base_url"]
    if options["model"] is not None:
        said["model_names"] = [name for name in options["model"] if name]
    if options["key_file"] is not None:
        said["key"] = _read(options["key_file"])
    return said


def _read(name: str) -> str:
    try:
        text = sys.stdin.read(LONGEST_FILE) if name == "-" else Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"the key file {name!r} cannot be read: {error}") from error
    return text.strip()


def _team(options: dict[str, Any]) -> Team | None:
    return services.team_of_machine(options["team"]) if options["team"] else None


def _named(options: dict[str, Any]) -> Provider:
    return services.provider_named(options["name"], _team(options))


def row_of(row: Provider) -> dict[str, Any]:
    """Whether it has a key, never the key."""
    return {
        "id": str(row.pk),
        "name": row.name,
        "team": row.team.name if row.team else None,
        "base_url": row.base_url,
        "has_key": row.has_key,
        "models": row.model_names,
        **{name: getattr(row, name) for name in LIMITS},
    }


def _line(row: dict[str, Any]) -> str:
    whose = f"team {row['team']}" if row["team"] else "installation"
    limits = ", ".join(f"{row[name]} {name.replace('_', ' ')}" for name in LIMITS if row[name])
    parts = [
        plain(row["base_url"]),
        whose,
        "key" if row["has_key"] else "no key",
        limits,
        plain(", ".join(row["models"])),
    ]
    return f"{row['name']:20} " + " · ".join(part for part in parts if part)
