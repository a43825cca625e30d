"""Reading a page the way a browser does, as far as the tests need it."""

import base64
from html.parser import HTMLParser

ADDRESSES = ("src", "href", "srcset", "poster", "data", "action", "formaction", "xlink:href")
INLINE = ("b", "i", "bdi", "code", "span", "small")


class Page(HTMLParser):
    """Collects the tags, the addresses, the text and the scripts of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.addresses: list[str] = []
        self.players: list[tuple[str, bytes]] = []
        self.pictures: list[tuple[str, bytes]] = []
        self.policy = ""
        self.raw: dict[str, str] = {"script": "", "style": ""}
        self.words: list[str] = []
        self._within = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self._within = tag
        if tag not in INLINE:
            self.words.append(" ")
        values = dict(attrs)
        self.attributes |= set(values)
        self.addresses += [value or "" for name, value in attrs if name in ADDRESSES]
        if tag == "audio":
            self.players.append((values["aria-label"] or "", _content(values["src"])))
        if tag == "img":
            self.pictures.append((values["alt"] or "", _content(values["src"])))
        if values.get("http-equiv") == "Content-Security-Policy":
            self.policy = values["content"] or ""

    def handle_endtag(self, tag):
        self._within = ""

    def handle_data(self, data):
        if self._within in self.raw:
            self.raw[self._within] += data
        else:
            self.words.append(data)

    @property
    def text(self) -> str:
        """What can be read on the page, its white space as one blank."""
        return " ".join("".join(self.words).split())


def _content(address: str | None) -> bytes:
    return base64.b64decode((address or "").partition(";base64,")[2], validate=True)
