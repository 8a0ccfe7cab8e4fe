"""The units: systemd finds nothing wrong, all of them take the air gap from one drop-in, and the kernel denies what is not private."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from aisoc_admin.env import known_variables
from tests.conftest import ROOT

UNITS = ROOT / "deploy" / "systemd"
PREFIX = "/opt/aisoc-admin/current"
NAMES = ("aisoc-web.service", "aisoc-worker@01.service", "aisoc-beat.service")
MOST_EXPOSED = 25  # of 100, by systemd's own count
needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed.")


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units as they would be in /etc, for a release that is really there."""
    folder = tmp_path / "system"
    shutil.copytree(UNITS, folder)
    for path in folder.rglob("*"):
        if path.is_file():
            path.write_text(path.read_text(encoding="utf-8").replace(PREFIX, str(ROOT)), encoding="utf-8")
    shutil.copy(folder / "aisoc-worker@.service", folder / "aisoc-worker@01.service")
    return folder


def analyze(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    environment = {"PATH": os.environ["PATH"], "SYSTEMD_UNIT_PATH": f"{folder}:", "LANG": "C.UTF-8"}
    return subprocess.run(["systemd-analyze", *words], env=environment, capture_output=True, text=True, check=False)


@needs_systemd
@pytest.mark.parametrize("name", NAMES)
def test_systemd_finds_nothing_wrong(name: str, installed: Path) -> None:
    done = analyze(installed, "verify", "--man=no", str(installed / name))
    told = [line for line in (done.stdout + done.stderr).splitlines() if "aisoc-" in line]
    assert told == []
    broken = installed / name
    broken.write_text(broken.read_text(encoding="utf-8").replace("[Service]", "[Service]\nProtectSytem=strict"), encoding="utf-8")
    assert "ProtectSytem" in analyze(installed, "verify", "--man=no", str(broken)).stderr, "the same check can find something"


@needs_systemd
def test_the_sandbox_leaves_little_exposed(installed: Path) -> None:
    unit = installed / "aisoc-web.service"
    shared = (installed / "aisoc-.service.d" / "airgap.conf").read_text(encoding="utf-8")
    unit.write_text(unit.read_text(encoding="utf-8").replace("[Install]", f"{shared}\n[Install]"), encoding="utf-8")
    done = analyze(installed, "security", "--offline=true", f"--threshold={MOST_EXPOSED}", str(unit))
    assert done.returncode == 0, done.stdout[-800:] + done.stderr


def settings_of(path: Path) -> list[tuple[str, str]]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return [(name, value) for name, _, value in (line.partition("=") for line in lines if line and not line.startswith(("#", "[")))]


def test_every_unit_is_under_the_one_drop_in_that_denies() -> None:
    units = sorted(path.name for path in UNITS.glob("*.service"))
    assert units == ["aisoc-beat.service", "aisoc-web.service", "aisoc-worker@.service"]
    shared = settings_of(UNITS / "aisoc-.service.d" / "airgap.conf")
    assert ("EnvironmentFile", "/etc/aisoc-admin/airgap.env") in shared, "without a leading -: a missing file is no start"
    assert ("IPAddressDeny", "any") in shared
    assert [value for name, value in shared if name == "IPAddressAllow"] == ["localhost link-local 10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 fc00::/7"]
    assert settings_of(UNITS / "airgap.env") == [("AISOC_AIRGAPPED", "1"), ("AISOC_AIRGAP_ALLOWLIST", "")]
    known = {str(spec["name"]) for spec in known_variables()}
    for unit in units:
        found = settings_of(UNITS / unit)
        assert not {"IPAddressAllow", "IPAddressDeny", "EnvironmentFile", "User"} & {name for name, _ in found}, f"{unit} has no way round it"
        for name, value in found:
            if name == "Environment":
                assert re.split("=", value)[0] in known, f"{unit}: {value}"
