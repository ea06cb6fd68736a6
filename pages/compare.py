"""Compare: runs of one protocol against each other, published results behind them, the layers on this machine."""

from functools import partial

import streamlit as st

from lipviz import ahead, compare_words, ui, ui_bench, ui_compare, ui_page

ui_page.begin("Which layers certify most, and at what price?")
found = ui.all_runs(finished=True)

from lipviz import protocols  # noqa: E402  the title stands before torch comes
from lipviz.published import of  # noqa: E402
from lipviz.standings import unranked  # noqa: E402

left_out = dict(unranked(found))
groups = protocols.groups(run for run in found if run.name not in left_out)
if not groups:
    ui.no_runs(pictures=False)
    ahead.stop()

with ui_page.part("controls"):
    group, lines, axis, k, shown = ui_compare.controls(groups)
published = of(group.protocol.data)
chart = ui_page.picture()
with ui_page.part("controls", "filter"):
    first, second = st.columns(2)
    with first:
        chosen = ui_compare.families(lines)
    with second:
        selected = ui_compare.selected(lines)
with chart:
    ui_compare.picture(chosen, published if shown else (), axis, k, selected)
if plane := ui_compare.plane(group.runs):
    ui_compare.maps(lines if selected else chosen, selected, k)
with ui_page.part("notice"):
    ui.notice(compare_words.notice(chosen, k, len(lines)))
with ui_page.part("chips"):
    ui.try_this(compare_words.TRY, "co")
with ui_page.part("numbers"):
    beside = ui_compare.drawn(published, axis) if shown else []
    ui.numbers(compare_words.numbers(chosen, k, len(beside), len(lines)))
    ui_compare.broken(chosen)
    rows = ui_compare.table(chosen, group.protocol.sentence(), k, selected)
if not plane:
    ui_compare.no_maps(groups)
st.caption(ui.literal(f"One protocol. {group.protocol.sentence()}"))
for line in chosen:
    for lack in line.lacks:
        st.caption(ui.literal(lack))
ui_compare.others(groups, group)
for name, why in left_out.items():
    st.caption(ui.literal(f"Not ranked: {name} {why}."))
ui_compare.published(published, k)
ui_bench.measure(ui.runs_folder())
ui_page.depths(compare_words.IN_WORDS, compare_words.WITH_MATHEMATICS)
folders = [ui.shown_path(run) for line in chosen for run in line.runs if line.curves]
code = compare_words.code(folders, k) if folders else ""
ui_page.finish(code, "compare.csv", partial(ui_compare.csv, rows, group.protocol.sentence()))
