"""The pieces of the page Compare: a ranking of runs of equal protocol, published results behind it, a table."""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import streamlit as st

from lipviz import ui, ui_canvas

if TYPE_CHECKING:
    from lipviz.protocols import Group
    from lipviz.published import Entry
    from lipviz.runs import Run
    from lipviz.standings import Standing

KEY = "co_picture"
BOUND: dict[str, Any] = {"bind": "query-params"}
REACH = 510
MOST = 4  # runs that are selected at a time
AXES = ("clean", "parameters", "seconds per epoch", "forward", "memory")
NAMES = {"seconds per epoch": "epoch_seconds"}  # what the menu calls an axis -> its key in the numbers
SORTS = ("certified", "clean", "parameters", "seconds per epoch", "name")
COSTS = {
    "epoch_seconds": "Training time over epochs: on a CPU the seconds that its cores worked, else those of the clock.",
    "forward": "An image, of a batch of 256 through the frozen network in float32; on a CPU the time of one core.",
    "memory": "Parameters, optimiser, and the most that one more training step holds at a time; without the data set.",
}
HINT = (
    "Drag eps, or point at a mark; click marks, or their names in the table, to select up to four. Solid marks: "
    "measured here, in one ranking."
)
HOLLOW = (
    " Hollow grey: published, under other protocols; between two published radii a bar shows the range that they leave."
)
FRONT = " The solid line is the Pareto front."
DOTTED = " Dotted: the clean accuracy, where every mark stands at eps 0; its stem shows how far it fell."
STEMS = " The stem of a mark shows how far it fell from its clean accuracy, where it stands at eps 0."


def controls(found: Sequence["Group"]) -> tuple["Group", list["Standing"], str, int, bool]:
    """The chosen group with its lines, axis, eps in 1/255, and whether published results are shown."""
    labels = [group.label for group in found]
    left, middle, right, last = st.columns([4, 7, 2, 2], vertical_alignment="bottom")
    with left:
        label = st.selectbox("Protocol, one ranking each", labels, key="co_group", **BOUND)
    with right:
        k = st.number_input("eps, in 1/255", 0, REACH, 36, key="co_eps", **BOUND)
    with last:
        shown = st.toggle("Published", True, key="co_published", **BOUND)
    group = found[labels.index(label)] if label in labels else found[0]
    lines = standings(group.runs)
    known = [axis for axis in AXES if any(line.numbers.get(NAMES.get(axis, axis)) is not None for line in lines)]
    with middle:
        axis = st.segmented_control(
            "Against", known or AXES[:1], default=AXES[0], required=True, key="co_axis", wrap=True, **BOUND
        )
    return group, lines, axis or AXES[0], 36 if k is None else k, shown


def moved() -> None:
    """Callback of the picture: eps was let go at a new place."""
    k = ui_canvas.number(ui_canvas.sent(KEY, "eps"), 0.0, float(REACH))
    if k is not None:
        st.session_state["co_eps"] = round(k)


def picked(known: Sequence[str]) -> None:
    """Callback of the picture: a mark, or a name in the table, was chosen or let go."""
    sent = ui_canvas.sent(KEY, "chosen")
    if isinstance(sent, list):
        st.session_state["co_runs"] = list(dict.fromkeys(name for name in sent if name in known))[:MOST]


def selected(lines: Sequence["Standing"]) -> list[str]:
    """Names of the selected lines: the menu is the twin of the marks, and carries them to the address."""
    names = [line.name for line in lines]
    return st.multiselect(
        f"Selected, up to {MOST}", names, key="co_runs", placeholder="none", max_selections=MOST, wrap=True, **BOUND
    )


def standings(runs: Sequence["Run"]) -> list["Standing"]:
    """The lines of a ranking, read once for all visitors."""
    stamps = [ui.stamp(run, file) for run in runs for file in ("run.json", "certificates.csv", "attacks.npz")]
    return _standings(tuple((str(run.folder), run.name) for run in runs), tuple(stamps), list(runs))


@st.cache_resource(max_entries=24, show_spinner="Reading certificates ...")
def _standings(names: tuple[tuple[str, str], ...], stamps: tuple[float, ...], _runs: list["Run"]) -> list["Standing"]:
    from lipviz.standings import standings

    return standings(_runs)


def families(lines: Sequence["Standing"]) -> list["Standing"]:
    """Those of the chosen families, all where none is chosen."""
    from lipviz.layers import LAYERS

    known = sorted({LAYERS[line.row].family for line in lines})
    chosen = st.multiselect("Families", known, key="co_families", placeholder="all families", wrap=True, **BOUND)
    return [line for line in lines if not chosen or LAYERS[line.row].family in chosen]


def picture(
    lines: Sequence["Standing"], entries: Sequence["Entry"], axis: str, k: int, chosen: Sequence[str] = ()
) -> None:
    """The scatter, with eps to drag and marks to select."""
    from lipviz.standings import AXES as KNOWN
    from lipviz.standings import MARKS, epoch_title

    key = NAMES.get(axis, axis)
    title, unit, _ = KNOWN[key]
    if key == "epoch_seconds":
        title = epoch_title(run for line in lines for run in line.runs)
    abouts: dict[str, int] = {}
    published = [_hollow(entry, abouts) for entry in drawn(entries, axis)]
    several = Counter(line.row for line in lines)
    points = [_solid(line, several[line.row] > 1) for line in lines if line.curves]
    if not any(key in point["x"] for point in points):
        st.info(f"No run here has certificates and {title}: choose another protocol, or train a run to its end.")
        return
    if key in COSTS:
        st.caption(COSTS[key])
    if entries and not published:
        st.caption(f"Published results are left out of this axis, {title}: they come from other machines.")
    machines = sorted({str(run.config.get("hardware", "unknown")) for line in lines for run in line.runs})
    if key in ("epoch_seconds", "forward") and machines[1:]:
        st.caption(ui.literal(f"These times are of different machines, and not comparable: {'; '.join(machines)}."))
    data = {
        "points": points,
        "published": published,
        "abouts": list(abouts),
        "axis": key,
        "axisName": f"{title} ({unit})" if unit else title,
        "log": key != "clean",
        "high": key == "clean",
        "eps": k,
        "chosen": list(chosen),
        "top": max([255, k, *(len(line.curves[0]) - 1 for line in lines if line.curves)]),
        "marks": list(MARKS),
        "hint": HINT + HOLLOW * bool(published) + FRONT + (DOTTED if key == "clean" else STEMS),
    }
    choose = partial(picked, [*(line.name for line in lines), *chosen])
    ui_canvas.mount("compare", data, KEY, on_eps_change=moved, on_chosen_change=choose)


def _solid(line: "Standing", by_name: bool = False) -> dict[str, Any]:
    """A run as the picture takes it; where there are several of its layer, it is called by its own name."""
    from lipviz.drawing import STYLE, UNKNOWN
    from lipviz.layers import LAYERS
    from lipviz.standings import AXES as KNOWN

    style, count = STYLE.get(line.row, UNKNOWN), max(map(len, line.curves))
    curves = [[*curve, *[curve[-1]] * (count - len(curve))] for curve in line.curves]
    several = len(curves) > 1
    return {
        "name": line.name,
        "title": line.name if by_name else LAYERS[line.row].title,
        "colour": style.colour,
        "marker": style.marker,
        "dash": ui_canvas.dash(style.dash),
        "x": {key: value for key in KNOWN if (value := line.numbers.get(key)) is not None},
        "curve": [round(sum(values) / len(curves), 3) for values in zip(*curves, strict=True)],
        "low": [round(min(values), 3) for values in zip(*curves, strict=True)] if several else [],
        "high": [round(max(values), 3) for values in zip(*curves, strict=True)] if several else [],
        "seeds": len(line.runs),
        "about": f"{_said(line.clean, ' % clean')}, {_said(line.numbers.get('parameters'), ' parameters', 0)}",
    }


def drawn(entries: Sequence["Entry"], axis: str) -> list["Entry"]:
    """The published results that have a place on an axis: their times and memory are of other machines."""
    values = {"clean": lambda entry: entry.clean, "parameters": lambda entry: entry.parameters}
    return [entry for entry in entries if axis in values and values[axis](entry) is not None]


def _hollow(entry: "Entry", abouts: dict[str, int]) -> dict[str, Any]:
    """A published result as the picture takes it; sentences that many share are sent once."""
    from lipviz.drawing import STYLE, UNKNOWN
    from lipviz.published import MARKS, RADII

    about = f"{entry.source}, {entry.year}; {MARKS[entry.mark]}. {entry.protocol}." + f" {entry.note}." * bool(
        entry.note
    )
    known = [(k, value) for k in (0, *RADII) if (value := entry.certified(k)) is not None]
    x = {"clean": entry.clean, "parameters": entry.parameters}
    return {
        "name": entry.name,
        "marker": STYLE.get(entry.row, UNKNOWN._replace(marker="circle")).marker,
        "x": {key: value for key, value in x.items() if value is not None},
        "known": known,
        "about": abouts.setdefault(about, len(abouts)),
    }


def plane(runs: Sequence["Run"]) -> bool:
    """Whether these networks answer to points of a plane, so that there are maps of it."""
    return all(tuple(run.spec.input_shape) == (2,) for run in runs)


def maps(lines: Sequence["Standing"], chosen: Sequence[str], k: int) -> None:
    """The plane as the selected runs see it; where nothing is selected, as those that certify most do."""
    from lipviz import ui_maps

    found = [line for line in lines if line.name in chosen]
    shown = found or ordered(lines, SORTS[0], k)[:MOST]
    st.subheader("The plane as they see it")
    if not found and lines[MOST:]:
        st.caption(f"Nothing is selected: these {len(shown)} certify most at {k}/255.")
    ui_maps.show([line.runs[0] for line in shown], k)


def no_maps(groups: Sequence["Group"]) -> None:
    """Why images have no maps, and the way to some."""
    planes = [group for group in groups if plane(group.runs)]
    st.caption(
        "Networks of points have maps here, with one probe for all of them. These answer to images: there is no plane "
        "to draw."
    )
    if planes:
        state = {"co_group": planes[0].label}
        words = f"The maps of {planes[0].protocol.data}"
        st.button(words, key="co_planes", on_click=st.session_state.update, args=(state,))
    else:
        ui.link("train", "Train networks on moons: their maps will stand here", {"tr_data": "moons"})


def rows(lines: Sequence["Standing"], k: int) -> list[dict[str, Any]]:
    """The table: numbers rounded for reading, accuracies in percent."""
    from lipviz.layers import LAYERS
    from lipviz.standings import MARKS, epoch_title

    made, epoch = [], epoch_title(run for line in lines for run in line.runs)
    for line in lines:
        spread, n = line.spread(k), line.numbers
        row: dict[str, Any] = {"run": line.name, "layer": LAYERS[line.row].title, "clean": _round(line.clean, 1)}
        row |= {f"at {k}/255": _round(line.certified(k), 1)}
        row |= {"95 % interval": interval(line, k)}
        row |= {"over the seeds": f"{spread[0]:.1f} to {spread[1]:.1f}" if spread else ""}
        row |= {f"{mark}/255": _round(line.certified(mark), 1) for mark in MARKS if mark != k}
        row |= {"parameters": _round(n.get("parameters"), 0), epoch: _round(n.get("epoch_seconds"), 1)}
        row |= {"images/s": _round(n.get("images_per_second"), 0)}
        row |= {"forward µs": _round(n.get("forward"), 1), "step MiB": _round(n.get("memory"), 1)}
        row |= {"epochs": _round(n.get("epochs"), 0)}
        row |= {"train s": _round(n.get("seconds"), 0), "core s": _round(n.get("core_seconds"), 0)}
        row |= {"certified / attacked": _round(n.get("tightness"), 2), "seeds": len(line.runs)}
        made.append(row)
    return [{key: row[key] for key in row if any(r[key] not in (None, "") for r in made)} for row in made]


def interval(line: "Standing", k: int) -> str:
    """What a test set of this size leaves open of the share certified at k/255; "" where there are several seeds."""
    from lipviz.radii import wilson

    share, n = line.certified(k), line.runs[0].results.get("test_images")
    if share is None or len(line.runs) > 1 or not isinstance(n, int) or n < 1:
        return ""
    low, high = wilson(round(share / 100 * n), n)
    return f"{100 * low:.1f} to {100 * high:.1f}"


def origin(line: "Standing") -> dict[str, str]:
    """What a row alone decides and its protocol does not say, and the code that trained it: for the exported tables."""
    from lipviz.protocols import UNSAID

    places = {"seed": "recipe", "lr": "recipe", "batch": "recipe", "lipviz": "versions"}
    made = {}
    for key, place in places.items():
        tables = [run.config.get(place) for run in line.runs]
        said = [table.get(key, UNSAID) if isinstance(table, dict) else UNSAID for table in tables]
        made[key] = ", ".join(dict.fromkeys(map(str, said)))
    return made


def ordered(lines: Sequence["Standing"], by: str, k: int) -> list["Standing"]:
    """The lines in the order of the table: the best first, what has no number last."""

    def place(line: "Standing") -> tuple[bool, float]:
        value = line.certified(k) if by == "certified" else line.numbers.get(NAMES.get(by, by))
        way = -1 if by in ("certified", "clean") else 1
        return value is None, way * (value or 0.0)

    return sorted(lines, key=lambda line: line.name) if by == "name" else sorted(lines, key=place)


def csv(made: Sequence[Mapping[str, Any]], protocol: str) -> str:
    """The table as CSV, its protocol in the last column."""
    import csv as writer
    import io

    stream = io.StringIO()
    out = writer.DictWriter(stream, [*made[0], "protocol"] if made else ["protocol"], lineterminator="\n")
    out.writeheader()
    out.writerows({**row, "protocol": protocol} for row in made)
    return stream.getvalue()


def tex(made: Sequence[Mapping[str, Any]], protocol: str, k: int) -> str:
    """The table for LaTeX, its protocol in the caption."""
    from lipviz.latex import table

    column = f"at {k}/255"
    eps = f', eps = {k}/255 in the column "{column}"' if any(column in row for row in made) else ""
    return table(made, f"Clean and certified accuracy in %, l2 norm{eps}. {protocol}")


def published_rows(entries: Sequence["Entry"], k: int) -> list[dict[str, Any]]:
    """Published results as a table of their own."""
    made = []
    for entry in entries:
        known = entry.between(k)
        row: dict[str, Any] = {"method": entry.name, "clean": entry.clean}
        if known:
            row[f"at {k}/255"] = known[0] if known[0] == known[1] else f"{known[0]} to {known[1]}"
        else:
            row[f"at {k}/255"] = ""
        row |= {"parameters": entry.parameters, "source": f"{entry.source}, {entry.year}", "checked": entry.mark}
        made.append(row | {"protocol": entry.protocol, "note": entry.note})
    return made


def table(lines: Sequence["Standing"], protocol: str, k: int, chosen: Sequence[str] = ()) -> list[dict[str, Any]]:
    """The table with its order and exports, the chosen lines marked; returns the rows of the exports."""
    left, right, last = st.columns([4, 1, 1], vertical_alignment="bottom")
    with left:
        by = st.segmented_control(
            "Sorted by", SORTS, default=SORTS[0], required=True, key="co_sort", wrap=True, **BOUND
        )
    found = ordered(lines, by or SORTS[0], k)
    made = rows(found, k)
    ui.table(made, "ranking", chosen if any(line.curves for line in lines) else None)
    whole = [row | origin(line) for row, line in zip(made, found, strict=True)]
    if made:
        button: dict[str, Any] = {"on_click": "ignore", "width": "stretch"}
        right.download_button("LaTeX", partial(tex, whole, protocol, k), "compare.tex", "text/x-tex", **button)
        last.download_button("CSV", partial(csv, whole, protocol), "compare-table.csv", "text/csv", **button)
    return whole


def broken(lines: Sequence["Standing"]) -> None:
    """What must never be: runs whose certified radius an attack has broken."""
    names = [name for line in lines for name in line.broken]
    if names:
        runs = "this run" if len(names) == 1 else "these runs"
        said = f"An attack ended inside a certified radius, which is a bug: {', '.join(names)}."
        st.error(ui.literal(f"{said} Do not trust the certified numbers of {runs}, and please report it."))


def published(entries: Sequence["Entry"], k: int) -> None:
    """The second layer as a table, on request: it is long."""
    if not entries:
        st.caption("No published results are kept for this data set.")
        return
    if st.toggle(f"Table of the {len(entries)} published results", key="co_table", **BOUND):
        st.caption(
            "Each under its own protocol, on the original pixels of the data set; never ranked with the runs above."
        )
        ui.table(published_rows(entries, k), "published")


def others(found: Sequence["Group"], group: "Group") -> None:
    """What else there is, and how it differs."""
    from lipviz.protocols import differ
    from lipviz.tables import counted

    for other in found:
        if other is not group and other.protocol.data == group.protocol.data:
            said = differ(group.protocol, other.protocol)
            runs = counted(len(other.runs), "run")
            st.caption(ui.literal(f"Not in this ranking: {other.label} ({runs}). {said}"))


def _round(value: float | None, digits: int) -> float | int | None:
    return None if value is None else round(value, digits) if digits else round(value)


def _said(value: float | None, unit: str, digits: int = 1) -> str:
    return f"unknown{unit}" if value is None else f"{value:,.{digits}f}{unit}"
