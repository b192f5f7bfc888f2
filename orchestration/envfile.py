"""The first start's `.env`: random keys, and a hint for each setting that people look for. It is never overwritten."""

from __future__ import annotations

import importlib
import os
import secrets
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from django.conf import settings

TEXT = """\
# Settings of this installation, made by its first start. Keep this file secret. The environment wins over what stands here;
# every other setting is in compymac_site/settings.py.

SECRET_KEY={secret_key}
# for /metrics from another machine: Authorization: Bearer …
METRICS_TOKEN={metrics_token}
# the database of docker-compose.yml; nothing else reads it
POSTGRES_PASSWORD={postgres_password}

# ---- the model: any server with OpenAI's chat completions
#LLM_BASE_URL=http://127.0.0.1:11434/v1
#LLM_MODEL=qwen3-coder
#LLM_API_KEY=

# ---- folders below which goals in the panel may start from a git repository, separated by commas
#REPO_ROOTS=/home/me/projects

# ---- where the panel listens, and the address that people type (https://… behind a TLS proxy)
#HOST=127.0.0.1
#PORT=8000
#BASE_URL=https://panel.example.org

# ---- several machines: the same two addresses everywhere
#DATABASE_URL=postgres://compymac:PASSWORD@db/compymac
#REDIS_URL=redis://:PASSWORD@queue:6379/0
"""


def make(path: Path) -> bool:
    """Write it, readable by its owner only; False if there is one. Atomic: nobody ever sees half of it, and two starts make one."""
    if path.exists():
        return False
    names = ("secret_key", "metrics_token", "postgres_password")
    text = TEXT.format(**{name: secrets.token_urlsafe(48 if name == "secret_key" else 24) for name in names})
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.")  # its mode is 0600
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
        os.link(draft, path)  # unlike a rename, it refuses to replace
    except FileExistsError:
        return False
    finally:
        with suppress(FileNotFoundError):
            Path(draft).unlink()
    return True


def read_settings_anew() -> None:
    """What `.env` and the environment say now; for a process that has just begun, and where nothing has used them yet."""
    module = importlib.reload(sys.modules[os.environ["DJANGO_SETTINGS_MODULE"]])
    for name in filter(str.isupper, dir(module)):
        setattr(settings, name, getattr(module, name))
