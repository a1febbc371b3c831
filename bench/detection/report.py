"""Writes the samples down for people: Markdown tables, and how they came about.

It exists so that what is on the screen, in the folder and in docs/src/benchmarks is the same text.
"""

import statistics

from detection.contenders import NAMES, TESTBED
from detection.databases import ENGINES, KINDS
from detection.pods import POD_KINDS, WHO
from detection.pods import TESTBED as UP
from detection.verdicts import first_login, of_contender, percentile, resolution

HEAD = ["starts", "false ready", "early by up to", "lag, median", "lag, p99", "lag, max"]


def text(run):
    """The whole report of a run."""
    parts = []
    if run["samples"]:
        parts += [watched_starts(run["samples"]), "", engines(run["samples"]), ""]
    if run["pods"]:
        parts += [pods(run["pods"]), ""]
    return "\n".join([*parts, *method(run)]) + "\n"


def watched_starts(samples):
    """Every contender against every kind of set-up server."""
    lines = [head("contender", "set-up server")]
    kinds = [kind for kind in KINDS if any(sample["kind"] == kind for sample in samples)]
    for name, shown in NAMES.items():
        lines += [row(of_contender(of(samples, kind=kind), name), shown, kind) for kind in kinds]
        lines.append(row(of_contender(samples, name), f"**{shown}**", "**all**"))
    return "\n".join(lines)


def engines(samples):
    """testbed by engine."""
    lines = [head(NAMES[TESTBED])]
    for engine in ENGINES:
        if chosen := of(samples, engine=engine):
            lines.append(row(of_contender(chosen, TESTBED), f"{engine} {chosen[0]['observed']['version']}"))
    return "\n".join(lines)


def pods(samples):
    """The starts in a cluster."""
    lines = [head("in a cluster", "set-up server")]
    for name in samples[0]["said"]:
        for kind in POD_KINDS:
            if chosen := of(samples, kind=kind):
                lines.append(row(of_contender(chosen, name), f"`{name}`", kind))
    lines += ["", head("`testbed up` asks as", "set-up server")]
    for who in WHO:
        for kind in POD_KINDS:
            if chosen := of(samples, kind=kind, who=who):
                lines.append(row(of_contender(chosen, UP), who, kind))
        lines.append(row(of_contender(of(samples, who=who), UP), f"**{who}**", "**all**"))
    return "\n".join(lines)


def of(samples, **wanted):
    return [sample for sample in samples if wanted.items() <= sample.items()]


def head(*names):
    return "\n".join([f"| {' | '.join([*names, *HEAD])} |", "|" + "---|" * len(names) + "---:|" * len(HEAD)])


def row(figures, *names):
    lags = [duration(value) for value in (figures.earliest, figures.median, figures.p99, figures.longest)]
    return f"| {' | '.join([*names, str(figures.starts), str(figures.false), *lags])} |"


def duration(seconds):
    """Seconds as a person reads them.

    >>> [duration(value) for value in (None, 0.0314, -0.002, 0.9996, 21.456)]
    ['–', '31 ms', '-2 ms', '1.00 s', '21.46 s']
    """
    if seconds is None:
        return "–"
    return f"{seconds * 1000:.0f} ms" if abs(seconds) < 0.9995 else f"{seconds:.2f} s"


def spread(values):
    values = list(values)
    shown = [f"{value * 1000:.1f} ms" for value in (statistics.median(values), percentile(values, 0.99), max(values))]
    return f"{shown[0]} (median; p99 {shown[1]}, max {shown[2]})"


def early_birds(samples):
    """Who said ready too shortly before the observer for anybody to tell: counted as true, with a lag below zero."""
    counts = "; ".join(f"{shown} {sum(value < 0 for value in of_contender(samples, name).lags)}" for name, shown in NAMES.items())
    return (
        "- Said after the observer's last failed attempt had begun and before its first login was complete, which counts as true, "
        f"with a lag below zero: {counts}."
    )


def method(run):
    """What the figures mean, and where they come from."""
    about, observed = run["about"], [sample["observed"] for sample in run["samples"] + run["pods"]]
    lines = [
        "- False ready: said while process 1 of the container was not the server, or while that server certainly took no login.",
        "- Lag: from the final server's first complete login of the tests' user, by an observer that is none of the contenders, to "
        "the contender's end. Nothing is subtracted.",
        "- All contenders watched each start at the same time, and began before the entrypoint did.",
        f"- Resolution: the observer's last attempt that failed and the next one began {spread(map(resolution, observed))} apart. "
        f"The first login took the server {spread(map(first_login, observed))}.",
        early_birds(run["samples"]),
        f"- {about['date']}, {about['machine']}; {about['testbed']}; {len(run['samples'])} starts, {about['jobs']} at a time"
        + (f"; {len(run['pods'])} in Kubernetes {about['kubernetes']}, as many at a time" if run["pods"] else ""),
    ]
    for name, shown in NAMES.items():
        if never := of_contender(run["samples"], name).never:
            lines.append(f"- {shown} never said ready in {never} of the starts.")
    return lines + [f"- failed, and counted nowhere: {failure}" for failure in run["failures"]]
