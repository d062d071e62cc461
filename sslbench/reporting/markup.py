"""Elements of HTML and SVG as text: whatever is not markup already is escaped."""

from __future__ import annotations

from html import escape
from urllib.parse import quote

_VOID = frozenset({"meta", "wbr"})


class Markup(str):
    """Text that is markup already and is not escaped again."""

    __slots__ = ()


def element(name: str, /, *children: str, **attributes: str | float | None) -> Markup:
    """Return an element; children that are not `Markup` are escaped.

    Args:
        name: the tag.
        children: text or `Markup`, in order.
        attributes: a trailing underscore is dropped (`class_`), other underscores become
            hyphens; None leaves the attribute out; floats keep at most two decimals.
    """
    inside = "".join(
        f' {_name(key)}="{_value(value)}"' for key, value in attributes.items() if value is not None
    )
    if name in _VOID:
        return Markup(f"<{name}{inside}>")
    return Markup(f"<{name}{inside}>{join(*children)}</{name}>")


def join(*children: str) -> Markup:
    """Return the children side by side."""
    return Markup("".join(map(_escaped, children)))


def breakable(name: str) -> Markup:
    """Return a name that may break into lines after an underscore or a slash."""
    escaped = escape(name)
    return Markup(escaped.replace("_", "_<wbr>").replace("/", "/<wbr>"))


def anchor(identity: str) -> str:
    """Return an id that is also a fragment of an address: no spaces, quotes or brackets."""
    return quote(identity, safe="/@-_.")


def decimal(value: float) -> str:
    """Return a number with at most two decimals and no negative zero: the same on any machine."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _escaped(child: str) -> str:
    return child if isinstance(child, Markup) else escape(child)


def _name(key: str) -> str:
    return key.rstrip("_").replace("_", "-")


def _value(value: str | float) -> str:
    return escape(value) if isinstance(value, str) else decimal(value)
