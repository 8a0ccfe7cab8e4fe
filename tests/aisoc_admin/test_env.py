"""The environment: strict, and every message names the variable and a right value without showing a secret."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisoc_admin import env
from aisoc_admin.env import EnvError, read

FERNET = "ZmVybmV0LWtleS1vZi0zMi1ieXRlcy0hISEhISEhISE="
BAD = [
    ("AISOC_AIRGAPPED", "maybe"),
    ("AISOC_AIRGAPPED", "ture"),
    ("AISOC_AIRGAPPED", "enabled"),
    ("AISOC_AIRGAP_ALLOWLIST", "*"),
    ("AISOC_AIRGAP_ALLOWLIST", "https://intel.corp/"),
    ("AISOC_AIRGAP_GUARD", "audit"),
    ("AISOC_EGRESS_PROXY", "proxy:3128"),
    ("AISOC_EGRESS_PROXY", "http://proxy:3128/path"),
    ("AISOC_CA_BUNDLE", "/nowhere/ca.pem"),
    ("AISOC_SERVICE", "web"),
    ("AISOC_HEALTH_PORT", "0"),
    ("AISOC_HEALTH_PORT", "65536"),
    ("AISOC_BIND", "everywhere at once"),
    ("AISOC_ENVIRONMENT", "prod"),
    ("AISOC_BYOK_DENIED_HOSTS", "*"),
    ("AISOC_CREDENTIAL_KEY", "short"),
    ("AISOC_CREDENTIAL_KEY_ROTATION_FROM", f"{FERNET},bad"),
    ("PORT", "http"),
    ("PORT", "-1"),
    ("SECRET_KEY", "short"),
    ("ALLOWED_HOSTS", "*"),
    ("ALLOWED_HOSTS", "https://aisoc.corp"),
    ("AISOC_TRUSTED_PROXIES", "proxy.corp"),
    ("AISOC_TRUSTED_PROXIES", "10.0.0.5/8"),
    ("AISOC_TRUSTED_PROXIES", "0.0.0.0/0"),
    ("AISOC_WEB_HOSTS", "0"),
    ("AISOC_METRICS_PORT", "metrics"),
    ("DATABASE_URL", "mysql://db/x"),
    ("DATABASE_URL", "postgres://db/"),
    ("DATABASE_URL", "postgres://db/x?host=other"),
    ("DATABASE_URL", "postgres://db/x?hostaddr=8.8.8.8"),
    ("DATABASE_URL", "postgres://db/x?service=other"),
    ("DATABASE_URL", "postgres://db1,db2/x"),
    ("DATABASE_URL", "rubbish"),
    ("DATABASE_URL", "sqlite://:memory:"),
    ("DATABASE_URL", "sqlite://"),
    ("DATABASE_URL", "sqlite:///aisoc.sqlite3"),
    ("DATABASE_URL", "sqlite:////var/lib/aisoc/aisoc.sqlite3?sslmode=require"),
    ("CELERY_BROKER_URL", "amqp://broker"),
    ("CELERY_BROKER_URL", "redis://a;redis://b"),
    ("CELERY_BROKER_URL", "redis://a/0?hostname=b"),
    ("CELERY_BROKER_URL", "redis://134744072/0"),
    ("CELERY_BROKER_URL", "redis://a:99999/0"),
    ("CELERY_BROKER_URL", "redis://a/0?ssl_ca_certs=/etc/ssl/site-ca.pem"),
    ("CELERY_BROKER_URL", "rediss://a/0?ssl_cert_reqs=none"),
    ("CELERY_BROKER_URL", "rediss://a/0?ssl_cert_reqs=CERT_NONE"),
    ("CELERY_BROKER_URL", "rediss://a/0?ssl_check_hostname=false"),
    ("LLM_BASE_URL", "ollama:11434"),
    ("LLM_BASE_URL", "ftp://ollama/"),
    ("LLM_BASE_URL", "ws://ollama/"),
    ("OPENAI_BASE_URL", "http://127.1/"),
    ("CISA_KEV_URL", "not-a-url"),
    ("CISA_KEV_URL", "http://134744072/feed.json"),
    ("CISA_KEV_POLL_INTERVAL", "1h"),
    ("CISA_KEV_POLL_INTERVAL", "0"),
    ("TAXII_URL", "taxii.corp"),
    ("MISP_PUSH_AUTO", "sometimes"),
    ("OTX_BASE_URL", "otx"),
    ("EMAIL_URL", "mail.corp"),
    ("SLACK_WEBHOOK_URL", "hooks.slack.com/x"),
    ("ALERT_EMAIL_TO", "soc@corp.example,Soc <soc@corp.example>"),
    ("ALERT_EMAIL_TO", "nobody"),
    ("ALERT_EMAIL_FROM", "a@b\nBcc: c@d"),
    ("AISOC_WEBHOOK_SECRET", "too short"),
    ("AISOC_WEBHOOK_SECRET", "whsec_no-base64-at-all-in-this-text"),
    ("AISOC_NOTIFY_CHANNEL", "slcak"),
    ("AISOC_NOTIFY_EVENTS", "drift,egres"),
    ("AISOC_NOTIFY_QUIET", "0"),
]


@pytest.mark.parametrize(("name", "value"), BAD)
def test_a_value_that_does_not_parse_names_the_variable_and_a_right_value(name: str, value: str) -> None:
    with pytest.raises(EnvError) as caught:
        read({name: value})
    message = str(caught.value)
    assert message.startswith(name)
    assert "Example: " in message
    assert "\n" not in message


def test_the_examples_are_right_values(tmp_path: Path) -> None:
    for spec in env.known_variables():
        if spec["name"] in ("AISOC_CA_BUNDLE", "AISOC_CREDENTIAL_KEY", "AISOC_CREDENTIAL_KEY_ROTATION_FROM"):
            continue  # a path of the reader's machine, and keys
        if spec["name"] in ("SECRET_KEY", "AISOC_SIGNING_KEY"):
            continue
        read(
            {spec["name"]: spec["example"]}
            | ({"SECRET_KEY": "s" * 50, "ALLOWED_HOSTS": "a", "AISOC_CREDENTIAL_KEY": FERNET, "CELERY_BROKER_URL": "redis://valkey"})
        )


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("AISOC_AIRGAPED", "AISOC_AIRGAPPED"),
        ("AISOC_AIR_GAPPED", "AISOC_AIRGAPPED"),
        ("aisoc_airgapped", "AISOC_AIRGAPPED"),
        ("AISOC_AIRGAP_ALLOW_LIST", "AISOC_AIRGAP_ALLOWLIST"),
        ("AISOC_AIRGAP_ALLOWED_HOSTS", "AISOC_AIRGAP_ALLOWLIST"),
        ("AISOC_AIRGAPPED_FILE", "AISOC_AIRGAPPED"),
    ],
)
def test_an_unknown_name_of_ours_stops_the_process_and_the_nearest_is_named(name: str, near: str) -> None:
    with pytest.raises(EnvError) as caught:
        read({name: "1"})
    assert name in str(caught.value)
    assert f"{near}?" in str(caught.value)


def test_names_of_others_are_left_alone() -> None:
    assert read({"PATH": "/bin", "HOME": "/", "LLM_TEMPERATURE": "0"}) == env.Environment()


@pytest.mark.parametrize("name", [spec["name"] for spec in env.known_variables() if spec["secret"]])
def test_a_secret_never_stands_in_a_message(name: str) -> None:
    planted = "hunter2-planted value"
    try:
        read({name: planted, "AISOC_AIRGAPPED": "1"})
    except EnvError as error:
        assert "hunter2" not in str(error)
    for url in (f"ftp://u:{planted}@x/", f"postgres://u:{planted}@8.8.8.8/x", f"redis://u:{planted}@8.8.8.8/0", f"http://u:{planted}@a@b/"):
        try:
            read({name: url, "AISOC_AIRGAPPED": "1"})
        except EnvError as error:
            assert "hunter2" not in str(error)


def test_user_info_and_queries_of_plain_urls_are_not_shown_either() -> None:
    with pytest.raises(EnvError) as caught:
        read({"LLM_BASE_URL": "ftp://me:hunter2@ollama/?key=t0psecret"})
    assert "hunter2" not in str(caught.value)
    assert "t0psecret" not in str(caught.value)


def test_a_secret_is_read_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("from-a-file\n", encoding="utf-8")
    assert read({"LLM_API_KEY_FILE": str(path)}).llm_api_key == "from-a-file"
    with pytest.raises(EnvError, match="both set"):
        read({"LLM_API_KEY_FILE": str(path), "LLM_API_KEY": "x"})
    with pytest.raises(EnvError, match="LLM_API_KEY_FILE cannot be read"):
        read({"LLM_API_KEY_FILE": str(tmp_path / "missing")})
    path.write_text("\n", encoding="utf-8")
    with pytest.raises(EnvError, match="empty file"):
        read({"LLM_API_KEY_FILE": str(path)})


def test_blank_text_means_unset() -> None:
    assert read({"AISOC_AIRGAPPED": "", "PORT": " ", "LLM_BASE_URL": "", "DATABASE_URL": ""}) == env.Environment()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "postgres://u:hunter2@db.example.com/x"),
        ("DATABASE_URL", "postgres://u:hunter2@8.8.8.8/x"),
        ("CELERY_BROKER_URL", "redis://:hunter2@cache.example.com:6379/0"),
        ("CELERY_BROKER_URL", "rediss://[2606:4700:4700::1111]:6379/0"),
    ],
)
def test_a_public_database_or_broker_stops_the_process_under_air_gap(name: str, value: str) -> None:
    read({name: value})
    with pytest.raises(EnvError, match=f"^{name} points outside"):
        read({name: value, "AISOC_AIRGAPPED": "1"})
    read({name: value, "AISOC_AIRGAPPED": "1", "AISOC_AIRGAP_ALLOWLIST": "example.com,8.8.8.8,2606:4700:4700::1111"})


@pytest.mark.parametrize(
    ("url", "bundle", "verified"),
    [
        ("redis://valkey:6379/0", "/ca.pem", "redis://valkey:6379/0"),
        ("redis+socket:///run/valkey.sock?virtual_host=0", "/ca.pem", "redis+socket:///run/valkey.sock?virtual_host=0"),
        ("rediss://u:p%40@valkey:6380/0", "", "rediss://u:p%40@valkey:6380/0?ssl_cert_reqs=required"),
        ("rediss://valkey/0?ssl_cert_reqs=CERT_REQUIRED", "", "rediss://valkey/0?ssl_cert_reqs=required"),
        ("rediss://valkey/0", "/ca.pem", "rediss://valkey/0?ssl_cert_reqs=required&ssl_ca_certs=%2Fca.pem"),
        ("rediss://valkey/0?ssl_ca_certs=/own.pem", "/ca.pem", "rediss://valkey/0?ssl_cert_reqs=required&ssl_ca_certs=%2Fown.pem"),
    ],
)
def test_every_reader_of_the_broker_s_url_verifies_its_certificate(url: str, bundle: str, verified: str) -> None:
    assert env.verified_broker_url(read({"CELERY_BROKER_URL": url}).broker_url, bundle) == verified


@pytest.mark.parametrize("name", ["PGHOST", "PGHOSTADDR", "PGSERVICE", "PGSERVICEFILE"])
def test_variables_that_move_libpq_elsewhere_stop_the_process_under_air_gap(name: str) -> None:
    source = {"DATABASE_URL": "postgres://u@db.internal/x", name: "8.8.8.8"}
    read(source)
    with pytest.raises(EnvError, match=f"^{name} is set"):
        read({**source, "AISOC_AIRGAPPED": "1"})


def test_a_unix_socket_of_the_database_is_inside() -> None:
    for url in ("postgres://aisoc@%2Frun%2Fpostgresql/aisoc", "postgres:////run/postgresql/aisoc", "sqlite:////var/lib/aisoc/db.sqlite3"):
        read({"DATABASE_URL": url, "AISOC_AIRGAPPED": "1"})
    assert env.database_config("postgres://aisoc@%2Frun%2Fpostgresql/aisoc")["HOST"] == "/run/postgresql"


def test_public_feeds_llm_and_channels_start() -> None:
    read(
        {
            "AISOC_AIRGAPPED": "1",
            "LLM_BASE_URL": "https://api.openai.com/v1",
            "CISA_KEV_URL": "https://www.cisa.gov/x",
            "SLACK_WEBHOOK_URL": "https://hooks.slack.com/x",
            "EMAIL_URL": "smtp://mail.example.com:25",
        }
    )


@given(
    st.dictionaries(
        st.sampled_from([spec["name"] for spec in env.known_variables() if spec["name"] != "AISOC_CA_BUNDLE"]), st.text(max_size=30), max_size=3
    )
)
def test_no_text_raises_anything_but_an_env_error_of_one_line(source: dict[str, str]) -> None:
    try:
        read(source)
    except EnvError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize(
    "name", ["CELERY_BROKER_READ_URL", "CELERY_BROKER_WRITE_URL", "CELERY_RESULT_BACKEND", "CELERY_CONFIG_MODULE", "CELERY_LOADER"]
)
def test_variables_that_celery_would_follow_past_the_settings_stop_the_process(name: str) -> None:
    with pytest.raises(EnvError, match=f"^{name} is set"):
        read({name: "redis://broker.evil.example:6379/0"})


@pytest.mark.parametrize("name", [" AISOC_AIRGAPPED", "\ufeffAISOC_AIRGAPPED", "AISOC-AIRGAPPED", "AISOC.AIRGAPPED", "AiSOC_Airgapped"])
def test_a_name_that_only_looks_like_ours_stops_the_process(name: str) -> None:
    with pytest.raises(EnvError, match=r"Did you mean AISOC_AIRGAPPED\?"):
        read({name: "1"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SLACK_WEBHOOK_URL", " hooks.slack.com/services/T00/B00/XSECRETX"),
        ("SLACK_WEBHOOK_URL", "http://hooks.slack.com\n/XSECRETX"),
        ("AISOC_EGRESS_PROXY", "user:XSECRETX#1"),
        ("CELERY_BROKER_URL", "redis://XSECRETX!/0"),
        ("DATABASE_URL", "postgres://u:1?XSECRETX=1@h/db"),
        ("EMAIL_URL", "smtp://XSECRETX!/"),
        ("AISOC_AIRGAP_ALLOWLIST", "'user:XSECRETX@host.example'"),
        ("AISOC_AIRGAP_ALLOWLIST", "*user:XSECRETX@host.example"),
        ("AISOC_AIRGAP_ALLOWLIST", "user:XSECRETX@host.example#x"),
        ("LLM_BASE_URL", "user:XSECRETX@host"),
        ("LLM_BASE_URL", "http:/host?key=XSECRETX"),
        ("CISA_KEV_URL", "ftp://user:XSECRETX@host/"),
    ],
)
def test_no_spelling_of_a_faulty_value_brings_its_secret_into_the_message(name: str, value: str) -> None:
    with pytest.raises(EnvError) as caught:
        read({name: value})
    assert "XSECRETX" not in str(caught.value)


def test_an_environment_shows_no_secret_when_it_is_printed() -> None:
    values = {spec["name"]: f"planted{number}" for number, spec in enumerate(env.known_variables()) if spec["secret"] and spec["parse"] is env.text}
    shown = repr(read(values))
    assert len(values) >= 8
    assert "planted" not in shown


def test_the_port_of_an_entry_counts_for_database_and_broker_too() -> None:
    on = {"AISOC_AIRGAPPED": "1", "AISOC_AIRGAP_ALLOWLIST": "intel.example.com:443"}
    for name, value in (("DATABASE_URL", "postgres://u@intel.example.com/db"), ("CELERY_BROKER_URL", "redis://intel.example.com/0")):
        with pytest.raises(EnvError, match=f"^{name} points outside"):
            read({**on, name: value})
    read({**on, "AISOC_AIRGAP_ALLOWLIST": "intel.example.com:5432", "DATABASE_URL": "postgres://u@intel.example.com/db"})
    read({**on, "CELERY_BROKER_URL": "redis://intel.example.com:443/0"})


def test_a_ca_bundle_that_cannot_be_used_says_why(tmp_path: Path) -> None:
    rubbish = tmp_path / "rubbish.pem"
    rubbish.write_text("rubbish")
    for path, why in (
        (tmp_path / "none.pem", "The file cannot be read: No such file or directory."),
        (rubbish, "The file holds no certificates in PEM."),
    ):
        with pytest.raises(EnvError, match=r"^AISOC_CA_BUNDLE") as raised:
            read({"AISOC_CA_BUNDLE": str(path)})
        assert why in str(raised.value)
