"""Starts the process of an image as process 1 of its own namespaces: what a container is, without an engine to make it.

It exists because readiness is about what a container does in its first seconds, and these must be watchable from outside, as
often as wanted, without Kubernetes in between. Everything that a start makes is inside its namespaces: the mounts, the written
files, which are in memory, and the network. The kernel removes all of it with process 1, and that ends with this process.
"""

import os
import select
import signal
import subprocess
import tempfile

from processes import Failed

# Seconds until the namespaces are there, and until the kernel has taken them apart.
LIMIT = 30

# An address that is neither loopback nor anybody's (RFC 5737): the official postgres image trusts loopback without a password.
ADDRESS = "192.0.2.1"
LOOPBACK = "127.0.0.1"

NAMESPACES = ["--mount", "--pid", "--net", "--ipc", "--uts"]

# Arguments: the address, the layers, the command. /mnt is there on every machine, and the mount on it is seen only in here.
# The outer /proc, as long as it is there, knows process 1 by the number that it has outside.
PREPARE = r"""
set -eu
address=$1 layers=$2
shift 2
ip link set lo up
ip address add "$address/32" dev lo
hostname database
mount -t tmpfs -o mode=755 tmpfs /mnt
mkdir /mnt/upper /mnt/work /mnt/root
mount -t overlay overlay -o "lowerdir=$layers,upperdir=/mnt/upper,workdir=/mnt/work" /mnt/root
root=/mnt/root
mkdir -p $root/proc $root/dev $root/tmp
chmod 1777 $root/tmp
mount -t tmpfs -o mode=755 tmpfs $root/dev
for device in null zero full random urandom; do
    touch $root/dev/$device
    mount --bind /dev/$device $root/dev/$device
done
mkdir -m 1777 $root/dev/shm
ln -s /proc/self/fd $root/dev/fd
read -r pid rest </proc/self/stat
mount -t proc proc $root/proc
exec chroot $root /bin/sh -c 'echo "$0" && read -r go && exec "$@" >&2 </dev/null' "$pid" "$@"
"""


class Container:
    """A container whose command has not begun. A context manager: at its end nothing is left."""

    def __init__(self, image, environment):
        self.image, self.environment = image, image.environment | environment
        self.pid = None

    def __enter__(self):
        layers = ":".join(map(str, self.image.layers))
        command = ["setpriv", "--pdeathsig", "KILL", "unshare", *NAMESPACES, "--fork", "--kill-child"]
        command += ["bash", "-c", PREPARE, "bash", ADDRESS, layers, *self.image.command]
        self.log = tempfile.TemporaryFile()
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": self.log}
        self.outer = subprocess.Popen(command, env=self.environment, cwd="/", **pipes)
        try:
            readable, _, _ = select.select([self.outer.stdout], [], [], LIMIT)
            line = self.outer.stdout.readline() if readable else b""
            if not line:
                raise Failed(f"{self.image.name}: its namespaces did not come about: {self.last_words()}")
            self.pid = int(line)
        except BaseException:
            self.__exit__()
            raise
        return self

    def begin(self):
        """Lets process 1 become the image's entrypoint."""
        self.outer.stdin.write(b"\n")
        self.outer.stdin.flush()

    def inside(self, command):
        """The command line that runs a command of the image in the container's network and on its files."""
        return ["nsenter", f"--target={self.pid}", "--mount", "--net", "--root", "--wd", *command]

    def beside(self, command):
        """The command line that runs one of this machine's commands in the container's network."""
        return ["nsenter", f"--target={self.pid}", "--net", *command]

    def network(self):
        """A handle of the container's network namespace."""
        return os.open(f"/proc/{self.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    def last_words(self):
        """The end of what the container wrote."""
        self.log.seek(0)
        lines = self.log.read().decode(errors="replace").split("\n")
        return " | ".join(line.strip() for line in lines[-6:] if line.strip()) or "it wrote nothing"

    def __exit__(self, *_):
        # The kernel ends everything in the namespace with process 1, and `unshare` when all of it is gone.
        if self.pid:
            end(self.pid)
        else:
            self.outer.kill()
        self.outer.wait(LIMIT)
        for stream in (self.outer.stdin, self.outer.stdout, self.log):
            stream.close()


def end(pid):
    """Kills a process, unless it has ended by itself."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
