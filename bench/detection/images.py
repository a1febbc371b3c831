"""Knows where the test cluster's images lie in its cache: each image's run configuration, and its layers as unpacked folders.

It exists so that a start needs neither Kubernetes nor a container engine, and still runs the very images that the tests use.
"""

import hashlib
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from detection import bolt
from processes import Failed

ROOT = Path(__file__).resolve().parent.parent.parent


@dataclass
class Image:
    """What a start needs of an image: its layers, the topmost first, and how its entrypoint is run."""

    name: str
    layers: list
    environment: dict
    command: list


class Images:
    """The images in the cluster's cache."""

    def __init__(self):
        # The cluster's own scripts know which of the cached builds is the current one.
        script = "source tests/cluster/env.sh && images_dir"
        self.root = Path(subprocess.run(["bash", "-c", script], cwd=ROOT, check=True, capture_output=True, text=True).stdout)
        if not self.root.is_dir():
            raise Failed("the test images are not in the cache: tests/cluster/up builds them (about half an hour, once)")
        self.containerd = self.root / "containerd"
        self.snapshots = self.containerd / "io.containerd.snapshotter.v1.overlayfs"
        self.snapshot_ids = dict(self.numbered_snapshots())

    def numbered_snapshots(self):
        """The folder's name of each unpacked layer, by its chain's digest."""
        for key, snapshot in (bolt.read(self.snapshots / "metadata.db") / "v1" / "snapshots").items():
            # The identifier is a variable-length number; keys end with the digest.
            yield key.rpartition("/")[2], varint(snapshot["id"])

    def image(self, name):
        """The image of the given name and tag, such as mysql:9.7."""
        try:
            images = bolt.read(self.containerd / "io.containerd.metadata.v1.bolt/meta.db") / "v1" / "k8s.io" / "images"
            manifest = self.blob((images / f"docker.io/library/{name}" / "target" / "digest").decode())
            config = self.blob(manifest["config"]["digest"])
            layers = [self.layer(chain) for chain in chains(config["rootfs"]["diff_ids"])]
        except (KeyError, OSError) as error:
            remedy = "remove that folder, and tests/cluster/up builds it anew"
            raise Failed(f"{self.root} has no complete image {name}: {remedy}") from error
        run = config["config"]
        environment = dict(variable.split("=", 1) for variable in run["Env"])
        return Image(name, layers[::-1], environment, run["Entrypoint"] + run["Cmd"])

    def blob(self, digest):
        path = self.containerd / "io.containerd.content.v1.content/blobs" / digest.replace(":", "/")
        return json.loads(path.read_bytes())

    def layer(self, chain):
        return self.snapshots / "snapshots" / str(self.snapshot_ids[chain]) / "fs"


def chains(digests):
    """What containerd calls each layer together with those below it.

    >>> chains(["sha256:a"])
    ['sha256:a']
    >>> chains(["sha256:a", "sha256:b"])[1] == "sha256:" + hashlib.sha256(b"sha256:a sha256:b").hexdigest()
    True
    """
    found = []
    for digest in digests:
        found.append("sha256:" + hashlib.sha256(f"{found[-1]} {digest}".encode()).hexdigest() if found else digest)
    return found


def varint(value):
    """A number of seven bits a byte, the lowest first.

    >>> varint(bytes([0xAC, 0x02]))
    300
    """
    return sum((byte & 0x7F) << 7 * index for index, byte in enumerate(value))
