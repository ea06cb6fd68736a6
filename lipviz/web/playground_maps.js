// What the maps of one plane share: a probe, an eps, a view with one range of colours, the work in slices, the words.

const VIEWS = { decision: "decision", radius: "radius", gradient: "gradient norm", tightness: "tightness" };
const VIEW_HELP = {
  decision: "which class the network answers", radius: "how large the certified disc is at each place",
  gradient: "how much of the bound the margin uses: 1 is tight", tightness: "certified radius / nearest break found",
};

class Maps {
  constructor(root) {
    this.root = root; this.maps = [];
    this.pg = make(root, "div", { class: "pg", "data-frames": 0 });
    Object.assign(this, { probe: [0, 0], eps: 0.1, view: "decision", discs: true, xs: new Float64Array(0), y: new Uint8Array(0), moved: false, most: 1, area: [[-2, 2], [-2, 2]], heard: {} });
    this.probePaint = framed(() => { this.paintProbe(); this.pg.dataset.frames = +this.pg.dataset.frames + 1; this.read(); });
    this.pointPaint = framed(() => { for (const map of this.maps) map.drawPoints(); });
  }
  sayer() { return make(this.pg, "div", { class: "say", "aria-live": "polite" }); }
  viewButtons(bar) {
    this.views = make(bar, "span", { class: "pg-group", role: "group", "aria-label": "View" });
    for (const [name, text] of Object.entries(VIEWS)) make(this.views, "button", { type: "button", text, title: VIEW_HELP[name], "data-view": name, onclick: () => this.setView(name) });
  }
  mode() { for (const b of this.views.children) set(b, { "aria-pressed": b.dataset.view === this.view }); }
  paintProbe() { for (const map of this.maps) map.drawProbe(); }
  sidePaint() {} // what stands beside the maps
  get busy() { return this.dragging || this.slip; }
  /** What Python says anew counts, unless it is being moved just now. */
  hear(data) {
    for (const [name, apply] of [["probe", (v) => { this.probe = [...v]; }], ["eps", (v) => { this.eps = v; }], ["view", (v) => { this.view = v; }]]) {
      const text = JSON.stringify(data[name]);
      if (this.heard[name] !== text && !this.busy) { apply(data[name]); this.turned = this.turned || name === "view"; }
      this.heard[name] = text;
    }
    this.moved = this.moved || data.known;
  }
  /** A map for each network; `fresh`: the points or the colours are others. */
  fill(nets, fresh) {
    while (this.maps.length < nets.length) this.maps.push(new NetMap(this.places, this, this.maps.length));
    while (this.maps.length > nets.length) this.maps.pop().box.remove();
    this.maps.forEach((map, i) => {
      const key = map.key;
      map.take(nets[i]);
      if (fresh && map.key === key) map.restart();
      map.title.textContent = this.titled(nets[i], i);
      set(map.title, { style: `border-color: ${this.look.palette[nets[i].colour]}` });
      map.resize();
    });
    if (this.turned) for (const map of this.maps) map.review();
    this.turned = false;
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
  measured() { this.read(); if (!this.busy) this.rescale(); }
  /** The largest radius that is shown: round, the same in all maps, and it does not move while eps is dragged. */
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
  move(to) { this.dragging = true; this.moved = true; this.probe = this.inside(to); this.probePaint(); }
  /** A finger scrolls the page after all: the probe stands where it stood, and nothing is sent. */
  putBack(probe, moved) { this.dragging = false; this.probe = probe; this.moved = moved; this.probePaint(); }
  dropped() {
    this.dragging = false;
    this.heard.probe = JSON.stringify(this.probe);
    this.component.setTriggerValue("probe", [...this.probe]);
    for (const map of this.maps) map.lookAround();
    this.read();
  }
  /** What is known of the probe, in one sentence a network. */
  words() { return this.maps.map((map) => this.sentence(map)).filter(Boolean).join("; "); }
  sentence(map) {
    const state = map.state;
    if (!state) return "";
    const same = this.proved(map), proof = map.net.proof;
    const found = state.hit ? `nearest break found ${short(state.hit.distance, 3)}` : "no break found in the picture";
    const tight = state.hit ? `, tightness ${Math.min(100, (100 * state.radius) / state.hit.distance).toFixed(0)} %` : "";
    const name = this.maps.length > 1 || map.net.free ? `${map.net.name}: ` : "";
    const lie = map.net.free ? ` The formula with constant 1 says ${short(state.claim, 3)}${state.refuted ? ": false" : ""}.` : "";
    return `${name}${same ? "proof" : "disc"} ${atMost(same ? proof.radius : state.radius)}, ${found}${tight}.${lie}${same ? " ✓ certified in float64" : ""}`;
  }
  read() {
    const text = this.words();
    this.tell(text);
    clearTimeout(this.saying);
    this.saying = setTimeout(() => { if (this.live.textContent !== text) this.live.textContent = text; }, 900);
    this.pg.dataset.probe = this.probe.join(" "); this.pg.dataset.step = this.data.nets[0]?.step ?? "";
  }
  /** The same in large figures. */
  figures(map, box, prefix) {
    const { state } = map, same = this.proved(map), { hit } = state;
    set(box, { title: same ? "certified by the server in float64" : "computed in the browser; certified when you let go", style: `border-color: ${this.look.palette[map.net.colour]}` });
    const figures = [
      [atMost(same ? map.net.proof.radius : state.radius), prefix + (same ? "proof ✓" : "disc")],
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
  }
  proved(map) {
    const { proof } = map.net, { state } = map;
    return proof && !this.dragging && proof.x[0] === this.probe[0] && proof.x[1] === this.probe[1] && proof.label === state.label && Math.abs(proof.radius - state.radius) < 1e-5;
  }
  // ---- view, place, file
  fieldPaint() { for (const map of this.maps) map.drawField(); }
  setView(name) {
    this.view = name; this.mode(); this.heard.view = JSON.stringify(name); this.component.setTriggerValue("view", name);
    for (const map of this.maps) { map.review(); map.drawPoints(); map.drawProbe(); }
  }
  frame() {
    let most = 1.5;
    for (const v of this.xs) most = Math.max(most, Math.abs(v));
    most = Math.min(11, 1.12 * most);
    return [[-most, most], [-most, most]];
  }
  figure(name) {
    const size = this.maps[0].size, svg = document.createElementNS(SVG, "svg"), width = this.maps.length * (size + 20) + 20;
    set(svg, { viewBox: `0 0 ${width} ${size + 52 + 18 * this.maps.length}` });
    this.maps.forEach((map, i) => {
      map.export(svg, 20 + i * (size + 20), 30);
      make(svg, "text", { x: 20, y: size + 54 + 18 * i, text: this.sentence(map), fill: this.look.text, "font-size": 13, "font-family": this.look.font }, SVG);
    });
    saveSvg(svg, name, this.look);
  }
}
