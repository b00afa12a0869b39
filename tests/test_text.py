"""Text files are read and written as UTF-8, whatever the locale says."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("wmlib", "benchmarks", "book/_ext", "book/_make", "tests")
FILES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))


def as_the_locale_likes(source: str) -> list[int]:
    """The lines that open a text file and do not say its encoding."""
    lines = []
    for call in ast.walk(ast.parse(source)):
        if not isinstance(call, ast.Call):
            continue
        name = getattr(call.func, "attr", getattr(call.func, "id", None))
        owner = getattr(getattr(call.func, "value", None), "id", None)
        words = [a.value for a in call.args if isinstance(a, ast.Constant)]
        words += [k.value.value for k in call.keywords
                  if k.arg == "mode" and isinstance(k.value, ast.Constant)]  # fmt: skip
        binary = any(isinstance(word, str) and "b" in word and len(word) < 4 for word in words)
        text = name in ("read_text", "write_text", "fdopen") or (
            name == "open" and owner not in ("os", "tarfile", "Image", "gzip")
        )
        if text and not binary and not any(k.arg == "encoding" for k in call.keywords):
            lines.append(call.lineno)
    return lines


def test_the_scan_sees_what_it_should() -> None:
    for source in ("p.read_text()", "open(p)", "p.open()", "p.write_text(t)", "open(p, 'w')"):
        assert as_the_locale_likes(source) == [1], source
    for source in ("p.read_text(encoding='utf-8')", "open(p, 'rb')", "p.open(mode='wb')",
                   "os.open(p, 0)", "p.read_bytes()"):  # fmt: skip
        assert as_the_locale_likes(source) == [], source


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_text_is_utf_8(path: Path) -> None:
    assert as_the_locale_likes(path.read_text(encoding="utf-8")) == []
