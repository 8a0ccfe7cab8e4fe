#!/usr/bin/env python3
"""Installs an unpacked bundle below a folder, with no network: `python3 install.py /opt/aisoc-admin`.

    PREFIX/releases/VERSION-DIGEST/     each release, with a .venv of its own; older ones stay for the way back
    PREFIX/var/                         the data folder, shared by all releases
    PREFIX/current                      a link to the release in use, moved last and at once

Every file is checked against SHA256SUMS first, and one that is not listed is refused. Releases can be read by every user, as the
services are not root, whatever the umask; the data folder by its owner alone. Standard library only.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
SUMS = "SHA256SUMS"
WHOLE = ".installed"  # in a release that is complete


class InstallError(Exception):
    """Nothing was switched; str() is for the person at the terminal."""


def verify(folder: Path) -> str:
    """Check every file of the unpacked bundle; gives the digest of the list itself. Raises InstallError."""
    try:
        text = (folder / SUMS).read_text(encoding="utf-8")
    except OSError as error:
        raise InstallError(f"{folder / SUMS} cannot be read ({error.strerror}). Unpack the whole bundle.") from None
    listed = {}
    for line in text.splitlines():
        digest, _, name = line.partition("  ")
        listed[name] = digest
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()} - {SUMS}
    for name in sorted(found ^ set(listed)):
        raise InstallError(
            "{} is {}. The bundle is not the one that was made; fetch it again.".format(name, "missing" if name in listed else "not listed")
        )
    for name, digest in sorted(listed.items()):
        path = folder / name
        if path.is_symlink() or hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            raise InstallError(f"{name} has been changed. The bundle is not the one that was made; fetch it again.")
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def install(bundle: Path, prefix: Path) -> Path:
    """The new release's folder, complete and in use. Raises InstallError."""
    digest = verify(bundle)
    release = prefix / "releases" / "{}-{}".format(bundle.name.rpartition("-")[2], digest[:12])
    data = prefix / "var"
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not (release / WHOLE).exists():
        if release.exists():  # a run that was cut off
            shutil.rmtree(release)
        shutil.copytree(bundle / "source", release)
        readable(release)
        (release / "var").symlink_to(Path("..", "..", "var"))
        command = [sys.executable, "-c", "import python_check, bootstrap; bootstrap.ready('requirements.txt')"]
        if subprocess.run(command, cwd=release / "bin", check=False).returncode != 0:
            raise InstallError(f"The environment of {release} cannot be made; the lines above say why. The release in use is the one it was.")
        (release / WHOLE).touch()
    switch(prefix, release)
    return release


def readable(release: Path) -> None:
    """For every user, also when it was unpacked under a strict umask."""
    for folder, _, names in os.walk(release):
        Path(folder).chmod(0o755)
        for path in (Path(folder, name) for name in names):
            path.chmod(0o755 if os.access(path, os.X_OK) else 0o644)


def switch(prefix: Path, release: Path) -> None:
    """Point `current` at the release: whoever looks sees the old one or the new one."""
    draft = prefix / f".current.{os.getpid()}"
    draft.symlink_to(release.relative_to(prefix))
    draft.replace(prefix / "current")


def main(words: "list[str]") -> int:
    if len(words) != 1 or words[0].startswith("-"):
        print("usage: python3 install.py PREFIX — installs below PREFIX, for example /opt/aisoc-admin", file=sys.stderr)
        return 2
    prefix = Path(words[0]).resolve()
    os.umask(0o022)
    try:
        release = install(HERE, prefix)
    except (InstallError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"installed: {release}")
    print("start:     {}".format(prefix / "current" / "bin" / "up"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
