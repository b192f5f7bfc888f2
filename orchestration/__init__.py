"""The Django app that owns everything that is a row.

Plain Python works too: `import orchestration` configures Django by compymac_site.settings if nothing has.
"""

import os

import django
from django.apps import apps

if not apps.ready and not apps.loading:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "compymac_site.settings")
    django.setup()
