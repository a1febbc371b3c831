#!/usr/bin/env python3
"""A preprocessor for mdBook: puts links right that lead out of docs/src.

A page links to files of the checkout, such as the catalog, by where they are, so that a reader of the files finds them. The book has the same files
by way of links in docs/src, and that is where the links of the built pages lead.
"""

import json
import os
import re
import sys
from pathlib import Path

LINK = re.compile(r"\]\(([^)#\s:]+)((?:#[^)\s]*)?)\)")
FENCE = re.compile(r"^\s*```.*?^\s*```\s*$", re.DOTALL | re.MULTILINE)


def in_book(source):
    """Where the book has each file, by where it really is."""
    found = {}
    for folder, _, names in os.walk(source, followlinks=True):
        for name in names:
            path = Path(folder, name)
            found[path.resolve()] = path
    return found


def settled(text, page, places):
    """The text of a page with its links put right. What is code stays as it is."""

    def link(match):
        target, anchor = match.groups()
        real = (page.resolve().parent / target).resolve()
        place = places.get(real)
        if place is None:
            return match.group(0)
        return f"]({os.path.relpath(place, page.parent)}{anchor})"

    parts, at = [], 0
    for fence in FENCE.finditer(text):
        parts += [LINK.sub(link, text[at : fence.start()]), fence.group(0)]
        at = fence.end()
    return "".join([*parts, LINK.sub(link, text[at:])])


def walk(items, source, places):
    for item in items:
        chapter = item.get("Chapter") if isinstance(item, dict) else None
        if chapter is None:
            continue
        if chapter.get("path"):
            chapter["content"] = settled(chapter["content"], source / chapter["path"], places)
        walk(chapter["sub_items"], source, places)


def main():
    if sys.argv[1:2] == ["supports"]:
        return
    context, book = json.load(sys.stdin)
    source = Path(context["root"], context["config"]["book"].get("src", "src"))
    walk(book.get("items", book.get("sections", [])), source, in_book(source))
    json.dump(book, sys.stdout)


main()
