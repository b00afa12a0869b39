"""Sphinx extension: which edition of the book a page belongs to, and what it offers once published.

The version stands in ``pyproject.toml``, as the library's does. A published book has an address
(`html: baseurl:` in ``_config.yml``): then there is a map of it for search engines, and the
cards of social networks lead to it. A repository that others can see has one, too (`repository:
url:`): then pages offer to suggest an edit, to open an issue, and to run a chapter on Colab.
"""

import tomllib
from pathlib import Path
from typing import Any

import yaml
from sphinx.application import Sphinx

BUTTONS = ("use_repository_button", "use_edit_page_button", "use_issues_button")
LINE = "#1a56b8"  # at the foot of a card, the colour of links
COLAB = "https://colab.research.google.com"


def version(root: Path) -> str:
    """Of the project, or nothing where there is none."""
    path = root / "pyproject.toml"
    if not path.exists():
        return ""
    return str(tomllib.loads(path.read_text(encoding="utf-8"))["project"]["version"])


def repository(root: Path) -> dict[str, str]:
    """Where others see the sources: `url`, and `branch` if it is not main.

    (Jupyter Book makes theme options of these, and drops them where ``_config.yml`` has theme
    options of its own.)
    """
    path = root / "_config.yml"
    settings = yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else {}
    return dict(settings.get("repository") or {})


def options(given: dict[str, Any], number: str, sources: dict[str, str]) -> dict[str, Any]:
    """The theme's options with the version in the footer, and buttons if there is a repository."""
    extra: dict[str, Any] = {}
    if number:
        extra["extra_footer"] = f'<p class="wm-version">Version {number}</p>'
    if sources.get("url"):
        extra |= {
            "repository_url": sources["url"],
            "repository_branch": sources.get("branch", "main"),
            "launch_buttons": {"colab_url": COLAB},
            **dict.fromkeys(BUTTONS, True),
        }
    return {**given, **extra}


def configure(app: Sphinx, config: Any) -> None:
    """Set what follows from the version and from the two addresses."""
    root = Path(app.srcdir)
    number = version(root)
    config.version = config.release = number
    config.html_theme_options = options(config.html_theme_options, number, repository(root))
    if config.html_baseurl:
        config.ogp_site_url = config.html_baseurl
        config.ogp_site_name = config.html_title
        config.ogp_social_cards = {"enable": True, "line_color": LINE}
        config.sitemap_url_scheme = "{link}"  # one language, one version


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension (called by Sphinx)."""
    if app.config.html_baseurl:  # a card or a map without an address leads nowhere
        app.setup_extension("sphinxext.opengraph")
        app.setup_extension("sphinx_sitemap")
    app.connect("config-inited", configure, priority=400)  # before the theme reads its options
    return {"parallel_read_safe": True, "parallel_write_safe": True}
