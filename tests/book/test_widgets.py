"""The state of a page's widgets, and the stills in their places."""

import json
import re
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

TYPE = '<script type="application/vnd.jupyter.widget-{}+json">{}</script>'


@pytest.fixture
def widgets(extension: Callable[[str], ModuleType]) -> ModuleType:
    return extension("widgets")


def page(**models: dict[str, Any]) -> str:
    """A page that shows the model "a", with the state of these."""
    state = json.dumps({"version_major": 2, "state": models})
    view = json.dumps({"model_id": "a"})
    return f"<head>{TYPE.format('state', state)}</head><p>{TYPE.format('view', view)}</p>"


def test_the_still_moves_to_its_place_and_what_is_not_shown_goes(widgets: ModuleType) -> None:
    shown = {"model_name": "AnyModel", "state": {"still": "<b>look</b>", "_esm": "'<\\/script>'"}}
    before = page(a=shown, b={"model_name": "LayoutModel", "state": {}})
    after = widgets.trim(before)
    state = re.findall(r"widget-state\+json\">(.*?)</script>", after)
    assert json.loads(state[0])["state"] == {
        "a": {"model_name": "AnyModel", "state": {"_esm": "'<\\/script>'"}}
    }
    assert after.endswith("</script><b>look</b></p>")
    assert widgets.trim(after) == after


def test_a_widget_that_nobody_draws_is_refused(widgets: ModuleType) -> None:
    with pytest.raises(ValueError, match="only anywidgets can be drawn, got a IntSliderModel"):
        widgets.trim(page(a={"model_name": "IntSliderModel", "state": {}}))
    assert widgets.trim("<p>no widget</p>") == "<p>no widget</p>"
