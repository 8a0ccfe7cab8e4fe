"""Nothing loads from another host, and the pages work under the strict policy they are sent with."""

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from django.contrib.staticfiles import finders
from django.test import Client
from django.utils import timezone

from tests.airgap.trail import drained, event
from tests.console.connections import one_of_each
from tests.console.intel import address_of, record, stored
from threatintel.models import FeedDay

STATIC = Path(__file__).resolve().parents[2] / "console" / "static" / "console"
PAGES = [
    "/settings/deployment/?host=https://api.openai.com/v1",
    "/settings/feeds/",
    "/settings/feeds/?q=nothing",
    "/settings/egress/",
    "/settings/egress/?span=7d&host=none.example&rule='%3Cb&span=x",
    "/settings/feeds/otx/",
    "/settings/feeds/kev/?before=x",
    "/settings/feeds/import/?kind=stix",
    "/settings/channels/",
    "/settings/channels/?channel=slack&state=x&before=%3Cb",
    "/settings/indicators/",
    "/settings/indicators/?q=nothing.example&type=x",
    "/settings/indicators/many/",
    f"{address_of()}?before=x",
    "/settings/tenants/",
    "/settings/tenants/?gate=refused&q=x",
    "/settings/tenants/acme/?before=x",
    "/settings/tenants/umbrella/",
    "/settings/tenants/hooli/",
    "/admin/",
]
REFERENCES = {"src", "href", "action", "formaction", "poster", "srcset", "data", "background", "cite", "ping", "xlink:href", "manifest"}


class Tags(HTMLParser):
    """Every tag with its attributes, and the text of script and style elements."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.tags.append((tag, values))
        if "id" in values:
            self.ids.append(values["id"])


def tags_of(body: bytes) -> Tags:
    parser = Tags()
    parser.feed(body.decode())
    return parser


@pytest.fixture
def pages(reader: Callable[..., Client], sealed: None, heard: Callable[..., object]) -> list[tuple[str, bytes]]:
    heard("gone-1:3", seconds_ago=600)
    minute = timezone.now().replace(second=0, microsecond=0)
    drained(event(minute=minute), event(minute=minute, host="134744072", rule="malformed", purpose="feed.otx"))
    hostile_url = "https://evil.example/report"
    stored(*(record(external_id=f"indicator--{number}", url=hostile_url, references=(hostile_url,), raw="{}") for number in range(3)))
    FeedDay.objects.create(feed="kev", day=timezone.now().date(), added=3)
    one_of_each()
    staff = reader("operator", staff=True)
    signed_in = [(path, staff.get(path).content) for path in PAGES]
    many, imported = "/settings/indicators/many/", "/settings/feeds/import/"
    asked = staff.post(many, {"values": "evil.example\nhttps://evil.example/\nno observable"}).content
    wrong = staff.post(imported, {"kind": "x", "sha256": "y"}).content
    typed = {"provider": "x", "base_url": "ftp://evil.example", "model": "<b>", "api_key": "a b", "version": "1"}
    tenant, kept = "/settings/tenants/acme/", {"provider": "openai", "model": "<b>", "version": "1"}
    forms = [staff.post(tenant, sent).content for sent in (typed, {**kept, "do": "preview"}, {**kept, "version": "9"})]
    return [
        *signed_in,
        (f"POST {many}", asked),
        (f"POST {imported}", wrong),
        *((f"POST {tenant} {number}", body) for number, body in enumerate(forms)),
        ("/login/", Client().get("/login/").content),
        ("/nowhere/", Client().get("/nowhere/").content),
    ]


def test_no_page_refers_to_another_host(pages: list[tuple[str, bytes]]) -> None:
    for path, body in pages:
        for tag, attributes in tags_of(body).tags:
            for name in REFERENCES & attributes.keys():
                assert re.fullmatch(r"/(?!/).*|#.*|\?.*|", attributes[name]), f"{path}: <{tag} {name}={attributes[name]!r}>"
        assert b"url(" not in body, path
        assert b"@import" not in body, path


def test_no_console_page_has_inline_script_or_style(pages: list[tuple[str, bytes]]) -> None:
    for path, body in pages:
        if path == "/admin/":  # Django's own
            continue
        for tag, attributes in tags_of(body).tags:
            assert tag != "style", path
            assert tag != "script" or attributes.get("src"), path
            assert not [name for name in attributes if name == "style" or name.startswith("on")], f"{path}: <{tag} {attributes}>"


def test_ids_are_unique_and_every_label_and_reference_has_its_element(pages: list[tuple[str, bytes]]) -> None:
    for path, body in pages:
        found = tags_of(body)
        assert len(found.ids) == len(set(found.ids)), path
        for _tag, attributes in found.tags:
            for name in ("for", "aria-labelledby", "aria-describedby", "data-copy-from"):
                if name in attributes:
                    assert attributes[name] in found.ids, f"{path}: {name}={attributes[name]}"


def test_every_table_has_a_caption_and_every_header_a_scope(pages: list[tuple[str, bytes]]) -> None:
    for path, body in pages:
        if path == "/admin/":
            continue
        found = [tag for tag, _ in tags_of(body).tags]
        assert found.count("caption") == found.count("table"), path
        assert all(attributes.get("scope") for tag, attributes in tags_of(body).tags if tag == "th"), path


@pytest.mark.parametrize("name", ["console.css", "admin.css", "console.js", "favicon.svg"])
def test_static_files_are_found_and_refer_to_no_host(name: str) -> None:
    assert finders.find(f"console/{name}")
    content = (STATIC / name).read_text(encoding="utf-8").replace('xmlns="http://www.w3.org/2000/svg"', "")
    for forbidden in ("http:", "https:", "//fonts", "url(", "@import", "@font-face"):
        assert forbidden not in content, forbidden


def test_no_template_names_an_address_of_another_host() -> None:
    folder = STATIC.parents[2] / "templates"
    for template in folder.rglob("*.html"):
        assert not re.search(r"""(?:src|href|action)\s*=\s*["']?(?:https?:|//)""", template.read_text(encoding="utf-8")), template.name


def test_both_dark_themes_are_the_same() -> None:
    css = (STATIC / "console.css").read_text(encoding="utf-8")
    blocks = [re.sub(r"\s+", " ", block) for block in re.findall(r"\{([^{}]*color-scheme: dark;)", css)]
    assert len(blocks) == 2
    assert blocks[0] == blocks[1]


def test_the_policy_of_a_page_is_self_alone(operator: Client) -> None:
    policy = operator.get("/settings/deployment/").headers["Content-Security-Policy"]
    directives = {one.split()[0]: one.split()[1:] for one in policy.split(";")}
    assert directives["default-src"] == ["'self'"]
    assert directives["img-src"] == ["'self'", "data:"]
    assert directives["frame-ancestors"] == ["'none'"]
    assert "unsafe" not in policy


def test_the_icon_that_browsers_ask_for_unasked_is_there() -> None:
    response = Client().get("/favicon.ico")
    assert response.headers["Location"] == "/static/console/favicon.svg"
