"""A real Chromium against a live server. Skipped by name where there is none, unless AISOC_TEST_REQUIRE asks for it."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Error, Page, Request, expect, sync_playwright

from tests.airgap.fleet import deployment  # noqa: F401
from tests.console.fixtures import agreeing, guarded, healthy, heard, indicators, quick_passwords, ran, reader, sealed  # noqa: F401
from tests.plugins.required import lacking
from threatintel.benign import benign_lists

CHROMIUM = Path("/usr/bin/chromium")
PLAIN_HTTP_HOST = "console.internal"  # a name that is no secure context, answered by loopback
ARGS = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    f"--host-resolver-rules=MAP {PLAIN_HTTP_HOST} 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]

PLAIN_HTTP_NOTE = "Cross-Origin-Opener-Policy header has been ignored"  # what Chromium says of any plain-HTTP origin

DESKTOP: dict[str, Any] = {"viewport": {"width": 1280, "height": 900}, "timezone_id": "UTC"}
PATIENCE = 20_000  # milliseconds: a busy machine is no failure
Visit = Callable[..., Page]

expect.set_options(timeout=PATIENCE)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One browser a module: its event loop must not run under other tests."""
    if not CHROMIUM.exists():
        lacking("browser", f"Chromium is not installed ({CHROMIUM}).")
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"  # Playwright's loop runs in this thread; no query runs inside it
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGS)
            yield browser
            browser.close()
    finally:
        del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture(scope="session", autouse=True)
def _warning_lists_are_built() -> None:
    """Once a deployment, and some seconds of a busy machine: not within a page's patience."""
    benign_lists()


@pytest.fixture
def origin(live_server: Any, transactional_db: None) -> str:
    return str(live_server.url).replace("localhost", "127.0.0.1")


@pytest.fixture
def cookie(reader: Callable[..., Client]) -> Callable[[str], str]:  # noqa: F811
    """cookie("auditor") is the session of a reader with that role; the same one when asked again."""
    made: dict[str, str] = {}

    def sign_in(role: str) -> str:
        if role not in made:
            made[role] = reader(None if role == "nobody" else role, staff=role == "operator").cookies["sessionid"].value
        return made[role]

    return sign_in


@pytest.fixture(scope="module")
def desktop(chromium: Browser) -> Iterator[Page]:
    """The page of tests that ask for nothing special: a new one costs more than all that a test does with it."""
    context = chromium.new_context(**DESKTOP)
    yield context.new_page()
    context.close()


class Watch:
    """What pages asked for, and what stood in their consoles."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.errors: list[str] = []
        self.expected = False

    def on_request(self, request: Request) -> None:
        self.requests.append(request.url)

    def on_console(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not self.expected and PLAIN_HTTP_NOTE not in message.text:
            self.errors.append(message.text)

    def on_error(self, error: Error) -> None:
        self.errors.append(str(error))


@pytest.fixture
def visit(chromium: Browser, desktop: Page, origin: str, cookie: Callable[[str], str], settings: Any) -> Iterator[Visit]:
    """visit("/settings/feeds/", role="auditor") opens a page; options of a browser context give it a context of its own.

    After each test: no request left the page's own origin, no error stands in the browser's console (an answer of 4xx or
    5xx is one: expected=True).
    """
    own: list[BrowserContext] = []
    watched: list[Page] = []
    watch = Watch()

    def go(path: str, *, role: str = "auditor", host: str = "127.0.0.1", expected: bool = False, **options: Any) -> Page:
        page = desktop
        if options:
            own.append(chromium.new_context(**{**DESKTOP, **options}))
            page = own[-1].new_page()
        page.set_default_timeout(PATIENCE)
        here = origin.replace("127.0.0.1", host)
        if role != "anonymous":
            page.context.add_cookies([{"name": "sessionid", "value": cookie(role), "url": here}])
        watch.expected = expected
        if page not in watched:
            watched.append(page)
            page.on("request", watch.on_request)
            page.on("console", watch.on_console)
            page.on("pageerror", watch.on_error)
        page.goto(here + path)
        return page

    settings.ALLOWED_HOSTS = ["127.0.0.1", "localhost", PLAIN_HTTP_HOST]
    yield go
    for context in own:
        context.close()
    if desktop in watched:
        desktop.evaluate("localStorage.clear(); sessionStorage.clear()")
        desktop.emulate_media(color_scheme="null", media="null")
        desktop.set_viewport_size(DESKTOP["viewport"])
        desktop.context.clear_cookies()
        desktop.remove_listener("request", watch.on_request)
        desktop.remove_listener("console", watch.on_console)
        desktop.remove_listener("pageerror", watch.on_error)
    port = origin.rsplit(":", 1)[1]
    allowed = tuple(f"http://{host}:{port}/" for host in ("127.0.0.1", PLAIN_HTTP_HOST))
    assert watch.requests
    assert [url for url in watch.requests if not url.startswith(allowed)] == []
    assert watch.errors == []
