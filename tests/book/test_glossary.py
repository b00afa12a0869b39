"""Words of the glossary, linked where a page first uses them."""

import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from docutils import nodes
from docutils.core import publish_doctree

ROOT = Path(__file__).parents[2]
TEXT = """
A dream in a title
==================

A *dream* is a rollout, and two dreams are ``dream`` rollouts. Not a daydream, and no latent-free
Latents: `a latent <x>`_. The world model, the model.
"""


@pytest.fixture
def links(extension: Callable[[str], ModuleType]) -> ModuleType:
    return extension("glossary_links")


def test_the_first_of_each_word_becomes_a_link(links: ModuleType) -> None:
    terms = ["dream", "rollout", "latent", "world model", "model", "return"]
    objects = [(t, t, "term", links.PAGE, f"term-{t}", 0) for t in terms]
    app = SimpleNamespace(
        env=SimpleNamespace(get_domain=lambda _: SimpleNamespace(get_objects=lambda: objects)),
        builder=SimpleNamespace(format="html", get_relative_uri=lambda a, b: f"{a}->{b}"),
    )
    tree = publish_doctree(TEXT)
    before = tree.astext()
    links.link(app, tree, "book/page")
    made = [
        (node.astext(), node["refuri"].split("#")[1])
        for node in tree.findall(nodes.reference)
        if "wm-term" in node["classes"]
    ]
    assert made == [
        ("dream", "term-dream"), ("rollout", "term-rollout"), ("Latents", "term-latent"),
        ("world model", "term-world model"), ("model", "term-model"),
    ]  # fmt: skip
    assert tree.astext() == before


def test_the_glossary_is_in_order_and_names_what_is_left_open(links: ModuleType) -> None:
    text = (ROOT / "book" / "glossary.md").read_text(encoding="utf-8")
    terms = re.findall(r"^(\S.*)\n    \S", text.partition("```{glossary}\n")[2], re.MULTILINE)
    assert len(terms) > 40
    assert terms == sorted(terms, key=str.lower)
    assert links.COMMON <= {term.lower() for term in terms}
