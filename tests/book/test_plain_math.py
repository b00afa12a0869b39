"""Equations for browsers that run no scripts."""

import re
from collections.abc import Callable
from types import ModuleType

import pytest

PAGE = (
    "<html><head></head><body><p>Less: "
    '<span class="math notranslate nohighlight">\\(a &lt; b\\)</span></p>'
    '<div class="math notranslate nohighlight" id="equation-x">\n<span class="eqno">(1)'
    '<a class="headerlink" href="#equation-x">#</a></span>\\[\\boldsymbol{\\mu} = 1\\]</div></body>'
)


@pytest.fixture
def plain(extension: Callable[[str], ModuleType]) -> ModuleType:
    return extension("plain_math")


def test_each_equation_is_written_twice(plain: ModuleType, node: str) -> None:
    found = plain.equations(PAGE)
    assert found == {("a < b", False), ("\\boldsymbol{\\mu} = 1", True)}
    known = plain.mathml(sorted(found))
    page = plain.plain(PAGE, known)
    assert re.sub(r"\s", "", page).count("<math") == 2
    assert "<mo>&lt;</mo>" in page and 'mathvariant="bold-italic">&#x3BC;<' in page
    assert '<span class="wm-tex">\\(a &lt; b\\)</span><noscript><math' in page
    assert page.count("<style>") == 1
    assert plain.equations(page) == set()  # a second build changes nothing
    assert plain.plain(page, {}) == page


def test_a_page_without_equations_stays_as_it_is(plain: ModuleType) -> None:
    assert plain.plain("<head></head><p>none</p>", {}) == "<head></head><p>none</p>"


def test_what_cannot_be_written_is_reported(
    plain: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plain, "PACKAGE", "sphinx-mathjax-offline")
    monkeypatch.setattr(plain, "__file__", "/nowhere/plain_math.py")
    with pytest.raises(RuntimeError, match="equations as MathML"):
        plain.mathml([("x", False)])
