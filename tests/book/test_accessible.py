"""What the build takes back of the theme's markup, and nothing else."""

from collections.abc import Callable
from types import ModuleType


def test_these_changes_and_no_more(extension: Callable[[str], ModuleType]) -> None:
    module = extension("accessible")
    page = (
        '<html lang="en" data-theme="auto" class="a"><html data-theme="dark"><p data-theme="auto">'
        '<button class="btn search-button-field x" title="Search" aria-label="Search" data-a="b">'
        '<button class="btn search-button x" title="Search" aria-label="Search" data-a="b">'
        '<i class="theme-switch fa-sun" data-mode="light" title="Light"></i><i title="Dark"></i>'
        '<div role="list" class="citation-list">'
        '<div class="citation" id="a" role="doc-biblioentry">'
        '<div role="list"><summary aria-label="Toggle hidden content">Show<summary aria-label="A">'
    )
    corrected = (
        '<html lang="en" data-theme="light" class="a"><html data-theme="dark"><p data-theme="auto">'
        '<button class="btn search-button-field x" title="Search" data-a="b">'
        '<button class="btn search-button x" title="Search" aria-label="Search" data-a="b">'
        '<i class="theme-switch fa-sun" data-mode="light"></i><i title="Dark"></i>'
        '<div class="citation-list"><div class="citation" id="a">'
        '<div role="list"><summary>Show<summary aria-label="A">'
    )
    assert module.correct(page) == corrected
    assert module.correct(corrected) == corrected
