"""One start of one database, watched by everybody at once: one sample for each contender.

It exists so that no contender has better luck than another: they ask the same server at the same time, and all of them were
there before its entrypoint began.
"""

import time

from detection import children, contenders
from detection.container import Container
from detection.databases import ENGINES, KINDS, host_of
from detection.observer import observe
from processes import Failed

# Seconds from the entrypoint's begin until everybody has to have said ready. Longer than the contenders' own deadlines.
LIMIT = 150


def watched_by_all(engine_name, kind, image, testbed):
    """Starts the database once. Returns the moments, in seconds since the entrypoint began."""
    engine, host = ENGINES[engine_name], host_of(kind)
    with Container(image, engine.environment | KINDS[kind]) as container:
        watching = {}
        try:
            deadline = time.monotonic() + LIMIT
            observer = watching["observer"] = children.fork(observe_inside, engine, container, host, deadline)
            watching |= contenders.begin(engine, container, host, testbed)
            began = time.monotonic()
            container.begin()
            for child in children.wait_for(watching.values(), deadline):
                if child is observer and "failed" in child.text():
                    break
            if observer.code is None:
                raise Failed(f"no login of the tests' user within {LIMIT} s")
            return sample(engine_name, kind, began, watching)
        except Failed as error:
            raise Failed(f"{engine_name}/{kind}: {error}; the container's last words: {container.last_words()}") from error
        finally:
            for child in watching.values():
                child.kill()


def observe_inside(engine, container, host, deadline):
    """The observer looks at processes from outside the container, and logs in from inside its network."""
    children.enter_network(container.network())
    return observe(engine, container.pid, host, deadline)


def sample(engine, kind, began, watching):
    """What is kept of a start."""
    observed = watching["observer"].result()
    observed |= {name: moment - began for name, moment in observed.pop("moments").items()}
    said = {}
    for name in contenders.NAMES:
        child = watching[name]
        remark = contenders.remark(name, child) if child.code is not None else "no word until the deadline"
        said[name] = {"ready": child.ended - began if child.code == 0 else None, "remark": remark}
    return {"engine": engine, "kind": kind, "observed": observed, "said": said}
