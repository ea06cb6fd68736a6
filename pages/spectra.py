"""Singular values of the layers of runs, over each other, now and during training."""

import streamlit as st

from lipviz import ui

st.title("How much does a layer keep of its input?")
st.markdown(
    "A singular value is the factor by which a layer stretches one direction. 1-Lipschitz: none above 1. "
    "Orthogonal: all equal 1, nothing is lost."
)
found = [run for run in ui.all_runs() if (run.folder / "weights.safetensors").exists()]
if not found:
    ui.no_runs(pictures=False)
    st.stop()
bound = {"bind": "query-params"}
opening = ui.preferred(found, ("aol", "sll", "cayley"))
left, right = st.columns([3, 2], vertical_alignment="bottom")
with left:
    runs = ui.pick_runs(found, "sp_runs", opening, most=6)
with right.container(horizontal=True, vertical_alignment="bottom"):
    place = st.container(width=170)
    kind = st.segmented_control("Show", ["rank", "histogram"], default="rank", required=True, key="sp_kind", **bound)
    log = st.toggle("log", key="sp_log", **bound)
words, chart = st.container(), st.container()
progress = st.slider(
    "Point of the training (%): below 100, then against now", 0, 100, 100, 5, key="sp_progress", **bound
)

from lipviz import history  # noqa: E402  the title stands before torch comes
from lipviz.figures import spectrum  # noqa: E402

picked = []
for run in runs:
    with ui.in_words():
        picked.append((run, ui.layer_spectra(run)))
count = max((len(spectra) for _, spectra in picked), default=0)
with place:
    number = st.selectbox("Layer", ["all but the last", *range(1, count + 1)], key="sp_layer", **bound)
layer = None if isinstance(number, str) else number
curves = []
with ui.in_words():
    for run, spectra in picked:
        earlier = history.then(run, spectra, progress, layer) if progress < 100 else []
        curves += [*earlier, *history.now(run, spectra, layer, ", now" if earlier else "")]
if curves:
    with chart:
        alt = f"Singular values, {kind}, of " + ", ".join(run.name for run, _ in picked)
        ui.show(spectrum(curves, kind, log, ui.dark()), "spectra", alt)
    with words:
        ui.notice(history.notice(picked, progress))
else:
    chart.info("Choose one run or more.")
one = {run.spec.layer: run.name for run in found if run.name in ui.preferred(found, ("aol", "cayley", "plain"))}
chips = {
    "aol": ("AOL before training: watch it leave 1", {"sp_progress": 0, "sp_kind": "rank"}),
    "cayley": ("Orthogonal: watch it stay at 1", {"sp_progress": 50, "sp_kind": "rank"}),
    "plain": ("No constraint: watch it rise above 1", {"sp_progress": 0, "sp_kind": "histogram"}),
}
ui.try_this({chips[row][0]: {"sp_runs": [name], **chips[row][1]} for row, name in one.items() if row in chips}, "sp")

rows, values, distances = [], [], []
for run, spectra in picked:
    with ui.in_words():
        certified = ui.certifier(run).bound
        rows += history.table(run, spectra, certified)
        values.append((run.name, f"{certified.value:.4g}", "proved bound of the whole network: the layers' product"))
        moved = history.distances(run, spectra)
        distances += (
            [{"run": run.name, "before training": round(moved[0], 4), "after training": round(moved[1], 4)}]
            if moved
            else []
        )
st.subheader("Lipschitz bound of the whole network")
ui.numbers(values)
ui.table(rows, "spectra")
st.subheader("Distance to orthogonal")
st.markdown("Root mean square of σ − 1 over all layers but the last, from the stored quantiles.")
ui.table(distances, "distances")
st.markdown(history.WORDS)
