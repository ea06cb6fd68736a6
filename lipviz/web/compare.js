// Runs of one protocol as marks: what they cost to the right, what they certify at eps upwards. eps is dragged on the
// track below; everything moves in the browser. Published results lie behind, hollow and grey, and are never ranked.
// A click or Enter on a mark selects its run, and so does a button in the table of the page, which has its name.
//
// For tests, the <div class="lv"> has a property `compare`: state(), places(), spot(name) and between(known, k).

const MARKERS = {
  circle: (r) => `M${-r} 0A${r} ${r} 0 1 0 ${r} 0A${r} ${r} 0 1 0 ${-r} 0Z`,
  square: (r) => `M${-r} ${-r}H${r}V${r}H${-r}Z`,
  diamond: (r) => `M0 ${-1.3 * r}L${1.3 * r} 0L0 ${1.3 * r}L${-1.3 * r} 0Z`,
  cross: (r) => `M${-r / 3} ${-r}H${r / 3}V${-r / 3}H${r}V${r / 3}H${r / 3}V${r}H${-r / 3}V${r / 3}H${-r}V${-r / 3}H${-r / 3}Z`,
  x: (r) => `M${-r} ${-r}L${r} ${r}M${r} ${-r}L${-r} ${r}`,
  "triangle-up": (r) => around(3, r * 1.25, r * 1.25, -90),
  "triangle-down": (r) => around(3, r * 1.25, r * 1.25, 90),
  pentagon: (r) => around(5, r * 1.15, r * 1.15, -90),
  star: (r) => around(10, r * 1.4, r * 0.6, -90),
};

/** A closed path through n points, in turns at two distances from the middle. */
function around(n, far, near, from) {
  const points = Array.from({ length: n }, (_, i) => {
    const angle = ((from + (360 * i) / n) * Math.PI) / 180, r = i % 2 ? near : far;
    return `${(r * Math.cos(angle)).toFixed(2)} ${(r * Math.sin(angle)).toFixed(2)}`;
  });
  return `M${points.join("L")}Z`;
}

const Compare = {
  /** Certified accuracy of a run at k/255. */
  at(curve, k) { return curve[Math.min(k, curve.length - 1)]; },
  /** [low, high] of a published accuracy at k: it never rises; null where nothing bounds it from one side. */
  between(known, k) {
    const low = known.filter(([radius]) => radius >= k).map(([, value]) => value);
    const high = known.filter(([radius]) => radius <= k).map(([, value]) => value);
    return low.length && high.length ? [Math.max(...low), Math.min(...high)] : null;
  },
  /** Indices of the points [x, y] that no other beats, from left to right. */
  pareto(points, high) {
    const way = high ? -1 : 1;
    let best = -Infinity;
    const order = points.map((_, i) => i).sort((i, j) => way * (points[i][0] - points[j][0]) || points[j][1] - points[i][1]);
    return order.filter((i) => points[i][1] > best && ((best = points[i][1]), true)).sort((i, j) => points[i][0] - points[j][0]);
  },
};
const NEAR = 2; // of a radius of the literature: eps snaps to it, in 1/255
const MOST = 4; // runs that are selected at a time
const NARROW = 560; // pixels: below, only some marks have room for a name
const ROW = ".lipviz-table button[data-row]"; // of lipviz.ui.table
const id = (mark) => `${mark.published} ${mark.name} ${mark.about} ${mark.x}`;

class ComparePicture {
  constructor(root) {
    this.root = root; this.dragged = false; this.lit = null; this.chosen = [];
    this.svg = make(root, "svg", { role: "group", "aria-label": "Certified accuracy of runs of one protocol; a table follows" }, SVG);
    this.sheet = new Sheet(this.svg);
    this.about = make(root, "p", { class: "co-about" });
    this.said = make(root, "div", { class: "say", "aria-live": "polite" });
    buttons(root, [["SVG", () => saveSvg(this.svg, "compare", this.look)]]);
    this.draw = framed(() => this.paint());
    new ResizeObserver(this.draw).observe(root);
    this.svg.onpointermove = this.svg.onpointerdown = (event) => this.point(event);
    this.svg.onpointerleave = () => { this.lit = null; this.draw(); };
    this.svg.onclick = (event) => { const mark = event.target !== this.knob && this.nearest(event); if (mark && !mark.published) this.pick(mark.name); };
    this.listen(root);
    root.compare = {
      state: () => ({ k: this.k, chosen: this.chosen, named: this.named, marks: this.marks?.map(({ name, x, y, published }) => ({ name, x, y, published })), front: this.front }),
      places: () => ({ knob: this.screen(this.track.x(this.k), this.track.y(0.5)), per: this.track.kx * this.svg.getScreenCTM().a }),
      spot: (name) => { const mark = this.marks.find((one) => one.name === name); return this.screen(this.px(mark.x), this.plane.y(mark.y)); },
      between: Compare.between,
    };
  }
  update(component) {
    this.data = component.data; this.look = component.data.look; this.send = component.setTriggerValue; // nothing of it stays there: the same value again calls again
    if (!this.dragged) this.k = Math.min(component.data.eps, component.data.top);
    this.chosen = component.data.chosen;
    this.draw();
  }
  move([x], event) {
    this.dragged = true;
    let k = Math.round(Math.min(Math.max(x, 0), this.data.top));
    if (event.type !== "keydown") k = this.data.marks.find((mark) => Math.abs(mark - k) <= NEAR) ?? k;
    this.k = k;
    this.draw();
  }
  end() {
    this.dragged = false;
    this.said.textContent = `At ${this.k}/255: ${this.order().map(({ name, y }) => `${name} ${y.toFixed(1)} %`).join(", ")}`;
    this.send("eps", this.k);
  }
  /** Buttons of the table select as marks do; the table is drawn anew then, and the focus goes back into it. */
  listen(root) {
    const heard = (event) => {
      if (!root.isConnected) { document.removeEventListener("click", heard); return; }
      const button = event.target.closest?.(ROW), table = button?.closest(".lipviz-table").parentElement;
      if (!button) return;
      const name = button.dataset.row, again = new MutationObserver(() => {
        again.disconnect();
        if (document.activeElement === document.body) [...table.querySelectorAll(ROW)].find((one) => one.dataset.row === name)?.focus({ preventScroll: true });
      });
      again.observe(table, { childList: true });
      setTimeout(() => again.disconnect(), 5000);
      this.pick(name);
    };
    document.addEventListener("click", heard);
  }
  /** Select a run, or let it go; of too many the one that was selected first. */
  pick(name) {
    this.chosen = this.chosen.includes(name) ? this.chosen.filter((one) => one !== name) : [...this.chosen, name].slice(-MOST);
    this.said.textContent = this.chosen.length ? `Selected: ${this.chosen.join(", ")}` : "Nothing is selected";
    this.send("chosen", this.chosen);
    this.draw();
  }
  order() { return this.marks.filter((mark) => !mark.published).sort((a, b) => b.y - a.y); }

  screen(x, y) { const p = this.svg.getScreenCTM(); return [x * p.a + p.e, y * p.d + p.f]; }
  /** Where everything stands at eps = k/255, in units of the axes. */
  place() {
    const { points, published, axis } = this.data, found = [];
    for (const one of published) {
      const range = one.x[axis] === undefined ? null : Compare.between(one.known, this.k);
      if (range) found.push({ ...one, published: true, x: one.x[axis], y: range[0], high: range[1] });
    }
    for (const one of points) {
      if (one.x[axis] === undefined || !one.curve.length) continue;
      const spread = one.low.length ? [Compare.at(one.low, this.k), Compare.at(one.high, this.k)] : null;
      found.push({ ...one, published: false, x: one.x[axis], y: Compare.at(one.curve, this.k), high: null, top: one.curve[0], spread });
    }
    return found;
  }
  /** The ends of the axes: those of all that can come into view, so that nothing but the marks moves. */
  ends() {
    const { points, published, axis, log } = this.data;
    const x = [...points, ...published].map((one) => one.x[axis]).filter((value) => value !== undefined && (!log || value > 0));
    const y = [...points.map((one) => one.curve[0] ?? 0), ...published.map((one) => one.known[0]?.[1] ?? 0)];
    let [low, high] = x.length ? [Math.min(...x), Math.max(...x)] : [0, 1];
    if (log) { low = Math.log10(low); high = Math.log10(high); }
    const room = Math.max(0.08 * (high - low), log ? 0.15 : 1.5);
    return { x: [low - room, high + room * (points.length ? 2.4 : 1)], y: [-2, Math.max(...y, 10) + 4] };
  }

  paint() {
    const width = Math.max(280, Math.min(this.root.clientWidth || 700, 1120)), height = 420;
    set(this.svg, { viewBox: `0 0 ${width} ${height}`, style: `max-width: ${width}px` });
    const { x, y } = this.ends(), { look } = this, { log, axisName, top } = this.data;
    this.plane = new Plane({ left: 40, top: 24, width: width - 52, height: height - 128 }, x, y, false);
    this.track = new Plane({ left: 40, top: height - 58, width: width - 60, height: 24 }, [0, top], [0, 1], false);
    this.marks = this.place();
    this.sheet.begin();
    this.axes(log, axisName);
    this.behind(); this.falls(); this.pareto();
    const own = this.marks.filter((mark) => !mark.published).sort((a, b) => a.x - b.x);
    if (!own.some(({ name }) => name === this.stop)) this.stop = own[0]?.name;
    own.forEach((mark, i) => this.mark(mark, own, i));
    this.names(width); this.slider(top); this.ring();
    this.sheet.end();
    this.about.textContent = this.words() + (width < NARROW && !this.lit ? " Named here: the Pareto front, and what is selected." : "");
    if (this.knob) set(this.knob, { "aria-valuenow": this.k, "aria-valuemin": 0, "aria-valuemax": top, "aria-valuetext": this.valued() });
  }
  valued() { return `${this.k}/255 = ${(this.k / 255).toFixed(3)}`; }
  px(value) { return this.plane.x(this.data.log ? Math.log10(value) : value); }

  axes(log, name) {
    const { plane, sheet, look } = this, title = ["", `certified accuracy at ${this.k}/255 (%)`];
    if (!log) plane.axes(sheet, "axes", look, [name, title[1]]);
    else {
      const none = Object.create(plane, { xs: { value: [1, 0] } }); // no lines across: those of a log axis follow
      none.axes(sheet, "axes", look, [name, title[1]]);
      const wide = plane.xs[1] - plane.xs[0] < 1.3 ? [1, 2, 5] : [1];
      for (let power = Math.floor(plane.xs[0]); power <= plane.xs[1]; power++)
        for (const digit of wide) {
          const at = power + Math.log10(digit), px = plane.x(at);
          if (at < plane.xs[0] || at > plane.xs[1]) continue;
          sheet.put("line", `log ${at}`, { x1: px, x2: px, y1: plane.top, y2: plane.top + plane.height, stroke: look.grid });
          label(sheet, `log t ${at}`, px, plane.top + plane.height + 14, thousands(digit * 10 ** power), look, { "text-anchor": "middle", fill: look.strong });
        }
    }
    if (this.data.axis === "clean") { // where certified equals clean: eps = 0
      const low = Math.max(plane.xs[0], plane.ys[0]), high = Math.min(plane.xs[1], plane.ys[1]);
      if (low < high) sheet.put("line", "diagonal", { x1: plane.x(low), y1: plane.y(low), x2: plane.x(high), y2: plane.y(high), stroke: look.strong, "stroke-width": 1, "stroke-dasharray": "2 4" });
      else sheet.put("line", "diagonal", { x1: 0, y1: 0, x2: 0, y2: 0, stroke: "none" });
    }
  }
  /** Published results: a hollow grey mark at a published radius, between two of them the range that they leave. */
  behind() {
    const { sheet, look } = this;
    this.marks.forEach((mark, i) => {
      if (!mark.published) return;
      const x = this.px(mark.x), grey = { fill: "none", stroke: look.strong, "stroke-width": 1.2, opacity: 0.75 };
      if (mark.high - mark.y < 1e-9) sheet.put("path", `pub ${i}`, { d: MARKERS[mark.marker](4.2), transform: `translate(${x.toFixed(2)} ${this.plane.y(mark.y).toFixed(2)})`, ...grey });
      else sheet.put("path", `range ${i}`, { d: `M${x.toFixed(2)} ${this.plane.y(mark.y).toFixed(2)}V${this.plane.y(mark.high).toFixed(2)}`, ...grey, "stroke-width": 1.6, opacity: 0.4 });
    });
  }
  /** From the clean accuracy down to the mark, in the dash of the layer: what eps costs. */
  falls() {
    for (const mark of this.marks) {
      if (mark.published) continue;
      const x = this.px(mark.x), at = { x1: x, x2: x, y1: this.plane.y(mark.top), y2: this.plane.y(mark.y) };
      this.sheet.put("line", `fall ${mark.name}`, { ...at, stroke: this.colour(mark), "stroke-width": 1.4, "stroke-dasharray": mark.dash, opacity: 0.6 });
      if (mark.spread) this.sheet.put("line", `spread ${mark.name}`, { x1: x, x2: x, y1: this.plane.y(mark.spread[0]), y2: this.plane.y(mark.spread[1]), stroke: this.colour(mark), "stroke-width": 4, opacity: 0.5 });
    }
  }
  pareto() {
    const own = this.marks.filter((mark) => !mark.published);
    const kept = Compare.pareto(own.map(({ x, y }) => [x, y]), this.data.high).map((i) => own[i]);
    this.front = kept.map(({ name }) => name);
    // steps: between two marks no run reaches more than the better one of them keeps
    const turn = (x, y) => (this.data.high ? `V${y}H${x}` : `H${x}V${y}`);
    const d = kept.map((mark, i) => {
      const x = this.px(mark.x).toFixed(2), y = this.plane.y(mark.y).toFixed(2);
      return i ? turn(x, y) : `M${x} ${y}`;
    }).join("");
    this.sheet.put("path", "pareto", { d: d || "M0 0", fill: "none", stroke: this.look.text, "stroke-width": 1.3, opacity: 0.7 });
  }
  colour(mark) { return this.look.palette[mark.colour]; }
  /** One of the marks is a stop of the Tab key, from which the arrow keys reach the others. */
  mark(mark, own, i) {
    const at = `translate(${this.px(mark.x).toFixed(2)} ${this.plane.y(mark.y).toFixed(2)})`, colour = this.colour(mark);
    const chosen = this.chosen.includes(mark.name), node = this.sheet.put("path", `mark ${mark.name}`, {
      d: MARKERS[mark.marker](6), transform: at, fill: mark.marker === "x" ? "none" : colour, stroke: mark.marker === "x" ? colour : this.look.paper, "stroke-width": mark.marker === "x" ? 2.5 : 1,
      role: "button", tabindex: mark.name === this.stop ? 0 : -1, "aria-pressed": String(chosen), "aria-label": `${mark.name}, ${mark.y.toFixed(1)} % at ${this.k}/255`,
      onclick: (event) => { // of a screen reader it has no place on the screen: then it means this mark
        const near = event.detail && this.nearest(event);
        event.stopPropagation();
        this.pick(near && !near.published ? near.name : mark.name);
      },
      onfocus: () => { this.stop = mark.name; this.lit = id(mark); this.draw(); }, onblur: () => { this.lit = null; this.draw(); },
      onkeydown: (event) => {
        const way = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 }[event.key];
        if (event.key === "Enter" || event.key === " ") this.pick(mark.name);
        else if (way) this.sheet.nodes.get(`mark ${own[(i + way + own.length) % own.length].name}`).focus();
        else return;
        event.preventDefault();
      },
    });
    node.style.cursor = "pointer";
    if (chosen) this.sheet.put("circle", `chosen ${mark.name}`, { cx: this.px(mark.x), cy: this.plane.y(mark.y), r: 12, fill: "none", stroke: this.look.text, "stroke-width": 2.5, "pointer-events": "none" });
  }
  /** The names of the runs beside their marks: where they lie on no mark and on no other name, else none. */
  names(width) {
    const { plane, look } = this, rank = ({ name }) => (this.chosen.includes(name) ? 0 : this.front.includes(name) ? 1 : 2);
    const own = this.order().sort((a, b) => rank(a) - rank(b));
    this.named = [];
    const taken = own.map((mark) => { const x = this.px(mark.x), y = plane.y(mark.y); return [x - 7, y - 7, x + 7, y + 7]; });
    for (const mark of own) {
      if (width < NARROW && rank(mark) > 1) continue;
      const x = this.px(mark.x), y = plane.y(mark.y), wide = (rank(mark) ? 6.8 : 7.2) * mark.title.length;
      const rows = [4, -9, 17, -22, 30, -35, 43, -48, 56, 69], sides = [13, -13 - wide];
      const places = [[13, 4], [-13 - wide, 4], [-wide / 2, -14], [-wide / 2, 23], ...rows.flatMap((dy) => sides.map((dx) => [dx, dy]))];
      const boxes = places.map(([dx, dy]) => [x + dx, y + dy - 10, x + dx + wide, y + dy + 3]);
      const free = (box) => box[0] > plane.left && box[2] < width && box[1] > plane.top - 4 && box[3] < plane.top + plane.height
        && taken.every((other) => box[2] < other[0] || box[0] > other[2] || box[3] < other[1] || box[1] > other[3]);
      const box = boxes.find(free) ?? (rank(mark) ? null : boxes[0]);
      if (!box) continue;
      taken.push(box); this.named.push(mark.name);
      const ex = Math.min(Math.max(x, box[0]), box[2]), ey = Math.min(Math.max(y, box[1] + 2), box[3]);
      if (Math.hypot(ex - x, ey - y) > 20) this.sheet.put("line", `lead ${mark.name}`, { x1: x, y1: y, x2: ex, y2: ey, stroke: look.text, "stroke-width": 0.8, "pointer-events": "none" });
      const halo = { stroke: look.paper, "stroke-width": 3, "paint-order": "stroke", "stroke-linejoin": "round" };
      label(this.sheet, `name ${mark.name}`, box[0].toFixed(1), (box[1] + 10).toFixed(1), mark.title, look, rank(mark) ? halo : { ...halo, "font-weight": 700 });
    }
  }
  slider(top) {
    const { sheet, look, track } = this, y = track.y(0.5);
    sheet.put("line", "track", { x1: track.x(0), x2: track.x(top), y1: y, y2: y, stroke: look.strong, "stroke-width": 3, "stroke-linecap": "round" });
    let free = -Infinity; // to the right of it no label stands yet
    for (const k of [0, ...this.data.marks].filter((mark) => mark <= top)) {
      sheet.put("line", `tick ${k}`, { x1: track.x(k), x2: track.x(k), y1: y - 6, y2: y + 6, stroke: look.strong, "stroke-width": 1.5 });
      const text = k ? `${k}` : "clean", half = 3.4 * text.length;
      if (track.x(k) - half < free) continue;
      free = track.x(k) + half + 4;
      label(sheet, `tick t ${k}`, track.x(k), y + 22, text, look, { "text-anchor": "middle", fill: look.strong });
    }
    label(sheet, "eps", track.x(0), y - 16, `eps = ${this.valued()}, drag`, look, { "font-weight": 600 });
    const knob = sheet.put("circle", "knob", { cx: track.x(this.k), cy: y, r: 9, fill: look.palette[0], stroke: look.paper, "stroke-width": 2 });
    if (this.knob === knob) return;
    this.knob = knob;
    grip(knob, this.svg, {
      name: "Size eps, in 1/255", words: () => this.valued(), plane: () => this.track, value: () => [this.k, 0.5], step: () => [1, 0],
      move: (to, event) => this.move(to, event), end: () => this.end(),
    });
  }
  /** The mark nearest to the pointer is told below the picture. */
  point(event) {
    if (!this.marks || this.dragged) return;
    const found = this.nearest(event);
    this.lit = found ? id(found) : null;
    this.draw();
  }
  nearest(event) {
    const p = new DOMPoint(event.clientX, event.clientY).matrixTransform(this.svg.getScreenCTM().inverse());
    let best = 14, found = null;
    for (const mark of this.marks) {
      const middle = this.plane.y(Math.min(Math.max(this.plane.ys[1] - (p.y - this.plane.top) / this.plane.ky, mark.y), mark.high ?? mark.y));
      const away = Math.hypot(this.px(mark.x) - p.x, middle - p.y) + (mark.published ? 3 : 0);
      if (away < best) { best = away; found = mark; }
    }
    return found;
  }
  found() { return this.marks.find((mark) => this.lit === id(mark)); }
  ring() {
    const mark = this.lit && this.found();
    if (mark) this.sheet.put("circle", "ring", { cx: this.px(mark.x), cy: this.plane.y(mark.y), r: 10, fill: "none", stroke: this.look.text, "stroke-width": 2, "pointer-events": "none" });
  }
  words() {
    const mark = this.found();
    if (!mark) return this.data.hint;
    const value = mark.published && mark.high - mark.y > 1e-9 ? `between ${mark.y.toFixed(1)} and ${mark.high.toFixed(1)}` : mark.y.toFixed(1);
    const at = `${value} % at ${this.k}/255`;
    if (!mark.published) return `${mark.name}: ${at}${mark.spread ? ` (${mark.spread.map((s) => s.toFixed(1)).join(" to ")} over ${mark.seeds} seeds)` : ""}, ${mark.about}`;
    return `Published, not measured here: ${mark.name}, ${at}. ${this.data.abouts[mark.about]}`;
  }
}

/** 1,570,000 as 1.57M. */
function thousands(value) {
  for (const [size, letter] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) if (value >= size) return `${short(value / size)}${letter}`;
  return short(value);
}

export default function (component) { picture(component, ComparePicture); }
