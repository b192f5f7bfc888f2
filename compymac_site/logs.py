"""What must not stand in a log: the token of a login link."""

from __future__ import annotations

import logging
import re

LOGIN_LINK = re.compile(r"(/login/link/)[^\s\"'?#]+")


class Scrubbed(logging.Formatter):
    """The last step before a line is written, so that messages, arguments and tracebacks are all covered."""

    def format(self, record: logging.LogRecord) -> str:
        return LOGIN_LINK.sub(r"\1***", super().format(record))
