"""Turns samples into figures: false or not, how late, and what half and nearly all of them stay below.

It exists so that the definitions stand in one place and can be tested without a database: `python3 -m doctest`.
"""

import math
import statistics
from dataclasses import dataclass, field

# A contender's word about one start.
FALSE, TRUE, NEVER = "false ready", "ready", "never"


def verdict(observed, ready):
    """Whether a contender's word was true.

    It is false before process 1 has become the server (`final`), and it is false while the final server certainly had taken no
    login: before the beginning of the observer's last attempt that failed (`impossible`, never before `final`).

    >>> observed = {"final": 4.0, "impossible": 4.5, "login": 4.51}
    >>> [verdict(observed, ready) for ready in (2.0, 4.2, 4.505, 4.6, None)]
    ['false ready', 'false ready', 'ready', 'ready', 'never']
    """
    if ready is None:
        return NEVER
    return FALSE if ready < max(observed["final"], observed["impossible"]) else TRUE


def lag(observed, ready):
    """Seconds from the observer's moment to the contender's. Nothing is subtracted.

    >>> lag({"login": 4.5}, 4.75), lag({"login": 4.5}, 2.0)
    (0.25, -2.5)
    """
    return ready - observed["login"]


def resolution(observed):
    """Seconds by which the observer may have come late: from the beginning of its last failed attempt to the next one's.

    >>> resolution({"impossible": 4.25, "attempt": 4.5, "login": 4.75})
    0.25
    """
    return observed["attempt"] - observed["impossible"]


def first_login(observed):
    """Seconds that the login took which the observer's moment is the end of. Anybody's would take the server as long.

    >>> first_login({"impossible": 4.25, "attempt": 4.5, "login": 4.75})
    0.25
    """
    return observed["login"] - observed["attempt"]


def percentile(values, share):
    """The smallest of the values that at least this share of them do not exceed: a value that was measured, none in between.

    >>> percentile(range(1, 101), 0.99), percentile(range(1, 205), 0.99), percentile([7], 0.99), percentile([3, 1, 2], 0.5)
    (99, 202, 7, 2)
    """
    ordered = sorted(values)
    return ordered[max(1, math.ceil(share * len(ordered))) - 1]


@dataclass
class Figures:
    """One contender's figures over some starts. Seconds; a lag is `None` if no word was true."""

    starts: int = 0
    early: list = field(default_factory=list)
    lags: list = field(default_factory=list)
    never: int = 0

    @property
    def false(self):
        return len(self.early)

    @property
    def median(self):
        return statistics.median(self.lags) if self.lags else None

    @property
    def p99(self):
        return percentile(self.lags, 0.99) if self.lags else None

    @property
    def longest(self):
        return max(self.lags, default=None)

    @property
    def earliest(self):
        return max(self.early, default=None)


def figures(pairs):
    """The figures of pairs of what was observed and when the contender said ready.

    >>> seen = {"final": 4.0, "impossible": 4.0, "login": 4.5}
    >>> found = figures([(seen, 5.0), (seen, 4.75), (seen, 1.5), (seen, 6.5), (seen, None)])
    >>> found.starts, found.false, found.earliest, found.never, found.median, found.p99, found.longest
    (5, 1, 3.0, 1, 0.5, 2.0, 2.0)
    >>> figures([(seen, 1.0)]).median is None
    True
    """
    found = Figures()
    for observed, ready in pairs:
        found.starts += 1
        said = verdict(observed, ready)
        if said == NEVER:
            found.never += 1
        elif said == FALSE:
            found.early.append(-lag(observed, ready))
        else:
            found.lags.append(lag(observed, ready))
    return found


def of_contender(samples, name):
    """The figures of one contender over samples."""
    return figures((sample["observed"], sample["said"][name]["ready"]) for sample in samples)
