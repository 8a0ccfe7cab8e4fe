"""The WSGI application that gunicorn serves."""

import os

from django.core.wsgi import get_wsgi_application

from aisoc_admin import role

role.become(role.Role.WEB)
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "aisoc_admin.settings")
application = get_wsgi_application()

import aisoc_admin.celery  # noqa: E402, F401 - tasks sent from the web go to our broker, not to Celery's default one
from aisoc_admin import health  # noqa: E402 - needs the settings
from aisoc_admin.background import start_background  # noqa: E402

FIRST_ROUND = 3.0  # seconds

start_background()  # this module is imported in each gunicorn worker, after the fork
health.checked.wait(FIRST_ROUND)  # a worker that has not looked yet must not contradict one that is ready
