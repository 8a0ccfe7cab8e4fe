"""Django's settings, read top to bottom from the typed environment. Bad configuration ends the process here, with status 2."""

import gc
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

from airgap import guard
from airgap.ed25519 import read_key
from aisoc_admin import __version__, env, keys, role
from aisoc_admin.embedded import embedded_broker_url
from aisoc_admin.logs import log_config

BASE_DIR = Path(__file__).resolve().parent.parent

try:
    ENV = env.load()
    DATA_DIR = (BASE_DIR / ENV.data_dir).resolve()
    PRODUCTION = ENV.environment == "production"
    try:
        SECRET_KEY = ENV.secret_key or keys.kept_secret(DATA_DIR / "secret_key", keys.new_secret_key)
        AIRGAP_SIGNING_KEY = read_key(ENV.signing_key or keys.kept_secret(DATA_DIR / "signing_key", keys.new_signing_key))
        CREDENTIAL_KEYS = ENV.credential_keys(lambda: keys.kept_secret(DATA_DIR / "credential_key", keys.new_credential_key))
    except OSError as error:
        raise env.EnvError(f"AISOC_DATA_DIR={ENV.data_dir} cannot be written ({type(error).__name__}). Use a folder that this user owns.") from None
    except ValueError as error:
        raise env.EnvError(f"{DATA_DIR / 'signing_key'} cannot be used. {error} Restore it from a backup, or set AISOC_SIGNING_KEY.") from None
    ROLE = role.current()
    SERVICE = ENV.service or ("threatintel" if ROLE in (role.Role.WORKER, role.Role.BEAT) else "api")
    guard.install(ENV.policy, DATA_DIR / "spool", mode=ENV.guard, service=SERVICE)  # before anything else that could open a socket
except (env.EnvError, guard.GuardError) as error:
    print(error, file=sys.stderr)
    raise SystemExit(2) from None

gc.set_threshold(20_000, 20, 100)  # Python looks for cycles after 20,000 new objects, not 700: a page of rows or of HTML has none, time and again

# ── Process ──────────────────────────────────────────────────────────────────────────────────────────────────────────
VERSION = __version__
LOGGING = log_config(service=SERVICE, version=VERSION, stream="ext://sys.stderr" if ROLE is role.Role.COMMAND else "ext://sys.stdout")
HEALTH_PORT = ENV.health_port
METRICS_PORT = ENV.metrics_port
BIND = ENV.bind
TRUSTED_PROXIES = ENV.trusted_proxies

# ── Air gap ──────────────────────────────────────────────────────────────────────────────────────────────────────────
AIRGAP_POLICY = ENV.policy
AIRGAP_TENANT_RULE = ENV.tenant_rule
AIRGAP_GUARD = ENV.guard
AIRGAP_SERVICE = SERVICE
AIRGAP_SPOOL_DIR = DATA_DIR / "spool"
AIRGAP_TRAIL_DAYS = ENV.trail_days
AIRGAP_CA_BUNDLE = ENV.ca_bundle
AIRGAP_EGRESS_PROXY = ENV.egress_proxy

# ── Django ───────────────────────────────────────────────────────────────────────────────────────────────────────────
DEBUG = False
ALLOWED_HOSTS = list(ENV.allowed_hosts) or ["localhost", "127.0.0.1", "[::1]"]
ROOT_URLCONF = "aisoc_admin.urls"
WSGI_APPLICATION = "aisoc_admin.wsgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LANGUAGE_CODE = "en"
USE_TZ = True
TIME_ZONE = "UTC"
APPEND_SLASH = True

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "knox",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "aisoc_admin",
    "airgap",
    "tenants",
    "llm",
    "threatintel",
    "actions",
    "console",
]

MIDDLEWARE = [
    "aisoc_admin.first.AnsweredFirst",
    "aisoc_admin.proxies.ForwardedByTrusted",
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "console.context.chrome",
            ]
        },
    }
]

# ── Database ─────────────────────────────────────────────────────────────────────────────────────────────────────────
SQLITE = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(DATA_DIR / "aisoc.sqlite3")}
DATABASES: dict[str, dict[str, Any]] = {"default": env.database_config(ENV.database_url) if ENV.database_url else SQLITE}
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # IMMEDIATE takes the write lock at BEGIN: without it three of four read-then-write transactions fail as "locked".
    DATABASES["default"]["OPTIONS"] = {
        "timeout": 10,
        "transaction_mode": "IMMEDIATE",
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA mmap_size=268435456;",  # a large trail is read in half the time
    }
else:
    # Nobody waits for ever: not for a server that is gone, a lock whose holder hangs, or a transaction that was left open.
    PATIENCE: dict[str, Any] = {
        "connect_timeout": 5,
        "keepalives_idle": 15,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 20_000,
    }
    PATIENCE["options"] = "-c lock_timeout=15s -c idle_in_transaction_session_timeout=120s"
    DATABASES["default"]["OPTIONS"] = {**PATIENCE, **DATABASES["default"].get("OPTIONS", {})}
    DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
DATABASES["default"]["CONN_MAX_AGE"] = 60

# ── Login, sessions, browser policy ──────────────────────────────────────────────────────────────────────────────────
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator", "NumericPasswordValidator")
]
AUTHENTICATION_BACKENDS = ["aisoc_admin.throttle.Throttle", "django.contrib.auth.backends.ModelBackend"]
LOGIN_URL = "/login/"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "/login/"
SESSION_COOKIE_AGE = 12 * 3600
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_SAMESITE = "Lax"
CSRF_FAILURE_VIEW = "console.errors.csrf_failure"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = PRODUCTION
SECURE_SSL_REDIRECT = PRODUCTION  # probes are answered before it
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if ENV.trusted_proxies else None
SECURE_HSTS_SECONDS = 365 * 86400 if PRODUCTION else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = PRODUCTION
SILENCED_SYSTEM_CHECKS = ["security.W021"]  # a browser vendor's list on the Internet is no place for an internal name
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "object-src": ["'none'"],
        "base-uri": ["'none'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
    }
}

# ── Static files ─────────────────────────────────────────────────────────────────────────────────────────────────────
STATIC_URL = "/static/"
WHITENOISE_USE_FINDERS = True  # served from the packages as installed: no collectstatic step before the first start

# ── API ──────────────────────────────────────────────────────────────────────────────────────────────────────────────
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["tenants.authentication.TokenAuthentication", "rest_framework.authentication.SessionAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["tenants.permissions.HasRole"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "aisoc_admin.negotiation.AcceptIsAWish",
    "DEFAULT_PAGINATION_CLASS": "aisoc_admin.api.CursorPages",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "aisoc_admin.api.error_response",
    "PAGE_SIZE": 50,
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
}
KNOX_TOKEN_MODEL = "tenants.ApiToken"
MIGRATION_MODULES = {"knox": None}  # its migrations would make a table of its own token model, which ours replaces
REST_KNOX = {"TOKEN_TTL": timedelta(days=90), "TOKEN_MODEL": KNOX_TOKEN_MODEL, "AUTH_HEADER_PREFIX": "Token"}
SPECTACULAR_SETTINGS = {
    "TITLE": "AiSOC Admin",
    "DESCRIPTION": "Control plane of an air-gapped security operations centre.",
    "VERSION": VERSION,
    "OAS_VERSION": "3.1.1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",  # the default loads from a public CDN
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SERVE_PERMISSIONS": ["tenants.permissions.HasAnyRole"],
    "ENUM_NAME_OVERRIDES": {
        "ChecklistVerdict": "airgap.audit_api.VERDICTS",
        "IndicatorStatus": "threatintel.api.STATUS_CHOICES",
        "DeliveryState": "actions.models.Delivery.State",
        "LLMProvider": "llm.api.PROVIDERS",
        "LLMSource": "llm.api.SOURCES",
        "LLMPath": "llm.api.PATHS",
        "TenantLLMProvider": "llm.credentials_api.PROVIDERS",
        "RuleLanguage": "llm.questions.SOURCES",
        "QueryLanguage": "llm.questions_api.LANGUAGES",
    },
}

# ── Mail ─────────────────────────────────────────────────────────────────────────────────────────────────────────────
RELAY = ENV.email
EMAIL_BACKEND = "airgap.mail.GatedEmailBackend"
EMAIL_HOST, EMAIL_PORT = (RELAY.host, RELAY.port) if RELAY else ("", 25)
EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = (RELAY.username, RELAY.password) if RELAY else ("", "")
EMAIL_USE_TLS, EMAIL_USE_SSL = (RELAY.starttls, RELAY.tls) if RELAY else (False, False)
DEFAULT_FROM_EMAIL = SERVER_EMAIL = f"AiSOC Admin <{ENV.alert_email_from}>"

# ── Tasks ────────────────────────────────────────────────────────────────────────────────────────────────────────────
BROKER_IS_EMBEDDED = not ENV.broker_url
CELERY_BROKER_URL = env.verified_broker_url(ENV.broker_url, ENV.ca_bundle) or embedded_broker_url(DATA_DIR)
