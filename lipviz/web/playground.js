// The playground: one or two networks over the same points, one probe, one eps. Parts: playground_network, _map, _side.
//
// For tests: the event "lipviz-evaluate" on .pg with detail {at: [[x, y], ...]} gets detail.nets, one of {ops, lipschitz,
// radius: [...], label: [...], slope: [...], value} for each network, and detail.cost, the milliseconds of one move of
// the probe; data-frames counts the drawn moves, data-step and data-probe say what is shown.

const VIEWS = { decision: "decision", radius: "radius", gradient: "gradient norm", tightness: "tightness" };
const VIEW_HELP = {
  decision: "which class the network answers", radius: "how large the certified disc is at each place",
  gradient: "how much of the bound the margin uses: 1 is tight", tightness: "certified radius / nearest break found",
};
const NEAR = 14, MOST_POINTS = 10000;

class Playground {
  constructor(root) {
    this.root = root;
    this.pg = make(root, "div", { class: "pg", "data-frames": 0 });
    this.bar();
    this.body = make(this.pg, "div", { class: "pg-body" });
    this.maps = []; this.places = make(this.body, "div", { class: "pg-maps" });
    this.side = make(this.body, "div", { class: "pg-side" });
    this.shares = make(this.side, "div", { class: "pg-shares numbers" });
    this.readout = make(this.side, "div", { class: "pg-read numbers" });
    const line = make(this.side, "label", { class: "pg-eps" });
    make(line, "span", { text: "eps" });
    this.slider = make(line, "input", { type: "range", min: 0, max: 1, step: 0.005, "aria-label": "eps, the size of a change", oninput: () => this.setEps(+this.slider.value), onchange: () => this.epsDone() });
    this.epsText = make(line, "output", {});
    this.histogram = new Histogram(this.side, this); this.spark = new Spark(this.side, this);
    this.wave = null;
    this.live = make(this.pg, "div", { class: "say", "aria-live": "polite" });
    this.tools();
    Object.assign(this, { probe: [0, 0], eps: 0.1, view: "decision", discs: true, tool: "add", pen: 0, xs: new Float64Array(0), y: new Uint8Array(0), edit: 0, past: [], moved: false, most: 1, area: [[-2, 2], [-2, 2]], heard: {} });
    this.sidePaint = framed(() => { if (this.data.mode !== "wave") { this.histogram.paint(this.maps); this.spark.paint(this.maps); this.count(); } });
    this.probePaint = framed(() => {
      if (this.data.mode === "wave") this.wave.paint(); else for (const map of this.maps) map.drawProbe();
      this.pg.dataset.frames = +this.pg.dataset.frames + 1; this.read();
    });
    this.pointPaint = framed(() => { for (const map of this.maps) map.drawPoints(); });
    this.pg.addEventListener("lipviz-evaluate", (event) => this.evaluate(event.detail));
    this.pg.onkeydown = (event) => this.key(event);
    document.addEventListener("visibilitychange", () => { if (document.hidden && this.pg.isConnected && this.data.running) this.act("pause"); });
  }
  bar() {
    const bar = make(this.pg, "div", { class: "lv-bar pg-top", role: "toolbar", "aria-label": "Training and view" });
    this.playButton = make(bar, "button", { type: "button", class: "pg-play", onclick: () => this.act(this.data.running ? "pause" : "play") });
    make(bar, "button", { type: "button", text: "Step", title: "a few steps of the training", onclick: () => this.act("step") });
    make(bar, "button", { type: "button", text: "Reset", title: "new weights from the seed", onclick: () => this.act("reset") });
    this.epoch = make(bar, "span", { class: "numbers pg-epoch" });
    this.views = make(bar, "span", { class: "pg-group", role: "group", "aria-label": "View" });
    for (const [name, text] of Object.entries(VIEWS)) make(this.views, "button", { type: "button", text, title: VIEW_HELP[name], "data-view": name, onclick: () => this.setView(name, true) });
  }
  tools() {
    const bar = this.toolbar = make(this.pg, "div", { class: "lv-bar pg-tools", role: "toolbar", "aria-label": "Points" });
    this.pens = make(bar, "span", { class: "pg-group", role: "group", "aria-label": "Class of new points" });
    for (const [i, sign] of ["●", "■", "▲"].entries()) make(this.pens, "button", { type: "button", text: sign, "data-pen": i, "aria-label": `class ${i + 1}`, title: `new points are of class ${i + 1}`, onclick: () => { this.pen = i; this.mode(); } });
    this.kinds = make(bar, "span", { class: "pg-group", role: "group", "aria-label": "Tool" });
    const help = { add: "click adds a point, shift-click one of the other class, ctrl-click removes one", brush: "draw points", erase: "remove points" };
    for (const [name, title] of Object.entries(help)) make(this.kinds, "button", { type: "button", text: name, title, "data-tool": name, onclick: () => { this.tool = name; this.mode(); } });
    this.undo = make(bar, "button", { type: "button", text: "Undo", onclick: () => { if (this.past.length) { [this.xs, this.y] = this.past.pop(); this.changed(); this.share(); } } });
    make(bar, "button", { type: "button", text: "Clear", title: "remove all points", onclick: () => { this.keep(); this.xs = new Float64Array(0); this.y = new Uint8Array(0); this.changed(); } });
    this.discButton = make(bar, "button", { type: "button", text: "Discs", onclick: () => { this.discs = !this.discs; this.mode(); this.pointPaint(); } });
    const zoom = make(bar, "span", { class: "pg-group", role: "group", "aria-label": "Zoom" });
    make(zoom, "button", { type: "button", text: "+", "aria-label": "Zoom in at the probe", onclick: () => this.zoom(0.6) });
    make(zoom, "button", { type: "button", text: "−", "aria-label": "Zoom out", onclick: () => this.zoom(1 / 0.6) });
    make(zoom, "button", { type: "button", text: "fit", onclick: () => this.fit() });
    make(bar, "button", { type: "button", text: "Figure", title: "the picture as SVG", onclick: () => this.figure() });
    make(bar, "button", { type: "button", text: "Radii", title: "the radii of all points as a table (CSV), computed in the browser", onclick: () => this.table() });
    this.few = make(bar, "span", { class: "pg-few" });
  }
  mode() {
    for (const b of this.pens.children) { set(b, { "aria-pressed": +b.dataset.pen === this.pen }); b.style.color = this.look.palette[+b.dataset.pen]; }
    for (const b of this.kinds.children) set(b, { "aria-pressed": b.dataset.tool === this.tool });
    for (const b of this.views.children) set(b, { "aria-pressed": b.dataset.view === this.view });
    set(this.discButton, { "aria-pressed": this.discs });
    for (const map of this.maps) map.back.style.touchAction = this.tool === "add" ? "pan-y" : "none";
  }
  update(component) {
    const data = component.data, before = this.look;
    this.data = data; this.look = data.look; this.component = component; this.levels = data.levels;
    const wave = data.mode === "wave";
    for (const [name, apply] of [["probe", (v) => { this.probe = [...v]; }], ["eps", (v) => { this.eps = v; }], ["view", (v) => { this.view = v; }]]) {
      const text = JSON.stringify(data[name]); // what Python says anew counts, unless it is being moved just now
      if (this.heard[name] !== text && !this.busy) { apply(data[name]); this.turned = this.turned || name === "view"; }
      this.heard[name] = text;
    }
    this.moved = this.moved || data.known;
    let fresh = false;
    if (data.points && (data.stamp !== this.stamp || (data.edit >= this.edit && data.points.y !== this.pointsKey))) {
      const same = data.stamp === this.stamp;
      this.xs = doubles(data.points.x); this.y = Uint8Array.from(doubles(data.points.y)); this.pointsKey = data.points.y; fresh = true;
      if (!same) { this.edit = data.edit; this.past = []; this.fitted = this.frame(); this.area = this.fitted; }
      this.stamp = data.stamp;
    }
    set(this.body, { class: `pg-body ${data.nets.length > 1 ? "pg-two" : ""} ${wave ? "pg-one-wave" : ""}` });
    this.places.hidden = wave; this.side.hidden = wave; this.toolbar.hidden = wave; this.views.hidden = wave;
    if (wave) {
      if (!this.wave) this.wave = new Wave(this.body, this);
      if (!this.waveText) this.waveText = make(this.wave.box, "div", { class: "numbers pg-wavetext" });
      this.wave.box.hidden = false; this.wave.take(data.nets); this.probePaint();
    } else {
      if (this.wave) this.wave.box.hidden = true;
      while (this.maps.length < data.nets.length) this.maps.push(new NetMap(this.places, this, this.maps.length));
      while (this.maps.length > data.nets.length) this.maps.pop().box.remove();
      this.maps.forEach((map, i) => {
        const key = map.key;
        map.take(data.nets[i]);
        if ((fresh || before?.dark !== this.look.dark) && map.key === key) map.restart();
        map.title.textContent = data.nets.length > 1 || data.nets[i].free ? `${data.nets[i].name}, ${HOW[i]}, bound ${short(data.nets[i].bound, 3)}` : "";
        set(map.title, { style: `border-color: ${this.look.palette[data.nets[i].colour]}` });
        map.resize();
      });
      if (this.turned) for (const map of this.maps) map.review();
      this.turned = false;
      set(this.slider, { max: data.levels.at(-1) });
      this.sidePaint(); this.probePaint(); this.pointPaint();
    }
    set(this.playButton, { text: data.running ? "❚❚ Pause" : "▶ Play", "aria-label": data.running ? "Pause" : "Play" });
    this.epoch.textContent = data.counter;
    this.mode(); this.epsShow();
  }
  get busy() { return this.dragging || this.slip; }
  // ---- training
  act(what) { this.component.setTriggerValue("act", what); }
  key(event) {
    const typed = event.composedPath()[0];
    if (event.key === " " && !["BUTTON", "INPUT"].includes(typed.tagName)) { event.preventDefault(); this.act(this.data.running ? "pause" : "play"); }
    if (this.data.mode === "wave" || !typed.classList?.contains("pg-grip")) return;
    if (event.key === "Enter") { event.preventDefault(); this.keep(); this.add(this.probe, this.pen); this.changed(); this.share(); }
    if (event.key === "Delete" || event.key === "Backspace") { event.preventDefault(); this.keep(); this.remove(this.probe); this.changed(); this.share(); }
  }
  // ---- the work in slices
  tick() {
    if (this.ticking) return;
    this.ticking = true;
    const go = () => {
      this.ticking = false;
      const share = (this.dragging ? BUDGET / 2 : BUDGET) / Math.max(1, this.maps.length);
      let more = false;
      for (const map of this.maps) more = map.slice(performance.now() + share) || more;
      if (more && this.pg.isConnected) this.tick();
    };
    // while something is dragged one slice a frame, else one after the other: the browser has its turn in between
    if (this.dragging) requestAnimationFrame(go); else setTimeout(go, 0);
  }
  measured() { this.sidePaint(); this.read(); if (!this.busy) this.rescale(); }
  /** The right end of the histogram: round, and it does not move while eps is dragged. */
  rescale() {
    let most = this.eps;
    for (const map of this.maps) if (map.points) for (const r of map.points.radius) if (Number.isFinite(r)) most = Math.max(most, r);
    const round = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1, 1.5, 2, 3, 5, 10].find((v) => v >= most) ?? 20;
    if (round === this.most || (round < this.most && round > 0.6 * this.most)) return;
    this.most = round; this.sidePaint();
    if (this.view === "radius") for (const map of this.maps) map.review();
  }
  // ---- the probe
  inside([x, y]) {
    const [a, b] = this.area;
    return [Math.max(a[0], Math.min(a[1], x)), Math.max(b[0], Math.min(b[1], y))].map((v) => +v.toFixed(4));
  }
  move(to) { this.dragging = true; this.moved = true; this.probe = this.data.mode === "wave" ? to.map((v) => +v.toFixed(4)) : this.inside(to); this.probePaint(); }
  dropped() {
    this.dragging = false;
    this.heard.probe = JSON.stringify(this.probe);
    this.component.setStateValue("probe", [...this.probe]);
    for (const map of this.maps) map.lookAround();
    this.read();
  }
  /** What is known of the probe, in one sentence a network. */
  words() {
    if (this.data.mode === "wave") return this.wave ? this.wave.words() : "";
    return this.maps.map((map) => this.sentence(map)).filter(Boolean).join("; ");
  }
  sentence(map) {
    const state = map.state;
    if (!state) return "";
    const same = this.proved(map), proof = map.net.proof;
    const found = state.hit ? `nearest break found ${short(state.hit.distance, 3)}` : "no break found in the picture";
    const tight = state.hit ? `, tightness ${Math.min(100, (100 * state.radius) / state.hit.distance).toFixed(0)} %` : "";
    const name = this.maps.length > 1 || map.net.free ? `${map.net.name}: ` : "";
    const lie = map.net.free ? ` The formula with constant 1 says ${short(state.claim, 3)}${state.refuted ? ": false" : ""}.` : "";
    return `${name}${same ? "proof" : "disc"} ${short(same ? proof.radius : state.radius, 3)}, ${found}${tight}.${lie}${same ? " ✓ certified in float64" : ""}`;
  }
  read() {
    const text = this.words();
    this.tell(text);
    clearTimeout(this.saying);
    this.saying = setTimeout(() => { if (this.live.textContent !== text) this.live.textContent = text; }, 900);
    this.pg.dataset.probe = this.probe.join(" "); this.pg.dataset.step = this.data.nets[0]?.step ?? "";
  }
  /** The same in large figures. */
  tell(text) {
    if (this.data.mode === "wave") { if (this.waveText && this.waveText.textContent !== text) this.waveText.textContent = text; return; }
    while (this.readout.children.length > this.maps.length) this.readout.lastChild.remove();
    this.maps.forEach((map, i) => {
      const state = map.state;
      if (!state) return;
      const box = this.readout.children[i] || this.readoutBox(), same = this.proved(map), hit = state.hit;
      set(box, { title: same ? "certified by the server in float64" : "computed in the browser; certified when you let go", style: `border-color: ${this.look.palette[map.net.colour]}` });
      const figures = [
        [short(same ? map.net.proof.radius : state.radius, 3), (this.maps.length > 1 ? `${map.net.name}: ` : "") + (same ? "proof ✓" : "disc")],
        [hit ? short(hit.distance, 3) : "none", "nearest break found"],
        [hit ? `${Math.min(100, (100 * state.radius) / hit.distance).toFixed(0)} %` : "–", "tightness"],
      ];
      if (map.net.free) figures.splice(1, 0, [short(state.claim, 3), state.refuted ? "false: formula with 1" : "claimed with 1"]);
      while (box.children.length > figures.length) box.lastChild.remove();
      figures.forEach(([value, words], k) => {
        const cell = box.children[k] || make(box, "span");
        if (!cell.firstChild) { make(cell, "b"); make(cell, "small"); }
        set(cell.firstChild, { text: value }); set(cell.lastChild, { text: words });
        cell.style.color = words.startsWith("false") ? this.look.palette[FALSE] : "";
      });
    });
  }
  readoutBox() { return make(this.readout, "div", { "aria-hidden": "true" }); }
  proved(map) {
    const { proof } = map.net, { state } = map;
    return proof && !this.dragging && proof.x[0] === this.probe[0] && proof.x[1] === this.probe[1] && proof.label === state.label && Math.abs(proof.radius - state.radius) < 1e-5;
  }
  // ---- eps, view, zoom
  setEps(value) { this.slip = true; this.eps = +Math.max(0, Math.min(this.data.levels.at(-1), value)).toFixed(3); this.epsShow(); this.sidePaint(); this.pointPaint(); if (this.view === "radius") this.fieldPaint(); }
  epsShow() { if (+this.slider.value !== this.eps) this.slider.value = this.eps; this.epsText.textContent = short(this.eps, 3); }
  fieldPaint() { for (const map of this.maps) map.drawField(); }
  epsDone() { this.slip = false; this.heard.eps = JSON.stringify(this.eps); this.component.setStateValue("eps", this.eps); this.rescale(); }
  setView(name) {
    this.view = name; this.mode(); this.heard.view = JSON.stringify(name); this.component.setStateValue("view", name);
    for (const map of this.maps) { map.review(); map.drawPoints(); map.drawProbe(); }
  }
  frame() {
    let most = 1.5;
    for (const v of this.xs) most = Math.max(most, Math.abs(v));
    most = Math.min(11, 1.12 * most);
    return [[-most, most], [-most, most]];
  }
  fit() { this.fitted = this.frame(); this.lookAt(this.fitted); }
  zoom(factor) {
    const half = Math.max(0.02, Math.min(12, ((this.area[0][1] - this.area[0][0]) / 2) * factor)), [x, y] = this.probe;
    this.lookAt([[x - half, x + half], [y - half, y + half]]);
  }
  lookAt(area) {
    this.area = area;
    for (const map of this.maps) { map.drawField(); map.drawPoints(); map.drawProbe(); map.restart(); }
  }
  // ---- points
  keep() { this.past = [...this.past.slice(-30), [this.xs, this.y]]; }
  add(at, label) {
    if (this.y.length >= MOST_POINTS) return;
    const xs = new Float64Array(this.xs.length + 2), y = new Uint8Array(this.y.length + 1);
    xs.set(this.xs); y.set(this.y); xs.set(at.map((v) => +Math.max(-10, Math.min(10, v)).toFixed(4)), this.xs.length); y[this.y.length] = label;
    this.xs = xs; this.y = y;
  }
  remove(at) {
    const reach = (NEAR / this.maps[0].size) * (this.area[0][1] - this.area[0][0]), stay = [];
    for (let i = 0; i < this.y.length; i++) if (Math.hypot(this.xs[2 * i] - at[0], this.xs[2 * i + 1] - at[1]) > reach) stay.push(i);
    if (stay.length === this.y.length) return;
    this.xs = Float64Array.from(stay.flatMap((i) => [this.xs[2 * i], this.xs[2 * i + 1]])); this.y = Uint8Array.from(stay, (i) => this.y[i]);
  }
  /** The points are others now: measure them again, without the fields. */
  changed() {
    for (const map of this.maps) { const map_job = map.measure(), rest = map.job; map.job = rest ? (map.restart(), map.job) : map_job; }
    this.tick(); this.pointPaint(); this.sidePaint();
  }
  share() {
    if (!this.y.length) return; // an empty plane cannot be learned: wait for a point
    this.edit += 1;
    const x = [];
    for (let i = 0; i < this.y.length; i++) x.push([this.xs[2 * i], this.xs[2 * i + 1]]);
    const classes = Math.max(this.data.classes, 1 + this.y.reduce((a, b) => Math.max(a, b), 0));
    this.component.setTriggerValue("points", { x, y: Array.from(this.y), classes, edit: this.edit });
  }
  down(event, map) {
    if (event.button) return;
    const tool = event.ctrlKey || event.metaKey ? "erase" : this.tool, start = map.plane().at(event, map.svg), from = [event.clientX, event.clientY];
    const back = map.back, label = event.shiftKey ? (this.pen + 1) % this.data.classes : this.pen;
    let moved = false, last = start;
    if (event.pointerType !== "touch" || tool !== "add") event.preventDefault();
    back.setPointerCapture(event.pointerId);
    if (tool !== "add") { this.keep(); this.dab(tool, start, label); }
    back.onpointermove = (e) => {
      const to = map.plane().at(e, map.svg);
      moved = moved || Math.hypot(e.clientX - from[0], e.clientY - from[1]) > 5;
      if (tool === "add") { if (moved) this.move(to); return; }
      const far = Math.hypot(to[0] - last[0], to[1] - last[1]) * map.plane().kx;
      if (far > (tool === "brush" ? 11 : 4)) { last = to; this.dab(tool, to, label); }
    };
    back.onpointerup = back.onpointercancel = (e) => {
      back.onpointermove = back.onpointerup = back.onpointercancel = null;
      if (e.type === "pointercancel" && !moved) return;
      if (tool === "add" && moved) this.dropped();
      else { if (tool === "add") { this.keep(); this.add(start, label); this.changed(); } this.share(); }
    };
  }
  dab(tool, at, label) { if (tool === "erase") this.remove(at); else this.add(at, label); this.changed(); }
  // ---- numbers
  count() {
    const total = this.y.length, rows = this.maps.map((map) => {
      const points = map.points;
      if (!points || points.label.length !== total || !total) return { name: map.net.name, clean: 0, sure: 0, net: map.net, refuted: 0, shown: 0 };
      let clean = 0, sure = 0, refuted = 0;
      for (let i = 0; i < total; i++) if (points.label[i] === this.y[i]) { clean++; if (points.radius[i] >= this.eps) sure++; }
      for (const i of points.shown) refuted += points.refuted[i];
      return { name: map.net.name, clean: clean / total, sure: sure / total, net: map.net, refuted, shown: points.shown.length };
    });
    const key = JSON.stringify([rows.map(({ clean, sure, refuted, net }) => [clean, sure, refuted, net.bound, net.name]), this.eps, total]);
    if (key === this.counted) return;
    this.counted = key; this.shares.replaceChildren();
    for (const { name, clean, sure, net, refuted, shown } of rows) {
      const line = make(this.shares, "div", { style: `border-color: ${this.look.palette[net.colour]}` });
      make(line, "b", { text: name });
      make(line, "span", { text: `clean ${(100 * clean).toFixed(1)} %` });
      make(line, "strong", { text: `certified at eps ${(100 * sure).toFixed(1)} %` });
      make(line, "span", { text: `bound ${short(net.bound, 4)}` });
      if (net.free) make(line, "span", { class: "pg-lie", style: `color: ${this.look.palette[FALSE]}`, text: `${refuted} of ${shown} circles of the formula with constant 1 are false (${Math.min(shown, CLAIMS)} drawn)` });
    }
    this.few.textContent = total > DISCS ? `${total} points; discs of ${this.maps[0].points?.shown.length ?? DISCS} of them` : total ? `${total} points` : "No points: click to add some";
  }
  evaluate(detail) {
    const networks = this.data.mode === "wave" ? this.wave.fits.map((fit) => fit.network) : this.maps.map((map) => map.network);
    const start = performance.now();
    for (let k = 0; k < 50 && this.data.mode !== "wave"; k++) { for (const map of this.maps) map.drawProbe(); this.tell(this.words()); }
    detail.cost = (performance.now() - start) / 50;
    detail.nets = networks.map((network, i) => {
      const found = detail.at.map(([x, y]) => network.certificate(x, y));
      return { ops: this.data.nets[i].ops, lipschitz: network.lipschitz, radius: found.map((f) => f.radius), label: found.map((f) => f.label), slope: detail.at.map(([x, y]) => network.used(x, y)), value: detail.at.map(([x, y]) => Array.from(network.scores(x, y)).slice(0, network.classes)) };
    });
  }
  table() {
    const rows = [];
    this.maps.forEach((map) => { for (let i = 0; i < this.y.length; i++) rows.push([map.net.name, this.xs[2 * i], this.xs[2 * i + 1], this.y[i], map.points.label[i], map.points.radius[i]]); });
    saveCsv("playground-radii", ["network", "x", "y", "label", "answer", "radius_computed_in_the_browser"], rows);
  }
  figure() {
    if (this.data.mode === "wave") { saveSvg(this.wave.svg, "playground-wave", this.look); return; }
    const size = this.maps[0].size, svg = document.createElementNS(SVG, "svg"), width = this.maps.length * (size + 20) + 20;
    set(svg, { viewBox: `0 0 ${width} ${size + 70}` });
    this.maps.forEach((map, i) => map.export(svg, 20 + i * (size + 20), 30));
    make(svg, "text", { x: 20, y: size + 54, text: this.words(), fill: this.look.text, "font-size": 13, "font-family": this.look.font }, SVG);
    saveSvg(svg, "playground", this.look);
  }
}

export default function (component) { picture(component, Playground); }
