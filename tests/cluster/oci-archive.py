#!/usr/bin/env python3
"""Writes one OCI archive with any number of images, which share the layers they have in common.

usage: oci-archive.py ARCHIVE <DESCRIPTION

The description is JSON: a list of {"name": full reference, "layers": [tar files], "config": the image's run configuration}.
"""

import hashlib
import io
import json
import sys
import tarfile

LAYOUT = "application/vnd.oci.image"


class Archive:
    """An OCI image layout in a tar file. A blob that is there already isn't written again."""

    def __init__(self, path):
        self.tar = tarfile.open(path, "w")
        self.written = set()
        self.layers = {}

    def file(self, name, content, size):
        entry = tarfile.TarInfo(name)
        entry.size = size
        self.tar.addfile(entry, content)

    def blob(self, media_type, digest, size, content):
        if digest not in self.written:
            self.written.add(digest)
            self.file(f"blobs/sha256/{digest}", content, size)
        return {"mediaType": f"{LAYOUT}.{media_type}", "digest": f"sha256:{digest}", "size": size}

    def json_blob(self, media_type, value):
        content = json.dumps(value, sort_keys=True).encode()
        return self.blob(media_type, hashlib.sha256(content).hexdigest(), len(content), io.BytesIO(content))

    def layer(self, path):
        if path not in self.layers:
            with open(path, "rb") as content:
                digest = hashlib.file_digest(content, "sha256").hexdigest()
                size = content.tell()
                content.seek(0)
                self.layers[path] = self.blob("layer.v1.tar", digest, size, content)
        return self.layers[path]

    def image(self, name, layers, config):
        layers = [self.layer(path) for path in layers]
        config = self.json_blob("config.v1+json", {
            "architecture": "amd64",
            "os": "linux",
            "config": config,
            # Layers aren't compressed, so that a layer's digest is its content's.
            "rootfs": {"type": "layers", "diff_ids": [layer["digest"] for layer in layers]},
        })
        manifest = self.json_blob("manifest.v1+json", {
            "schemaVersion": 2,
            "mediaType": f"{LAYOUT}.manifest.v1+json",
            "config": config,
            "layers": layers,
        })
        return {**manifest, "annotations": {"io.containerd.image.name": name}}

    def close(self, manifests):
        for name, value in {
            "index.json": {"schemaVersion": 2, "manifests": manifests},
            "oci-layout": {"imageLayoutVersion": "1.0.0"},
        }.items():
            content = json.dumps(value).encode()
            self.file(name, io.BytesIO(content), len(content))
        self.tar.close()


def main():
    archive = Archive(sys.argv[1])
    archive.close([archive.image(**image) for image in json.load(sys.stdin)])


if __name__ == "__main__":
    main()
