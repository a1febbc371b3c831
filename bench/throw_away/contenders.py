"""The limit and testbed as contenders, and where each round of anybody takes place; the others are in peers.py."""

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from processes import Failed, reason
from throw_away import limit
from throw_away.once import in_own_process, to_its_end

HERE = Path(__file__).parent


@dataclass
class Contender:
    """One row. `once` does it one time and returns a sample: `wall`, in seconds, what is `left`, and more where there is more to know."""

    group: str
    name: str
    once: object
    role: str = "peer"
    # The contender whose time is not this one's own: the program around it.
    around: str | None = None
    samples: list = field(default_factory=list)
    failure: str | None = None


def environment(folder, **more):
    """What a command is told, and no more: nothing of the caller's shapes a figure."""
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin"
    return {"PATH": path, "HOME": str(folder), "TMPDIR": str(folder), "LANG": "C.UTF-8", **more}


class Place:
    """The benchmark's own folder, which servers of other users can reach, and in it one for each thing that is done."""

    def __init__(self, above):
        self.folder = Path(tempfile.mkdtemp(prefix="tb-", dir=above))
        self.folder.chmod(0o755)

    def remembers_deleted_files(self):
        """Whether the file system is an ext4 without a journal: that looks at each inode which was freed in the last minutes before it
        makes a file, so that a copy takes the longer the more files were deleted before, by whomever."""
        device = self.folder.stat().st_dev
        name = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}").resolve().name
        task = Path(f"/sys/fs/ext4/{name}/journal_task")
        return task.exists() and not task.read_text().strip().isdigit()

    def new(self, account, prefix="w"):
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=self.folder))
        if account is not None:
            os.chown(folder, account.pw_uid, account.pw_gid)
        elif os.geteuid() == 0:
            # The folder for temporary files, for servers of other users too.
            folder.chmod(0o1777)
        return folder

    def command(self, account, command, env=None, clean=True):
        """Runs a command to its end in a folder of its own, and looks at what it leaves there."""
        folder = self.new(account)
        try:
            sample = in_own_process(account, to_its_end, [str(word) for word in command], environment(folder, **(env or {})), str(folder))
            if clean:
                sample["left"] += [path.name for path in folder.iterdir()]
            return sample
        finally:
            shutil.rmtree(folder)

    def remove(self):
        shutil.rmtree(self.folder, ignore_errors=True)


class Testbed:
    """`testbed run` around a command that does nothing, with state and caches of its own."""

    def __init__(self, program, place):
        self.program, self.place = str(Path(program).resolve()), place
        self.preload = None
        if shutil.which("gcc"):
            library = place.folder / "usage.so"
            done = subprocess.run(["gcc", "-shared", "-fPIC", "-O2", "-o", library, HERE / "usage.c"], capture_output=True)
            if done.returncode != 0:
                raise Failed(f"gcc: {reason(done.stderr)}")
            self.preload = str(library)

    def run(self, engines, home, more=None, seed=None):
        words = [word for engine in engines for word in ("--with", engine)]
        if seed:
            words += ["--seed", str(seed)]
        state, cache = home / "state", home / "cache"
        env = {"XDG_STATE_HOME": str(state), "XDG_CACHE_HOME": str(cache), **(more or {})}
        sample = self.place.command(None, [self.program, "run", *words, "--", "true"], env)
        sample["left"] += [str(path.relative_to(state)) for path in (state / "testbed/data").glob("*")]
        return sample

    def home(self, name):
        home = self.place.folder / name
        home.mkdir(exist_ok=True)
        home.chmod(0o755)
        return home

    def warm(self, *engines):
        return self.run(engines, self.home("warm")) | self.cost(engines)

    def seeded(self, engine):
        """A run that starts with a schema of 500 tables."""
        seed = self.place.folder / "seed.sql"
        if not seed.exists():
            seed.write_text("".join(f"CREATE TABLE t{number} (id int PRIMARY KEY, name varchar(100));\n" for number in range(500)))
        return self.run([engine], self.home("seeded"), seed=seed)

    def cold(self, *engines):
        home = self.home("cold")
        shutil.rmtree(home / "cache", ignore_errors=True)
        return self.run(engines, home)

    def cost(self, engines):
        """What testbed itself takes, without its servers, in another run: to count costs time."""
        if not self.preload:
            return {}
        home, file = self.home("warm"), self.place.folder / "usage"
        self.run(engines, home, {"LD_PRELOAD": self.preload, "BENCH_PROGRAM": self.program, "BENCH_USAGE": str(file)})
        processor, memory = map(int, file.read_text().split())
        file.unlink()
        return {"processor": processor / 1e6, "memory": memory * 1024}


def limits(engine, place, prepared):
    """The limit, and what it would be with the folder that testbed prepares."""
    kinds = [("the limit: copy, start, login, kill", "limit", engine.prepare)]
    if engine.prepare_as_testbed:
        kinds.append(("the same with testbed's smaller folder", "small limit", engine.prepare_as_testbed))
    for name, role, prepare in kinds:
        data = prepared / f"{engine.name}-{role.replace(' ', '-')}"
        in_own_process(engine.account, prepare, data)
        yield Contender(engine.title, name, lambda data=data: limit_once(engine, place, data), role)


def limit_once(engine, place, data):
    folder = place.new(engine.account)
    try:
        sample = in_own_process(engine.account, limit.once, engine, data, folder)
        sample["left"] += [path.name for path in folder.iterdir()]
        return sample
    finally:
        shutil.rmtree(folder)


def both_limits(engines, place, prepared):
    def once():
        folders = [place.new(engine.account) for engine in engines]
        try:
            tasks = [(engine, prepared / f"{engine.name}-limit", folder) for engine, folder in zip(engines, folders)]
            return limit.at_once(tasks)
        finally:
            for folder in folders:
                shutil.rmtree(folder)

    return Contender("both", "the limit of both at once", once, "limit")


def testbeds(testbed, title, *names):
    flags = " ".join(f"--with {name}" for name in names)
    yield Contender(title, f"`testbed run {flags} -- true`", lambda: testbed.warm(*names), "testbed")
    if len(names) == 1:
        yield Contender(title, "the same with a seed of 500 tables", lambda: testbed.seeded(*names), "seeded")
    yield Contender(title, "the same, nothing prepared yet", lambda: testbed.cold(*names), "cold")
