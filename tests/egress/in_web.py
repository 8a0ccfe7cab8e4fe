"""The product's WSGI application, with doors to what did not come with it: `gunicorn … tests.egress.in_web:application`.

GET /egress/clients     tries every client in this worker
GET /egress/vendored    has the vendored library phone home
"""

import json
from collections.abc import Callable, Iterable
from typing import Any

from aisoc_admin.wsgi import application as product
from tests.egress import clients, vendored

DOORS: dict[str, Callable[[], Any]] = {"/egress/clients": lambda: clients.try_all("web"), "/egress/vendored": vendored.phone_home}


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    door = DOORS.get(environ["PATH_INFO"])
    if door is None:
        return product(environ, start_response)
    body = json.dumps(door()).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
