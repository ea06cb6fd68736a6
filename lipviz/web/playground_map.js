// One network over the plane: its field, the points with their discs, the probe. The field is filled in slices.

const CLAIMS = 20; // circles of the formula without a constant that are drawn
const DISCS = 400; // discs that are drawn: more would be a grey cloud, and slow
const MARKS = ["circle", "square", "triangle"], CLASS = [0, 1, 2], FALSE = 4, BUDGET = 6; // ms of a frame

const rgb = (colour) => [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16));
const mix = (a, b, t) => a.map((v, i) => v + (b[i] - v) * t);

/** Colours from 0 to 1: stops, evenly spaced. */
function scale(stops) {
  const parts = stops.map(rgb), table = [];
  for (let i = 0; i < 256; i++) {
    const t = (i / 255) * (parts.length - 1), k = Math.min(parts.length - 2, Math.floor(t));
    table.push(mix(parts[k], parts[k + 1], t - k));
  }
  return (value) => table[Math.max(0, Math.min(255, Math.round(value * 255)))];
}
const TIGHT = ["#0d0f1a", "#46214f", "#9b2f3c", "#e08214", "#ffe9a8"]; // dark is wasted, on either theme
const RADIUS = { light: ["#ffffff", "#c9e3f5", "#5aa9d6", "#3a5ba8", "#2c1a5c"], dark: ["#10131a", "#2a2a66", "#3f6fc0", "#7cc5e8", "#f2fbff"] };

class NetMap {
  constructor(parent, owner, index) {
    this.owner = owner; this.index = index;
    this.box = make(parent, "div", { class: "pg-map" });
    this.title = make(this.box, "div", { class: "pg-title" });
    this.square = make(this.box, "div", { class: "pg-square" });
    this.field = make(this.square, "canvas", { "aria-hidden": "true" });
    this.over = make(this.square, "canvas", { "aria-hidden": "true" });
    this.svg = make(this.square, "svg", { role: "group", "aria-label": "map of the plane" }, SVG);
    this.back = make(this.svg, "rect", { fill: "transparent" }, SVG);
    this.sheet = new Sheet(this.svg);
    this.legend = make(this.box, "div", { class: "pg-legend" });
    this.back.onpointerdown = (event) => owner.down(event, this);
    this.size = 0; this.job = null; this.key = "";
    new ResizeObserver(() => this.resize()).observe(this.square);
  }
  get look() { return this.owner.look; }
  resize() {
    const size = Math.round(this.square.clientWidth), ratio = Math.min(2, devicePixelRatio || 1);
    if (!size || (size === this.size && ratio === this.ratio)) return;
    this.size = size; this.ratio = ratio;
    for (const canvas of [this.field, this.over]) canvas.width = canvas.height = Math.round(size * ratio);
    set(this.svg, { viewBox: `0 0 ${size} ${size}` }); set(this.back, { width: size, height: size });
    this.drawField(); this.drawPoints(); this.drawProbe();
  }
  plane() { return new Plane({ left: 0, top: 0, width: this.size, height: this.size }, ...this.owner.area); }
  /** A network from Python; the same weights again change nothing that is drawn. */
  take(net) {
    if (this.net && this.net.name !== net.name) { // nothing of the network that was here before
      this.key = ""; this.grid = this.pictured = this.points = this.breaks = this.better = null;
      this.drawField();
    }
    this.net = net;
    const key = JSON.stringify([net.ops, net.lipschitz]);
    if (key === this.key) return;
    this.key = key;
    this.network = new Network(net.ops, net.lipschitz);
    this.claimed = net.free ? this.network.under(1) : this.network; // a plain network claims what it cannot keep
    this.restart();
  }
  restart() { if (this.network) { this.job = this.work(); this.owner.tick(); } }
  /** Work until the time is up; true while there is more. */
  slice(until) {
    while (this.job && performance.now() < until) if (this.job.next().done) this.job = null;
    return Boolean(this.job);
  }
  *work() {
    const start = performance.now();
    yield* this.measure();
    const coarse = ((performance.now() - start) / Math.max(1, this.owner.y.length)) * 1e4 > 150 || !this.grid;
    this.drawProbe();
    for (const n of coarse ? [50, 100, 200] : [100, 200]) {
      const grid = new Grid(this.network, this.owner.area, n);
      yield* grid.fill(this.network);
      if (n <= 100) { yield* grid.breaks(); this.breaks = grid.found; this.refute(); }
      yield* this.colours(grid);
      this.grid = grid;
      this.drawField(); this.drawPoints(); this.drawProbe();
      this.owner.measured();
    }
    this.owner.pg.dataset.filled = this.key.length;
  }
  *colours(grid) {
    if (this.owner.view === "gradient" && !grid.used) yield* grid.slopes(this.network);
    if (this.owner.view === "tightness" && !grid.tight) yield* grid.tightness();
    this.image(grid);
  }
  /** Another view of the same weights. */
  *again() { if (this.grid) { yield* this.colours(this.grid); this.drawField(); } }
  review() { if (this.job) this.restart(); else { this.job = this.again(); this.owner.tick(); } }
  /** Label, radius and claimed radius of every point. */
  *measure() {
    const { xs, y } = this.owner, n = y.length;
    const label = new Uint8Array(n), radius = new Float64Array(n), claim = new Float64Array(n);
    for (let i = 0; i < n; i++) {
      const s = this.network.scores(xs[2 * i], xs[2 * i + 1]);
      label[i] = largest(s, this.network.classes); radius[i] = this.network.radius(s, label[i]);
      claim[i] = this.net.free ? this.claimed.radius(s, label[i]) : radius[i];
      if (i % 50 === 49) yield;
    }
    this.points = { label, radius, claim, refuted: new Uint8Array(n), shown: this.chosen(n) };
    this.refute(); this.drawPoints(); this.owner.measured();
  }
  chosen(n) {
    const step = Math.max(1, n / DISCS), found = [];
    for (let i = 0; i < n; i += step) found.push(Math.floor(i));
    return found;
  }
  /** Claimed discs in which a place of another answer was found. */
  refute() {
    const points = this.points, { xs } = this.owner;
    if (!points || !this.net.free || !this.breaks) return;
    for (const i of points.shown) points.refuted[i] = nearest(this.breaks, xs[2 * i], xs[2 * i + 1]).distance < points.claim[i] - 1e-3 ? 1 : 0;
  }
  image(grid) {
    const side = grid.n + 1, image = new ImageData(side, side), { look, view } = this.owner;
    const paper = rgb(look.paper), tint = CLASS.map((c) => rgb(look.palette[c]));
    const radius = scale(RADIUS[look.dark ? "dark" : "light"]), tight = scale(TIGHT);
    for (let j = 0; j < side; j++) for (let i = 0; i < side; i++) {
      const at = j * side + i, to = ((side - 1 - j) * side + i) * 4, r = grid.radius[at];
      let colour;
      if (view === "radius") colour = radius(Math.min(1, r / this.owner.most));
      else if (view === "gradient") colour = tight(grid.used ? grid.used[at] : 0);
      else if (view === "tightness") colour = tight(grid.tight ? Math.min(1, grid.tight[at]) : 0);
      else colour = mix(paper, tint[grid.label[at]], 0.14 + 0.34 * (1 - Math.exp(-4 * Math.min(r, 5))));
      image.data.set(colour, to); image.data[to + 3] = 255;
    }
    this.picture = this.picture || document.createElement("canvas");
    this.picture.width = this.picture.height = side;
    this.picture.getContext("2d").putImageData(image, 0, 0);
    this.pictured = grid;
  }
  drawField() {
    const context = this.field.getContext("2d"), size = this.field.width, grid = this.pictured;
    context.fillStyle = this.look.paper; context.fillRect(0, 0, size, size);
    if (!grid || !this.size) return;
    context.save(); context.scale(this.ratio, this.ratio);
    const plane = this.plane(), [x, y] = grid.box, n = grid.n; // the zoom may have moved on since
    context.imageSmoothingEnabled = true;
    context.drawImage(this.picture, 0.5, 0.5, n, n, plane.x(x[0]), plane.y(y[1]), plane.kx * (x[1] - x[0]), plane.ky * (y[1] - y[0]));
    for (const [d, style] of this.lines(plane)) paint(context, d, style);
    context.restore();
    this.drawLegend();
  }
  /** The boundary, and in the view of radii the line on which they equal eps. */
  lines(plane) {
    const grid = this.pictured, k = this.network.classes, found = [];
    if (!grid) return found;
    const dark = ["gradient", "tightness"].includes(this.owner.view), ink = dark ? "#ffffff" : this.look.text;
    for (let c = 0; c < (k === 2 ? 1 : k); c++) found.push([segments(plane, grid.contour((at) => grid.lead(at, c))), { stroke: ink, width: 1.6 }]);
    if (this.owner.view === "radius") {
      const eps = this.owner.eps;
      if (eps > 0) found.push([segments(plane, grid.contour((at) => grid.radius[at] - eps)), { stroke: ink, width: 1, dash: "2 3" }]);
    }
    return found;
  }
  drawPoints() {
    const context = this.over.getContext("2d");
    context.clearRect(0, 0, this.over.width, this.over.height);
    if (!this.size || !this.network) return;
    context.save(); context.scale(this.ratio, this.ratio);
    for (const [d, style] of this.marks(this.plane())) paint(context, d, style);
    context.restore();
  }
  /** Discs, then points, as paths: full where the disc is at least eps and the answer right. */
  marks(plane) {
    const { xs, y, look, eps, discs, view } = this.owner, points = this.points, dark = ["gradient", "tightness"].includes(view);
    const ink = dark ? "#ffffff" : look.text, count = y.length;
    const r = (count > 2000 ? 2.2 : count > 600 ? 3.2 : 4.6) * Math.min(1, Math.max(0.6, this.size / 300)); // small on a small map
    const ready = points && points.label.length === count, d = { broken: "", claim: "", wrong: "" }, disc = ["", "", ""];
    const hollow = ["", "", ""], full = ["", "", ""];
    let claims = -1; // those circles are large: a few will do
    if (ready && discs) for (const i of points.shown) {
      const cx = plane.x(xs[2 * i]), cy = plane.y(xs[2 * i + 1]);
      disc[points.label[i]] += ring(cx, cy, points.radius[i] * plane.kx);
      if (this.net.free && (claims += 1) % Math.ceil(points.shown.length / CLAIMS) === 0) d[points.refuted[i] ? "broken" : "claim"] += ring(cx, cy, points.claim[i] * plane.kx);
    }
    for (let i = 0; i < count; i++) {
      const px = plane.x(xs[2 * i]), py = plane.y(xs[2 * i + 1]);
      if (px < -9 || py < -9 || px > this.size + 9 || py > this.size + 9) continue;
      const right = ready && points.label[i] === y[i];
      (ready && right && points.radius[i] > eps ? full : hollow)[y[i]] += mark(MARKS[y[i]], px, py, r);
      if (ready && !right) d.wrong += mark("cross", px, py, r + 2);
    }
    const found = [];
    found.push([d.claim, { stroke: ink, width: 0.8, dash: "3 3", opacity: 0.35 }]);
    found.push([d.broken, { stroke: look.palette[FALSE], width: 1.3, dash: "5 3", opacity: 0.9 }]);
    CLASS.forEach((c) => found.push([disc[c], { fill: view === "decision" ? look.palette[c] : null, stroke: ink, width: 0.8, opacity: this.net.free ? 0.6 : 0.22 }]));
    CLASS.forEach((c) => {
      found.push([hollow[c], { fill: look.paper, stroke: look.palette[c], width: 1.8 }]);
      found.push([full[c], { fill: look.palette[c], stroke: look.paper, width: 1 }]);
    });
    found.push([d.wrong, { stroke: look.palette[FALSE], width: 1.8 }]);
    return found.filter(([path]) => path);
  }
  /** Everything about the probe: recomputed with every move, a millisecond. */
  drawProbe() {
    if (!this.size || !this.network) return;
    const plane = this.plane(), { sheet, look, owner } = this, [x, y] = owner.probe;
    const dark = ["gradient", "tightness"].includes(owner.view), ink = dark ? "#ffffff" : look.text, under = dark ? "#000000" : look.paper;
    const { label, radius } = this.network.certificate(x, y), px = plane.x(x), py = plane.y(y);
    const claim = this.net.free ? this.claimed.certificate(x, y).radius : radius;
    const found = this.breaks ? breakOf(this.network, this.breaks, x, y, label, radius) : null;
    const better = this.better && this.better.key === `${this.key.length} ${x} ${y}` && this.better.of === this.network ? this.better.found : null;
    const hit = better && (!found || better.distance < found.distance) ? better : found;
    const refuted = this.net.free && hit && hit.distance < claim;
    this.state = { label, radius, claim, hit, refuted };
    sheet.begin();
    this.drawTicks(plane, ink, under);
    const halo = { fill: "none", stroke: under, "stroke-width": 5, opacity: 0.6, "pointer-events": "none" };
    if (this.net.free) {
      const stroke = refuted ? look.palette[FALSE] : ink;
      sheet.put("path", "claim", { d: ring(px, py, claim * plane.kx) || "M0 0", fill: "none", stroke, "stroke-width": 2.4, "stroke-dasharray": "7 4", "pointer-events": "none" });
      if (refuted) this.write("false", px, Math.max(16, py - Math.min(claim * plane.kx, 1e4) - 6), "false", look.palette[FALSE], under, "middle", 15);
    }
    sheet.put("path", "halo", { d: ring(px, py, radius * plane.kx) || "M0 0", ...halo });
    sheet.put("path", "disc", { d: ring(px, py, radius * plane.kx) || "M0 0", fill: look.palette[CLASS[label]], "fill-opacity": 0.2, stroke: ink, "stroke-width": 2.4, "pointer-events": "none" });
    if (hit) {
      const bx = plane.x(hit.x), by = plane.y(hit.y);
      sheet.put("line", "way", { x1: px, y1: py, x2: bx, y2: by, stroke: ink, "stroke-width": 1.8, "stroke-dasharray": "5 4", "pointer-events": "none" });
      shape(sheet, "break", "triangle", bx, by, 6, { fill: look.palette[FALSE], stroke: under, "stroke-width": 1.2, "pointer-events": "none" });
    }
    if (!owner.moved) sheet.put("circle", "pulse", { class: "pg-pulse", cx: px, cy: py, r: 12, fill: "none", stroke: look.palette[6], "stroke-width": 3, "pointer-events": "none" });
    sheet.put("path", "cross", { d: `M${px - 9} ${py}H${px + 9}M${px} ${py - 9}V${py + 9}`, stroke: ink, "stroke-width": 1.4, "pointer-events": "none" });
    sheet.put("circle", "core", { cx: px, cy: py, r: 5, fill: look.palette[CLASS[label]], stroke: under, "stroke-width": 2, "pointer-events": "none" });
    const node = sheet.put("circle", "grip", { cx: px, cy: py, r: 18, fill: "transparent", class: "pg-grip" });
    grip(node, this.svg, {
      name: "Probe", words: () => owner.words(), plane: () => this.plane(), value: () => owner.probe,
      step: () => [(owner.area[0][1] - owner.area[0][0]) / 200, (owner.area[1][1] - owner.area[1][0]) / 200],
      move: (to) => owner.move(to), end: () => owner.dropped(),
    });
    sheet.end();
  }
  drawTicks(plane, ink, under) {
    const count = Math.max(2, this.size / 75);
    for (const v of ticks(plane.xs, count)) {
      const x = plane.x(v);
      if (x > 14 && x < this.size - 14) this.write(`tx ${v}`, x, this.size - 5, short(v), ink, under, "middle", 11, 0.75);
    }
    for (const v of ticks(plane.ys, count)) {
      const y = plane.y(v);
      if (y > 20 && y < this.size - 24) this.write(`ty ${v}`, 5, y + 4, short(v), ink, under, "start", 11, 0.75);
    }
  }
  write(key, x, y, text, fill, under, anchor, size, opacity = 1) {
    label(this.sheet, key, x, y, text, this.look, {
      fill, "text-anchor": anchor, "font-size": size, "font-weight": size > 12 ? 700 : 400, opacity, stroke: under, "stroke-width": 3, "paint-order": "stroke", "pointer-events": "none",
    });
  }
  /** A slower search in all directions, after the probe was let go. */
  *search() {
    const [x, y] = this.owner.probe, { label, radius, hit } = this.state, of = this.network, [a, b] = this.owner.area[0];
    const found = yield* around(of, x, y, label, radius, hit ? hit.distance : 2 * (b - a));
    if (of !== this.network || x !== this.owner.probe[0] || y !== this.owner.probe[1] || !found) return;
    this.better = { key: `${this.key.length} ${x} ${y}`, of, found };
    this.drawProbe(); this.owner.read();
  }
  lookAround() { if (!this.job && this.state) { this.job = this.search(); this.owner.tick(); } }
  drawLegend() {
    const { view, look, most } = this.owner, bar = view === "radius" ? RADIUS[look.dark ? "dark" : "light"] : TIGHT;
    const words = {
      radius: ["0", `${short(most, 2)} or more`, "certified radius; dotted: where it equals eps"],
      gradient: ["0", "1", "share of the bound that the margin uses: 1 is tight, dark is wasted"],
      tightness: ["0", "1", "certified radius / nearest break found"],
    }[view];
    const key = `${view} ${look.dark} ${most}`;
    if (this.legend.dataset.key === key) return;
    this.legend.dataset.key = key; this.legend.replaceChildren();
    if (!words) { make(this.legend, "span", { text: "colour: the answer, pale where its radius is small" }); return; }
    make(this.legend, "span", { text: words[0] });
    make(this.legend, "i", { style: `background: linear-gradient(90deg, ${bar.join(",")})` });
    make(this.legend, "span", { text: `${words[1]}: ${words[2]}` });
  }
  /** The map as a node of an SVG file at (left, top). */
  export(svg, left, top) {
    const plane = this.plane(), size = this.size, clip = `clip${this.index}`;
    const group = make(svg, "g", { transform: `translate(${left} ${top})` }, SVG);
    make(make(svg, "clipPath", { id: clip }, SVG), "rect", { width: size, height: size }, SVG);
    const inside = make(group, "g", { "clip-path": `url(#${clip})` }, SVG);
    if (this.pictured) {
      const [x, y] = this.pictured.box;
      make(inside, "image", { href: this.picture.toDataURL(), x: plane.x(x[0]), y: plane.y(y[1]), width: plane.kx * (x[1] - x[0]), height: plane.ky * (y[1] - y[0]), preserveAspectRatio: "none" }, SVG);
    }
    for (const [d, s] of [...this.lines(plane), ...this.marks(plane)]) {
      make(inside, "path", { d, fill: s.fill || "none", stroke: s.stroke, "stroke-width": s.width, "stroke-dasharray": s.dash || null, opacity: s.opacity || null }, SVG);
    }
    for (const node of this.svg.children) if (node !== this.back && !["pg-grip", "pg-pulse"].includes(node.getAttribute("class"))) inside.appendChild(node.cloneNode(true));
    make(group, "text", { x: 0, y: -8, text: this.title.textContent, fill: this.look.text, "font-size": 14, "font-family": this.look.font }, SVG);
  }
}

/** Circle as a path; nothing where it is no circle that can be drawn. */
function ring(x, y, r) {
  if (!(r > 0)) return "";
  r = Math.min(r, 1e5);
  return `M${(x - r).toFixed(2)} ${y.toFixed(2)}a${r.toFixed(2)} ${r.toFixed(2)} 0 1 0 ${(2 * r).toFixed(2)} 0a${r.toFixed(2)} ${r.toFixed(2)} 0 1 0 ${(-2 * r).toFixed(2)} 0Z`;
}

function mark(kind, x, y, r) {
  if (kind === "circle") return ring(x, y, r);
  const at = (dx, dy) => `${(x + dx * r).toFixed(1)} ${(y + dy * r).toFixed(1)}`;
  if (kind === "square") return `M${at(-0.9, -0.9)}L${at(0.9, -0.9)}L${at(0.9, 0.9)}L${at(-0.9, 0.9)}Z`;
  if (kind === "cross") return `M${at(-0.8, -0.8)}L${at(0.8, 0.8)}M${at(-0.8, 0.8)}L${at(0.8, -0.8)}`;
  return `M${at(0, -1.25)}L${at(1.1, 0.85)}L${at(-1.1, 0.85)}Z`;
}

function segments(plane, found) {
  let d = "";
  for (let i = 0; i < found.length; i += 4) {
    d += `M${plane.x(found[i]).toFixed(1)} ${plane.y(found[i + 1]).toFixed(1)}L${plane.x(found[i + 2]).toFixed(1)} ${plane.y(found[i + 3]).toFixed(1)}`;
  }
  return d;
}

function paint(context, d, { fill, stroke, width, dash, opacity }) {
  const path = new Path2D(d);
  context.globalAlpha = opacity ?? 1;
  context.lineWidth = width ?? 1; context.setLineDash(dash ? dash.split(" ").map(Number) : []); context.lineJoin = "round";
  if (fill) { context.fillStyle = fill; context.fill(path); }
  if (stroke) { context.strokeStyle = stroke; context.stroke(path); }
}
