"""The whole product in a network namespace, walked through by tenants' admins, an operator and an analyst: `unshare -rnm python -m tests.llm.walk_lab FOLDER`.

Keys are planted; a model on a private address answers, misbehaves and redirects; mallory, admin of the tenant globex, attacks. Prints one JSON
object: what came of each step, what the model was sent, who came to the sinks, and every place in which a planted key was found.
"""

import base64
import json
import os
import re
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import redis
import requests

from aisoc_admin.embedded import socket_path
from tests.llm.model_server import ModelServer, chunk, completion, event, model_server, sends, streams
from tests.llm.tenant_lab import BROKER, METADATA, MODEL, isolate
from tests.plugins.processes import soon

ROOT = Path(__file__).resolve().parents[2]
PORT = 8000
KEYS = {  # with characters that a URL writes otherwise
    "operator": "sk-planted/op+2718==A",
    "acme": "sk-planted/acme+3141==B",
    "rotated": "sk-planted/rot+1618==C",
    "globex": "sk-planted/glob+1414==D",
    "mistyped": "sk-planted/typo+5772==E",
}
CONTROL = "model-that-is-no-secret"  # must be found: else the search finds nothing at all
OWN = f"http://{MODEL}:8080"
ALERT = {"alert": {"title": "Impossible travel", "description": "Log-in of alice from two places", "source": "okta", "severity": "high"}}
NARRATIVE = "The alert shows an impossible travel: a log-in from two places at once."
LEDGER = """
from django.contrib.auth.models import User
from tenants.models import Membership, Tenant
for name, role, slug in (("alice", "tenant_admin", "acme"), ("ana", "analyst", "acme"), ("mallory", "tenant_admin", "globex"), ("olga", "operator", "")):
    tenant = Tenant.objects.get_or_create(slug=slug, defaults={"name": slug})[0] if slug else None
    Membership.objects.create(user=User.objects.create_user(name, password="correct-horse-9"), role=role, tenant=tenant)
"""


class Product:
    """bin/up's supervisor with its data in `folder`; `bodies` is all that it ever answered, with headers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "var"
        self.output = folder / "output.log"
        self.bodies: list[str] = []
        self.spooled: set[bytes] = set()  # what stood in the spool: it is drained and removed
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "PORT": str(PORT),
            "AISOC_DATA_DIR": str(self.data),
            "AISOC_AIRGAPPED": "1",
            "AISOC_BYOK_DENIED_HOSTS": "broker.internal",
            "LLM_BASE_URL": f"http://{MODEL}:8081",
            "LLM_API_KEY": KEYS["operator"],
        }
        with self.output.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "aisoc_admin.supervise"],
                cwd=ROOT, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def ready(self) -> None:
        if not soon(lambda: b"ready: http" in self.output.read_bytes() or self.process.poll() is not None, 60):
            raise SystemExit(self.output.read_text(errors="replace")[-3000:])
        self.manage("shell", "-c", LEDGER)

    def manage(self, *arguments: str) -> str:
        command = [sys.executable, "-W", "ignore", "manage.py", *arguments]
        return subprocess.run(command, cwd=ROOT, env=self.environment, capture_output=True, text=True, check=True).stdout

    def keep_spool(self) -> None:
        for path in (self.data / "spool").glob("**/*"):
            with suppress(OSError):  # drained meanwhile
                self.spooled.add(path.read_bytes())

    def end(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(40)


class Person:
    """A browser that is signed in, and a token of the same role."""

    def __init__(self, product: Product, name: str, role: str, slug: str = "") -> None:
        self.product, self.slug = product, slug
        self.session = requests.Session()
        self.session.trust_env = False
        self.send("POST", "/login/", username=name, password="correct-horse-9")
        token = product.manage("create_token", name, "--role", role, *(["--tenant", slug] if slug else [])).splitlines()[-1]
        self.headers = {"Authorization": f"Token {token}"}

    def send(self, method: str, path: str, **fields: str) -> requests.Response:
        """A page or a form of it."""
        url = f"http://127.0.0.1:{PORT}{path}"
        if method == "POST":
            page = self.session.get(
                f"http://127.0.0.1:{PORT}/login/" if path == "/login/" else f"http://127.0.0.1:{PORT}/settings/tenants/", timeout=30
            )
            found = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
            fields = {**fields, "csrfmiddlewaretoken": found[1] if found else ""}
        return self._kept(self.session.request(method, url, data=fields or None, headers={"Referer": url}, timeout=60))

    def api(self, method: str, path: str, body: object = None, **query: str) -> requests.Response:
        url = f"http://127.0.0.1:{PORT}/api/v1/{path}"
        with requests.Session() as session:  # without the cookies: the token alone
            session.trust_env = False
            return self._kept(session.request(method, url, params=query, json=body, headers=self.headers, timeout=60))

    def put(self, **body: Any) -> str:
        answer = self.api("PUT", "llm/credentials", body)
        return f"{answer.status_code} {answer.json().get('code') or answer.json()['effective']['path']}"

    def tested(self) -> str:
        return str(self.api("POST", "llm/credentials/test").json().get("outcome"))

    def version(self) -> int | None:
        shown = self.api("GET", "llm/credentials").json()
        return shown["version"] if shown else None

    def _kept(self, answer: requests.Response) -> requests.Response:
        steps = [*answer.history, answer]
        self.product.bodies += [f"{step.status_code} {step.headers} {step.text}" for step in steps]
        self.product.keep_spool()
        return answer


def walked(product: Product, model: ModelServer) -> dict[str, Any]:
    """The ordinary life of a connection, errors and all."""
    steps: dict[str, Any] = {}
    alice, ana, olga = (
        Person(product, "alice", "tenant_admin", "acme"),
        Person(product, "ana", "analyst", "acme"),
        Person(product, "olga", "operator"),
    )
    page = "/settings/tenants/acme/"
    form = {"provider": "local-vllm", "base_url": OWN, "model": CONTROL, "enabled": "on", "version": "", "api_key": KEYS["acme"]}
    steps["preview"] = alice.send("POST", page, **form, do="preview").status_code
    steps["wrong"] = alice.send(
        "POST", page, **{**form, "base_url": f"http://u:{KEYS['mistyped']}@x.corp", "api_key": KEYS["mistyped"]}, do="save"
    ).status_code
    steps["save"] = alice.send("POST", page, **form, do="save").status_code
    steps["conflict"] = alice.send("POST", page, **form, do="save").status_code
    steps["test"] = alice.tested()
    alice.send("POST", f"{page}test/")
    answers = model.answers
    for name, answer in {"rejected": sends(b"no", status=401), "rubbish": sends(b"<html>"), "down": sends(b"", status=503)}.items():
        model.answers = [answer]
        steps[name] = alice.tested()
        alice.send("GET", page)
    model.answers = [streams(chunk(NARRATIVE), chunk("", "stop"), event("[DONE]"))]
    told = alice.api("POST", "explain", ALERT)
    done = json.loads(told.text.splitlines()[-1])
    steps["explain"] = [told.status_code, done["path"], done["reason"]]
    ana.api("POST", "explain", ALERT)
    ana.send("POST", "/assist/", alert=json.dumps(ALERT["alert"]))
    model.answers = answers
    steps["rotate"] = alice.put(api_key=KEYS["rotated"], version=alice.version())
    steps["rotated test"] = alice.tested()
    steps["mistyped"] = [alice.put(**{name: KEYS["mistyped"]}, version=alice.version()) for name in ("provider", "base_url", "enabled")]
    for person in (alice, ana, olga):
        for path in ("/settings/tenants/", "/settings/tenants/tenants.json", "/settings/tenants/tenants.md", page, "/settings/deployment/"):
            person.send("GET", path)
        person.api("GET", "llm/status", tenant="acme")
        person.api("GET", "llm/credentials", tenant="acme")
        person.api("GET", "airgap/events")
    olga.send("POST", f"{page}reseal/")
    return steps


def attacked(product: Product, model: ModelServer) -> dict[str, str]:
    """mallory's attempts, each with what came of it."""
    mallory, came = Person(product, "mallory", "tenant_admin", "globex"), {}
    came["another tenant's row"] = str(mallory.api("PUT", "llm/credentials", {"base_url": OWN, "version": 1}, tenant="acme").status_code)
    came["another tenant's page"] = str(mallory.send("POST", "/settings/tenants/acme/", provider="custom", base_url=OWN, do="save").status_code)
    came["another tenant's test"] = str(mallory.send("POST", "/settings/tenants/acme/test/").status_code)
    came["own URL, no key"] = mallory.put(provider="local-vllm", base_url=OWN)  # a local server may have none: what is sent is looked at
    came["… asked"] = mallory.tested()
    came["… as another provider"] = mallory.put(provider="custom", base_url=OWN, version=mallory.version())
    came["… asked again"] = mallory.tested()
    came["own key"] = mallory.put(api_key=KEYS["globex"], version=mallory.version())
    came["key moved to another port"] = mallory.put(base_url=f"http://{MODEL}:8082", version=mallory.version())
    came["key moved by the page"] = str(
        mallory.send(
            "POST",
            "/settings/tenants/globex/",
            provider="custom",
            base_url=f"http://{MODEL}:8082",
            version=str(mallory.version()),
            enabled="on",
            do="save",
        ).status_code
    )
    came["provider switched"] = mallory.put(provider="openai", base_url="", version=mallory.version())
    for name, url in {
        "metadata": f"http://{METADATA}/latest",
        "metadata, mapped": f"http://[::ffff:{METADATA}]/",
        "this machine": "http://127.0.0.1:8000",
        "a file": "file:///etc/passwd",
    }.items():
        came[name] = mallory.put(base_url=url, api_key=KEYS["globex"], version=mallory.version())
    for name, url in {
        "the broker": f"http://{BROKER}:6379",
        "a name of the broker": "http://alias.internal",
        "a name of metadata": "http://meta.internal",
        "a name of this machine": "http://loop.internal",
    }.items():
        came[name] = f"{mallory.put(base_url=url, api_key=KEYS['globex'], version=mallory.version())}, {mallory.tested()}"
    mallory.put(base_url=OWN, api_key=KEYS["globex"], version=mallory.version())
    kept = model.answers
    for name, target in {"redirect to metadata": f"http://{METADATA}/", "redirect to its neighbour": f"http://{MODEL}:8081/v1"}.items():
        model.answers = [sends(b"", status=307, headers={"Location": target})]
        came[name] = mallory.tested()
    model.answers = [sends(b"SECRET-OF-THE-OTHER-SIDE", status=500)]
    came["probe as an oracle"] = str("SECRET-OF-THE-OTHER-SIDE" in mallory.api("POST", "llm/credentials/test").text)
    model.answers = kept
    came["too many tests"] = str([mallory.api("POST", "llm/credentials/test").status_code for _ in range(21)][-1])
    return came


def forms_of(key: str) -> dict[str, bytes]:
    """A key as it may be written somewhere: as it is, in each alignment of base64, for a URL, in hexadecimal, in JSON."""
    shifted = {f"base64+{shift}": base64.b64encode(b"x" * shift + key.encode())[4 if shift else 0 :][:-4] for shift in range(3)}
    return {
        "raw": key.encode(),
        "url": quote(key, safe="").encode(),
        "hex": key.encode().hex().encode(),
        "json": json.dumps(key)[1:-1].encode(),
        **shifted,
    }


def places(product: Product) -> dict[str, bytes]:
    """Where a key could have been left: every file of the product's, its log, its broker, every process's arguments, every answer."""
    found = {str(path.relative_to(product.folder)): path.read_bytes() for path in product.folder.rglob("*") if path.is_file()}
    with redis.Redis(unix_socket_path=str(socket_path(product.data))) as broker:
        found["broker"] = b"\n".join(name + b" " + (broker.dump(name) or b"") for name in broker.scan_iter(count=1000))
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            found[f"arguments of {folder.name}"] = (folder / "cmdline").read_bytes()
        except OSError:
            continue  # it has ended meanwhile
    return {**found, "spool": b"".join(product.spooled), "answers": "\n".join(product.bodies).encode()}


def search(found: dict[str, bytes]) -> list[str]:
    wanted = {f"{name}, {form}": text for name, key in KEYS.items() for form, text in forms_of(key).items()}
    return sorted(f"{which} in {place}" for place, content in found.items() for which, text in wanted.items() if text in content)


def main() -> None:
    folder = Path(sys.argv[1])
    came = isolate(folder)
    product = Product(folder)
    try:
        with model_server(MODEL, 8080) as model, model_server(MODEL, 8081) as operators, model_server(MODEL, 8082) as elsewhere:
            model.answers = [completion("pong")]
            product.ready()
            seen: dict[str, Any] = {"walk": walked(product, model)}
            sent_before = len(model.requests)
            seen["attacks"] = attacked(product, model)
            threading.Event().wait(1)  # what is written behind an answer: outcomes, the spool's drain
            found = places(product)
            keys = [str(headers.get("authorization", "")).removeprefix("Bearer ") for _path, headers, _body in model.requests]
            names = {key: name for name, key in KEYS.items()}
            seen["sent to acme"] = sorted({names.get(key, key) for key in keys[:sent_before]})
            seen["sent to globex"] = sorted({names.get(key, key) for key in keys[sent_before:]})
            seen["sent elsewhere"] = [len(operators.requests), len(elsewhere.requests)]
        seen["leaks"] = search(found)
        seen["control"] = sorted(place for place, content in found.items() if CONTROL.encode() in content)
        seen["spooled"] = len(found["spool"])
        seen["places"] = sorted(place for place in found if not place.startswith("arguments"))
        seen["forms"] = search({"a": b"\n".join(forms_of(KEYS["acme"]).values())})
        seen["came"] = came
    finally:
        product.end()
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
