"""Gershgorin discs: what AOL and SLL see of a matrix, and what they cannot see."""

import streamlit as st

from lipviz import ui

st.title("How far right can an eigenvalue be?")
st.markdown(
    "Every eigenvalue (cross) of $G = W^\\top W$ lies in a disc, so the right-most edge bounds $\\|W\\|^2$. "
    "A factor $q_i$ for each neuron moves the discs, never the crosses."
)
bound = {"bind": "query-params"}
runs = {run.name: run for run in ui.all_runs()}
with st.container(horizontal=True, vertical_alignment="bottom"):
    source = st.selectbox("Matrix", ["example", *runs], key="gd_source", width=200, **bound)
    view = st.segmented_control("Discs of", ["G", "T - G"], default="G", required=True, key="gd_view", **bound)
    controls = st.container(horizontal=True, vertical_alignment="bottom")
line, words = st.columns([2, 3], vertical_alignment="center")
plot, sliders, heat = st.columns([5, 2, 3])

from lipviz import lessons  # noqa: E402  the title stands before torch comes
from lipviz.figures import gershgorin, matrix  # noqa: E402

W = lessons.example(5, 410)
with ui.in_words(stop=True):
    if source == "example":
        if view == "T - G":
            rules = ["AOL", "SLL", "spectral"]
            rule = controls.segmented_control("T", rules, default="AOL", required=True, key="gd_rule", **bound)
        with controls.popover("Change W"):
            n = st.select_slider("Neurons", lessons.SIZES, 5, key="gd_n", **bound)
            seed = st.number_input("Seed", 0, 9999, 410, key="gd_seed", **bound)
            text = st.text_input("Your own W", key="gd_w", placeholder="1 -0.5; 0 2", max_chars=800, **bound)
            W = lessons.from_text(text) if text.strip() else lessons.example(n, seed)
            ui.edit_matrix(W, "gd_w", lessons.to_text)
        G, places = W.T @ W, range(1, W.shape[1] + 1)
        q = lessons.powers(
            [sliders.slider(f"q{i}", -3.0, 3.0, 0.0, 0.01, "2^%.2f", f"gd_q{i}", **bound) for i in places]
        )
        t = lessons.rule(rule, G, q) if view == "T - G" else None
    else:
        layers = ui.layer_names(runs[source])
        layer = layers.index(controls.selectbox("Layer", layers, key="gd_layer", width=280, **bound))
        gram = ui.layer_gram(runs[source], layer, 0)
        if gram.convolution:
            wave = controls.select_slider("Frequency (k π/8)", range(lessons.FREQUENCIES), key="gd_wave", **bound)
            gram = ui.layer_gram(runs[source], layer, wave)
        scalings = lessons.scalings(gram)
        q = scalings[sliders.radio("Factors q", list(scalings), key="gd_scale", **bound)]
        sliders.caption(lessons.about(gram))
        G, t = gram.G, lessons.diagonal(gram) if view == "T - G" else None

found = lessons.discs(G, q, t)
side, top = ("left" if view == "T - G" else "right"), float(found.eigenvalues[-1])
c, r, values, names = found.drawn(side)
with plot:
    fig = gershgorin(c, r, values, found.right if t is None else None, f"{view}, real part", ui.dark(), side, names)
    ui.show(fig, "discs", f"Gershgorin discs of {view} from {found.left:.4g} to {found.right:.4g}, eigenvalues inside")
with heat:
    st.caption("Row i: the centre of disc i on the diagonal; its radius is the sum of the other magnitudes.")
    ui.show(matrix(lessons.balanced(G, q, t), dark=ui.dark()), "matrix", "The matrix whose rows make the discs")
with line:
    ui.numbers(lessons.facts(G, q, t))
with words:
    ui.notice(lessons.notice(G, q) if t is None else lessons.notice_slack(found, float(max(t))))
zero = {"gd_source": "example", **{f"gd_q{i + 1}": 0.0 for i in range(8)}}
best = {f"gd_q{i + 1}": x for i, x in enumerate(lessons.exponents(lessons.best_q(W.T @ W)))}
ui.try_this(
    {
        "Pull the right-most edge left yourself": {**zero, "gd_view": "G"},
        "Perron, the best q: watch the right edges meet": {**zero, **best, "gd_view": "G"},
        "AOL, all q = 1: watch every disc touch zero": {**zero, "gd_view": "T - G", "gd_rule": "AOL"},
        "Spectral T: watch discs cross zero": {**zero, "gd_view": "T - G", "gd_rule": "spectral"},
    },
    "gd",
)
st.markdown(lessons.WHY)
