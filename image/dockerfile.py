"""Owns the question what a Dockerfile says about running the image that its last stage makes, as an OCI image's configuration."""

import json
import re
import shlex
import string

# From a stage that `image/root` has made this folder in.
COPY = "--from=build /image /"


def run_configuration(dockerfile, arguments):
    """The configuration, from the Dockerfile's text and the values of its arguments.

    >>> run_configuration('FROM x AS build\\nRUN y\\nFROM scratch\\n# why\\nARG A\\nUSER 1:2\\nLABEL a=$A \\\\\\n  b="c d"', {"A": "1"})
    {'User': '1:2', 'Labels': {'a': '1', 'b': 'c d'}}
    >>> run_configuration('FROM scratch\\nCOPY --from=build /image /\\nENV A=1 B=2\\nWORKDIR /w\\nENTRYPOINT ["/p", "x"]', {})
    {'Env': ['A=1', 'B=2'], 'WorkingDir': '/w', 'Entrypoint': ['/p', 'x']}
    >>> run_configuration('FROM scratch\\nARG A', {})
    Traceback (most recent call last):
    ValueError: the Dockerfile's argument A has no value
    >>> run_configuration('FROM scratch\\nRUN ls', {})
    Traceback (most recent call last):
    ValueError: only a container engine can do what the Dockerfile says: RUN ls
    >>> run_configuration('FROM debian', {})
    Traceback (most recent call last):
    ValueError: only a container engine can do what the Dockerfile says: FROM debian
    """
    config, known = {}, {}
    for name, rest in last_stage(dockerfile):
        rest = string.Template(rest).substitute(known)
        match name:
            case "ARG":
                if rest not in arguments:
                    raise ValueError(f"the Dockerfile's argument {rest} has no value")
                known[rest] = arguments[rest]
            case "ENV":
                config.setdefault("Env", []).extend(shlex.split(rest))
            case "LABEL":
                config.setdefault("Labels", {}).update(label.split("=", 1) for label in shlex.split(rest))
            case "USER":
                config["User"] = rest
            case "WORKDIR":
                config["WorkingDir"] = rest
            case "ENTRYPOINT":
                config["Entrypoint"] = json.loads(rest)
            case "FROM" | "COPY" if rest in ("scratch", COPY):
                pass
            case _:
                raise ValueError(f"only a container engine can do what the Dockerfile says: {name} {rest}")
    return config


def last_stage(dockerfile):
    """The name and the rest of each instruction, from the last FROM on."""
    text = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", dockerfile, flags=re.MULTILINE))
    instructions = [line.strip().split(maxsplit=1) for line in text.splitlines() if line.strip()]
    start = max(number for number, (name, _) in enumerate(instructions) if name == "FROM")
    return instructions[start:]
