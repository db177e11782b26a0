"""Check the links of the built site: `python docs/links.py build/site`. Every file and anchor must be there."""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit


class Page(HTMLParser):
    """Where a page leads, and what can be linked to in it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.anchors: set[str] = {"", "top"}
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" or (tag == "a" and name == "name"):
                self.anchors.add(value or "")
            elif value and name in ("href", "src", "data") and tag != "base":
                self.links.add(value)


def check(site: Path) -> tuple[list[str], list[str]]:
    """The links that lead nowhere, and the addresses of other sites."""
    pages = {path.resolve(): Page(path) for path in site.rglob("*.html")}
    broken, outside = [], set()
    for path, page in pages.items():
        for link in page.links:
            place, anchor = urldefrag(link)
            if urlsplit(place).scheme == "data":
                continue
            if urlsplit(place).scheme or place.startswith("//"):
                outside.add(place)
                continue
            target = (path.parent / unquote(urlsplit(place).path)).resolve() if place else path
            target = target / "index.html" if target.is_dir() else target
            there = target in pages and unquote(anchor) in pages[target].anchors
            if not there and not (target.is_file() and (not anchor or target not in pages)):
                broken.append(f"{path.relative_to(site.resolve())}: {link}")
    if not pages:
        broken.append(f"{site} has no pages; build it first: sphinx-build docs {site}")
    return sorted(broken), sorted(outside)


if __name__ == "__main__":
    broken, outside = check(Path(sys.argv[1] if len(sys.argv) > 1 else "build/site"))
    print(*(f"outside, not followed: {link}" for link in outside), sep="\n")
    print(*(f"broken: {link}" for link in broken), sep="\n")
    sys.exit(bool(broken))
