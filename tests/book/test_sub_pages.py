"""The pages of a chapter are numbered after it."""

from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from docutils.nodes import reference, title
from sphinx.addnodes import compact_paragraph


def contents(*anchors: str) -> compact_paragraph:
    return compact_paragraph("", "", *(reference("", "", anchorname=name) for name in anchors))


@pytest.fixture
def env() -> Any:
    names = ("why", "dreaming", "906", "more", "errata", "notes")
    return SimpleNamespace(
        config=SimpleNamespace(root_doc="index"),
        toctree_includes={
            "index": ["why", "dreaming", "errata"], "dreaming": ["906", "more"],
            "errata": ["notes"],
        },
        toc_secnumbers={"why": {"": (1,)}, "dreaming": {"": (5,), "#loop": None}},
        tocs={name: contents("", "#rules") for name in names},
        titles={name: title() for name in names},
    )  # fmt: skip


def test_pages_below_a_chapter_take_its_number_and_a_letter(
    extension: Callable[[str], ModuleType], env: Any
) -> None:
    assert extension("sub_pages").number(None, env) == []
    assert env.toc_secnumbers["906"] == {"": ("5a",), "#rules": None}
    assert env.toc_secnumbers["more"][""] == env.titles["more"]["secnumber"] == ("5b",)
    first, second = env.tocs["906"].findall(reference)
    assert first["secnumber"] == ("5a",) and "secnumber" not in second
    assert env.toc_secnumbers["dreaming"] == {"": (5,), "#loop": None}
    assert "notes" not in env.toc_secnumbers and "secnumber" not in env.titles["notes"]
