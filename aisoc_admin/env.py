"""The one reader of the process environment: typed, strict, loud.

Each field of Environment is a variable. Text that does not parse, a required variable that is missing and an unknown
AISOC_ name raise EnvError, whose text is one line that names the variable and a right value; settings.py turns it into
exit status 2. docs/settings.md is held equal to this table by a test.

Every secret is also read from the file that NAME_FILE names; its value never appears in a message.
"""

import base64
import binascii
import difflib
import os
import re
import ssl
import warnings
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qsl, unquote, urlencode

import environ

from airgap.announce import Kind
from airgap.ed25519 import read_key
from airgap.hosts import Host, Malformed, Url
from airgap.policy import AllowEntry, EgressPolicy, parse_allowlist, strict_bool
from airgap.relay import MailRelay
from airgap.tenant_rule import Own, TenantRule
from aisoc_admin import production

T = TypeVar("T")

PREFIX = "AISOC_"
FILE_SUFFIX = "_FILE"
SERVICES = ("api", "agents", "threatintel", "actions", "enrichment")
GUARD_MODES = ("enforce", "report", "off")
ENVIRONMENTS = ("development", "production")
CHANNELS = ("slack", "teams", "webhook", "pagerduty", "opsgenie", "mail")  # a test holds it equal to the rows of actions/registry.py
KEV_URL = "https://www.cisa.gov/sites/default/files/feeds/known_exploited_vulnerabilities.json"
TEST_NAMES = ("AISOC_TEST_REQUIRE",)  # read by bin/test alone; known here so that it stops no process
# What a DATABASE_URL may say beside the host. libpq would follow `host`, `hostaddr` and `service` past the check below.
DATABASE_OPTIONS = frozenset({"sslmode", "sslrootcert", "sslcert", "sslkey", "connect_timeout", "application_name", "target_session_attrs"})
# Celery reads these by itself, over what the settings say; CELERY_BROKER_URL is the product's own.
CELERY_NAMES = ("CELERY_BROKER_READ_URL", "CELERY_BROKER_WRITE_URL", "CELERY_RESULT_BACKEND", "CELERY_CONFIG_MODULE", "CELERY_LOADER")
LIBPQ_NAMES = ("PGHOST", "PGHOSTADDR", "PGSERVICE", "PGSERVICEFILE")  # libpq reads these by itself


class EnvError(Exception):
    """The environment cannot be used; str() is one line for the operator."""


def variable(name: str, parse: Callable[[str], T], default: T, *, example: str, help: str, secret: bool = False) -> T:
    """Declare one variable. `example` is a right value, shown when the text is wrong; blank text means the default."""
    return field(default=default, repr=not secret, metadata={"name": name, "parse": parse, "example": example, "help": help, "secret": secret})


def text(raw: str) -> str:
    return raw.strip()


def http_url(raw: str) -> str:
    url = Url.parse(raw.strip())
    if isinstance(url, Malformed):
        raise ValueError(url.reason)
    if url.scheme not in ("http", "https"):
        raise ValueError(f"The scheme {url.scheme} is not http or https.")
    return raw.strip()


def proxy_url(raw: str) -> str:
    url = Url.parse(http_url(raw))
    if isinstance(url, Url) and (url.path not in ("", "/") or url.query):
        raise ValueError("A proxy is scheme://host:port without a path.")
    return raw.strip()


def whole_number(low: int, high: int) -> Callable[[str], int]:
    def parse(raw: str) -> int:
        if not re.fullmatch(r"\s*[0-9]{1,9}\s*", raw) or not low <= int(raw) <= high:
            raise ValueError(f"It is not a whole number from {low} to {high}.")
        return int(raw)

    return parse


_INTERVAL = whole_number(1, 31 * 86400)
_PORT = whole_number(1, 65535)


def listen_address(raw: str) -> str:
    host = Host.parse(raw.strip())
    if isinstance(host, Malformed) or (host.address is None and host.text != "localhost"):
        raise ValueError("It is not an address of this machine; 0.0.0.0 means all of them.")
    return host.text


def one_of(*words: str) -> Callable[[str], str]:
    def parse(raw: str) -> str:
        word = raw.strip().lower()
        if word not in words:
            raise ValueError(f"It is not one of {', '.join(words)}.")
        return word

    return parse


def comma_list(raw: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in raw.split(",") if item.strip())


def django_hosts(raw: str) -> tuple[str, ...]:
    """Django's ALLOWED_HOSTS: names, literals, or a leading dot for subdomains; `*` is refused."""
    hosts = comma_list(raw)
    for item in hosts:
        bare = item.removeprefix(".").removeprefix("[").removesuffix("]")
        if isinstance(Host.parse(bare), Malformed):
            raise ValueError(f"{item!r} is not a host name.")
    return hosts


def networks(raw: str) -> tuple[IPv4Network | IPv6Network, ...]:
    found = []
    for item in comma_list(raw):
        try:
            found.append(ip_network(item))
        except ValueError:
            raise ValueError(f"{item!r} is not an address, or a network without host bits.") from None
        if found[-1].prefixlen == 0:
            raise ValueError(f"{item} is every address there is.")
    return tuple(found)


def ca_bundle(raw: str) -> str:
    path = raw.strip()
    try:
        ssl.create_default_context(cafile=path)
    except ssl.SSLError:
        raise ValueError("The file holds no certificates in PEM.") from None
    except OSError as error:
        raise ValueError(f"The file cannot be read: {error.strerror}. Put your CA's certificates there, or leave the variable unset.") from None
    return path


def fernet_key(raw: str) -> str:
    try:
        valid = len(base64.urlsafe_b64decode(raw.strip().encode("ascii"))) == 32
    except (binascii.Error, UnicodeError):
        valid = False
    if not valid:
        raise ValueError("It is not a Fernet key (32 bytes in URL-safe base64).")
    return raw.strip()


def fernet_keys(raw: str) -> tuple[str, ...]:
    return tuple(fernet_key(item) for item in comma_list(raw))


def signing_key(raw: str) -> str:
    read_key(raw)
    return raw.strip()


def secret_key(raw: str) -> str:
    if len(raw.strip()) < 32:
        raise ValueError("It has fewer than 32 characters.")
    return raw.strip()


def denied_hosts(raw: str) -> tuple[AllowEntry, ...]:
    return parse_allowlist(raw)


def database_config(url: str) -> dict[str, Any]:
    """Django's settings for a database URL. A Unix socket's folder stands percent-encoded in the host's place, as libpq has it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of an unknown scheme, which database_url refuses; the warning shows the parts of the URL
        config: dict[str, Any] = environ.Env.db_url_config(url)
    return {**config, "HOST": unquote(str(config.get("HOST") or ""))}


def database_url(raw: str) -> str:
    try:
        config = database_config(raw.strip())
    except Exception as error:  # django-environ raises several kinds; the URL holds a password, so none is shown
        raise ValueError(f"It is not a database URL ({type(error).__name__}).") from None
    if config.get("ENGINE") not in ("django.db.backends.sqlite3", "django.db.backends.postgresql"):
        raise ValueError("The scheme is not postgres or sqlite.")
    if config["ENGINE"].endswith("sqlite3"):
        if not str(config["NAME"]).startswith("/") or config.get("OPTIONS"):
            raise ValueError("A SQLite database is a file with its whole path, and nothing after it: sqlite:////var/lib/aisoc/aisoc.sqlite3.")
        return f"sqlite://{raw.strip().partition('://')[2]}"
    if unknown := sorted(set(config.get("OPTIONS", {})) - DATABASE_OPTIONS):
        raise ValueError(f"The option {unknown[0]!r} is not one of {', '.join(sorted(DATABASE_OPTIONS))}.")
    if not config.get("NAME"):
        raise ValueError("The database name is missing.")
    _database_host(raw.strip())
    return raw.strip()


def _database_host(url: str) -> Host | None:
    """The host that libpq will dial, or None for a Unix socket."""
    name = str(database_config(url).get("HOST") or "")
    if not name or name.startswith("/"):
        return None
    host = Host.parse(name)
    if isinstance(host, Malformed):
        raise ValueError(f"One host is needed: {host.reason}")
    return host


def _canonical(host: str) -> str:
    parsed = Host.parse(host)
    return host if isinstance(parsed, Malformed) else parsed.text


_BROKER = re.compile(
    r"(?P<scheme>redis|rediss)://(?:[^@/?#;]*@)?(?P<host>\[[^\]]+\]|[^:/?#@;\[\]]+)(?::(?P<port>[0-9]{1,5}))?(?:/[0-9]{0,3})?(?:\?(?P<options>[^;#]*))?"
)
_BROKER_FILES = frozenset({"ssl_ca_certs", "ssl_certfile", "ssl_keyfile"})


def broker_url(raw: str) -> str:
    url = raw.strip()
    if re.fullmatch(r"redis\+socket://[^;#]+", url):
        return url
    match = _BROKER.fullmatch(url)
    if match is None:
        raise ValueError("It is not one redis://, rediss:// or redis+socket:// URL.")
    host = Host.parse(match["host"].strip("[]"))
    if isinstance(host, Malformed):
        raise ValueError(host.reason)
    if match["port"]:
        _PORT(match["port"])
    _broker_options(match)
    return url


def _broker_options(match: re.Match[str]) -> dict[str, str]:
    """The options that say which files TLS takes. Raises ValueError for others: nothing takes the check of the certificate away."""
    options = dict(parse_qsl(match["options"] or "", keep_blank_values=True))
    if options and match["scheme"] != "rediss":
        raise ValueError("Only rediss:// takes options.")
    if options.pop("ssl_cert_reqs", "required").lower() not in ("required", "cert_required"):
        raise ValueError("The broker's certificate is always verified.")
    if unknown := sorted(set(options) - _BROKER_FILES):
        raise ValueError(f"The option {unknown[0]!r} is not one of {', '.join(sorted(_BROKER_FILES))}.")
    return options


def verified_broker_url(url: str, ca_bundle: str) -> str:
    """The URL as both of its readers verify it: without options Celery's takes any certificate, and neither knows AISOC_CA_BUNDLE."""
    match = _BROKER.fullmatch(url)
    if match is None or match["scheme"] != "rediss":
        return url
    options = {"ssl_cert_reqs": "required", **({"ssl_ca_certs": ca_bundle} if ca_bundle else {}), **_broker_options(match)}
    return f"{url.partition('?')[0]}?{urlencode(options)}"


def email_url(raw: str) -> str:
    MailRelay.parse(raw)
    return raw.strip()


_ADDRESS = re.compile(r"[^@\s<>,;:\"\\()\[\]]{1,64}@[^@\s<>,;:\"\\()\[\]]{1,253}")  # one plain address; what a relay takes is for it to say


def mail_address(raw: str) -> str:
    address = raw.strip()
    if not (address.isascii() and address.isprintable() and _ADDRESS.fullmatch(address)):
        raise ValueError("It is not a mail address.")
    return address


def mail_addresses(raw: str) -> tuple[str, ...]:
    return tuple(mail_address(item) for item in comma_list(raw))


def webhook_secret(raw: str) -> str:
    """`whsec_` and base64, as Standard Webhooks writes secrets; other text is taken as it is. At least 24 bytes, as it asks for."""
    secret = raw.strip()
    if secret.startswith("whsec_"):
        try:
            length = len(base64.b64decode(secret.removeprefix("whsec_"), validate=True))
        except (binascii.Error, ValueError):
            length = 0
    else:
        length = len(secret.encode())
    if not 24 <= length <= 512:
        raise ValueError("It has not 24 to 512 bytes.")
    return secret


def kinds(raw: str) -> tuple[str, ...]:
    return tuple(one_of(*Kind)(item) for item in comma_list(raw))


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """The process environment as typed values. "" and () mean unset; None means unset where 0 would be a value."""

    # Air gap
    airgapped: bool = variable(
        "AISOC_AIRGAPPED", strict_bool, False, example="1", help="Refuse every outbound call but to private hosts and the allowlist."
    )
    allowlist: tuple[AllowEntry, ...] = variable(
        "AISOC_AIRGAP_ALLOWLIST",
        parse_allowlist,
        (),
        example="intel.example.com,10.0.0.5:8443",
        help="Hosts, addresses and networks that may be contacted.",
    )
    guard: str = variable(
        "AISOC_AIRGAP_GUARD", one_of(*GUARD_MODES), "enforce", example="enforce", help="Mode of the process guard: enforce, report or off."
    )
    egress_proxy: str = variable(
        "AISOC_EGRESS_PROXY",
        proxy_url,
        "",
        example="http://proxy.corp:3128",
        help="Proxy of gated clients, of requests to internal hosts too; proxy and target must both pass.",
        secret=True,
    )
    ca_bundle: str = variable(
        "AISOC_CA_BUNDLE",
        ca_bundle,
        "",
        example="/etc/ssl/site-ca.pem",
        help="PEM file of internal CAs, used by every client; PostgreSQL takes sslmode and sslrootcert in its URL.",
    )
    signing_key: str = variable(
        "AISOC_SIGNING_KEY",
        signing_key,
        "",
        example="32 random bytes in URL-safe base64",
        help="Ed25519 private key that signs the trail; unset: made in the data folder. Hosts of one deployment, those of workers too, need the same one.",
        secret=True,
    )
    trail_days: int = variable(
        "AISOC_TRAIL_DAYS", whole_number(1, 3660), 400, example="400", help="Days that rows of the trail are kept; their signed heads stay."
    )
    indicator_days: int = variable(
        "AISOC_INDICATOR_DAYS",
        whole_number(1, 3660),
        365,
        example="365",
        help="Days that a retired or expired indicator, and the history of each, are kept.",
    )
    # Process
    service: str = variable("AISOC_SERVICE", one_of(*SERVICES), "", example="api", help="Name of this process in logs, health and fleet.")
    health_port: int | None = variable("AISOC_HEALTH_PORT", _PORT, None, example="8001", help="Worker and beat serve /health on this port.")
    bind: str = variable("AISOC_BIND", listen_address, "127.0.0.1", example="0.0.0.0", help="Address on which web and health listen.")
    port: int = variable("PORT", _PORT, 8000, example="8000", help="Port of the web; bin/up puts worker and beat health on the next two.")
    # Deployment
    environment: str = variable(
        "AISOC_ENVIRONMENT",
        one_of(*ENVIRONMENTS),
        "development",
        example="production",
        help="development generates its secrets; production demands them.",
    )
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = variable(
        "AISOC_TRUSTED_PROXIES",
        networks,
        (),
        example="10.0.0.5,10.1.0.0/24",
        help="Reverse proxies whose X-Forwarded-Proto and X-Forwarded-For are believed; nobody else's are.",
    )
    web_hosts: int = variable(
        "AISOC_WEB_HOSTS",
        whole_number(1, 1000),
        1,
        example="2",
        help="On how many hosts the web runs; more than one needs PostgreSQL and AISOC_SIGNING_KEY in production.",
    )
    metrics_port: int | None = variable(
        "AISOC_METRICS_PORT",
        _PORT,
        None,
        example="9100",
        help="Serve Prometheus metrics on this port of AISOC_BIND; one port for each service of a host. Under bin/up: beat.",
    )
    data_dir: str = variable("AISOC_DATA_DIR", text, "var", example="/var/lib/aisoc", help="Folder of the database, the spool and generated secrets.")
    database_url: str = variable(
        "DATABASE_URL",
        database_url,
        "",
        example="postgres://aisoc@db.internal:5432/aisoc",
        help="PostgreSQL (one host; a few ssl and connect options) or SQLite (a whole path); unset: SQLite in the data folder.",
        secret=True,
    )
    broker_url: str = variable(
        "CELERY_BROKER_URL",
        broker_url,
        "",
        example="redis://valkey.internal:6379/0",
        help="Redis or Valkey, over TLS as rediss://, whose certificate AISOC_CA_BUNDLE verifies; unset: the embedded Valkey.",
        secret=True,
    )
    secret_key: str = variable(
        "SECRET_KEY",
        secret_key,
        "",
        example="50 random characters",
        help="Django's signing key, 32 characters or more; required in production.",
        secret=True,
    )
    allowed_hosts: tuple[str, ...] = variable(
        "ALLOWED_HOSTS", django_hosts, (), example="aisoc.corp", help="Names under which browsers reach the web; required in production."
    )
    credential_key: str = variable(
        "AISOC_CREDENTIAL_KEY",
        fernet_key,
        "",
        example="32 random bytes in URL-safe base64",
        help="Seals stored credentials; required in production.",
        secret=True,
    )
    credential_key_rotation_from: tuple[str, ...] = variable(
        "AISOC_CREDENTIAL_KEY_ROTATION_FROM", fernet_keys, (), example="the previous Fernet key", help="Old keys, for opening only.", secret=True
    )
    byok_denied_hosts: tuple[AllowEntry, ...] = variable(
        "AISOC_BYOK_DENIED_HOSTS", denied_hosts, (), example="vault.corp,10.9.0.0/16", help="More hosts that no tenant URL may reach."
    )
    # Language model
    llm_base_url: str = variable("LLM_BASE_URL", http_url, "", example="http://ollama:11434/v1", help="The operator's LLM endpoint.")
    llm_api_key: str = variable("LLM_API_KEY", text, "", example="the gateway's key", help="Its key; a local server needs none.", secret=True)
    llm_model: str = variable("LLM_MODEL", text, "", example="llama3.1:8b", help="Its model.")
    openai_base_url: str = variable(
        "OPENAI_BASE_URL", http_url, "", example="https://api.openai.com/v1", help="Used as a whole when no LLM_ URL or key is set."
    )
    openai_api_key: str = variable("OPENAI_API_KEY", text, "", example="a key", help="Key of that family.", secret=True)
    openai_model: str = variable("OPENAI_MODEL", text, "", example="gpt-4o-mini", help="Model of that family.")
    anthropic_api_key: str = variable("ANTHROPIC_API_KEY", text, "", example="a key", help="Read for the audit checklist only.", secret=True)
    anthropic_base_url: str = variable(
        "ANTHROPIC_BASE_URL", http_url, "", example="http://litellm.internal:4000", help="Read for the audit checklist only."
    )
    # Threat intel
    kev_url: str = variable(
        "CISA_KEV_URL", http_url, KEV_URL, example="http://kev-mirror/feed.json", help="CISA KEV catalogue; point it at the mirror."
    )
    kev_poll_interval: int = variable("CISA_KEV_POLL_INTERVAL", _INTERVAL, 86400, example="86400", help="Seconds between polls.")
    taxii_url: str = variable("TAXII_URL", http_url, "", example="https://taxii.intel.corp/taxii2/", help="TAXII 2.x server.")
    taxii_api_root: str = variable("TAXII_API_ROOT", text, "", example="intel", help="Its API root.")
    taxii_collection_ids: tuple[str, ...] = variable(
        "TAXII_COLLECTION_IDS", comma_list, (), example="indicators", help="Its collections, one feed each."
    )
    taxii_username: str = variable("TAXII_USERNAME", text, "", example="aisoc", help="Basic authentication.")
    taxii_password: str = variable("TAXII_PASSWORD", text, "", example="a password", help="Basic authentication.", secret=True)
    taxii_poll_interval: int = variable("TAXII_POLL_INTERVAL", _INTERVAL, 900, example="900", help="Seconds between polls.")
    misp_url: str = variable("MISP_URL", http_url, "", example="https://misp.intel.corp", help="MISP server, for pull and push.")
    misp_api_key: str = variable("MISP_API_KEY", text, "", example="a key", help="Its key.", secret=True)
    misp_push_auto: bool = variable("MISP_PUSH_AUTO", strict_bool, False, example="0", help="Push every posted indicator, not only on request.")
    misp_push_analysts: bool = variable(
        "MISP_PUSH_ANALYSTS", strict_bool, False, example="0", help="Analysts of tenants may post STIX objects and push them too."
    )
    misp_poll_interval: int = variable("MISP_POLL_INTERVAL", _INTERVAL, 1800, example="1800", help="Seconds between polls.")
    otx_api_key: str = variable("OTX_API_KEY", text, "", example="a key", help="AlienVault OTX; unset: the feed is off.", secret=True)
    otx_base_url: str = variable("OTX_BASE_URL", http_url, "https://otx.alienvault.com", example="https://otx-mirror.corp", help="OTX server.")
    otx_poll_interval: int = variable("OTX_POLL_INTERVAL", _INTERVAL, 1800, example="1800", help="Seconds between polls.")
    vt_api_key: str = variable("VT_API_KEY", text, "", example="a key", help="VirusTotal, live enrichment provider.", secret=True)
    vt_base_url: str = variable("VT_BASE_URL", http_url, "https://www.virustotal.com", example="https://vt-proxy.corp", help="VirusTotal server.")
    # Channels
    slack_webhook_url: str = variable(
        "SLACK_WEBHOOK_URL", http_url, "", example="https://slack-relay.corp/hook", help="Slack webhook or relay.", secret=True
    )
    teams_webhook_url: str = variable(
        "TEAMS_WEBHOOK_URL", http_url, "", example="https://teams-relay.corp/hook", help="Teams webhook or relay.", secret=True
    )
    alert_webhook_url: str = variable("ALERT_WEBHOOK_URL", http_url, "", example="https://soar.corp/hook", help="Generic webhook.", secret=True)
    webhook_secret: str = variable(
        "AISOC_WEBHOOK_SECRET",
        webhook_secret,
        "",
        example="32 random characters or more",
        help="Signs what goes to ALERT_WEBHOOK_URL (HMAC-SHA256, Standard Webhooks); 24 bytes or more. Unset: not signed.",
        secret=True,
    )
    pagerduty_url: str = variable(
        "PAGERDUTY_URL", http_url, "https://events.pagerduty.com", example="https://pd-relay.corp", help="PagerDuty Events API."
    )
    pagerduty_routing_key: str = variable("PAGERDUTY_ROUTING_KEY", text, "", example="a key", help="PagerDuty routing key.", secret=True)
    opsgenie_url: str = variable("OPSGENIE_URL", http_url, "https://api.opsgenie.com", example="https://og-relay.corp", help="Opsgenie API.")
    opsgenie_api_key: str = variable("OPSGENIE_API_KEY", text, "", example="a key", help="Opsgenie key.", secret=True)
    email_url: str = variable("EMAIL_URL", email_url, "", example="smtp+tls://mail.corp:587", help="Mail relay.", secret=True)
    alert_email_to: tuple[str, ...] = variable("ALERT_EMAIL_TO", mail_addresses, (), example="soc@example.corp", help="Receivers of alert mail.")
    alert_email_from: str = variable("ALERT_EMAIL_FROM", mail_address, "aisoc@localhost", example="aisoc@example.corp", help="Sender of alert mail.")
    notify_channel: str = variable(
        "AISOC_NOTIFY_CHANNEL", one_of(*CHANNELS), "", example="slack", help="Channel that the product itself tells things; unset: it tells nothing."
    )
    notify_events: tuple[str, ...] = variable(
        "AISOC_NOTIFY_EVENTS", kinds, tuple(kind.value for kind in Kind), example="drift,egress", help="What it tells."
    )
    notify_quiet: int = variable(
        "AISOC_NOTIFY_QUIET",
        _INTERVAL,
        3600,
        example="3600",
        help="Seconds without it after which the same matter is news again, and between two tellings.",
    )
    notify_repeat: int = variable(
        "AISOC_NOTIFY_REPEAT", _INTERVAL, 86400, example="86400", help="Seconds after which a matter that still holds is told again."
    )

    @property
    def policy(self) -> EgressPolicy:
        return EgressPolicy(self.airgapped, self.allowlist)

    @property
    def tenant_rule(self) -> TenantRule:
        """What no tenant's URL may reach: the hosts of this deployment's own parts, as far as they have one, and the operator's list."""
        own: list[Own] = []
        if self.database_url and (host := _database_host(self.database_url)) is not None:
            own.append(Own("database", str(host), int(database_config(self.database_url).get("PORT") or 5432)))
        if (match := _BROKER.fullmatch(self.broker_url)) is not None:
            own.append(Own("broker and cache", _canonical(match["host"].strip("[]")), int(match["port"] or 6379)))
        if self.email is not None:
            own.append(Own("mail relay", self.email.host, self.email.port))
        return TenantRule(tuple(own), self.byok_denied_hosts)

    @property
    def email(self) -> MailRelay | None:
        return MailRelay.parse(self.email_url) if self.email_url else None

    def credential_keys(self, make: Callable[[], str]) -> tuple[str, ...]:
        """The vault's keys, the sealing one first; `make` gives it where the environment has none. Raises EnvError."""
        sealing = self.credential_key or make().strip()
        try:
            fernet_key(sealing)
        except ValueError:
            raise EnvError(
                "The file credential_key in the data folder is no Fernet key. Restore it from a backup, or set AISOC_CREDENTIAL_KEY."
            ) from None
        return tuple(dict.fromkeys((sealing, *self.credential_key_rotation_from)))

    @property
    def llm_families(self) -> dict[str, tuple[str, str, str]]:
        """URL, key and model of each family of LLM variables."""
        return {
            "LLM": (self.llm_base_url, self.llm_api_key, self.llm_model),
            "OPENAI": (self.openai_base_url, self.openai_api_key, self.openai_model),
        }


def known_variables() -> tuple[Mapping[str, Any], ...]:
    """Name, parser, example, help, default and secrecy of each variable, in the order of the table."""
    return tuple({**spec.metadata, "default": spec.default if spec.default is not MISSING else None} for spec in fields(Environment))


def read(source: Mapping[str, str]) -> Environment:
    """Read, check and cross-check every variable. Raises EnvError."""
    _refuse_unknown_names(source)
    values = {spec.name: _value(source, spec.metadata) for spec in fields(Environment) if _raw(source, spec.metadata)}
    environment = Environment(**values)
    if environment.environment == "production":
        for line in production.unsafe(environment, ((spec.name, spec.metadata) for spec in fields(Environment)), source):
            raise EnvError(line)
    if environment.airgapped:
        _refuse_public_infrastructure(environment, source)
    return environment


def load() -> Environment:
    """Read the environment of this process. Raises EnvError."""
    return read(os.environ)


def _raw(source: Mapping[str, str], meta: Mapping[str, Any]) -> str:
    """The variable's text, from the variable or from the file that NAME_FILE names; "" when neither is set."""
    name = meta["name"]
    raw = source.get(name, "")
    path = source.get(name + FILE_SUFFIX, "").strip() if meta["secret"] else ""
    if not path:
        return raw if raw.strip() else ""
    if raw.strip():
        raise EnvError(f"{name} and {name}{FILE_SUFFIX} are both set. Keep one of them.")
    try:
        content = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeError, ValueError) as error:
        raise EnvError(f"{name}{FILE_SUFFIX} cannot be read ({type(error).__name__}). Use the path of a UTF-8 text file.") from None
    if not content:
        raise EnvError(f"{name}{FILE_SUFFIX} names an empty file. Put the value into it, for example {meta['example']}.")
    return content


def _value(source: Mapping[str, str], meta: Mapping[str, Any]) -> Any:
    raw = _raw(source, meta)
    try:
        return meta["parse"](raw)
    except ValueError as error:
        hidden = meta["secret"] or "@" in raw or "?" in raw  # user info and queries hold passwords too
        shown = "" if hidden else f"={_one_line(raw)}"
        reason = meta["help"] if meta["secret"] else _one_line_text(str(error))  # a parser's words may quote the text
        reason = f" {reason}"
        raise EnvError(f"{meta['name']}{shown} cannot be used.{reason} Example: {meta['name']}={meta['example']}") from None


def _one_line(raw: str) -> str:
    return ascii(raw if len(raw) <= 120 else raw[:117] + "...")


def _one_line_text(message: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in message)


def _refuse_unknown_names(source: Mapping[str, str]) -> None:
    """AISOC_AIRGAPED=1 must not mean open."""
    known = {name for spec in known_variables() for name in ((spec["name"], spec["name"] + FILE_SUFFIX) if spec["secret"] else (spec["name"],))}
    known.update(TEST_NAMES)
    for name in CELERY_NAMES:
        if source.get(name):
            raise EnvError(f"{name} is set; Celery would follow it past the settings and the air gap. Unset it and use CELERY_BROKER_URL.")
    for name in sorted(source):
        if re.sub(r"[^A-Z0-9]", "", name.upper()).startswith("AISOC") and name not in known:
            near = difflib.get_close_matches(name.upper(), [other for other in sorted(known) if other.startswith(PREFIX)], n=1, cutoff=0.0)[0]
            raise EnvError(f"{_one_line_text(name)} is not a variable of this product. Did you mean {near}? Remove the unknown name.")


def _refuse_public_infrastructure(environment: Environment, source: Mapping[str, str]) -> None:
    """The database and the broker are dialled by C code or at start, before any gate could be asked."""
    hosts: dict[str, tuple[str, int]] = {}
    if environment.database_url and environment.database_url.split(":", 1)[0] not in ("sqlite",):
        for name in LIBPQ_NAMES:
            if source.get(name):
                raise EnvError(
                    f"{name} is set and would redirect the database connection past the air gap. Unset it and write the host into DATABASE_URL."
                )
        if (host := _database_host(environment.database_url)) is not None:
            hosts["DATABASE_URL"] = str(host), int(database_config(environment.database_url).get("PORT") or 5432)
    if (match := _BROKER.fullmatch(environment.broker_url)) is not None:
        hosts["CELERY_BROKER_URL"] = match["host"].strip("[]"), int(match["port"] or 6379)
    for name, (host_text, port) in hosts.items():
        decision = environment.policy.decide_host(host_text, port)
        if not decision.allowed:
            raise EnvError(
                f"{name} points outside while AISOC_AIRGAPPED is on: {decision.reason} Use an internal host, or put it on AISOC_AIRGAP_ALLOWLIST."
            )
