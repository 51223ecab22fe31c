"""How the templates of pages are filled in."""

from __future__ import annotations

from collections.abc import Callable

import jinja2


def environment(**filters: Callable[..., object]) -> jinja2.Environment:
    """Where the templates of HTML are. Whatever is put into one is text, not markup, and what lacks is an error.

    filters: what templates may call by these names.
    """
    found = jinja2.Environment(
        loader=jinja2.PackageLoader("lossybench.reporting"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= filters
    return found
