"""Turns the samples into the report: a table for docs/src/benchmarks, and what one has to know to read it.

>>> samples = [{"wall": 0.1}, {"wall": 0.3}, {"wall": 0.2}]
>>> median(samples)
0.2
>>> median([]) is None
True
>>> milliseconds(0.0924), milliseconds(None)
('92 ms', '–')
>>> ratio(0.1, 0.2), ratio(None, 0.2)
('0.50', '–')
"""

import statistics


def median(samples, what="wall"):
    values = [sample[what] for sample in samples if what in sample]
    return statistics.median(values) if values else None


def milliseconds(value):
    return "–" if value is None else f"{value * 1000:.0f} ms"


def ratio(value, divisor):
    return "–" if value is None or not divisor else f"{value / divisor:.2f}"


def own_time(contender, contenders):
    """A contender's median without that of the program around it."""
    whole = median(contender.samples)
    if whole is None or contender.around is None:
        return whole
    around = next((median(other.samples) for other in contenders if other.name == contender.around), None)
    return None if around is None else whole - around


def table(contenders):
    """The table: a row for each contender that got a figure or has a reason why not."""
    lines = ["| one throw-away server, start to gone | median | / the limit | testbed / it |", "|---|---:|---:|---:|"]
    for group in dict.fromkeys(contender.group for contender in contenders if contender.group):
        members = [contender for contender in contenders if contender.group == group]
        by_role = {contender.role: own_time(contender, contenders) for contender in members if contender.role != "peer"}
        lines.append(f"| **{group}** | | | |")
        for contender in members:
            time = own_time(contender, contenders)
            if time is None:
                lines.append(f"| {contender.name} | {contender.failure or 'not measured'} | – | – |")
                continue
            limit = "" if contender.role == "limit" else ratio(time, by_role.get("limit"))
            testbed = "" if contender.role == "testbed" else ratio(by_role.get("testbed"), time)
            name = f"**{contender.name}**" if contender.role == "testbed" else contender.name
            lines.append(f"| {name} | {milliseconds(time)} | {limit} | {testbed} |")
    return lines


def details(contenders):
    for contender in contenders:
        samples = contender.samples
        if not samples:
            continue
        if contender.role == "testbed" and median(samples, "processor") is not None:
            processor, memory = median(samples, "processor"), median(samples, "memory")
            yield (
                f"- testbed itself, without its servers ({contender.group}): {milliseconds(processor)} of processor time, "
                f"{memory / 2**20:.1f} MiB at its peak."
            )
        if contender.role == "limit":
            steps = [f"{milliseconds(median(samples, step))} {step}" for step in ("copied", "ready") if step in samples[0]]
            steps += [f"{milliseconds(median(samples))} killed", f"{milliseconds(median(samples, 'removed'))} with all its data removed"]
            yield f"- The limit ({contender.group}), from the start: {', '.join(steps)}."
        if contender.around:
            around = next(other for other in contenders if other.name == contender.around)
            yield (
                f"- {contender.name}: {milliseconds(median(samples))} as a whole, of which {contender.around} takes "
                f"{milliseconds(median(around.samples))}."
            )
        # What is left behind in one round of many counts too.
        left = sorted({name for sample in samples for name in sample["left"]})
        if left:
            yield f"- {contender.name} ({contender.group}) left behind: {', '.join(left)}."
        if contender.failure:
            yield f"- {contender.name} ({contender.group}) failed in some rounds: {contender.failure}."


def text(about, contenders):
    lines = [*table(contenders), "", f"- machine: {about['machine']}", f"- {', '.join(about['versions'])}"]
    lines.append(f"- medians of {about['rounds']} rounds, in which all took turns; one round before them was not counted")
    if about["remembers_deleted_files"]:
        lines.append(
            "- The file system is an ext4 without a journal, which makes files the more slowly the more were deleted in the minutes "
            "before: --folder names another one."
        )
    return "\n".join([*lines, *details(contenders)]) + "\n"


def raw(about, contenders):
    """All that was measured, for JSON."""
    fields = ("group", "name", "role", "around", "failure", "samples")
    return {"about": about, "contenders": [{name: getattr(contender, name) for name in fields} for contender in contenders]}
