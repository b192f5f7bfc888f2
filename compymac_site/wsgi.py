"""WSGI entry point."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "compymac_site.settings")
application = get_wsgi_application()

from orchestration.processes import start_web  # noqa: E402 - the applications have to be loaded first

start_web()
