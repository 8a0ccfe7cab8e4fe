"""Production starts on nothing unsafe, and what it starts on passes `manage.py check --deploy`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from aisoc_admin.env import EnvError, read
from tests.conftest import ROOT

FERNET = "ZmVybmV0LWtleS1vZi0zMi1ieXRlcy0hISEhISEhISE="
SAFE = {
    "AISOC_ENVIRONMENT": "production",
    "SECRET_KEY": "correct-horse-battery-staple-and-some-more-characters-0123456789",
    "ALLOWED_HOSTS": "aisoc.corp",
    "AISOC_CREDENTIAL_KEY": FERNET,
    "CELERY_BROKER_URL": "redis://valkey.internal:6379/0",
    "AISOC_TRUSTED_PROXIES": "10.0.0.5",
}
CLUSTER = {
    **SAFE,
    "AISOC_WEB_HOSTS": "2",
    "DATABASE_URL": "postgres://aisoc@db.internal:5432/aisoc",
    "AISOC_SIGNING_KEY": "c2lnbmluZy1rZXktb2YtMzItYnl0ZXMtISEhISEhISE=",
}


def test_one_host_needs_no_more_than_its_secrets_its_names_and_a_broker(tmp_path: Path) -> None:
    read({**SAFE, "AISOC_DATA_DIR": str(tmp_path)})
    read({**CLUSTER, "AISOC_DATA_DIR": str(tmp_path)})


@pytest.mark.parametrize("missing", ["SECRET_KEY", "ALLOWED_HOSTS", "AISOC_CREDENTIAL_KEY", "CELERY_BROKER_URL"])
def test_production_demands_its_secrets_its_hosts_and_a_broker(missing: str) -> None:
    with pytest.raises(EnvError, match=f"^{missing} is required"):
        read({name: value for name, value in SAFE.items() if name != missing})


@pytest.mark.parametrize("url", ["", "sqlite:////var/lib/aisoc/aisoc.sqlite3", "SQLite:////var/lib/aisoc/aisoc.sqlite3"])
def test_several_web_hosts_share_a_database(url: str) -> None:
    with pytest.raises(EnvError, match=r"^DATABASE_URL is required .*AISOC_WEB_HOSTS=2"):
        read({**CLUSTER, "DATABASE_URL": url})


def test_several_web_hosts_sign_one_trail(tmp_path: Path) -> None:
    """A second host made a key of its own, and the audit failed: its rows were signed by nobody that is trusted."""
    shared = {**CLUSTER, "AISOC_SIGNING_KEY": "", "AISOC_DATA_DIR": str(tmp_path)}
    with pytest.raises(EnvError, match=r"^AISOC_SIGNING_KEY is required .*AISOC_WEB_HOSTS=2.* Make one: "):
        read(shared)
    made = tmp_path / "signing_key"
    made.write_text(CLUSTER["AISOC_SIGNING_KEY"], encoding="ascii")
    made.chmod(0o600)
    with pytest.raises(EnvError, match=f" AISOC_SIGNING_KEY_FILE={made}$"):
        read(shared)
    assert read({**shared, "AISOC_SIGNING_KEY_FILE": str(made)}).signing_key == CLUSTER["AISOC_SIGNING_KEY"], "the trail so far verifies"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("ALLOWED_HOSTS", "aisoc.corp,.corp", "ALLOWED_HOSTS=.corp"),
        ("SECRET_KEY", "django-insecure-" + "k" * 50, "SECRET_KEY"),
        ("SECRET_KEY", FERNET, "AISOC_CREDENTIAL_KEY and SECRET_KEY are the same"),
    ],
)
def test_a_value_that_only_development_could_have_is_refused_without_showing_a_secret(name: str, value: str, said: str) -> None:
    with pytest.raises(EnvError) as raised:
        read({**SAFE, name: value})
    assert str(raised.value).startswith(said)
    assert name == "ALLOWED_HOSTS" or value not in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_secret_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "secret_key"
    file.write_text(SAFE["SECRET_KEY"], encoding="utf-8")
    variables = {name: value for name, value in SAFE.items() if name != "SECRET_KEY"} | {"SECRET_KEY_FILE": str(file)}
    for mode in (0o444, 0o604, 0o602):
        file.chmod(mode)
        with pytest.raises(EnvError, match=f"^SECRET_KEY_FILE names a file that every user .* {mode:04o}"):
            read(variables)
    for mode in (0o400, 0o440, 0o640):
        file.chmod(mode)
        assert read(variables).secret_key == SAFE["SECRET_KEY"]
    file.chmod(0o444)
    assert read({**variables, "AISOC_ENVIRONMENT": "development"}).secret_key, "a developer's machine is not held to it"


def test_a_data_folder_that_others_can_write_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(EnvError, match=r"^AISOC_DATA_DIR=.* 0777"):
        read({**SAFE, "AISOC_DATA_DIR": str(tmp_path)})
    monkeypatch.setattr("aisoc_admin.production.ROOT", tmp_path.parent)
    monkeypatch.chdir("/")
    with pytest.raises(EnvError, match=rf"^AISOC_DATA_DIR={tmp_path.name} .* 0777"):
        read({**SAFE, "AISOC_DATA_DIR": tmp_path.name})
    tmp_path.chmod(0o755)
    read({**SAFE, "AISOC_DATA_DIR": tmp_path.name})


def check(folder: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "AISOC_DATA_DIR": str(folder / "var"), **variables}
    command = [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_check_deploy_finds_nothing_in_a_safe_production_and_much_in_development(tmp_path: Path) -> None:
    done = check(tmp_path, **SAFE)
    assert (done.returncode, done.stdout) == (0, "System check identified no issues (1 silenced).\n"), done.stderr
    assert check(tmp_path).returncode == 1, "the same check can fail"


def test_the_command_that_a_missing_key_names_makes_a_right_one(tmp_path: Path) -> None:
    for name in ("SECRET_KEY", "AISOC_CREDENTIAL_KEY", "AISOC_SIGNING_KEY"):
        without = {**CLUSTER, name: "", "AISOC_DATA_DIR": str(tmp_path)}
        with pytest.raises(EnvError, match=f"^{name} is required") as raised:
            read(without)
        command = str(raised.value).partition("Make one: ")[2]
        made = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=True).stdout
        assert len(made) > 50 or name != "SECRET_KEY", "or Django's security.W009"
        assert read({**without, name: made}).environment == "production"


def test_production_without_a_proxy_is_a_finding_and_an_unsafe_one_stops(tmp_path: Path) -> None:
    done = check(tmp_path, **{**SAFE, "AISOC_TRUSTED_PROXIES": ""})
    assert done.returncode == 1
    assert "aisoc.W001" in done.stderr
    stopped = check(tmp_path, **{**SAFE, "CELERY_BROKER_URL": ""})
    assert (stopped.returncode, stopped.stdout, len(stopped.stderr.splitlines())) == (2, "", 1)
    assert stopped.stderr.startswith("CELERY_BROKER_URL is required when AISOC_ENVIRONMENT=production: the embedded Valkey")
