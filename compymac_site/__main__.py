"""`python -m compymac_site worker|beat …`: Celery's own two commands, with their own words.

`celery -A compymac_site …` does the same, and also imports Celery's other commands and the plugins that are installed: 10 MB of each
process, and half a second.
"""

from __future__ import annotations

import sys

from celery.bin.base import CLIContext
from celery.bin.beat import beat
from celery.bin.worker import worker

from compymac_site.celery import app

COMMANDS = {"worker": worker, "beat": beat}


def main(words: list[str]) -> None:
    quiet = words[:1] == ["--quiet"]  # no banner
    name, *options = words[quiet:] or [""]
    if name not in COMMANDS:
        sys.exit(f"usage: python -m compymac_site [--quiet] {'|'.join(COMMANDS)} …")
    about = CLIContext(app=app, no_color=False, workdir=None, quiet=quiet)
    COMMANDS[name].main(options, f"celery {name}", auto_envvar_prefix=f"CELERY_{name.upper()}", obj=about)


if __name__ == "__main__":
    main(sys.argv[1:])
