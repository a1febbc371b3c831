"""Reads the databases that containerd keeps its books in, which are files in the format of bbolt: a tree of named pages.

It exists because those books alone know which unpacked folder holds which layer of which image, and a containerd started to
be asked would be one more daemon to end. Read-only, and only what nothing writes to at the same time.
"""

import struct

PAGE = struct.Struct("<QHHI")
LEAF = struct.Struct("<IIII")
BRANCH = struct.Struct("<IIQ")
BUCKET = struct.Struct("<QQ")
META = struct.Struct("<IIIIQQQQQQ")

MAGIC = 0xED0CDAED
IS_BRANCH, IS_LEAF, IS_BUCKET = 0x01, 0x02, 0x01


class Bucket:
    """One bucket: a mapping from keys to values or to further buckets."""

    def __init__(self, data, page_size, page, inline=None):
        self.data, self.page_size, self.page, self.inline = data, page_size, page, inline

    def items(self):
        """Every key, with its value or the bucket that it leads to."""
        if self.inline is not None:
            yield from self.leaf(memoryview(self.inline))
        else:
            yield from self.pages(self.page)

    def pages(self, number):
        page = memoryview(self.data)[number * self.page_size :]
        _, flags, count, _ = PAGE.unpack_from(page)
        if flags & IS_LEAF:
            yield from self.leaf(page)
        elif flags & IS_BRANCH:
            for index in range(count):
                yield from self.pages(BRANCH.unpack_from(page, PAGE.size + index * BRANCH.size)[2])

    def leaf(self, page):
        count = PAGE.unpack_from(page)[2]
        for index in range(count):
            at = PAGE.size + index * LEAF.size
            flags, position, key_size, value_size = LEAF.unpack_from(page, at)
            key = bytes(page[at + position :][:key_size])
            value = bytes(page[at + position + key_size :][:value_size])
            yield key.decode(), self.bucket(value) if flags & IS_BUCKET else value

    def bucket(self, value):
        root = BUCKET.unpack_from(value)[0]
        # A small bucket lies in its parent, and has no page of its own.
        return Bucket(self.data, self.page_size, root, None if root else value[BUCKET.size :])

    def __getitem__(self, key):
        for found, value in self.items():
            if found == key:
                return value
        raise KeyError(key)

    def __truediv__(self, key):
        return self[key]


def read(path):
    """The root bucket of a database file."""
    data = path.read_bytes()
    page_size = META.unpack_from(data, PAGE.size)[2]
    # Two pages take turns at describing the tree; the later of the two is valid.
    metas = [META.unpack_from(data, number * page_size + PAGE.size) for number in (0, 1)]
    latest = max((meta for meta in metas if meta[0] == MAGIC), key=lambda meta: meta[8])
    return Bucket(data, page_size, latest[4])
