"""bin/bootstrap.py: from a bare interpreter to an environment, once. The wheels are made here; nothing is downloaded."""

import ast
import base64
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
COMMAND = """#!/usr/bin/env python3
import os, sys
import python_check
import bootstrap
python = bootstrap.ready(sys.argv[1])
os.execv(python, [str(python), "-c", sys.argv[2]])
"""
NO_INDEX = {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": "http://127.0.0.1:1/", "UV_DEFAULT_INDEX": "http://127.0.0.1:1/"}


@pytest.fixture(scope="module")
def bootstrap() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bootstrap", ROOT / "bin" / "bootstrap.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def wheel(folder: Path, name: str, version: str) -> str:
    """Put the wheel of a one-line package into `folder`; gives its line of a lock."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f"version = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = [
        f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b'=').decode()},{len(text)}"
        for path, text in files.items()
    ]
    files[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,", ""])
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for inner, text in files.items():
            archive.writestr(inner, text)
    return f"{name}=={version} \\\n    --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


class Project:
    """A project with the real bin/bootstrap.py, a wheelhouse without uv, and locks of one and two packages."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "bin").mkdir(parents=True)
        (root / "wheelhouse").mkdir()
        for name in ("bootstrap.py", "python_check.py"):
            shutil.copy(ROOT / "bin" / name, root / "bin" / name)
        (root / "bin" / "start").write_text(COMMAND)
        shutil.copy(ROOT / "requirements-uv.txt", root)
        self.core = wheel(root / "wheelhouse", "core_of_it", "1.0")
        self.extra = wheel(root / "wheelhouse", "extra_of_it", "1.0")
        self.write(self.core, self.core + self.extra)

    def write(self, core: str, dev: str) -> None:
        (self.root / "requirements.txt").write_text(core)
        (self.root / "requirements-dev.txt").write_text(dev)

    def start(self, program: str, lock: str = "requirements.txt") -> "subprocess.Popen[str]":
        command = [sys.executable, str(self.root / "bin" / "start"), lock, program]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **NO_INDEX})

    def run(self, program: str, lock: str = "requirements.txt") -> tuple[int, list[str], list[str]]:
        process = self.start(program, lock)
        out, err = process.communicate(timeout=60)
        return process.returncode, out.splitlines(), err.splitlines()


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, list[str]]:
    """A project with a broken environment that two starts at the same moment have set up; and what both said."""
    project = Project(tmp_path_factory.mktemp("project"))
    (project.root / ".venv" / "bin").mkdir(parents=True)
    (project.root / ".venv" / "bin" / "python").symlink_to(project.root / "gone")
    (project.root / ".venv" / "junk").touch()
    both = [project.start("import core_of_it; print(core_of_it.version)") for _ in range(2)]
    said = [line for process in both for line in process.communicate(timeout=90)[0].splitlines()]
    assert [process.returncode for process in both] == [0, 0]
    return project, said


def test_two_first_starts_at_once_install_once(started: tuple[Project, list[str]]) -> None:
    said = started[1]
    assert said.count("1.0") == 2
    assert sum(line.startswith("setting up .venv from requirements.txt") for line in said) == 1
    assert sum(line.startswith("another start is setting up") for line in said) == 1


def test_a_broken_environment_is_made_anew(started: tuple[Project, list[str]]) -> None:
    assert not (started[0].root / ".venv" / "junk").exists()


def test_a_second_start_runs_no_installer(started: tuple[Project, list[str]]) -> None:
    project = started[0]
    hidden = (project.root / "wheelhouse").rename(project.root / "away")
    try:
        assert project.run("import core_of_it; print(core_of_it.version)") == (0, ["1.0"], [])
    finally:
        hidden.rename(project.root / "wheelhouse")


def test_a_changed_lock_is_installed_into_the_environment_that_is_there(started: tuple[Project, list[str]]) -> None:
    project = started[0]
    made = (project.root / ".venv" / "pyvenv.cfg").stat().st_ino
    newer = wheel(project.root / "wheelhouse", "core_of_it", "1.1")
    project.write(newer, newer + project.extra)
    assert project.run("import core_of_it; print(core_of_it.version)") == (0, ["updating .venv from requirements.txt…", "1.1"], [])
    assert (project.root / ".venv" / "pyvenv.cfg").stat().st_ino == made


def test_the_test_environment_serves_the_product_too(started: tuple[Project, list[str]], bootstrap: ModuleType) -> None:
    project = started[0]
    environment = bootstrap.Environment(project.root)
    program = "import core_of_it, extra_of_it; print(core_of_it.version)"
    assert not environment.has("requirements-dev.txt")
    assert project.run(program, "requirements-dev.txt") == (0, ["updating .venv from requirements-dev.txt…", "1.1"], [])
    assert environment.has("requirements.txt"), "the larger lock pins all of the smaller one"
    project.write(project.core, (project.root / "requirements-dev.txt").read_text())
    assert project.run(program, "requirements.txt") == (0, ["updating .venv from requirements.txt…", "1.0"], []), "it pins another version"
    assert not environment.has("requirements-dev.txt"), "what that pins is no longer there"


def test_what_the_tests_lock_installs_is_all_that_the_product_needs(bootstrap: ModuleType) -> None:
    """The real locks: bin/up after bin/test runs no installer. Markers may differ; what the larger one pins for every machine is there too."""
    assert bootstrap.covers(ROOT / "requirements-dev.txt", ROOT / "requirements.txt")
    assert not bootstrap.covers(ROOT / "requirements.txt", ROOT / "requirements-dev.txt")


@pytest.mark.parametrize(
    ("larger", "smaller", "covered"),
    [
        ("a==1", "a==1", True),
        ("a==1", "a==1 ; sys_platform == 'win32'", True),
        ("a==1 ; sys_platform == 'win32'", "a==1", False),
        ("a==2", "a==1 ; sys_platform == 'win32'", False),
        ("a==1\nb==1", "b==1", True),
        ("", "b==1", False),
    ],
)
def test_one_lock_covers_another_that_pins_less(bootstrap: ModuleType, tmp_path: Path, larger: str, smaller: str, covered: bool) -> None:
    for name, text in (("larger", larger), ("smaller", smaller)):
        (tmp_path / name).write_text(text)
    assert bootstrap.covers(tmp_path / "larger", tmp_path / "smaller") is covered


def test_a_wheel_with_a_wrong_hash_is_not_installed_and_leaves_no_stamp(started: tuple[Project, list[str]]) -> None:
    project = started[0]
    tampered = wheel(project.root / "wheelhouse", "core_of_it", "2.0").replace("sha256:", "sha256:0")[:-2] + "\n"
    project.write(tampered, project.core + project.extra)
    status, _out, err = project.run("print('started')")
    assert status == 1
    assert err[-1].startswith("The packages of requirements.txt cannot be installed. wheelhouse/")
    assert not list((project.root / ".venv").glob(".installed-*"))


def test_an_environment_that_was_moved_here_or_lost_its_python_is_not_used(
    started: tuple[Project, list[str]], bootstrap: ModuleType, tmp_path: Path
) -> None:
    here = bootstrap.Environment(started[0].root)
    assert here._usable()
    shutil.copytree(here.path, tmp_path / ".venv", symlinks=True)
    moved = bootstrap.Environment(tmp_path)
    assert not moved._usable()
    shutil.copy(started[0].root / "requirements.txt", tmp_path)
    moved._stamp("requirements.txt").write_text(here._stamp_text("requirements.txt"))
    assert not moved.has("requirements.txt"), "the stamp names the place it was made for"
    moved._stamp("requirements.txt").write_text(moved._stamp_text("requirements.txt"))
    assert moved.has("requirements.txt")
    (moved.path / "bin" / "python3").unlink(missing_ok=True)
    (moved.path / "bin" / "python3").symlink_to(tmp_path / "gone")
    (moved.path / "bin" / "python").unlink()
    (moved.path / "bin" / "python").symlink_to("python3")
    assert not moved.has("requirements.txt")
    assert not moved._usable()


def test_a_python_without_venv_is_one_line_with_the_way_out(
    bootstrap: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(SystemExit) as ended:
        bootstrap.ready("requirements.txt", tmp_path)
    assert ended.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(f"apt-get install python{sys.version_info[0]}.{sys.version_info[1]}-venv")


@pytest.mark.parametrize("version", [(3, 10), (3, 14)])
def test_an_interpreter_that_is_not_supported_is_refused_in_one_line(version: tuple[int, int]) -> None:
    program = f"import sys; sys.version_info = {(*version, 0)}; sys.argv = ['bin/up']; sys.path.insert(0, 'bin'); import python_check"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"AiSOC Admin needs Python 3.11, 3.12 or 3.13; this is {version[0]}.{version[1]}. Start it with one of them: python3.12 bin/up"
    ]


@pytest.mark.parametrize("name", ["up", "test", "python_check.py"])
def test_an_old_interpreter_can_read_what_refuses_it(name: str) -> None:
    source = (ROOT / "bin" / name).read_text(encoding="utf-8")
    ast.parse(source, feature_version=(3, 4))
    assert 'f"' not in source


@pytest.mark.parametrize("name", ["up", "test"])
def test_the_commands_are_executable_and_start_with_the_check(name: str) -> None:
    path = ROOT / "bin" / name
    assert os.access(path, os.X_OK)
    imported = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("import ")]
    assert imported.index("import python_check  # noqa: F401  first: an old interpreter cannot read what follows") < imported.index(
        "import bootstrap"
    )


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ("", {}),
        ("global.index-url='https://mirror.corp/simple'\n", {"UV_DEFAULT_INDEX": "https://mirror.corp/simple"}),
        (":env:.index-url='https://b/'\nglobal.index-url='https://a/'\n", {"UV_DEFAULT_INDEX": "https://b/"}),
        ("global.cert='/ca.pem'\ninstall.proxy='http://p:1'\nglobal.timeout='5'\n", {"SSL_CERT_FILE": "/ca.pem", "ALL_PROXY": "http://p:1"}),
    ],
)
def test_uv_is_told_where_pip_looks(bootstrap: ModuleType, config: str, expected: dict[str, str]) -> None:
    told = bootstrap._as_uv_reads_it(config)
    assert {name: told[name] for name in expected} == expected
    assert set(told) - set(expected) == {"UV_HTTP_CONNECT_TIMEOUT", "UV_PYTHON_DOWNLOADS"}
