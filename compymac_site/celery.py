"""The Celery app: `celery -A compymac_site worker`. All of its settings are CELERY_* in settings.py."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "compymac_site.settings")

app = Celery("compymac_site")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
