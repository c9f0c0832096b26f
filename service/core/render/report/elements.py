"""HTML elements as a tree: what is a text child stays text, whatever stands in it."""

from xml.etree.ElementTree import Element, tostring

Child = Element | str | None


def tag(kind: str, /, *children: Child, **attributes: str | float | None) -> Element:
    """An element with its children in order, text among them; None is left out.

    An attribute's name has `_` for `-`, and a last `_` where Python has the word itself: `class_`.
    """
    element = Element(
        kind,
        {
            name.rstrip("_").replace("_", "-"): str(value)
            for name, value in attributes.items()
            if value is not None
        },
    )
    last: Element | None = None
    for child in children:
        if isinstance(child, Element):
            element.append(child)
            last = child
        elif child is not None and last is None:
            element.text = (element.text or "") + child
        elif child is not None and last is not None:
            last.tail = (last.tail or "") + child
    return element


def given(text: str) -> Element:
    """Words that a user gave: their direction of writing ends where they end."""
    return tag("bdi", text)


def document(root: Element) -> bytes:
    """The tree as an HTML file in UTF-8."""
    text = tostring(root, encoding="unicode", method="html")
    return f"<!DOCTYPE html>\n{text}\n".encode("utf-8", "replace")
