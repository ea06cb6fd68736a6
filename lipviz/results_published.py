"""The part of RESULTS.md on published results: their tables, and what was measured here held against them.

Reasons are given as what is known to differ between the protocols, never as causes.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

from lipviz import published
from lipviz.layers import LAYERS
from lipviz.protocols import UNSAID, Group
from lipviz.published import Entry
from lipviz.runs import MARKS
from lipviz.standings import Standing, ranks, spearman, standings
from lipviz.tables import fixed, markdown

SIZES = ("XS", "S", "M", "L")
BUDGET = "2 h"  # the shortest of the published comparison
RADIUS = 36  # /255, the only one that its table reports at all budgets
FAR = 403  # /255 = 1.58, beside 36/255 the usual radius on MNIST
# its protocol, from the paper's section on the setting and its repository: what -> (there, the number of it or None)
THERE: dict[str, tuple[str, float | None]] = {
    "data": ("CIFAR-10, original pixels", None),
    "budget": ("2 h on an A100 at its measured time an epoch", None),
    "network": ("ConvNet of 25 convolutions with MaxMin, XS 1,570,000 to L 100,500,000 parameters", None),
    "loss offset": ("0.399307", 0.399307),
    "temperature": ("0.25", 0.25),
    "batch": ("256", 256.0),
    "augmentation": ("crop 4 and flip", None),
    "optimiser": ("SGD with momentum 0.9, OneCycleLR", None),
    "learning rate": ("for each method and size from 16 random runs, with its weight decay, on 10 % held out", None),
}


def tables_of(data: str) -> Iterator[str]:
    """The published table of one data set, in the order of its file."""
    entries = published.of(data)
    if not entries:
        yield from ("", "No published results are kept for this data set.")
        return
    yield from ("", f"### Published on {data}", "", "Under their own protocols, which differ from each other and ours.")
    marks = "; ".join(f"{mark}: {words}" for mark, words in published.MARKS.items())
    yield from (f"Checked: {marks}. An empty cell was not reported.", "", *markdown([_entry(e) for e in entries]))
    notes: dict[str, list[str]] = {}
    for entry in entries:
        if entry.note:
            notes.setdefault(entry.note, []).append(entry.method)
    if notes:
        yield from ("", "To be known of them:", "")
        yield from (f"* {'; '.join(dict.fromkeys(names))}: {note}." for note, names in notes.items())
    protocols = dict.fromkeys(f"{e.source}: {e.protocol}" for e in entries)
    yield from ("", "Protocols of the published results:", "", *(f"* {line}." for line in sorted(protocols)))


def _entry(entry: Entry) -> dict[str, str]:
    row = {"method": entry.name, "clean": _reported(entry.clean)}
    row |= {f"{k}/255": _reported(entry.certified(k)) for k in MARKS}
    row |= {"parameters": "" if entry.parameters is None else f"{entry.parameters:,}"}
    return row | {"source": entry.source, "year": str(entry.year), "checked": entry.mark}


def compared(mine: Sequence[Group]) -> Iterator[str]:
    """Runs on one data set held against what was published on it, the largest group of runs first."""
    data = mine[0].protocol.data
    if data == "cifar10":
        source = f"{published.COMPARISON} (CVPR 2024, Table 9, {BUDGET})"
        yield from _ordering(mine[0])  # the others are single runs
        yield from _levels(mine, source, {size: comparison(size) for size in SIZES})
        return
    entries = [entry for entry in published.of(data) if entry.certified(RADIUS) is not None]
    there = {size: [e for e in entries if e.size == size] for size in dict.fromkeys(e.size for e in entries)}
    if levels := list(_levels(mine, "; ".join(dict.fromkeys(e.source for e in entries)), there)):
        yield from (*levels, *_pairs(mine[0], there), *_far(mine, entries))
        protocols = {size: dict.fromkeys(e.protocol for e in of) for size, of in there.items()}
        yield from ("", "What the protocols do to this was not measured. Here they are those above, there:", "")
        yield from (f"* {size}: {'; '.join(said)}." for size, said in protocols.items())


def _families(group: Group) -> dict[str, Standing]:
    """Row of LAYERS -> its line where it has certificates, of several settings the first by name."""
    found: dict[str, Standing] = {}
    for standing in standings(group.runs):
        if standing.certified(RADIUS) is not None:
            found.setdefault(standing.row, standing)
    return found


def _by_row(entries: Sequence[Entry]) -> dict[str, float]:
    """Row of LAYERS -> certified accuracy there, of the entries that have a row."""
    return {e.row: value for e in entries if e.row and (value := e.certified(RADIUS)) is not None}


def _levels(mine: Sequence[Group], source: str, there: Mapping[str, Sequence[Entry]]) -> Iterator[str]:
    """Run beside published result, method by method: a correlation of ranks does not see how far apart they are."""
    table, apart = [], []
    for label, standing in [(group.label, standing) for group in mine for standing in standings(group.runs)]:
        ours = standing.certified(RADIUS)
        theirs = {size: _by_row(entries).get(standing.row) for size, entries in there.items()}
        if ours is None or all(value is None for value in theirs.values()):
            continue
        row = {"method": LAYERS[standing.row].title, "run here": f"`{standing.name}`", "protocol here": label}
        row |= {f"here at {RADIUS}/255": f"{ours:.1f}"} | {f"there {k}": _reported(v) for k, v in theirs.items()}
        size, value = next(iter(theirs.items()))
        if value is not None:
            apart.append(ours - value)
        table.append(row | {f"here - there {size}, points": "" if value is None else f"{ours - value:+.1f}"})
    if not table:
        return
    yield from ("", f"### Levels beside published ones: {mine[0].protocol.data}", "")
    yield f"Certified accuracy at {RADIUS}/255 in %, method by method. *Here*: measured by lipviz. *There*, under other"
    yield f"protocols: {source}. An empty cell was not reported."
    yield from ("", *markdown(table))
    if apart:
        yield from ("", f"Here minus there {next(iter(there))}: {min(apart):+.1f} to {max(apart):+.1f} points.")


def _pairs(group: Group, there: Mapping[str, Sequence[Entry]]) -> Iterator[str]:
    """Which pairs of families stand in one order here and there, where they are too few for a correlation."""
    mine = {row: standing.certified(RADIUS) or 0.0 for row, standing in _families(group).items()}
    yield from ("", f"Pairs of families that are in both, in the order of {group.label} at {RADIUS}/255:", "")
    for size, entries in there.items():
        theirs = _by_row(entries)
        told: dict[bool, list[str]] = {True: [], False: []}
        for a, b in combinations(sorted(filter(theirs.__contains__, mine), key=lambda row: -mine[row]), 2):
            said = f"{LAYERS[a].title} above {LAYERS[b].title}"
            said += f" ({mine[a]:.1f} and {mine[b]:.1f} here, {theirs[a]:.1f} and {theirs[b]:.1f} there)"
            told[theirs[a] > theirs[b]].append(said)
        same, turned = ("; ".join(told[key]) or "none" for key in (True, False))
        yield f"* {size}: the same there: {same}. Not there: {turned}."


def _far(mine: Sequence[Group], entries: Sequence[Entry]) -> Iterator[str]:
    """What there is at the other usual radius."""
    found = {s.name: value for group in mine for s in standings(group.runs) if (value := s.certified(FAR)) is not None}
    if found and all(entry.certified(FAR) is None for entry in entries):
        best = max(found, key=lambda name: found[name])
        yield from ("", f"At {FAR}/255 = 1.58 the published results kept here have no number to compare; `{best}`")
        yield f"has the most of the runs, {found[best]:.1f} %."


def _ordering(group: Group) -> Iterator[str]:
    """Our ordering of families against that of the published comparison at its shortest budget."""
    mine = _families(group)
    yield from ("", f"### Ordering against the published comparison: {group.label}", "")
    yield f"Families by certified accuracy at {RADIUS}/255, against 1-Lipschitz Layers Compared (CVPR 2024, Table 9,"
    yield f"{BUDGET}), size by size. Spearman's rank correlation: 1 is the same order, -1 the reverse."
    table, far = [], []
    for size in SIZES:
        there = {e.row: e for e in comparison(size) if e.row in mine}
        names = [row for row in mine if row in there]
        if len(names) < 3:
            continue
        here = ranks([mine[row].certified(RADIUS) or 0.0 for row in names])
        other = ranks([there[row].certified(RADIUS) or 0.0 for row in names])
        rho = spearman([-rank for rank in here], [-rank for rank in other])
        clean = spearman([mine[r].clean or 0.0 for r in names], [there[r].clean or 0.0 for r in names])
        table.append({
            "size": size,
            "methods": str(len(names)),
            f"correlation at {RADIUS}/255": fixed(rho, 2),
            "correlation of clean": fixed(clean, 2),
            "order here": _order(names, here),
            "order there": _order(names, other),
        })  # fmt: skip
        most = max(abs(a - b) for a, b in zip(here, other, strict=True))
        for row, a, b in zip(names, here, other, strict=True):
            if abs(a - b) == most > 0:
                ours, theirs = mine[row].certified(RADIUS), there[row].certified(RADIUS)
                said = f"number {a:g} of {len(names)} here ({ours:.1f} %) and number {b:g} there ({theirs:.1f} %)"
                far.append(f"* {size}: {LAYERS[row].title} is {said}.")
    if not table:
        yield from ("", "Fewer than three families are in both: no correlation is given.")
        return
    yield from ("", *markdown(table))
    yield from ("", "Families that differ most in rank:", "", *(far or ["* none: the orders are equal."]))
    for n in sorted({int(row["methods"]) for row in table}, reverse=True):
        small, large = _swap(n)
        yield from ("", f"With {n} methods a correlation is coarse: one swap of neighbours in one order changes it by "
                        f"{small:.2f} where they are neighbours in the other too, by up to {large:.2f}.")  # fmt: skip
    if among := _among(list(mine)):
        yield f"Among themselves the sizes of the comparison correlate between {among[0]:.2f} and {among[1]:.2f} on the"
        yield "families that all of them share with these runs: the order there hangs on the size, too."
    yield from _throughput(mine)
    if "aoc" in mine:
        yield "BCOP of the comparison stands against `aoc`, which is made by the same block convolution."
    yield from (
        "",
        "What is equal and what is known to differ; what each of it does to the order was not measured:",
        "",
    )
    yield from markdown(list(_protocols(group)))


def _throughput(mine: Mapping[str, Standing]) -> Iterator[str]:
    """How far the order here goes with the epochs that fitted the budget."""
    passes = {row: s.numbers.get("epochs") for row, s in mine.items() if LAYERS[row].guarantee != "none"}
    epochs = {row: count for row, count in passes.items() if count}
    rho = spearman(list(epochs.values()), [mine[row].certified(RADIUS) or 0.0 for row in epochs])
    if rho is None:
        return
    few, many = min(epochs, key=lambda row: epochs[row]), max(epochs, key=lambda row: epochs[row])
    ends = [f"{epochs[row]:g} epochs ({LAYERS[row].title})" for row in (few, many)]
    yield f"The budget held from {ends[0]} to {ends[1]}. Over the {len(epochs)} constrained families here"
    yield f"the epochs and the certified accuracy at {RADIUS}/255 correlate by {rho:.2f} (Spearman)."


def comparison(size: str, budget: str = BUDGET) -> list[Entry]:
    """The entries of the published comparison of one size and budget."""
    return [
        entry
        for entry in published.of("cifar10")
        if published.COMPARISON in entry.source and (entry.size, entry.budget) == (size, budget)
    ]


def _among(rows: Sequence[str]) -> tuple[float, float] | None:
    """Smallest and largest rank correlation between two sizes of the comparison, on the rows that all sizes have."""
    sizes = [{e.row: e.certified(RADIUS) or 0.0 for e in comparison(size)} for size in SIZES]
    shared = [row for row in rows if all(row in size for size in sizes)]
    values = [[size[row] for row in shared] for size in sizes]
    found = [rho for a, b in combinations(values, 2) if (rho := spearman(a, b)) is not None]
    return (min(found), max(found)) if found else None


def _protocols(group: Group) -> Iterator[dict[str, str]]:
    """Protocol beside protocol: what is equal, and what differs."""
    p, recipes = group.protocol, [run.recipe for run in group.runs]
    rates = sorted({f"{r['lr']:g}" for r in recipes if "lr" in r})
    parameters = sorted({int(run.config["parameters"]) for run in group.runs if "parameters" in run.config})
    ends = dict.fromkeys((parameters[0], parameters[-1])) if parameters else {}
    here = {
        "data": f"{p.data}. {p.notes}".strip(),
        "budget": p.budget,
        "network": f"{p.network}; {' to '.join(f'{n:,}' for n in ends)} parameters",
        "loss offset": p.offset,
        "temperature": p.temperature,
        "batch": ", ".join(sorted({str(r.get("batch", UNSAID)) for r in recipes})),
        "augmentation": p.augmentation,
        "optimiser": str(recipes[0].get("optimiser", UNSAID)),
        "learning rate": f"a peak of {' or '.join(rates) or UNSAID}",
    }
    for what, (there, value) in THERE.items():
        same = here[what] == there or (value is not None and _same(here[what], value))
        yield {"what": what, "here": here[what], "there": there, "": "equal" if same else "differs"}


def _same(text: str, there: float) -> bool:
    said = number(text)
    return said is not None and abs(said - there) < 1e-4


def number(text: str) -> float | None:
    """The number that a protocol says, None where it says none."""
    try:
        return float(text)
    except ValueError:
        return None


def _order(names: Sequence[str], places: Sequence[float]) -> str:
    ordered = sorted(zip(places, (LAYERS[name].title for name in names), strict=True))
    return ", ".join(title for _, title in ordered)


def _swap(n: int) -> tuple[float, float]:
    """How much one swap of neighbours in one order changes Spearman's correlation of n methods: the least, the most.

    1 - 6 sum_i d_i^2 / (n (n^2 - 1)) gains 12 d / (n (n^2 - 1)), d from 1 to n - 1 their places apart there.
    """
    return 12 / (n * (n * n - 1)), 12 / (n * (n + 1))


def _reported(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"
