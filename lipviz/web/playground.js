// The playground: one or two networks over the same points, one probe, one eps. Parts: playground_network, _map, _maps, _side.
//
// For tests: the event "lipviz-evaluate" on .pg with detail {at: [[x, y], ...]} gets detail.nets, one of {ops, lipschitz,
// radius: [...], label: [...], slope: [...], value} for each network, and detail.cost, the milliseconds of one move of
// the probe; data-frames counts the drawn moves, data-step and data-probe say what is shown.

const NEAR = 14, MOST_POINTS = 10000;

class Playground extends Maps {
  constructor(root) {
    super(root);
    this.bar();
    this.body = make(this.pg, "div", { class: "pg-body" });
    this.places = make(this.body, "div", { class: "pg-maps" });
    this.side = make(this.body, "div", { class: "pg-side" });
    this.shares = make(this.side, "div", { class: "pg-shares numbers" });
    this.readout = make(this.side, "div", { class: "pg-read numbers" });
    const line = make(this.side, "label", { class: "pg-eps" });
    make(line, "span", { text: "eps" });
    this.slider = make(line, "input", { type: "range", min: 0, max: 1, step: 0.005, "aria-label": "eps, the size of a change", oninput: () => this.setEps(+this.slider.value), onchange: () => this.epsDone() });
    this.epsText = make(line, "output", {});
    this.histogram = new Histogram(this.side, this); this.spark = new Spark(this.side, this);
    this.wave = null;
    this.live = this.sayer();
    this.tools();
    Object.assign(this, { tool: "add", pen: 0, edit: 0, past: [] });
    this.sidePaint = framed(() => { if (this.data.mode !== "wave") { this.histogram.paint(this.maps); this.spark.paint(this.maps); this.count(); } });
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
    this.viewButtons(bar);
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
    super.mode();
    set(this.discButton, { "aria-pressed": this.discs });
    for (const map of this.maps) map.back.style.touchAction = this.tool === "add" ? "pan-y" : "none";
  }
  update(component) {
    const data = component.data, before = this.look;
    this.data = data; this.look = data.look; this.component = component; this.levels = data.levels;
    const wave = data.mode === "wave";
    this.hear(data);
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
      this.fill(data.nets, fresh || before?.dark !== this.look.dark);
      set(this.slider, { max: data.levels.at(-1) });
      this.sidePaint(); this.probePaint(); this.pointPaint();
    }
    set(this.playButton, { text: data.running ? "❚❚ Pause" : "▶ Play", "aria-label": data.running ? "Pause" : "Play" });
    this.epoch.textContent = data.counter;
    this.mode(); this.epsShow();
  }
  titled(net, i) { return this.data.nets.length > 1 || net.free ? `${net.name}, ${HOW[i]}, bound ${short(net.bound, 3)}` : ""; }
  paintProbe() { if (this.data.mode === "wave") this.wave.paint(); else super.paintProbe(); }
  measured() { this.sidePaint(); super.measured(); }
  figure() { if (this.data.mode === "wave") saveSvg(this.wave.svg, "playground-wave", this.look); else super.figure("playground"); }
  // ---- training
  act(what) { this.component.setTriggerValue("act", what); }
  key(event) {
    const typed = event.composedPath()[0];
    if (event.key === " " && !["BUTTON", "INPUT"].includes(typed.tagName)) { event.preventDefault(); this.act(this.data.running ? "pause" : "play"); }
    if (this.data.mode === "wave" || !typed.classList?.contains("pg-grip")) return;
    if (event.key === "Enter") { event.preventDefault(); this.keep(); this.add(this.probe, this.pen); this.changed(); this.share(); }
    if (event.key === "Delete" || event.key === "Backspace") { event.preventDefault(); this.keep(); this.remove(this.probe); this.changed(); this.share(); }
  }
  inside(to) { return this.data.mode === "wave" ? to.map((v) => +v.toFixed(4)) : super.inside(to); }
  words() {
    if (this.data.mode === "wave") return this.wave ? this.wave.words() : "";
    return super.words();
  }
  /** The same in large figures. */
  tell(text) {
    if (this.data.mode === "wave") { if (this.waveText && this.waveText.textContent !== text) this.waveText.textContent = text; return; }
    while (this.readout.children.length > this.maps.length) this.readout.lastChild.remove();
    this.maps.forEach((map, i) => { if (map.state) this.figures(map, this.readout.children[i] || this.readoutBox(), this.maps.length > 1 ? `${map.net.name}: ` : ""); });
  }
  readoutBox() { return make(this.readout, "div", { "aria-hidden": "true" }); }
  // ---- eps, view, zoom
  setEps(value) { this.slip = true; this.eps = +Math.max(0, Math.min(this.data.levels.at(-1), value)).toFixed(3); this.epsShow(); this.sidePaint(); this.pointPaint(); if (this.view === "radius") this.fieldPaint(); }
  epsShow() { if (+this.slider.value !== this.eps) this.slider.value = this.eps; this.epsText.textContent = short(this.eps, 3); }
  epsDone() { this.slip = false; this.heard.eps = JSON.stringify(this.eps); this.component.setTriggerValue("eps", this.eps); this.rescale(); }
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
    const before = this.probe, known = this.moved;
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
      if (e.type === "pointercancel" && (tool === "add" || !moved)) { if (moved) this.putBack(before, known); return; }
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
      for (let i = 0; i < total; i++) if (points.label[i] === this.y[i]) { clean++; if (points.radius[i] > this.eps) sure++; }
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
}

export default function (component) { picture(component, Playground); }
