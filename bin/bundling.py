"""`bin/bundle`: one archive that installs on a machine without a network.

    aisoc-admin-VERSION/
        install.py          the installer, for the machine's bare python3
        SHA256SUMS          of every other file, as `sha256sum -c` reads it
        sbom.cdx.json       CycloneDX 1.6: each wheel with version, digest and licence
        verify_report.py    checks a signed audit report; needs nothing else of this
        source/             the product, with wheelhouse/ and the hashed lock

The same commit and lock give the same bytes. Wheels come from the package index, checked against the lock's hashes, or from
wheelhouse/ where there is one.
"""

import argparse
import gzip
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ("requirements.txt", "requirements-uv.txt")
LEFT_OUT = frozenset({".git", ".venv", ".venv-peers", "dist", "var", "wheelhouse", "staticfiles", "__pycache__"})
VERIFIERS = ("airgap/verify_report.py", "bin/airgap_verify*", "scripts/*verify*.py")
VERIFIER = "verify_report.py"  # its name in the bundle
SUMS = "SHA256SUMS"


class BundleError(Exception):
    """There is no bundle; str() is what the person at the terminal can do."""


def bundle(root: Path, out: Path, wheels: Path) -> Path:
    """Write the archive for the source in `root` and the wheels in `wheels`; gives its path. Raises BundleError."""
    import sbom

    from aisoc_admin import __version__

    name = f"aisoc-admin-{__version__}"
    born = birth(root)
    with tempfile.TemporaryDirectory(prefix="aisoc-bundle-") as folder:
        top = Path(folder, name)
        source = top / "source"
        for path in sources(root):
            (source / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / path, source / path)
        (source / "wheelhouse").mkdir()
        for wheel in sorted(wheels.glob("*.whl")):
            shutil.copy2(wheel, source / "wheelhouse")
        shutil.copy2(root / "bin" / "install.py", top / "install.py")
        shutil.copy2(verifier(root), top / VERIFIER)
        (top / "sbom.cdx.json").write_text(sbom.document(__version__, born, sorted(wheels.glob("*.whl"))), encoding="utf-8")
        files = sorted(path for path in top.rglob("*") if path.is_file())
        sums = "".join(f"{digest_of(path)}  {path.relative_to(top)}\n" for path in files)
        (top / SUMS).write_text(sums, encoding="utf-8")
        archive = out / f"{name}-{hashlib.sha256(sums.encode()).hexdigest()[:12]}.tar.gz"
        out.mkdir(parents=True, exist_ok=True)
        draft = archive.with_suffix(".part")
        try:
            pack(draft, top, [*files, top / SUMS], born)
            draft.replace(archive)
        finally:
            draft.unlink(missing_ok=True)
    archive.with_name(f"{archive.name}.sha256").write_text(f"{digest_of(archive)}  {archive.name}\n", encoding="utf-8")
    return archive


def sources(root: Path) -> list[Path]:
    """What belongs to the product: what git tracks, or, in an unpacked bundle, every file but what the product itself makes."""
    if (root / ".git").exists():
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, check=False)  # noqa: S607
        if listed.returncode != 0:
            raise BundleError(f"git does not list the files of {root}: {listed.stderr.decode(errors='replace').strip()}")
        return [Path(name) for name in sorted(os.fsdecode(listed.stdout).split("\0")) if name and (root / name).is_file()]
    found = (path.relative_to(root) for path in root.rglob("*") if path.is_file() and path.suffix != ".pyc")
    return sorted(path for path in found if not LEFT_OUT & set(path.parts) and not path.name.startswith("."))


def birth(root: Path) -> int:
    """Seconds since 1970 that all files of the bundle carry: of the commit, or of the lock in an unpacked bundle."""
    told = subprocess.run(["git", "log", "-1", "--format=%ct"], cwd=root, capture_output=True, text=True, check=False)  # noqa: S607
    if (root / ".git").exists() and told.returncode == 0:
        return int(told.stdout)
    return int((root / LOCKS[0]).stat().st_mtime)


def verifier(root: Path) -> Path:
    """The one file that checks a report without the product. Raises BundleError: a bundle without it is not whole."""
    for pattern in VERIFIERS:
        for path in sorted(root.glob(pattern)):
            return path
    raise BundleError(f"The standalone verifier of audit reports is not there: none of {', '.join(VERIFIERS)}.")


def download(root: Path, folder: Path, pythons: Iterable[str], platforms: Iterable[str]) -> None:
    """Every wheel of the locks, for each Python, checked against the lock's hashes. Raises BundleError."""
    own = root / "wheelhouse"
    where = ["--no-index", "--find-links", str(own)] if own.is_dir() else []
    machine = [word for platform in platforms for word in ("--platform", platform)]
    for lock in LOCKS:
        chosen = folder / lock
        chosen.write_text(for_any_python((root / lock).read_text(encoding="utf-8")), encoding="utf-8")
        for python in pythons:
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", "--require-hashes"]
            wanted = [*where, *machine, "--python-version", python, "--dest", str(folder), "-r", str(chosen)]
            done = subprocess.run([*command, *wanted], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
            if done.returncode != 0:
                tail = "\n".join(done.stdout.rstrip().splitlines()[-8:])
                raise BundleError(f"{tail}\nThe wheels of {lock} for Python {python} cannot be had.")


def for_any_python(lock: str) -> str:
    """The lock without conditions on Python's version: pip asks them of the Python that runs it, and the target may have another patch release."""
    return re.sub(r"(?m)^(\S+==\S+) ; python_(?:full_)?version [<>=!]+ '[0-9.]+' \\$", r"\1 \\", lock)


def pack(archive: Path, top: Path, files: Iterable[Path], born: int) -> None:
    """A tar.gz whose bytes depend on nothing but names, contents, modes and `born`."""
    with archive.open("wb") as raw, gzip.GzipFile("", "wb", 1, raw, mtime=born) as zipped, tarfile.open(fileobj=zipped, mode="w") as tar:
        for path in files:
            member = tarfile.TarInfo(str(path.relative_to(top.parent)))
            member.mode = 0o755 if os.access(path, os.X_OK) else 0o644
            member.mtime, member.size = born, path.stat().st_size
            with path.open("rb") as content:
                tar.addfile(member, content)


def digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="bin/bundle", description="Write an offline install bundle.")
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="folder to write it into (dist/)")
    parser.add_argument("--python", action="append", metavar="3.12", help="a Python to bundle for, again for more (this one)")
    parser.add_argument(
        "--platform", action="append", default=[], metavar="TAG", help="wheel platform of the target, again for more (this machine's)"
    )
    asked = parser.parse_args(words)
    sys.path.insert(0, str(ROOT))
    try:
        with tempfile.TemporaryDirectory(prefix="aisoc-wheels-") as folder:
            verifier(ROOT)  # before the long part
            print("collecting wheels…", file=sys.stderr, flush=True)
            download(ROOT, Path(folder), asked.python or [f"{sys.version_info[0]}.{sys.version_info[1]}"], asked.platform)
            archive = bundle(ROOT, asked.out.resolve(), Path(folder))
    except (BundleError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(archive)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
