"""Tables for docs/performance.md, plots beside it, and a short summary for the terminal."""

import os

from . import goals
from .peers import ROOT

PAGE = os.path.join(ROOT, "docs", "performance.md")
PLOTS = os.path.join(ROOT, "docs", "performance")
BEGIN = "<!-- measured: everything down to the next marker is written by `make bench` -->"
END = "<!-- measured: end -->"


def span(found):
    return f"{found['median']:.3g} [{found['low']:.3g} – {found['high']:.3g}]"


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


def goal_rows(everything):
    for what, key, limit in goals.RATIOS:
        found = everything["ratios"].get(key)
        yield what, f"≤ {limit:.2f}", span(found) if found else "", goals.verdict(found, limit)
    for what, key, limit in goals.FIGURES:
        found = everything["figures"].get(key)
        yield (what, f"≤ {limit}", f"{found['median']:g}" if found else "",
               goals.verdict(found, limit))


def sections(everything):
    """Keys of one kind of measurement, e.g. "drain/64", in the order of the file."""
    return list(dict.fromkeys("/".join(key.split("/")[:2]) for key in everything["figures"]))


def figures_of(everything, section):
    """Participants and their figures; sub-figures (".../lost") are left to results.json."""
    found = {key.split("/")[2]: value for key, value in everything["figures"].items()
             if key.startswith(section + "/") and key.count("/") == 2}
    return dict(sorted(found.items(), key=lambda item: item[1]["median"]))


def section_table(everything, section, primary):
    found = figures_of(everything, section)
    rows = []
    for name, value in found.items():
        ratio = everything["ratios"].get(f"{section}/{primary}/{name}")
        rows.append((f"`{name}`", span(value), span(ratio) if ratio else ""))
    unit = next(iter(found.values()))["unit"]
    return table((section, unit, f"`{primary}` ÷ this"), rows)


PRIMARY = {
    "transmit": "inject_batch", "latency": "next_frame_latency", "fanout": "two_threads",
    "lifecycle": "library", "instructions/transmit": "tx_ring",
}


def primary_of(section):
    return PRIMARY.get(section) or PRIMARY.get(section.split("/")[0], "next_frame")


def text(everything):
    machine, versions = everything["machine"], everything["versions"]
    who = "root" if machine["root"] else "an ordinary user"
    parts = [
        f"Measured on {machine['cpus']} × {machine['cpu']}, {machine['memory_gib']} GiB, "
        f"Linux {machine['kernel']}, as {who}, with "
        + ", ".join(f"{name} {value}" for name, value in versions.items()) + ".\n",
        "### Goals\n\n" + table(("what", "goal", "measured", ""), goal_rows(everything)),
    ]
    for section in sections(everything):
        if figures_of(everything, section):
            group = section.split("/")[0]
            plot = f"performance/{section.replace('/', '-')}.svg"
            image = f"\n![{section}]({plot})\n" if os.path.exists(os.path.join(PLOTS, "..", plot)) else ""
            when = everything["groups"].get(group, {}).get("measured", "")
            parts.append(f"### {section}\n\n" + section_table(everything, section, primary_of(section))
                         + image + (f"\nMeasured {when} UTC.\n" if when else ""))
    loose = [(f"`{key}`", f"{value['median']:g}", value["unit"])
             for key, value in everything["figures"].items() if key.count("/") == 1]
    if loose:
        parts.append("### memory\n\n" + table(("what", "found", "limit"), loose))
    claims = [(f"`{key}`", span(value)) for key, value in everything["ratios"].items()
              if key.startswith("claims/")]
    if claims:
        parts.append("### The kernel document's claims for V3\n\n" + table(("V3 ÷ V2", "ratio"), claims))
    notes = [f"- not measured here: {reason}" for reason in everything["missing"].values()]
    notes += [f"- {key} was rejected as too noisy: {reason}"
              for key, reason in everything["rejected"].items()]
    return "\n".join(parts + ["\n".join(notes)])


def plot_section(everything, section):
    import matplotlib
    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "pktring"  # the same data gives the same file
    from matplotlib import pyplot
    found = figures_of(everything, section)
    if len(found) < 2:
        return
    names = list(found)[::-1]
    medians = [found[name]["median"] for name in names]
    errors = [[m - found[n]["low"] for n, m in zip(names, medians)],
              [found[n]["high"] - m for n, m in zip(names, medians)]]
    from .peers import family
    colours = ["#1b6ca8" if family(name) == "ours" or name in ("two_threads", "library")
               else "#b8b8b8" for name in names]
    figure, axes = pyplot.subplots(figsize=(7, 0.6 + 0.32 * len(names)))
    axes.barh(names, medians, xerr=errors, color=colours, height=0.7, error_kw={"lw": 0.8})
    if min(medians) > 0 and max(medians) / min(medians) > 30:
        axes.set_xscale("log")
    axes.set_xlabel(next(iter(found.values()))["unit"])
    axes.set_title(section, fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(os.path.join(PLOTS, section.replace("/", "-") + ".svg"),
                   metadata={"Date": None})
    pyplot.close(figure)


def write(everything):
    os.makedirs(PLOTS, exist_ok=True)
    for section in sections(everything):
        plot_section(everything, section)
    with open(PAGE) as file:
        page = file.read()
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    with open(PAGE, "w") as file:
        file.write(f"{before}{BEGIN}\n\n{text(everything)}\n\n{END}{after}")


def to_terminal(everything, groups):
    for section in sections(everything):
        if section.split("/")[0] not in groups:
            continue
        found = figures_of(everything, section)
        if not found:
            continue
        primary = primary_of(section)
        print(f"\n{section}: {next(iter(found.values()))['unit']}; {primary} / each")
        for name, value in found.items():
            ratio = everything["ratios"].get(f"{section}/{primary}/{name}")
            print(f"  {name:34} {span(value):30} {span(ratio) if ratio else ''}")
    print("\ngoals:")
    for what, limit, found, verdict in goal_rows(everything):
        if verdict != "not measured":
            print(f"  {verdict.strip('*'):8} {what:52} {limit:10} {found}")
