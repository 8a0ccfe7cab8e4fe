"""A tenant's row from the write to the socket, in a network namespace: `unshare -rnm python -m tests.llm.tenant_lab FOLDER`.

A real model listens on a private address; sinks on a metadata address, on the broker's and on this machine's count who comes. Each of a hostile
tenant admin's URLs is tried, past the rules of writing, with the air gap on and off. Prints one JSON object.
"""

import json
import os
import select
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.plugins.llm_server import LLMServer

MODEL, BROKER, METADATA = "10.77.0.5", "10.77.0.9", "169.254.169.254"
OPERATORS_KEY = "sk-planted-operator-2718"
CHROMIUM, PASSWORD = "/usr/bin/chromium", "a long pass phrase of alice"
NAMES = {
    "localhost": "127.0.0.1",
    "gw.internal": MODEL,
    "loop.internal": "127.0.0.1",
    "meta.internal": METADATA,
    "alias.internal": BROKER,
    "broker.internal": BROKER,
}
HOSTILE = (
    "http://127.0.0.1:6379",
    "http://localhost:6379",
    "http://[::1]:6379",
    "http://[::ffff:127.0.0.1]:6379",
    "http://2130706433:6379",
    "http://0.0.0.0:6379",
    "http://loop.internal:6379",
    f"http://{METADATA}",
    "http://meta.internal",
    f"http://{BROKER}:6379",
    "http://broker.internal:6379",
    "http://alias.internal:6379",
    "http://alias.internal",
)


def isolate(folder: Path) -> list[str]:
    """The namespace's addresses, names and sinks; returns the list that grows by each connection to a sink."""
    for command in ("ip link set lo up", *(f"ip addr add {address}/32 dev lo" for address in (MODEL, BROKER, METADATA))):
        subprocess.run(command.split(), check=True)
    for name, content in {
        "hosts": "".join(f"{address} {host}\n" for host, address in NAMES.items()),
        "nsswitch.conf": "hosts: files\n",
        "resolv.conf": "",
    }.items():
        path = folder / name
        path.write_text(content)
        if Path("/etc", name).exists():
            subprocess.run(["mount", "--bind", path, os.path.realpath(f"/etc/{name}")], check=True)
    listeners = []
    for address, port in ((METADATA, 80), (BROKER, 6379), (BROKER, 80), ("127.0.0.1", 6379), ("127.0.0.1", 80)):
        listener = socket.socket()
        listener.bind((address, port))
        listener.listen(16)
        listeners.append(listener)
    came: list[str] = []

    def serve() -> None:
        while True:
            for ready in select.select(listeners, [], [])[0]:
                connection, _ = ready.accept()
                came.append("{}:{}".format(*ready.getsockname()))
                connection.close()

    threading.Thread(target=serve, daemon=True).start()
    return came


def browsed(server: "LLMServer") -> dict[str, str] | None:
    """A tenant admin brings the model in a real browser, tests it and has an alert explained by it; what the pages say. None without Chromium."""
    from django.contrib.auth import get_user_model
    from django.contrib.staticfiles.handlers import StaticFilesHandler
    from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler
    from django.core.wsgi import get_wsgi_application
    from playwright.sync_api import sync_playwright

    if not Path(CHROMIUM).exists():
        return None
    alice = get_user_model().objects.get(username="alice")
    alice.set_password(PASSWORD)
    alice.save()
    web = ThreadedWSGIServer(("127.0.0.1", 0), WSGIRequestHandler, ipv6=False)
    web.daemon_threads = True  # a browser keeps its connections
    web.set_app(StaticFilesHandler(get_wsgi_application()))
    threading.Thread(target=web.serve_forever, daemon=True).start()
    origin = f"http://127.0.0.1:{web.server_port}"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-background-networking"])
        page = browser.new_page()
        page.set_default_timeout(30_000)
        page.goto(f"{origin}/settings/tenants/acme/")
        page.get_by_label("Username").fill("alice")
        page.get_by_label("Password").fill(PASSWORD)
        page.keyboard.press("Enter")
        page.get_by_label("Provider").select_option("local-vllm")
        page.get_by_label("Base URL").fill("http://gw.internal:8080")
        page.get_by_label("Model").fill(server.model)
        page.get_by_label("API key").fill(server.key)
        page.get_by_role("button", name="Save").click()
        page.get_by_text("Own row").wait_for()
        page.get_by_role("button", name="Test").click()
        page.get_by_text("Test: ").wait_for()
        said = {"tested": page.get_by_text("Test: ").inner_text(), "held": page.content()}
        browser.close()
    web.shutdown()
    return said


def tried(came: list[str]) -> dict[str, Any]:
    import django

    django.setup()

    from django.conf import settings
    from django.core.management import call_command
    from django.test import Client

    from airgap.policy import EgressPolicy
    from llm.client import ChatClient, LLMError, Message
    from llm.models import TenantCredential
    from llm.probe import probe
    from llm.resolver import resolve_llm_config
    from tenants.accounts import issue_token
    from tenants.models import Tenant
    from tenants.roles import Role
    from tests.plugins import llm_server

    call_command("migrate", verbosity=0)
    acme = Tenant.objects.create(slug="acme", name="Acme")
    seen: dict[str, Any] = {}
    token = issue_token("alice", Role.TENANT_ADMIN, 1, "acme")

    def api(method: str, path: str, body: object = None) -> Any:
        response = Client(SERVER_NAME="localhost").generic(
            method, f"/api/v1/llm/credentials{path}", json.dumps(body), "application/json", headers={"Authorization": f"Token {token}"}
        )
        seen.setdefault("replies", []).append(response.content.decode())
        return response

    schema = {"type": "object", "properties": {"answer": {"type": "integer"}}, "required": ["answer"], "additionalProperties": False}
    ask = [Message("system", "You answer in one word."), Message("user", "Is 10.0.0.1 a private address?")]
    with tempfile.TemporaryDirectory() as folder, llm_server.serving(MODEL, 8080, Path(folder)) as server:
        body = {"provider": "local-vllm", "base_url": "http://gw.internal:8080", "model": server.model, "api_key": server.key}
        seen["page"] = browsed(server)
        seen["saved"] = api("PUT", "", body | ({"version": 1} if seen["page"] else {})).json()["effective"]["allowed"]
        seen["tested"] = api("POST", "/test").json()
        resolved = resolve_llm_config("acme")
        client = ChatClient(resolved, purpose="test", deadline=60)
        reply = client.complete(ask, max_tokens=8)
        seen["whole"] = [resolved.source, reply.text, reply.model, reply.completion_tokens]
        seen["streamed"] = list(client.stream(ask, max_tokens=8))
        seen["schema"] = client.complete(ask, max_tokens=40, json_schema=schema).text
        seen["probe"] = probe(resolved).outcome
        api("PUT", "", {"api_key": "sk-wrong", "base_url": f"{server.url}/v1/", "version": TenantCredential.across_tenants.get().version})
        seen["wrong key"] = probe(resolve_llm_config(acme)).outcome
        row = TenantCredential.across_tenants.get()
        for mode, policy in {"on": settings.AIRGAP_POLICY, "off": EgressPolicy()}.items():
            settings.AIRGAP_POLICY = policy
            for url in HOSTILE:
                TenantCredential.across_tenants.filter(pk=row.pk).update(base_url=url, sealed_key="", provider="local-vllm")
                try:
                    ChatClient(resolve_llm_config("acme"), purpose="test", deadline=5).complete(ask, max_tokens=1)
                except LLMError as error:
                    seen.setdefault("hostile", {})[f"{mode} {url}"] = type(error).__name__
    seen["came"] = list(came)
    return seen


def main() -> None:
    folder = Path(sys.argv[1])
    came = isolate(folder)
    for address in (("127.0.0.1", 6379), ("meta.internal", 80)):  # the canary: the sinks see who comes before they are believed
        socket.create_connection(address, 2).close()
    for _ in range(100):
        if len(came) == 2:
            break
        threading.Event().wait(0.02)
    else:
        raise SystemExit(f"the sinks see nothing: {came}")
    came.clear()
    os.environ |= {"DJANGO_SETTINGS_MODULE": "aisoc_admin.settings", "AISOC_DATA_DIR": str(folder / "var"), "AISOC_AIRGAPPED": "1"}
    os.environ |= {"CELERY_BROKER_URL": "redis://broker.internal:6379/0", "LLM_BASE_URL": "http://ollama:11434", "LLM_API_KEY": OPERATORS_KEY}
    print(json.dumps(tried(came)))


if __name__ == "__main__":
    main()
