"""All settings, from the environment; every value has a default that works on a laptop with nothing on it.

A bad value stops the start with its name in the message. Secrets may also come from a file: NAME_FILE=/path instead of NAME.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import environ
from kombu import Queue

BASE_DIR = Path(__file__).resolve().parent.parent

env = environ.FileAwareEnv()
environ.Env.read_env(str(BASE_DIR / ".env"))


def secret(name: str, default: str = "") -> str:
    """A secret from NAME or NAME_FILE, without the newline that editors leave."""
    return str(env.str(name, default=default)).strip()


# ---- Django

DATA_DIR = Path(env.str("DATA_DIR", default=str(BASE_DIR / ".data"))).resolve()
DEBUG = env.bool("DEBUG", default=False)
SECRET_KEY = secret("SECRET_KEY", "insecure-development-key")
BASE_URL = env.str("BASE_URL", default="http://127.0.0.1:8000").rstrip("/")
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = BASE_URL.startswith("https://")

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_filters",
    "django_htmx",
    "csp",
    "django_celery_results",
    "django_celery_beat",
    "orchestration",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "orchestration.views.middleware.LoginRequired",
]
LOGIN_URL = "orchestration:login"
LOGIN_REDIRECT_URL = "orchestration:overview"
LOGOUT_REDIRECT_URL = "orchestration:login"
# Nothing inline, nothing from elsewhere: what a model or a command wrote could become neither script nor style nor request.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "connect-src": ["'self'"],
        "object-src": ["'none'"],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
        "form-action": ["'self'"],
    }
}
MESSAGE_TAGS = {25: "good", 30: "attention", 40: "bad"}  # success, warning, error: the panel's own colour roles
ROOT_URLCONF = "compymac_site.urls"
WSGI_APPLICATION = "compymac_site.wsgi.application"
ASGI_APPLICATION = "compymac_site.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
STATIC_URL = "static/"
STATICFILES_DIRS = [BASE_DIR / "static"]

WHITENOISE_USE_FINDERS = True  # no collectstatic: the server finds the files of the project and of the packages itself
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True

# ---- database: SQLite beside the data by default, PostgreSQL by DATABASE_URL alone

DATABASE_URL = secret("DATABASE_URL", f"sqlite:///{DATA_DIR / 'compymac.sqlite3'}")
DATABASE_POOL_SIZE = env.int("DATABASE_POOL_SIZE", default=12)

SQLITE_OPTIONS = {
    # A deferred transaction that reads and then writes fails at once with "database is locked", whatever the timeout.
    "transaction_mode": "IMMEDIATE",
    "timeout": 20,
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
}
POSTGRES_SESSION = (
    "-c lock_timeout=5s -c idle_in_transaction_session_timeout=15s -c statement_timeout=30s -c tcp_user_timeout=10000"
)


def database(url: str) -> dict[str, Any]:
    """Django's settings for a database address; each kind of server gets the options that our transactions rely on."""
    config: dict[str, Any] = environ.Env.db_url_config(url)
    if config["ENGINE"].endswith("sqlite3"):
        config["OPTIONS"] = SQLITE_OPTIONS
    else:
        # 100 threads share few connections: one is only held for a transaction, never while a model or a command runs.
        config["OPTIONS"] = {
            "options": POSTGRES_SESSION.replace(" -c tcp_user_timeout=10000", ""),
            "tcp_user_timeout": 10000,
            "pool": {"min_size": 0, "max_size": DATABASE_POOL_SIZE, "timeout": 15},
        }
    return config


DATABASES = {"default": database(DATABASE_URL)}
if DATABASE_URL.startswith("sqlite"):
    Path(DATABASES["default"]["NAME"]).parent.mkdir(parents=True, exist_ok=True)

# ---- Redis and Celery: a lossy wake-up (reference: celery-redis.md); rows are the truth

_broker, _redis = secret("CELERY_BROKER_URL"), secret("REDIS_URL")
# `manage.py up` starts a Redis of our own where none is named, and leaves its address here.
OWN_REDIS = not (_broker or _redis)
OWN_REDIS_FILE = DATA_DIR / "redis.url"
_own = OWN_REDIS_FILE.read_text().strip() if OWN_REDIS and OWN_REDIS_FILE.exists() else ""
REDIS_URL = _redis or _broker or _own or "redis://127.0.0.1:6379/0"
CELERY_BROKER_URL = _broker or REDIS_URL
CELERY_RESULT_BACKEND = env.str("CELERY_RESULT_BACKEND", default="django-db")
CELERY_TASK_SERIALIZER = "json"
CELERY_RESULT_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_RESULT_ACCEPT_CONTENT = ["json"]
CELERY_TASK_ACKS_LATE = False  # no second copy of a message while the first runs: the claim decides, not the broker
CELERY_TASK_REJECT_ON_WORKER_LOST = False  # a task that kills its worker would come back in an endless hot loop
CELERY_TASK_IGNORE_RESULT = False  # a person's own .delay().get() works; the engine publishes with ignore_result
CELERY_TASK_STORE_ERRORS_EVEN_IF_IGNORED = True  # operators see failures; successes cost nothing
CELERY_TASK_PUBLISH_RETRY = False  # the housekeeper is the retry
CELERY_TASK_DEFAULT_QUEUE = "default"
# A bare worker serves all of them; `--queues=` narrows it.
CELERY_TASK_QUEUES = [Queue(name) for name in ("planning", "execution", "review", "default")]
CELERY_WORKER_PREFETCH_MULTIPLIER = 1  # a message must not wait behind a long model call while others idle
CELERY_WORKER_DISABLE_PREFETCH = True
CELERY_WORKER_POOL = "threads"  # the work is waiting; 100 slots cost 46 MiB
CELERY_WORKER_CONCURRENCY = env.int("WORKER_THREADS", default=32)
CELERY_WORKER_SEND_TASK_EVENTS = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True  # a worker may start before Redis
CELERY_BROKER_POOL_LIMIT = 4
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": 3600,
    "unacked_restore_interval": 5,
    "unacked_restore_throttle": 1,
    "socket_timeout": 5,  # without it a publish waits for ever on a dead connection
    "socket_connect_timeout": 2,
    "socket_keepalive": True,
    "health_check_interval": 25,
}
CELERY_TIMEZONE = "UTC"
CELERY_ENABLE_UTC = True
CELERY_BEAT_SCHEDULER = "django_celery_beat.schedulers:DatabaseScheduler"
CELERY_BEAT_SCHEDULE = {"sweep": {"task": "sweep", "schedule": 30.0, "options": {"queue": "default", "expires": 30}}}
STORE_RESULTS = env.bool("CELERY_STORE_RESULTS", default=False)

# ---- the engine

LEASE_SECONDS = env.float("LEASE_SECONDS", default=30.0)
HOUSEKEEPER_SECONDS = env.float("HOUSEKEEPER_SECONDS", default=5.0)
MAX_LOSSES = env.int("MAX_LOSSES", default=5)
RUN_DEADLINE_SECONDS = {
    "plan": env.int("PLAN_DEADLINE_SECONDS", default=1800),
    "step": env.int("STEP_DEADLINE_SECONDS", default=3600),
    "review": env.int("REVIEW_DEADLINE_SECONDS", default=1800),
}
GOAL_LIMITS = {
    "calls": env.int("GOAL_MAX_CALLS", default=200),
    "tokens": env.int("GOAL_MAX_TOKENS", default=2_000_000),
    "commands": env.int("GOAL_MAX_COMMANDS", default=2_000),
    "seconds": env.int("GOAL_MAX_SECONDS", default=7200),
}
GOAL_TEXT_MAX_BYTES = env.int("GOAL_TEXT_MAX_BYTES", default=100_000)
MAX_PARALLEL_STEPS = env.int("MAX_PARALLEL_STEPS", default=8)
CHECK_TIMEOUT_SECONDS = env.int("CHECK_TIMEOUT_SECONDS", default=900)
COMMAND_TIMEOUT_SECONDS = env.int("COMMAND_TIMEOUT_SECONDS", default=120)
AGENT_MAX_STEPS = env.int("AGENT_MAX_STEPS", default=20)

# ---- artifacts

ARTIFACT_TTL_SECONDS = env.int("ARTIFACT_TTL_SECONDS", default=86_400)
ARTIFACT_MAX_BYTES = env.int("ARTIFACT_MAX_BYTES", default=32 * 1024 * 1024)

# ---- the outer world: a language model, a sandbox, repositories

LLM_ENVIRONMENT = {
    name: secret(name)
    for name in (
        "LLM_BASE_URL",
        "LLM_MODEL",
        "LLM_API_KEY",
        "VENICE_API_KEY",
        "LLM_MAX_TOKENS",
        "LLM_TEMPERATURE",
        "LLM_TIMEOUT",
    )
}
LLM_TOOL_CALLS = env.bool("LLM_TOOL_CALLS", default=True)
SANDBOX = env.str("SANDBOX", default="auto")
SANDBOX_PARALLEL = env.int("SANDBOX_PARALLEL", default=0)  # 0: twice the cores
WORKSPACES_DIR = Path(env.str("WORKSPACES_DIR", default=str(DATA_DIR / "workspaces")))
REPO_ROOTS = [Path(root).resolve() for root in env.list("REPO_ROOTS", default=[])]

# ---- logs

LOG_LEVEL = env.str("LOG_LEVEL", default="INFO")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": LOG_LEVEL},
    # httpx logs each address that it asks, query included
    "loggers": {"httpx": {"level": "WARNING"}, "httpcore": {"level": "WARNING"}},
}
