"""All settings, from the environment; every value has a default that works on a laptop with nothing on it.

A bad value stops the start with its name in the message. Secrets may also come from a file: NAME_FILE=/path instead of NAME.
"""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured
from kombu import Queue

BASE_DIR = Path(__file__).resolve().parent.parent


class Environment(environ.FileAwareEnv):  # type: ignore[misc]
    """The environment; a value that cannot be used is named: a number that is none, a NAME_FILE that is not there."""

    def get_value(self, var: str, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().get_value(var, *args, **kwargs)
        except ValueError as error:
            raise ImproperlyConfigured(f"{var}: {error}") from error
        except OSError as error:
            raise ImproperlyConfigured(f"{var}_FILE: {error.strerror}: {error.filename}") from error


env = Environment()
ENV_FILE = Path(os.environ.get("ENV_FILE") or BASE_DIR / ".env")  # made by the first `manage.py up`
environ.Env.read_env(str(ENV_FILE))


def secret(name: str, default: str = "") -> str:
    """A secret from NAME or NAME_FILE, without the newline that editors leave."""
    return str(env.str(name, default=default)).strip()


def address(name: str, *schemes: str) -> str:
    """A secret that is empty or a URL; the message does not show it.

    Of `queue:6379` Celery would make an AMQP broker, and try it for ever.
    """
    value = secret(name)
    if value and (urlsplit(value).scheme not in schemes or not urlsplit(value).hostname):
        raise ImproperlyConfigured(
            f"{name} is not an address: it begins with {' or '.join(f'{s}://' for s in schemes)}"
        )
    return value


def at_least(least: int, name: str, default: int) -> int:
    """A number with which something still happens."""
    value = int(env.int(name, default=default))
    if value < least:
        raise ImproperlyConfigured(f"{name} must be at least {least}, not {value}")
    return value


# ---- Django

DATA_DIR = Path(env.str("DATA_DIR", default=str(BASE_DIR / ".data"))).resolve()
DEBUG = env.bool("DEBUG", default=False)
INSECURE_KEY = "insecure-development-key"
SECRET_KEY = secret("SECRET_KEY", INSECURE_KEY) or INSECURE_KEY
# Older ones, newest first: what they signed or sealed is still read (`manage.py provider reseal` seals anew).
SECRET_KEY_FALLBACKS = [key.strip() for key in secret("SECRET_KEY_FALLBACKS").split(",") if key.strip()]
HOST = env.str("HOST", default="") or "127.0.0.1"  # where `manage.py up` listens
PORT = env.int("PORT", default=8000) if env.str("PORT", default="") else 8000
# `manage.py up` takes the next port where that one is taken, and leaves its address here.
OWN_ADDRESS_FILE = DATA_DIR / "web.url"
_address = OWN_ADDRESS_FILE.read_text().strip() if OWN_ADDRESS_FILE.exists() else "http://127.0.0.1:8000"
BASE_URL = (address("BASE_URL", "http", "https") or _address).rstrip("/")
# Always: loopback (the probes of this machine) and the host of BASE_URL.
ALLOWED_HOSTS = [
    *env.list("ALLOWED_HOSTS", default=[]),
    "localhost",
    "127.0.0.1",
    "[::1]",
    urlsplit(BASE_URL).hostname or "localhost",
]
# The server itself speaks http, also where people come by a proxy with https.
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[BASE_URL] if BASE_URL.startswith("https://") else [])
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = BASE_URL.startswith("https://")

INSTALLED_APPS = [
    "django.contrib.admin.apps.SimpleAdminConfig",  # its pages are found by urls.py
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
    "axes",
    "django_celery_results",
    "django_celery_beat",
    "orchestration",
]
MIDDLEWARE = [
    "orchestration.api.middleware.RequestId",
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
    "axes.middleware.AxesMiddleware",
]
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}Validator"}
    for name in ("UserAttributeSimilarity", "MinimumLength", "CommonPassword", "NumericPassword")
]
# Guessing passwords: ten failures for one name from one address, then a pause. A one-time login link is not affected.
AXES_FAILURE_LIMIT = 10
AXES_COOLOFF_TIME = timedelta(minutes=15)
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_LOCKOUT_TEMPLATE = "orchestration/login_locked.html"
AXES_RESET_ON_SUCCESS = True
AXES_DISABLE_ACCESS_LOG = True
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
                "orchestration.views.shell.shell",
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

# ---- the REST API (orchestration/api)

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "orchestration.api.authentication.BearerToken",
        "rest_framework.authentication.SessionAuthentication",  # for the documentation's "try it"; with CSRF
    ],
    "DEFAULT_PERMISSION_CLASSES": ["orchestration.api.permissions.Allowed"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["orchestration.api.parsers.BoundedJSON"],
    "DEFAULT_FILTER_BACKENDS": ["orchestration.api.querying.Filters"],
    "DEFAULT_PAGINATION_CLASS": "orchestration.api.pagination.Pages",
    "DEFAULT_SCHEMA_CLASS": "orchestration.api.schema.Documented",
    "DEFAULT_METADATA_CLASS": None,
    "EXCEPTION_HANDLER": "orchestration.api.problems.handle",
    "URL_FORMAT_OVERRIDE": None,
    "UNICODE_JSON": False,  # what a model wrote may hold half a surrogate pair, which no UTF-8 can say
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "CompyMac control panel",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "DESCRIPTION": "Hand goals to LLM agents and trust what comes back. How to begin: docs/api.md in the repository.",
    "SCHEMA_PATH_PREFIX": r"/api/v1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.IsAuthenticated"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SWAGGER_UI_SETTINGS": {"deepLinking": True, "validatorUrl": None},
    "COMPONENT_SPLIT_REQUEST": False,
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    "DISABLE_DOCSTRING_DESCRIPTIONS": True,  # they are for whoever reads the code
    "ENUM_NAME_OVERRIDES": {
        name: f"orchestration.states.{name}"
        for name in (
            *("GoalStatus", "RolloutStatus", "StepStatus", "RunStatus", "CallStatus"),
            *("RunKind", "CallKind", "PlanOrigin", "CheckOrigin", "ApprovalStatus", "QuestionStatus"),
        )
    },
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "orchestration.api.schema.complete",
    ],
}

# ---- database: SQLite beside the data by default, PostgreSQL by DATABASE_URL alone

DATABASE_URL = secret("DATABASE_URL", f"sqlite:///{DATA_DIR / 'compymac.sqlite3'}")
DATABASE_POOL_SIZE = env.int("DATABASE_POOL_SIZE", default=12)
# What a connection asks for the third time is planned once; a pgbouncer before 1.21 in transaction mode needs this off.
DATABASE_PREPARE = env.bool("DATABASE_PREPARE", default=True)

SQLITE_OPTIONS = {
    # A deferred transaction that reads and then writes fails at once with "database is locked", whatever the timeout.
    "transaction_mode": "IMMEDIATE",
    "timeout": 20,
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
}
POSTGRES_SESSION = "-c lock_timeout=5s -c idle_in_transaction_session_timeout=15s -c statement_timeout=30s"


def database(url: str) -> dict[str, Any]:
    """Django's settings for a database address; each kind of server gets the options that our transactions rely on."""
    if url.split(":", 1)[0] not in environ.Env.DB_SCHEMES:
        raise ImproperlyConfigured(
            "DATABASE_URL is not the address of a database: postgres://user:password@host/name, or sqlite:////path/to/file"
        )
    config: dict[str, Any] = environ.Env.db_url_config(url)
    if config["ENGINE"].endswith("sqlite3"):
        config["OPTIONS"] = SQLITE_OPTIONS
    else:
        # Only here: on SQLite nobody needs psycopg, which is 5 MB of each process.
        from compymac_site.pool import PooledConnection

        # 100 threads share few connections: one is only held for a transaction, never while a model or a command runs.
        config["CONN_HEALTH_CHECKS"] = True
        config["OPTIONS"] = {
            "options": POSTGRES_SESSION,
            "tcp_user_timeout": 10000,
            "pool": {
                "min_size": 0,
                "max_size": DATABASE_POOL_SIZE,
                "timeout": 15,
                "connection_class": PooledConnection,
            },
        }
        if DATABASE_PREPARE:
            config["OPTIONS"] |= {"server_side_binding": True, "prepare_threshold": 3}
    return config


DATABASES = {"default": database(DATABASE_URL)}
if DATABASE_URL.startswith("sqlite"):
    try:
        Path(DATABASES["default"]["NAME"]).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ImproperlyConfigured(f"the folder of the database cannot be made ({error}): set DATA_DIR") from error

# ---- Redis and Celery: a lossy wake-up (reference: celery-redis.md); rows are the truth

_broker, _redis = (address(name, "redis", "rediss") for name in ("CELERY_BROKER_URL", "REDIS_URL"))
# `manage.py up` starts a Redis of our own where none is named, and leaves its address here.
OWN_REDIS = not (_broker or _redis)
OWN_REDIS_FILE = DATA_DIR / "redis.url"
_own = OWN_REDIS_FILE.read_text().strip() if OWN_REDIS and OWN_REDIS_FILE.exists() else ""
REDIS_URL = _redis or _broker or _own or "redis://127.0.0.1:6379/0"
CELERY_BROKER_URL = _broker or REDIS_URL
CELERY_RESULT_BACKEND = env.str("CELERY_RESULT_BACKEND", default="django-db")
CELERY_RESULT_EXTENDED = True  # a stored result says which task it is of
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
# What a person calls by `.delay()` goes where the engine's own messages go, so that `--queues=planning,execution,review` has it.
CELERY_TASK_ROUTES = {
    "plan_task": {"queue": "planning"},
    "execute_step": {"queue": "execution"},
    "review_result": {"queue": "review"},
}
CELERY_WORKER_PREFETCH_MULTIPLIER = 1  # a message must not wait behind a long model call while others idle
CELERY_WORKER_DISABLE_PREFETCH = True
CELERY_WORKER_POOL = "threads"  # the work is waiting; 100 slots cost 46 MiB
CELERY_WORKER_CONCURRENCY = at_least(1, "WORKER_THREADS", 32)
CELERY_WORKER_SEND_TASK_EVENTS = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False
CELERY_BROKER_TRANSPORT = "compymac_site.transport:Transport"  # what is no message of ours must not end a worker
CELERY_WORKER_ETA_TASK_LIMIT = 1000
CELERY_BROKER_CHANNEL_ERROR_RETRY = True  # nor a key that holds something else than a queue
CELERY_BROKER_CONNECTION_MAX_RETRIES = None  # nor a Redis that is away for long: the housekeeper needs none
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True  # a worker may start before Redis
CELERY_BROKER_POOL_LIMIT = (
    10  # Flower asks 8 questions at once, each by two connections: less than 9 is a deadlock there
)
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
SCHEDULE_TICK_SECONDS = env.float("SCHEDULE_TICK_SECONDS", default=10.0)
CELERY_BEAT_SCHEDULE = {  # a tick that nobody took before the next one comes is worth nothing: it expires
    name: {"task": name, "schedule": seconds, "options": {"queue": "default", "expires": seconds}}
    for name, seconds in (("submit_due_goals", SCHEDULE_TICK_SECONDS), ("sweep", 30.0))
}
CELERY_BEAT_MAX_LOOP_INTERVAL = 5  # seconds; the database scheduler also sees changed rows so soon
CELERY_BEAT_SYNC_EVERY = 1  # its last tick is in the database at once, for whoever asks whether it lives
STORE_RESULTS = env.bool("CELERY_STORE_RESULTS", default=False)

# ---- the engine

LEASE_SECONDS = env.float("LEASE_SECONDS", default=30.0)
HOUSEKEEPER_SECONDS = env.float("HOUSEKEEPER_SECONDS", default=5.0)
# How long a worker that is told to stop waits for calls in flight, before it aborts them (which takes half as long at most).
DRAIN_SECONDS = env.float("DRAIN_SECONDS", default=15.0)
# A dependency (a model at its server, a sandbox service) that failed so often in a row is away: what needs it waits, and one run tries
# after so many seconds, then after twice as many, up to the longest.
BREAKER = {
    "failures": env.int("BREAKER_FAILURES", default=3),
    "first": env.float("BREAKER_FIRST_SECONDS", default=5.0),
    "longest": env.float("BREAKER_LONGEST_SECONDS", default=60.0),
}
MAX_LOSSES = env.int("MAX_LOSSES", default=5)
RUN_DEADLINE_SECONDS = {
    "plan": env.int("PLAN_DEADLINE_SECONDS", default=1800),
    "step": env.int("STEP_DEADLINE_SECONDS", default=3600),
    "review": env.int("REVIEW_DEADLINE_SECONDS", default=1800),
    "exam": env.int("EXAM_DEADLINE_SECONDS", default=1800),
    "judge": env.int("JUDGE_DEADLINE_SECONDS", default=1800),
}
GOAL_LIMITS = {
    "calls": env.int("GOAL_MAX_CALLS", default=200),
    "tokens": env.int("GOAL_MAX_TOKENS", default=2_000_000),
    "commands": env.int("GOAL_MAX_COMMANDS", default=2_000),
    "seconds": env.int("GOAL_MAX_SECONDS", default=7200),
}
GOAL_TEXT_MAX_BYTES = env.int("GOAL_TEXT_MAX_BYTES", default=100_000)
# What ends what would go round for ever; 0: not even once again.
CAPS = {
    "replans": at_least(0, "MAX_REPLANS", 3),
    "review_rounds": at_least(0, "MAX_REVIEW_ROUNDS", 3),
    "attempts": at_least(1, "MAX_ATTEMPTS", 3),  # of a step, honest failures
    "parallel_steps": at_least(1, "MAX_PARALLEL_STEPS", 8),
}
# Who waits for a worker gains one of priority in so many seconds, so that priority 0 comes in its turn, too.
PRIORITY_RISES_SECONDS = at_least(1, "PRIORITY_RISES_SECONDS", 300)
# How many goals run at once, of a team, and in each team of a user and on a repository; 0: any number. `manage.py caps` for one team.
RUNNING_CAPS = {
    "team": at_least(0, "MAX_RUNNING_PER_TEAM", 0),
    "user": at_least(0, "MAX_RUNNING_PER_USER", 0),
    "repository": at_least(0, "MAX_RUNNING_PER_REPOSITORY", 0),
}
NO_PROGRESS_ENDS = env.bool("NO_PROGRESS_ENDS", default=True)  # a check that two replans left failing just as before
# How often until an executor's loop counts as stuck; 0: that pattern never does.
STUCK = {
    "repeats": at_least(0, "STUCK_REPEATS", 3),  # the same action with the same result
    "pairs": at_least(0, "STUCK_PAIRS", 6),  # two such in turns
    "silences": at_least(0, "STUCK_SILENCES", 3),  # answers without any action, in a row
}
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
# May a provider that an admin adds be on this machine or in a private network? Ollama is; where teams are strangers, say no.
PROVIDER_PRIVATE_ADDRESSES = env.bool("PROVIDER_PRIVATE_ADDRESSES", default=True)
LLM_CONTEXT_TOKENS = env.int(
    "LLM_CONTEXT_TOKENS", default=0
)  # of prompt and answer together; 0: as check_llm found out
# What its server allows, to all workers together; 0: as much as they like. Providers that are rows have limits of their own.
LLM_PACE = {
    "requests": env.int("LLM_REQUESTS_PER_MINUTE", default=0),
    "tokens": env.int("LLM_TOKENS_PER_MINUTE", default=0),
    "parallel": env.int("LLM_PARALLEL_CALLS", default=0),
}
LLM_TOOL_CALLS = env.bool("LLM_TOOL_CALLS", default=True)
SANDBOX = env.str("SANDBOX", default="auto")
SANDBOX_ENVIRONMENT = {
    name: secret(name)
    for name in (
        "LOCALE2B_BASE_URL",
        "LOCALE2B_API_KEY",
        "LOCALE2B_API_KEY_HEADER",
        "LOCALE2B_TEMPLATE",
        "LOCALE2B_MEMORY_MB",
        "LOCALE2B_VCPUS",
        "LOCALE2B_REQUESTS_PER_MINUTE",
    )
}
SANDBOX_PARALLEL = env.int("SANDBOX_PARALLEL", default=0)  # 0: twice the cores
WORKSPACES_DIR = Path(env.str("WORKSPACES_DIR", default=str(DATA_DIR / "workspaces")))
REPO_ROOTS = [Path(root).resolve() for root in env.list("REPO_ROOTS", default=[])]

# ---- watching and logs

METRICS_TOKEN = secret("METRICS_TOKEN")  # for /metrics from another machine
LOG_LEVEL = env.str("LOG_LEVEL", default="INFO")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {
            "()": "compymac_site.logs.Scrubbed",
            "format": "%(asctime)s %(levelname)s %(name)s: %(message)s",
        }
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": LOG_LEVEL},
    "loggers": {
        # httpx logs each address that it asks, query included
        "httpx": {"level": "WARNING"},
        "httpcore": {"level": "WARNING"},
        # runserver has a handler of its own, which would show a login link's token
        "django.server": {"handlers": ["stderr"], "propagate": False},
        "axes": {"level": "WARNING"},
    },
}
