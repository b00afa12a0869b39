"""The fetched browser files: only those that are pinned, and only when they are missing."""

import hashlib
import io
import os
import platform
import re
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

SOURCE = Path(__file__).parents[2] / "book" / "_ext" / "vendor.py"
# Python under a shell, whose first line may not hold the spaces of a path.
FAKE = """\
#!/bin/sh
'''exec' "{python}" "$0" "$@"
' '''
import pathlib, shutil, sys
arguments = sys.argv[1:]
pathlib.Path({log!r}).open("a").write(" ".join(arguments[:2]) + "\\n")
shutil.copy({archive!r}, arguments[arguments.index("--pack-destination") + 1])
"""


@pytest.fixture
def vendor(
    extension: Callable[[str], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> ModuleType:
    """The script with one small package, and an npm that packs it without a network."""
    module = extension("vendor")
    with tarfile.open(tmp_path / "thing-1.2.3.tgz", "w:gz") as archive:
        member = tarfile.TarInfo("package/dist/thing.js")
        member.size, member.mode = 5, 0o755
        archive.addfile(member, io.BytesIO(b"alert"))
    npm = tmp_path / "bin" / "npm"
    npm.parent.mkdir()
    log, archive_path = str(tmp_path / "log"), str(tmp_path / "thing-1.2.3.tgz")
    npm.write_text(
        FAKE.format(python=sys.executable, log=log, archive=archive_path), encoding="utf-8"
    )
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", str(npm.parent))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "elsewhere" / "python"))
    pinned = hashlib.sha256(b"alert").hexdigest()
    target = tmp_path / "site" / "thing.js"
    package = module.Package("@a/thing", "1.2.3", {"dist/thing.js": (target, pinned)})
    monkeypatch.setattr(module, "PACKAGES", (package,))
    monkeypatch.setattr(module, "SITE", tmp_path / "site")
    return module


def calls(tmp_path: Path) -> list[str]:
    log = tmp_path / "log"
    return log.read_text(encoding="utf-8").splitlines() if log.exists() else []


def test_a_missing_file_is_fetched_once(vendor: ModuleType, tmp_path: Path) -> None:
    vendor.fetch_all()
    assert (tmp_path / "site" / "thing.js").read_bytes() == b"alert"
    assert os.access(tmp_path / "site" / "thing.js", os.X_OK)  # as in the package
    assert calls(tmp_path) == ["pack @a/thing@1.2.3"]
    vendor.fetch_all()
    assert len(calls(tmp_path)) == 1
    (tmp_path / "site" / "thing.js").write_bytes(b"other")  # altered: fetched anew
    vendor.fetch_all()
    assert (tmp_path / "site" / "thing.js").read_bytes() == b"alert"
    assert len(calls(tmp_path)) == 2


def test_a_file_that_is_no_longer_listed_goes(vendor: ModuleType, tmp_path: Path) -> None:
    old = tmp_path / "site" / "old.js"
    old.parent.mkdir()
    old.write_text("alert", encoding="utf-8")
    vendor.fetch_all()
    assert not old.exists() and (tmp_path / "site" / "thing.js").exists()


def test_what_another_system_wants_is_not_fetched(
    vendor: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (package,) = vendor.PACKAGES
    for system in ("Elsewhere", platform.system()):
        monkeypatch.setattr(vendor, "PACKAGES", (package._replace(system=system),))
        vendor.fetch_all()
        assert (tmp_path / "site" / "thing.js").exists() == (system != "Elsewhere")


def test_another_file_than_the_pinned_one_is_refused(
    vendor: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "site" / "thing.js"
    package = vendor.Package("@a/thing", "1.2.3", {"dist/thing.js": (target, "0" * 64)})
    monkeypatch.setattr(vendor, "PACKAGES", (package,))
    with pytest.raises(vendor.VendorError, match=r"thing\.js of @a/thing 1\.2\.3 has SHA-256"):
        vendor.fetch_all()
    assert not target.exists()


def test_without_npm_it_says_what_to_do(
    vendor: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    with pytest.raises(vendor.VendorError, match=r"npm, which fetches @a/thing 1\.2\.3 once"):
        vendor.fetch_all()


def test_an_npm_that_fails_is_reported(vendor: ModuleType, tmp_path: Path) -> None:
    npm = tmp_path / "bin" / "npm"
    npm.write_text("#!/bin/sh\necho 'no such package' >&2; exit 1\n", encoding="utf-8")
    with pytest.raises(vendor.VendorError, match=r"could not fetch @a/thing 1\.2\.3:\nno such"):
        vendor.fetch_all()


def test_every_pin_is_a_version_and_a_hash() -> None:
    text = SOURCE.read_text(encoding="utf-8")
    assert len(re.findall(r'Package\("[^"]+", "\d+\.\d+\.\d+"', text)) == 5
    assert len(re.findall(r'"[0-9a-f]{64}"', text)) == 5
    assert not re.search(r"https?://", text)
