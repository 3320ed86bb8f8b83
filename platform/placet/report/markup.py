"""HTML and SVG put together so that text can only ever be text.

Everything handed to :func:`el` is escaped unless it is :class:`Html`, which only :func:`el`, :func:`join` and the
constants of this package make; control and direction-changing characters are replaced. So no label, comment or model
answer becomes markup, whatever it holds.
"""

from __future__ import annotations

import html
from collections.abc import Iterable

from placet.report.text import printable

_VOID = {"meta", "br", "hr", "line", "rect", "circle", "path", "img"}
_KEPT_AS_THEY_ARE = {"viewBox", "preserveAspectRatio"}


class Html(str):
    """Markup that is safe to put into a page as it is."""

    __slots__ = ()


Child = str | int | float | None | Iterable["Child"]


def el(name: str, /, *children: Child, **attributes: str | int | float | bool | None) -> Html:
    """Return an element.

    Args:
        name: The element's name, a literal of ours.
        children: Text (escaped), markup, or iterables of both; None is left out.
        attributes: ``class_`` becomes ``class``, other underscores become hyphens; None and False are left out.
    """
    written = "".join(
        f" {_attribute_name(key)}" + ("" if value is True else f'="{_escaped(str(value))}"')
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    if name in _VOID and not children:
        return Html(f"<{name}{written}/>")
    return Html(f"<{name}{written}>{join(children)}</{name}>")


def join(children: Iterable[Child]) -> Html:
    """Return `children` one after another, text among them escaped."""
    return Html("".join(_child(child) for child in children))


def _child(child: Child) -> str:
    if child is None:
        return ""
    if isinstance(child, Html):
        return child
    if isinstance(child, str | int | float):
        return _escaped(str(child))
    return join(child)


def _escaped(text: str) -> str:
    return html.escape(printable(text))


def _attribute_name(key: str) -> str:
    return key if key in _KEPT_AS_THEY_ARE else key.rstrip("_").replace("_", "-")
