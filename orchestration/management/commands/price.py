"""manage.py price list|set: what a model costs, where the public prices do not know it."""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from orchestration.errors import BadInput
from orchestration.management.problems import in_a_sentence
from orchestration.models import ModelPrice, Team
from orchestration.selectors.access import find_team
from orchestration.services.prices import set_price
from orchestration.terminal import plain

SET = "price set 'qwen3-*' --input 0.9 --cached 0.45 --output 4.5 --provider api.venice.ai --from 2026-12-01"


class Command(BaseCommand):
    help = (
        "Prices of models in USD per million tokens. What is not here has its public price, where one is known; else it is unknown, "
        "and a limit in USD needs one in tokens beside it."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
        listed = _verb(verbs, "list", "All prices of the table, the newest of each model first.", "price list --json")
        made = _verb(verbs, "set", "A price that counts from now on, or from a date on.", SET)
        made.add_argument("model", help="its name as the server is asked for it, or a pattern such as 'qwen3-*'")
        made.add_argument("--input", required=True, metavar="USD", help="per million tokens of prompts")
        made.add_argument("--output", required=True, metavar="USD", help="per million tokens of answers")
        made.add_argument("--cached", metavar="USD", help="per million tokens that the provider had kept (as input)")
        made.add_argument("--provider", default="*", metavar="HOST", help="the server's name, or a pattern (*: any)")
        made.add_argument("--from", dest="since", metavar="DATE", help="2026-12-01, or with a time, in UTC (now)")
        for parser_of in (listed, made):
            parser_of.add_argument("--team", default="", metavar="TEAM", help="of one team (else: of all)")

    def handle(self, *args: Any, **options: Any) -> None:
        with in_a_sentence():
            team = find_team(Team.objects.all(), options["team"]) if options["team"] else None
            told, line = getattr(self, f"_{options['verb']}")(team, options)
        self.stdout.write(json.dumps(told, indent=1) if options["json"] else line)

    def _list(self, team: Team | None, options: dict[str, Any]) -> tuple[Any, str]:
        rows = ModelPrice.objects.select_related("team")
        told = [row_told(row) for row in (rows.filter(team=team) if team else rows)]
        none = f"no price is set; public ones are used where they are known. Example: manage.py {SET}"
        return told, "\n".join(_line(row) for row in told) or none

    def _set(self, team: Team | None, options: dict[str, Any]) -> tuple[Any, str]:
        made = set_price(
            options["model"],
            input_usd=options["input"],
            output_usd=options["output"],
            cached_input_usd=options["cached"],
            provider=options["provider"],
            team=team,
            effective_from=_since(options["since"]),
            by="shell",
        )
        return row_told(made), _line(row_told(made))


def row_told(row: ModelPrice) -> dict[str, Any]:
    return {
        "id": row.pk,
        "team": row.team.name if row.team else None,
        "provider": row.provider,
        "model": row.model,
        **{name: str(getattr(row, name)) for name in ("input_usd", "cached_input_usd", "output_usd")},
        "effective_from": row.effective_from.isoformat(),
        "by": row.by,
    }


def _line(row: dict[str, Any]) -> str:
    amounts = [f"{float(row[name]):g}" for name in ("input_usd", "cached_input_usd", "output_usd")]
    whose = f", team {row['team']}" if row["team"] else ""
    what = f"{amounts[0]} in, {amounts[1]} cached, {amounts[2]} out (USD per million tokens)"
    return plain(f"{row['model']} at {row['provider']}: {what} from {row['effective_from'][:16]} UTC{whose}")


def _since(text: str | None) -> datetime | None:
    if not text:
        return None
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise BadInput(f"a date looks like 2026-12-01, not {plain(text)[:40]!r}") from None
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def _verb(verbs: Any, name: str, words: str, example: str) -> argparse.ArgumentParser:
    added: argparse.ArgumentParser = verbs.add_parser(
        name, help=words, description=words, epilog=f"example: manage.py {example}"
    )
    added.add_argument("--json", action="store_true", help="print JSON on stdout")
    return added
