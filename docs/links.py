#!/usr/bin/env python3
"""Tells which links of the pages in a folder lead to no file, or to no element, of that folder. links.py FOLDER"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    def __init__(self, path):
        super().__init__()
        self.ids, self.links = set(), set()
        self.feed(path.read_text())

    def handle_starttag(self, _tag, attributes):
        for name, value in attributes:
            if name in ("id", "name"):
                self.ids.add(value)
            elif name in ("href", "src"):
                self.links.add(value)


folder = Path(sys.argv[1]).resolve()
pages = {path: Page(path) for path in folder.rglob("*.html")}
faults = []
for path, page in pages.items():
    # The page for an address that is none, and the one for printing, which has all pages' anchors anew, name places as seen from elsewhere.
    if path.name in ("404.html", "print.html", "toc.html"):
        continue
    for link in page.links:
        url = urlsplit(link)
        if url.scheme or url.netloc:
            continue
        target = (path.parent / unquote(url.path)).resolve() if url.path else path
        if not target.is_file() or folder not in target.parents:
            faults.append(f"{path.relative_to(folder)}: {link} leads nowhere")
        elif url.fragment and target in pages and unquote(url.fragment) not in pages[target].ids:
            faults.append(f"{path.relative_to(folder)}: {link}: there is no such element")
if len(pages) < 30:
    faults.append(f"only {len(pages)} pages were looked at")
print("".join(f"{fault}\n" for fault in sorted(faults)), end="", file=sys.stderr)
sys.exit(bool(faults))
