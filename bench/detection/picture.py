"""Draws the samples: a strip of dots for each contender, a dot for each start, from false ready on the left to late on the right.

It exists because a median hides what this benchmark is about: how far off the worst word was. SVG, written by hand, so that it
needs no library and stands in the README and in docs/src/benchmarks; it follows the reader's light or dark scheme.
"""

import math
from xml.sax.saxutils import escape

from detection.contenders import NAMES
from detection.databases import KINDS
from detection.report import duration, of
from detection.verdicts import FALSE, NEVER, lag, of_contender, verdict

WIDTH, LEFT, RIGHT, TOP = 1000, 96, 32, 104
LANE, GAP = 17, 46
# Below this many seconds the axis is linear, above it logarithmic.
LINEAR = 0.01
TICKS = [-100, -10, -1, -0.1, -0.01, 0, 0.01, 0.1, 1, 10, 100]

# Plain rules and no variables, which not every program that shows SVG knows. With each class, its property and its two colours.
COLOURS = {
    "text": ("fill", "#1f2328", "#f0f6fc"),
    ".soft": ("fill", "#59636e", "#9198a1"),
    ".alarm": ("fill", "#cf222e", "#ff7b72"),
    ".back": ("fill", "#ffffff", "#0d1117"),
    ".zone": ("fill", "#fff1f0", "#26151a"),
    ".line": ("stroke", "#d1d9e0", "#3d444d"),
    ".zero, .median": ("stroke", "#1f2328", "#f0f6fc"),
    ".good": ("fill", "#0969da", "#58a6ff"),
    ".bad": ("stroke", "#cf222e", "#ff7b72"),
}
STYLE = """
text { font: 13px system-ui, -apple-system, "Segoe UI", "Liberation Sans", "DejaVu Sans", sans-serif; }
text.head { font-size: 19px; font-weight: 600; } .name, .alarm { font-weight: 600; } text.soft { font-size: 12px; }
.end { text-anchor: end; } .middle { text-anchor: middle; }
.good { fill-opacity: 0.55; } .bad { stroke-width: 1.5; fill: none; } .median { stroke-width: 2; }
"""


def style():
    def rules(which):
        return " ".join(f"{name} {{ {rule[0]}: {rule[which]}; }}" for name, rule in COLOURS.items())

    light, dark = rules(1), rules(2)
    return f"<style>{STYLE}{light}\n@media (prefers-color-scheme: dark) {{ {dark} }}\n</style>"


def bend(seconds):
    """The place on an axis that is linear around zero and logarithmic further out.

    >>> [bend(value) for value in (0.01, 0.1, -0.1, 0.005)]
    [1.0, 2.0, -2.0, 0.5]
    """
    size = abs(seconds) / LINEAR
    return math.copysign(size if size <= 1 else 1 + math.log10(size), seconds)


class Axis:
    """Where seconds are on the picture."""

    def __init__(self, lags):
        self.low, self.high = bend(min(*lags, -LINEAR) * 1.3), bend(max(*lags, LINEAR) * 1.3)
        self.ticks = [tick for tick in TICKS if self.low <= bend(tick) <= self.high]

    def x(self, seconds):
        share = (bend(seconds) - self.low) / (self.high - self.low)
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)


def svg(run):
    """The picture of a run."""
    samples = run["samples"]
    kinds = [kind for kind in KINDS if of(samples, kind=kind)]
    words = [(sample["observed"], said["ready"]) for sample in samples for said in sample["said"].values()]
    axis = Axis([0, *(lag(observed, ready) for observed, ready in words if ready is not None)])
    strip = len(kinds) * LANE + GAP
    height = TOP + len(NAMES) * strip + 52
    parts = [*opening(run, height), *grid(axis, height - 52)]
    for index, (name, shown) in enumerate(NAMES.items()):
        parts += contender(samples, name, shown.replace("`", ""), kinds, axis, TOP + index * strip)
    return "\n".join([*parts, *legend(axis, height), "</svg>"]) + "\n"


def opening(run, height):
    about, count = run["about"], len(run["samples"])
    title = "When do tools call a database ready?"
    how = f"{count} starts, watched by all at once: one dot each. {about['date']}, {about['machine']}"
    told = "; ".join(f"{shown.replace('`', '')}: {summary(of_contender(run['samples'], name))}" for name, shown in NAMES.items())
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-labelledby="title what">',
        f'<title id="title">{escape(title)}</title>',
        f'<desc id="what">{escape(f"{how}. {told}.")}</desc>',
        style(),
        f'<rect class="back" width="{WIDTH}" height="{height}"/>',
        label(LEFT - 72, 36, title, "head"),
        label(LEFT - 72, 60, how, "soft"),
    ]


def summary(found):
    """A contender's figures in words."""
    return f"{found.false} of {found.starts} false; lag median {duration(found.median)}, p99 {duration(found.p99)}"


def grid(axis, bottom):
    zero = axis.x(0)
    yield f'<rect class="zone" x="{LEFT}" y="{TOP - 20}" width="{zero - LEFT:.1f}" height="{bottom - TOP + 20}"/>'
    for tick in axis.ticks:
        kind = "zero" if tick == 0 else "line"
        yield f'<line class="{kind}" x1="{axis.x(tick)}" x2="{axis.x(tick)}" y1="{TOP - 20}" y2="{bottom}"/>'
        yield label(axis.x(tick), bottom + 16, "0" if tick == 0 else duration(tick).replace(".00", ""), "soft middle")


def contender(samples, name, shown, kinds, axis, top):
    """One strip: a lane for each kind of set-up server."""
    found = of_contender(samples, name)
    yield label(LEFT - 72, top, shown, "name")
    yield label(WIDTH - RIGHT, top, summary(found), "alarm end" if found.false else "end")
    for lane, kind in enumerate(kinds):
        y = top + 10 + lane * LANE + LANE / 2
        yield label(LEFT - 8, y + 4, kind, "soft end")
        for index, sample in enumerate(of(samples, kind=kind)):
            yield from dot(sample["observed"], sample["said"][name]["ready"], axis, y + spread(index))
    if found.median is not None:
        x = axis.x(found.median)
        yield f'<line class="median" x1="{x}" x2="{x}" y1="{top + 8}" y2="{top + 12 + len(kinds) * LANE}"/>'


def spread(index):
    """How far a dot is moved off its lane's middle, so that neighbours do not hide each other: always the same for one start."""
    return round((index * 0.618034 % 1 - 0.5) * (LANE - 6), 1)


def dot(observed, ready, axis, y):
    said = verdict(observed, ready)
    if said == NEVER:
        return
    x = axis.x(lag(observed, ready))
    if said == FALSE:
        yield f'<path class="bad" d="M{x - 3:.1f} {y - 3:.1f}l6 6m0 -6l-6 6"/>'
    else:
        yield f'<circle class="good" cx="{x}" cy="{y:.1f}" r="3"/>'


def legend(axis, height):
    y, zero = TOP - 28, axis.x(0)
    yield label(zero - 10, y, "before the observer's first login", "soft end")
    yield label(zero + 10, y, "after it", "soft")
    y = height - 14
    yield f'<path class="bad" d="M{LEFT} {y - 7}l6 6m0 -6l-6 6"/>' + label(LEFT + 14, y, "false ready", "soft")
    yield f'<circle class="good" cx="{LEFT + 107}" cy="{y - 4}" r="3"/>'
    yield label(LEFT + 118, y, "ready (left of 0: too close to the observer's moment to tell)", "soft")
    x = LEFT + 500
    yield f'<line class="median" x1="{x}" x2="{x}" y1="{y - 11}" y2="{y + 1}"/>' + label(x + 10, y, "median of those not false", "soft")


def label(x, y, words, kind):
    return f'<text x="{x}" y="{y}" class="{kind}">{escape(words)}</text>'
