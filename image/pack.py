#!/usr/bin/python3 -B
"""Packs a root folder into an OCI archive, by the last stage of the Dockerfile, without any container engine.

The same content, name and arguments make the same bytes: all times are that of the argument CREATED, entries are sorted, and everything belongs
to root. Every tool can take the archive: for `docker load` it also has the manifest.json that `docker save` writes.
"""

import argparse
import datetime
import gzip
import hashlib
import importlib.util
import io
import json
import platform
import re
import sys
import tarfile
from pathlib import Path

from dockerfile import run_configuration

HERE = Path(__file__).resolve().parent
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def load_oci():
    """The module that writes the test cluster's images; a script's name cannot be imported."""
    spec = importlib.util.spec_from_file_location("oci", HERE.parent / "tests/cluster/oci-archive.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


OCI = load_oci()


class Archive(OCI.Archive):
    """The archive of one image, as registries want it: with one compressed layer, and with its labels as annotations too."""

    def whole_blob(self, media_type, content):
        return self.blob(media_type, hashlib.sha256(content).hexdigest(), len(content), io.BytesIO(content))

    def write(self, name, layer, config, created):
        """Writes an image whose layer is the given tar file. Returns its digest and the compressed layer's size in bytes."""
        compressed = self.whole_blob("layer.v1.tar+gzip", gzip.compress(layer, mtime=0))
        config_blob = self.json_blob("config.v1+json", {
            "architecture": ARCHITECTURES[platform.machine()],
            "os": "linux",
            "created": created,
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
        })
        manifest = self.json_blob("manifest.v1+json", {
            "schemaVersion": 2,
            "mediaType": f"{OCI.LAYOUT}.manifest.v1+json",
            "config": config_blob,
            "layers": [compressed],
            "annotations": config["Labels"],
        })
        self.docker_manifest(name, config_blob, compressed)
        names = {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name.rsplit(":", 1)[1]}
        self.close([{**manifest, "annotations": names}])
        return manifest["digest"], compressed["size"]

    def docker_manifest(self, name, *blobs):
        config, layer = (f"blobs/{blob['digest'].replace(':', '/')}" for blob in blobs)
        content = json.dumps([{"Config": config, "RepoTags": [name], "Layers": [layer]}]).encode()
        self.file("manifest.json", io.BytesIO(content), len(content))


def layer_of(folder, seconds):
    """The tar file of what is in a folder, as bytes."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for path in sorted(folder.rglob("*")):
            entry = tar.gettarinfo(path, str(path.relative_to(folder)))
            entry.uid = entry.gid = 0
            entry.uname = entry.gname = ""
            entry.mtime = seconds
            with path.open("rb") if path.is_file() else io.BytesIO() as file:
                tar.addfile(entry, file)
    return content.getvalue()


def full_name(name, version):
    """An image's name as container engines write it out: with a registry, and with a tag.

    >>> full_name("testbed", "1.2")
    'docker.io/library/testbed:1.2'
    >>> full_name("me/testbed:dev", "1.2"), full_name("localhost:5000/testbed", "1.2")
    ('docker.io/me/testbed:dev', 'localhost:5000/testbed:1.2')
    >>> full_name("Testbed", "1.2")
    Traceback (most recent call last):
    ValueError: an image cannot be called Testbed
    """
    if not re.fullmatch(r"([\w.-]+(:\d+)?/)?[a-z0-9._/-]+(:[\w.-]{1,128})?", name, re.ASCII):
        raise ValueError(f"an image cannot be called {name}")
    first, *rest = name.split("/")
    if not rest:
        name = f"docker.io/library/{name}"
    elif not re.search(r"[.:]|^localhost$", first):
        name = f"docker.io/{name}"
    return name if ":" in name.rsplit("/", 1)[1] else f"{name}:{version}"


def pack(options):
    arguments = dict(argument.split("=", 1) for argument in options.arguments)
    config = run_configuration(options.dockerfile.read_text(), arguments)
    created = arguments["CREATED"]
    layer = layer_of(options.root, int(datetime.datetime.fromisoformat(created).timestamp()))
    name = full_name(options.name, arguments["VERSION"])
    digest, size = Archive(options.archive).write(name, layer, config, created)
    print(f"{options.archive}: {name}")
    print(f"{digest}, {size / 1e6:.1f} MB to pull, {len(layer) / 1e6:.1f} MB unpacked")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dockerfile", type=Path, default=HERE / "Dockerfile", metavar="FILE", help="[image/Dockerfile]")
    parser.add_argument("root", type=Path, metavar="ROOT", help="the folder that `image/root` has made")
    parser.add_argument("archive", type=Path, metavar="ARCHIVE", help="the file to write")
    parser.add_argument("name", metavar="NAME", help="the image's name; the version becomes its tag if it has none")
    parser.add_argument("arguments", nargs="*", metavar="NAME=VALUE", help="the Dockerfile's arguments, as `image/arguments` prints them")
    try:
        pack(parser.parse_args())
    except (OSError, ValueError) as error:
        sys.exit(f"image: error: {error}")


if __name__ == "__main__":
    main()
