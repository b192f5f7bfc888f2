"""manage.py evaluate: a task bank through the real engine, in an installation of its own. See `orchestration.evaluation`."""

from __future__ import annotations

import json
import signal
import sys
from argparse import RawDescriptionHelpFormatter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from orchestration import story
from orchestration.equipment import sandbox_provider
from orchestration.errors import BadInput
from orchestration.evaluation.adding import add_case
from orchestration.evaluation.cases import Case, suite_in
from orchestration.evaluation.installation import Scripted, new_folder, run_inside
from orchestration.evaluation.report import compared, report, table
from orchestration.evaluation.running import model_name, run_suite
from orchestration.management.problems import in_a_sentence
from orchestration.states import Strategy

NOT_SO = 3  # something was said to be done, and it is not
EPILOG = """examples:
  manage.py evaluate examples/eval --scripted                a crew that is wrong in 30 % of its attempts and approves everything
  manage.py evaluate examples/eval --model qwen3-coder       your model (LLM_BASE_URL …)
  manage.py evaluate examples/eval --rollouts 3 --strategy best_of_n --output best.json
  manage.py evaluate --compare once.json best.json
  manage.py evaluate add last --to my-suite --name login     a finished goal becomes a case

exit codes: 0 nothing was said to be done that is not; 3 something was; 1 error; 2 usage"""


class Command(BaseCommand):
    help = "How good is it? Solved, said done but not solved, failed honestly; cost, time and retries of a task bank."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.formatter_class = RawDescriptionHelpFormatter
        parser.epilog = EPILOG
        parser.add_argument(
            "words", nargs="*", metavar="SUITE | add GOAL", help="a folder of cases; or a goal that becomes one"
        )
        parser.add_argument("--rollouts", type=int, default=1, metavar="N", help="of each goal")
        parser.add_argument("--strategy", choices=Strategy.values, default=Strategy.EARLY_TERMINATION.value)
        parser.add_argument("--model", default="", help="instead of LLM_MODEL")
        parser.add_argument(
            "--only", action="append", default=[], metavar="CASE", help="this case alone; repeat for more"
        )
        parser.add_argument("--scripted", action="store_true", help="the script that is wrong and approves everything")
        parser.add_argument("--wrong", type=float, default=0.3, metavar="SHARE", help="how often it is wrong (0.3)")
        parser.add_argument("--seed", type=int, default=1, metavar="N", help="in which attempts")
        parser.add_argument("--output", default="", metavar="FILE", help="where the report goes, as JSON")
        parser.add_argument("--json", action="store_true", help="print it on stdout, too")
        parser.add_argument("--compare", nargs=2, metavar=("A", "B"), help="two reports side by side")
        parser.add_argument("--to", default="", metavar="FOLDER", help="with add: the suite")
        parser.add_argument("--name", default="", help="with add: the case")
        parser.add_argument("--inside", default="", help="(for the command itself)")

    def handle(self, *args: Any, **options: Any) -> None:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # an exit, so that what was started is stopped
        with in_a_sentence():
            code = self._do(options)
        if code:
            sys.exit(code)

    def _do(self, options: dict[str, Any]) -> int:
        words = options["words"]
        if options["compare"]:
            return self._compare(*map(Path, options["compare"]))
        if len(words) == 2 and words[0] == "add":
            return self._add(words[1], options)
        if len(words) != 1:
            raise BadInput("name one suite, for example: manage.py evaluate examples/eval --scripted")
        suite = Path(words[0]).resolve()
        cases = self._cases(suite, options["only"])
        if options["inside"]:
            return self._inside(cases, Path(options["inside"]), options)
        return self._outside(suite, cases, options)

    # ---- its parts

    def _cases(self, suite: Path, only: list[str]) -> list[Case]:
        found = suite_in(suite)
        if unknown := sorted(set(only) - {case.name for case in found}):
            raise BadInput(f"{suite} has no case {', '.join(unknown)}")
        return [case for case in found if not only or case.name in only]

    def _outside(self, suite: Path, cases: list[Case], options: dict[str, Any]) -> int:
        base = Path(settings.BASE_DIR)
        folder = new_folder(base / ".evaluate")
        scripted = (
            Scripted(suite, options["wrong"], options["seed"], folder / "model.jsonl") if options["scripted"] else None
        )
        self._talk(f"▸ {len(cases)} case(s) of {suite}, in {folder}")
        words = [str(suite), "--rollouts", str(options["rollouts"]), "--strategy", options["strategy"]]
        words += [word for name in options["only"] for word in ("--only", name)]
        words += ["--output", str(Path(options["output"] or folder / "report.json").resolve())]
        words += ["--json"] if options["json"] else []
        code = run_inside(folder, base, words, model=options["model"], scripted=scripted)
        if code not in (0, NOT_SO):
            raise BadInput(f"it broke; the end of {folder / 'engine.log'}:\n{_end_of(folder / 'engine.log')}")
        return code

    def _inside(self, cases: list[Case], folder: Path, options: dict[str, Any]) -> int:
        wish = {"rollouts": options["rollouts"], "strategy": options["strategy"]}
        say = self._talk if options["json"] else self._say
        found = sorted(run_suite(cases, folder / "repositories", wish, say), key=lambda one: one.case)
        about = {"suite": options["words"][0], "model": model_name(), **wish, "at": datetime.now(UTC).isoformat()}
        told = report(found, about)
        Path(options["output"]).write_text(json.dumps(told, indent=1) + "\n")
        if options["json"]:
            self._say(json.dumps(told, indent=1))
        else:
            for line in ("", *table(told), f"the report: {options['output']}"):
                self._say(line)
        return NOT_SO if told["totals"]["said_done_not_solved"] else 0

    def _add(self, goal: str, options: dict[str, Any]) -> int:
        if not options["to"]:
            raise BadInput("say where the case goes: manage.py evaluate add GOAL --to SUITE")
        made = add_case(story.find_goal(goal), Path(options["to"]).resolve(), options["name"], sandbox_provider())
        self._say(str(made))
        return 0

    def _compare(self, first: Path, second: Path) -> int:
        for line in compared(_read(first), _read(second)):
            self._say(line)
        return 0

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()

    def _talk(self, line: str) -> None:
        self.stderr.write(line, style_func=lambda text: text)


def _read(path: Path) -> dict[str, Any]:
    try:
        told = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} cannot be read as a report: {error}") from error
    if not isinstance(told, dict) or not {"totals", "cases"} <= told.keys():
        raise BadInput(f"{path} is no report of this command")
    return told


def _end_of(log: Path) -> str:
    return log.read_text(errors="replace")[-1500:].strip() if log.exists() else "(there is no log)"
