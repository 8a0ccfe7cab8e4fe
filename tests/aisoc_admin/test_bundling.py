"""bin/bundle: the same bytes from the same source, a valid bill of materials, and an installer that takes nothing but what was listed."""

import json
import os
import stat
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tests.conftest import ROOT

METADATA = {
    "alpha": "Name: Alpha\nVersion: 1.0\nLicense-Expression: MIT OR Apache-2.0\nRequires-Dist: beta>=1\nRequires-Dist: gamma; extra == 'more'\n",
    "beta": "Name: beta\nVersion: 2.1\nLicense: BSD\n",
    "gamma": "Name: gamma\nVersion: 3\nClassifier: License :: OSI Approved :: MIT License\n",
}


@pytest.fixture(scope="module")
def modules() -> Iterator[dict[str, ModuleType]]:
    sys.path.insert(0, str(ROOT / "bin"))
    yield {name: import_module(name) for name in ("bundling", "sbom", "install")}
    sys.path.remove(str(ROOT / "bin"))


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    folder = tmp_path / "wheels"
    folder.mkdir()
    for name, metadata in METADATA.items():
        with zipfile.ZipFile(folder / f"{name}-1-py3-none-any.whl", "w") as archive:
            archive.writestr(zipfile.ZipInfo(f"{name}-1.dist-info/METADATA"), f"Metadata-Version: 2.4\n{metadata}")
    return folder


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A small tree as it is after a bundle was unpacked: without git, with what the product makes beside its source."""
    root = tmp_path / "root"
    for name in (
        "bin/install.py",
        "airgap/verify_report.py",
        "manage.py",
        "requirements.txt",
        ".venv/pyvenv.cfg",
        "var/signing_key",
        "a/__pycache__/b.pyc",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name, encoding="utf-8")
    return root


@pytest.fixture
def unpacked(modules: dict[str, ModuleType], source: Path, wheels: Path, tmp_path: Path) -> Path:
    archive = modules["bundling"].bundle(source, tmp_path / "out", wheels)
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path / "unpacked", filter="data")
    (top,) = (tmp_path / "unpacked").iterdir()
    return top


def test_the_same_source_and_wheels_give_the_same_bytes(modules: dict[str, ModuleType], source: Path, wheels: Path, tmp_path: Path) -> None:
    first = modules["bundling"].bundle(source, tmp_path / "1", wheels)
    second = modules["bundling"].bundle(source, tmp_path / "2", wheels)
    assert (first.name, first.read_bytes()) == (second.name, second.read_bytes())
    assert Path(f"{first}.sha256").read_text().split() == [modules["bundling"].digest_of(first), first.name]
    (source / "manage.py").write_text("another", encoding="utf-8")
    assert modules["bundling"].bundle(source, tmp_path / "3", wheels).name != first.name


def test_a_bundle_holds_the_source_and_nothing_that_a_deployment_made(unpacked: Path) -> None:
    found = {str(path.relative_to(unpacked)) for path in unpacked.rglob("*") if path.is_file()}
    assert found == {
        "SHA256SUMS", "install.py", "sbom.cdx.json", "verify_report.py",
        "source/airgap/verify_report.py", "source/bin/install.py", "source/manage.py", "source/requirements.txt",
        *(f"source/wheelhouse/{name}-1-py3-none-any.whl" for name in METADATA),
    }  # fmt: skip


def test_the_bill_of_materials_is_valid_cyclonedx(unpacked: Path) -> None:
    text = (unpacked / "sbom.cdx.json").read_text(encoding="utf-8")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    found = {component["name"]: component for component in json.loads(text)["components"]}
    assert {name: component["licenses"] for name, component in found.items()} == {
        "alpha": [{"expression": "MIT OR Apache-2.0"}],
        "beta": [{"license": {"name": "BSD"}}],
        "gamma": [{"license": {"name": "MIT License"}}],
    }
    needs = {row["ref"]: row["dependsOn"] for row in json.loads(text)["dependencies"]}
    assert needs[found["alpha"]["bom-ref"]] == [found["beta"]["bom-ref"]], "what an extra alone needs is no dependency"


def test_what_one_patch_release_of_python_needs_is_bundled_by_another(modules: dict[str, ModuleType]) -> None:
    lock = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    assert "async-timeout==5.0.1 ; python_full_version < '3.11.3'" in lock, "as Debian 12 has it"
    asked = modules["bundling"].for_any_python(lock)
    assert not [line for line in asked.splitlines() if "version" in line.partition(";")[2]]
    assert asked.count("==") == lock.count("==")


def test_a_bundle_without_the_verifier_is_not_made(modules: dict[str, ModuleType], source: Path, wheels: Path, tmp_path: Path) -> None:
    (source / "airgap" / "verify_report.py").unlink()
    with pytest.raises(modules["bundling"].BundleError, match="standalone verifier"):
        modules["bundling"].bundle(source, tmp_path / "out", wheels)
    assert not (tmp_path / "out").exists()


def test_what_was_made_verifies(modules: dict[str, ModuleType], unpacked: Path) -> None:
    assert len(modules["install"].verify(unpacked)) == 64


@pytest.mark.parametrize("fault", ["changed", "added", "removed", "linked", "unlisted link"])
def test_what_was_touched_is_not_installed(fault: str, modules: dict[str, ModuleType], unpacked: Path, tmp_path: Path) -> None:
    target = unpacked / "source" / "manage.py"
    match fault:
        case "changed":
            target.write_text("other", encoding="utf-8")
        case "added":
            (unpacked / "source" / "wheelhouse" / "evil.whl").touch()
        case "removed":
            target.unlink()
        case "linked":
            target.rename(tmp_path / "elsewhere")
            target.symlink_to(tmp_path / "elsewhere")
        case "unlisted link":
            (unpacked / "source" / "more").symlink_to(tmp_path)
    with pytest.raises(modules["install"].InstallError, match="The bundle is not the one that was made"):
        modules["install"].install(unpacked, tmp_path / "prefix")
    assert not (tmp_path / "prefix").exists()


def test_a_release_can_be_read_by_the_service_user_whatever_the_umask_of_root(
    modules: dict[str, ModuleType], unpacked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hardened hosts have umask 077: tar then unpacks folders for root alone, and the units run as another user."""
    for path in (unpacked, *unpacked.rglob("*")):
        path.chmod(0o700 if path.is_dir() else 0o600)
    install = modules["install"]
    monkeypatch.setattr(install, "HERE", unpacked)
    monkeypatch.setattr(install.subprocess, "run", lambda *_, cwd, **__: (cwd.parent / ".venv").mkdir() or SimpleNamespace(returncode=0))
    before = os.umask(0o077)
    try:
        assert install.main([str(tmp_path / "prefix")]) == 0
    finally:
        os.umask(before)
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "prefix").rglob("*") if not path.is_symlink()}
    assert modes.pop(tmp_path / "prefix" / "var") == 0o700
    assert set(modes.values()) == {0o755, 0o644}


def test_switching_is_one_step_and_goes_back(modules: dict[str, ModuleType], tmp_path: Path) -> None:
    for name in ("old", "new"):
        (tmp_path / "releases" / name).mkdir(parents=True)
    for name in ("old", "new", "old"):
        modules["install"].switch(tmp_path, tmp_path / "releases" / name)
        assert (tmp_path / "current").resolve().name == name
    assert sorted(path.name for path in tmp_path.iterdir()) == ["current", "releases"]
