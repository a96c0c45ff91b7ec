"""Read pages as a browser does: what is markup, where links lead, what forms would send."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

#: Elements that only an attacker would bring, or that the policy forbids to be filled inline.
_NEVER = frozenset({"iframe", "base", "object", "embed", "math", "jqx", "textarea-x", "frame"})

#: Attributes that hold an address.
_ADDRESSES = frozenset({"href", "src", "action", "formaction", "xlink:href", "poster"})


@dataclass(slots=True)
class Form:
    """A form: where it goes, how, and its fields with what stands in them."""

    action: str
    method: str
    fields: dict[str, str] = field(default_factory=dict)


class Reader(HTMLParser):
    """What a page is made of; ``faults`` are what no page of ours may have."""

    def __init__(self, content: str) -> None:
        super().__init__(convert_charrefs=True)
        self.links: list[str] = []
        self.forms: list[Form] = []
        self.faults: list[str] = []
        self.text = ""
        self._in_script = False
        self.feed(content)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        found = {name: value or "" for name, value in attrs}
        self._look_at(tag, found)
        self._in_script = tag in ("script", "style")
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        if tag == "form":
            self.forms.append(Form(found.get("action", ""), found.get("method", "get").lower()))
        if tag in ("input", "select", "button", "textarea") and self.forms and "name" in found:
            self.forms[-1].fields[found["name"]] = found.get("value", "")

    def _look_at(self, tag: str, found: dict[str, str]) -> None:
        if tag in _NEVER or (tag == "meta" and "http-equiv" in found):
            self.faults.append(f"<{tag} {found}>")
        if tag == "script" and "src" not in found and found.get("type") != "application/json":
            self.faults.append("an inline script")
        for name, value in found.items():
            if name.startswith("on") or name in ("style", "srcdoc", "autofocus"):
                self.faults.append(f"<{tag} {name}={value!r}>")
            address = "".join(value.split()).lower()
            if name in _ADDRESSES and (
                address.startswith(("javascript:", "data:", "vbscript:", "//"))
            ):
                self.faults.append(f"<{tag} {name}={value!r}>")

    def handle_endtag(self, tag: str) -> None:
        """Leave an element."""
        self._in_script = False

    def handle_data(self, data: str) -> None:
        """Take in text."""
        if self._in_script and data.strip():
            self.faults.append(f"inline: {data[:80]!r}")
        self.text += data
