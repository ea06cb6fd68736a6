// Certified accuracy of runs against eps; of one of them both sides of the truth, its radii beneath on the same axis, and
// its classes beside. eps is dragged along both, a range of radii is brushed on the lower one: all of it in the browser.
//
// For tests, the <div class="lv"> has a property `radii`: state() and places().

const SHAPES = ["circle", "square", "diamond", "cross"]; // of the runs, in the order of the legend; attacks are triangles
const SNAP = 2; // of a radius of the literature: eps snaps to it, in 1/255

/** What only a pointer needs: the small handle beside it is the one that a key and a screen reader find. */
const bare = (node) => set(node, { tabindex: null, role: null, "aria-label": null, "aria-valuetext": null, "aria-hidden": "true" });

class RadiiPicture {
  constructor(root) {
    this.root = root; this.dragged = false; this.brushed = false;
    const row = make(root, "div", { class: "cr" });
    this.main = make(row, "div", { class: "cr-main" });
    this.svg = make(this.main, "svg", { role: "group" }, SVG);
    this.hatch();
    // what is dragged lies in front, whatever is added behind it later
    [this.back, this.front] = [0, 1].map(() => new Sheet(make(this.svg, "g", {}, SVG)));
    const side = make(row, "div", { class: "cr-side" });
    this.classes = new RadiiClasses(make(side, "div"));
    buttons(side, [["SVG", () => saveSvg(this.svg, "radii", this.look)], ["SVG by class", () => this.data.classes && saveSvg(this.classes.svg, "classes", this.look)]]);
    this.numbers = make(row, "dl", { class: "cr-numbers" });
    this.said = make(root, "div", { class: "say", "aria-live": "polite" });
    this.draw = framed(() => this.paint());
    new ResizeObserver(this.draw).observe(root);
    root.radii = {
      state: () => this.upper && { ...this.counted(), range: this.range, drawn: this.data.runs.map(({ name }) => name) },
      places: () => ({ knob: this.screen(this.upper.x(this.k / 255), this.gap), zero: this.screen(this.lower.x(0), this.lower.y(0) - 20), per: this.upper.kx * this.svg.getScreenCTM().a / 255 }),
    };
  }
  /** Stripes for what nobody knows. */
  hatch() {
    const pattern = make(make(this.svg, "defs", {}, SVG), "pattern", { id: "cr-hatch", width: 7, height: 7, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" }, SVG);
    this.stripe = make(pattern, "line", { x1: 0, x2: 0, y1: 0, y2: 7, "stroke-width": 3, "stroke-opacity": 0.35 }, SVG);
  }
  update(component) {
    this.data = component.data; this.look = component.data.look;
    this.send = component.setTriggerValue; // a state that is sent a second time would call nothing
    const { eps, top, from, to } = this.data;
    if (!this.dragged) this.k = Math.min(eps, top);
    if (!this.brushed) this.range = [from, to];
    set(this.stripe, { stroke: this.look.strong });
    this.draw();
  }
  get one() { return this.data.runs[this.data.one]; }
  colour(run) { return this.look.palette[run.colour]; }
  screen(x, y) { const p = this.svg.getScreenCTM(); return [x * p.a + p.e, y * p.d + p.f]; }
  valued() { return `${this.k}/255 = ${(this.k / 255).toFixed(3)}`; }

  /** Everything that is counted at eps, exactly: hits and of how many. */
  counted() {
    const { one, k } = this, { sub } = this.data;
    return {
      k, n: one.n, clean: one.right, certified: beyond(one.kept, k),
      sub: sub && { n: sub.n, certified: beyond(sub.kept, k), attacked: beyond(sub.stands, k), unknown: beyond(sub.stands, k) - beyond(sub.kept, k) },
    };
  }

  paint() {
    const { data, look, back } = this, width = Math.max(280, Math.min(this.main.clientWidth || 700, 800)), small = width < 480;
    const bottom = this.legend(width), high = small ? 190 : 222, low = 78, box = { left: 40, width: width - 52 };
    this.gap = bottom + 26 + high + 14;
    const height = this.gap + 14 + low + 38, most = Math.max(...data.runs.map((run) => percent(run.right, run.n)), data.sub ? percent(data.sub.right, data.sub.n) : 0);
    set(this.svg, { viewBox: `0 0 ${width} ${height}`, style: `max-width: ${width}px`, "aria-label": `Certified accuracy falls with eps; of ${this.one.name} with what attacks left, and the radii beneath. Tables follow` });
    const share = (run) => run.bins.map((hits) => percent(hits, run.n)), bars = share(this.one);
    this.upper = new Plane({ ...box, top: bottom + 26, height: high }, [0, data.top / 255], [0, Math.min(100, 1.07 * most + 2)], false);
    this.lower = new Plane({ ...box, top: this.gap + 14, height: low }, [0, data.top / 255], [0, 1.12 * Math.max(...bars, 0.1)], false);
    back.begin(); this.legend(width);
    this.axes();
    this.band();
    data.runs.forEach((run, i) => this.curve(`curve ${run.name}`, run.kept, run.n, { stroke: this.colour(run), "stroke-width": i === data.one ? 3.2 : 1.7, "stroke-dasharray": run.dash }));
    data.runs.forEach((run, i) => this.points(run, i));
    if (data.sub) this.word();
    data.runs.forEach((run, i) => this.steps(`bins ${run.name}`, share(run), this.colour(run), run.dash, i === data.one));
    this.steps("wrong", data.wrong.map((hits) => percent(hits, this.one.n)), look.text, "3 3", false);
    back.end();
    this.front.begin(); this.line(); this.brush(); this.front.end();
    this.tell();
    this.classes.paint(data.classes, look, this.colour(this.one), this.k, this.one.name);
  }

  /** One entry a run, then what the lines of the chosen one mean; returns where it ends. */
  legend(width) {
    const { data, look, back } = this, items = data.runs.map((run, i) => ({ text: run.name, stroke: this.colour(run), dash: run.dash, wide: i === data.one ? 3.2 : 1.7, bold: i === data.one, mark: SHAPES[i % 4] }));
    if (data.sub) {
      const all = data.sub.n.toLocaleString("en");
      items.push({ text: `certified, the ${all} attacked`, stroke: this.colour(this.one), wide: 1 }, { text: `under attack, the same ${all}`, stroke: look.text, dash: "7 4", wide: 2, mark: "triangle" }, { text: "unknown", fill: true });
    }
    items.push({ text: "wrong answers, below", stroke: look.text, dash: "3 3", wide: 1.3 });
    let x = 4, y = 14;
    items.forEach((item, i) => {
      const long = 34 + 6.5 * item.text.length;
      if (x > 4 && x + long > width) { x = 4; y += 17; }
      if (item.fill) back.put("rect", `key ${i}`, { x, y: y - 9, width: 20, height: 11, fill: "url(#cr-hatch)" });
      else back.put("line", `key ${i} ${item.dash ?? ""}`, { x1: x, x2: x + 20, y1: y - 4, y2: y - 4, stroke: item.stroke, "stroke-width": item.wide, "stroke-dasharray": item.dash });
      if (item.mark) this.sign(`key mark ${i}`, item.mark, x + 10, y - 4, item.stroke);
      label(back, `key t ${i}`, x + 25, y, item.text, look, { "font-weight": item.bold ? 700 : 400 });
      x += long;
    });
    return y;
  }

  axes() {
    const { back, look, upper, lower, data } = this, foot = lower.top + lower.height;
    for (const plane of [upper, lower]) {
      back.put("rect", `frame ${plane.top}`, { x: plane.left, y: plane.top, width: plane.width, height: plane.height, fill: "none", stroke: look.grid });
      for (const value of ticks(plane.ys, plane.height / 42)) {
        const y = plane.y(value), key = plane === upper ? "u" : "l";
        back.put("line", `${key} ${value}`, { y1: y, y2: y, x1: plane.left, x2: plane.left + plane.width, stroke: look.grid });
        label(back, `${key} t ${value}`, plane.left - 5, y + 4, short(value), look, { "text-anchor": "end", fill: look.strong });
      }
    }
    for (const value of ticks(upper.xs, upper.width / 70)) {
      const x = upper.x(value);
      back.put("line", `x ${value}`, { x1: x, x2: x, y1: foot, y2: foot + 4, stroke: look.strong });
      label(back, `x t ${value}`, x, foot + 17, short(value), look, { "text-anchor": "middle", fill: look.strong });
    }
    for (const k of data.marks.filter((mark) => mark <= data.top)) {
      const x = upper.x(k / 255);
      back.put("line", `mark ${k}`, { x1: x, x2: x, y1: upper.top, y2: foot, stroke: look.strong, "stroke-dasharray": "1.5 3" });
      label(back, `mark t ${k}`, x, this.gap + 4, k === data.marks.at(-1) ? `${k}/255` : k, look, { "text-anchor": "middle", fill: look.strong, stroke: look.paper, "stroke-width": 4, "paint-order": "stroke" });
    }
    const room = upper.width > 380;
    label(back, "y", 4, upper.top - 7, room ? "right and certified (%)" : "certified (%)", look);
    label(back, "y low", upper.left + upper.width - 4, lower.top + 13, room ? "how many have this radius (% of the inputs)" : "radii, % of the inputs", look, { "text-anchor": "end", stroke: look.paper, "stroke-width": 3, "paint-order": "stroke" });
    label(back, "x", upper.left + upper.width, foot + 33, room ? `eps and certified radius, l2, ${data.unit}` : "eps, radius (l2)", look, { "text-anchor": "end" });
  }
  y(hits, n) { return this.upper.y(percent(hits, n)).toFixed(1); }
  /** Steps through the counts; a lower side of the truth falls early, an upper one late: neither claims too much. */
  path(counts, n, late = false) {
    let d = `M${this.upper.x(0).toFixed(1)} ${this.y(counts[0], n)}`;
    for (let k = 1; k <= this.data.top; k++) {
      if (beyond(counts, k) === beyond(counts, k - 1) && k < this.data.top) continue;
      // to the last size that still has the count before, then down
      const before = this.upper.x((k - (late ? 0 : 1)) / 255).toFixed(1), y = this.y(beyond(counts, k), n);
      d += `H${before}V${y}`;
    }
    return `${d}H${this.upper.x(this.data.top / 255).toFixed(1)}`;
  }
  /** A shape on a line, which tells it apart without its colour. */
  sign(key, kind, x, y, colour) {
    const open = kind === "cross";
    shape(this.back, key, kind, x, y, open ? 3.5 : 4, { fill: open ? "none" : colour, stroke: open ? colour : this.look.paper, "stroke-width": open ? 2 : 0.8 });
  }
  points(run, i) {
    for (const share of [0.06, 0.3, 0.54, 0.78]) {
      const k = Math.round(this.data.top * (share + 0.05 * (i % 5)));
      this.sign(`sign ${run.name} ${share}`, SHAPES[i % 4], this.upper.x(k / 255), +this.y(beyond(run.kept, k), run.n), this.colour(run));
    }
  }
  curve(key, counts, n, attributes) { this.back.put("path", key, { d: this.path(counts, n), fill: "none", ...attributes }); }
  /** Both sides of the truth, and the stripes between them. */
  band() {
    const { back, look, upper, one, data } = this, { sub, top } = data, right = upper.left + upper.width, clean = upper.y(percent(one.right, one.n));
    const halo = { stroke: look.paper, "stroke-width": 4, "paint-order": "stroke" };
    back.put("line", "clean", { x1: upper.left, x2: right, y1: clean, y2: clean, stroke: look.text, "stroke-width": 1.4, "stroke-dasharray": "2 3" });
    label(back, "clean t", right - 4, clean - 5, `clean ${percent(one.right, one.n).toFixed(1)} %`, look, { "text-anchor": "end", ...halo });
    if (!sub) return;
    const low = this.path(sub.kept, sub.n), high = this.path(sub.stands, sub.n, true), corners = low.slice(1).split(/(?=[HV])/);
    // the lower side backwards: its corners as points
    let [x, y] = corners[0].split(" ");
    const points = [[x, y], ...corners.slice(1).map((part) => { if (part[0] === "H") x = part.slice(1); else y = part.slice(1); return [x, y]; })];
    back.put("path", "unknown", { d: `${high}${points.reverse().map((point) => `L${point.join(" ")}`).join("")}Z`, fill: "url(#cr-hatch)", stroke: "none" });
    back.put("path", "low", { d: low, fill: "none", stroke: this.colour(one), "stroke-width": 1 });
    back.put("path", "attacked", { d: high, fill: "none", stroke: look.text, "stroke-width": 2, "stroke-dasharray": "7 4" });
    for (let k = Math.round(top / 10); k < top; k += Math.round(top / 5)) shape(back, `at ${k}`, "triangle", upper.x(k / 255), +this.y(beyond(sub.stands, k), sub.n), 4.5, { fill: look.text });
  }
  /** The name of the stripes where they are widest, over all marks. */
  word() {
    const { back, look, upper, data } = this, { sub, top } = data;
    const halo = { stroke: look.paper, "stroke-width": 4, "paint-order": "stroke" };
    const between = Array.from({ length: top + 1 }, (_, k) => beyond(sub.stands, k) - beyond(sub.kept, k)), widest = between.indexOf(Math.max(...between));
    const middle = percent(beyond(sub.stands, widest) + beyond(sub.kept, widest), 2 * sub.n), seen = upper.ky * percent(between[widest], sub.n) > 16;
    const free = Math.abs(widest - this.k) * upper.kx / 255 > 45; // the line of eps is not drawn over the word
    label(back, "unknown t", upper.x(Math.min(Math.max(widest, 0.07 * top), 0.9 * top) / 255), upper.y(middle) + 4, seen && free ? "unknown" : "", look, { "text-anchor": "middle", "font-weight": 600, ...halo });
  }
  /** A histogram as an outline, cut at the top of its panel; that of the chosen run is filled. */
  steps(key, shares, colour, dash, filled) {
    const { lower, data } = this, count = data.top / data.bin;
    let d = `M${lower.x(0)} ${lower.y(0)}`;
    for (let i = 0; i < count; i++) {
      // what lies beyond the axis is counted in its last bin
      const share = i < count - 1 ? shares[i] ?? 0 : shares.slice(i).reduce((a, b) => a + b, 0);
      d += `V${lower.y(Math.min(share, lower.ys[1])).toFixed(1)}H${lower.x(((i + 1) * data.bin) / 255).toFixed(1)}`;
    }
    this.back.put("path", key, { d: `${d}V${lower.y(0)}`, fill: filled ? colour : "none", "fill-opacity": 0.3, stroke: colour, "stroke-width": filled ? 1.8 : 1.2, "stroke-dasharray": dash });
  }

  /** eps: a line through both panels with a knob between them. */
  line() {
    const { front, look, upper, lower, k } = this, x = upper.x(k / 255), { sub } = this.data, foot = lower.top + lower.height;
    front.put("line", "eps", { x1: x, x2: x, y1: upper.top, y2: foot, stroke: look.text, "stroke-width": 2, "pointer-events": "none" });
    const found = this.counted(), dot = { stroke: look.paper, "stroke-width": 1.5, "pointer-events": "none" };
    front.put("circle", "dot", { cx: x, cy: this.y(found.certified, found.n), r: 5.5, fill: this.colour(this.one), ...dot });
    if (sub) shape(front, "attack dot", "triangle", x, +this.y(found.sub.attacked, sub.n), 6, { fill: look.text, ...dot });
    const turned = x > upper.left + upper.width - 150;
    label(front, "eps t", x + (turned ? -6 : 6), upper.top + 14, `eps ${this.valued()}`, look, { "text-anchor": turned ? "end" : "start", "font-weight": 600, stroke: look.paper, "stroke-width": 4, "paint-order": "stroke", "pointer-events": "none" });
    const handle = {
      name: "Size eps, in 1/255", words: () => this.valued(), plane: () => this.upper, value: () => [this.k / 255, 0], step: () => [1 / 255, 0],
      move: ([to], event) => this.move(255 * to, event), end: () => this.end(),
    };
    const wide = front.put("line", "eps wide", { x1: x, x2: x, y1: upper.top, y2: upper.top + upper.height, stroke: look.text, "stroke-opacity": 0, "stroke-width": 22 });
    const knob = front.put("circle", "knob", { cx: x, cy: this.gap, r: 9.5, fill: look.palette[0], stroke: look.paper, "stroke-width": 2 });
    if (this.knob !== knob) {
      grip(wide, this.svg, handle); bare(wide);
      grip(knob, this.svg, handle);
      this.knob = knob;
    }
    set(knob, { "aria-valuenow": k, "aria-valuemin": 0, "aria-valuemax": this.data.top, "aria-valuetext": this.valued() });
  }
  move(to, event) {
    this.dragged = true;
    let k = Math.round(Math.min(Math.max(to, 0), this.data.top));
    if (event.type !== "keydown") k = this.data.marks.find((mark) => Math.abs(mark - k) <= SNAP && mark <= this.data.top) ?? k;
    this.k = k;
    this.draw();
  }
  end() { this.dragged = false; this.said.textContent = this.sentence; this.send("eps", this.k); }

  /** A range of radii: drawn over the lower panel, by dragging on it or by its two ends. */
  brush() {
    const { front, look, lower, data } = this, ends = this.range.map((k) => lower.x(Math.min(k, data.top) / 255));
    const [from, to] = [Math.min(...ends), Math.max(...ends)];
    const area = front.put("rect", "area", { x: lower.left, y: lower.top, width: lower.width, height: lower.height, fill: look.paper, "fill-opacity": 0 });
    front.put("rect", "range", { x: from, y: lower.top, width: Math.max(to - from, 1), height: lower.height, fill: look.palette[6], "fill-opacity": 0.18, stroke: look.palette[6], "stroke-width": 1.2, "pointer-events": "none" });
    const set_ = (i, k) => { this.brushed = true; this.range = this.range.with(i, Math.round(Math.min(Math.max(k, 0), data.reach))); this.draw(); };
    if (this.area !== area) {
      this.area = area;
      area.style.touchAction = "pan-y"; area.style.cursor = "crosshair";
      area.onpointerdown = (event) => {
        const at = (e) => Math.min(255 * this.lower.at(e, this.svg)[0], this.data.top), before = this.range, start = at(event);
        area.setPointerCapture(event.pointerId);
        area.onpointermove = (e) => { set_(0, Math.min(start, at(e))); set_(1, Math.max(start, at(e))); };
        area.onpointerup = () => { area.onpointermove = area.onpointerup = area.onpointercancel = null; if (this.range[1] - this.range[0] < 2) this.range = before; this.chosen(); };
        area.onpointercancel = () => { area.onpointermove = area.onpointerup = area.onpointercancel = null; this.range = before; this.brushed = false; this.draw(); };
      };
    }
    ["from", "to"].forEach((name, i) => {
      const handle = { name: `Radii ${name}, in 1/255`, words: () => `${this.range[i]}/255`, plane: () => this.lower, value: () => [this.range[i] / 255, 0], step: () => [1 / 255, 0], move: ([to]) => set_(i, 255 * to), end: () => this.chosen() };
      const wide = front.put("rect", `${name} wide`, { x: ends[i] - 14, y: lower.top, width: 28, height: lower.height, fill: look.paper, "fill-opacity": 0 }); // as a finger is
      if (!wide.onpointerdown) { grip(wide, this.svg, handle); bare(wide); }
      const node = front.put("rect", name, { x: ends[i] - 4, y: lower.top + lower.height / 2 - 13, width: 8, height: 26, rx: 3, fill: look.palette[6], stroke: look.paper, "stroke-width": 1.5 });
      if (!node.onkeydown) grip(node, this.svg, handle);
      set(node, { "aria-valuenow": this.range[i], "aria-valuemin": 0, "aria-valuemax": data.reach, "aria-valuetext": `${this.range[i]}/255` });
    });
  }
  chosen() {
    this.brushed = false;
    this.range = [...this.range].sort((a, b) => a - b);
    this.said.textContent = `Radii from ${this.range[0]}/255 to ${this.range[1]}/255`;
    this.draw(); this.send("range", this.range);
  }

  /** The line of numbers, at eps as it is now. */
  tell() {
    const found = this.counted(), { data } = this, all = (n) => n.toLocaleString("en");
    const told = (name, hits, n) => { const [low, high] = wilson(hits, n); return [name, `${percent(hits, n).toFixed(1)} %`, `${low.toFixed(1)} to ${high.toFixed(1)}, of ${all(n)}`]; };
    const { sub } = found, at = `at ${this.k}/255`, norm = `l2, ${data.unit}`;
    const rows = [
      [...told("clean", found.clean, found.n), "Right answers of the whole test set, with a 95 % interval"],
      [...told(`certified ${at}`, found.certified, found.n), `Right answers with a certified radius above eps (${norm})`],
      sub ? [...told(`under attack ${at}`, sub.attacked, sub.n), `Right answers that no attack changed within eps (${norm}), of the attacked inputs`] : [`under attack ${at}`, "unknown", "nothing attacked this run"],
      ["measured Lipschitz", data.measured ? `≥ ${data.measured}` : "unknown", data.measured ? "a lower bound, from breaks" : "no break is known", `The largest margin / (sqrt(2) distance) of the breaks that attacks found (${norm}): the Lipschitz constant of the network is no smaller`],
      ["Lipschitz bound", data.bound ? `≤ ${data.bound}` : "unknown", data.bound ? "proved, of the whole network" : "run.json has none", `The Lipschitz constant of the network is proved to be no larger (${norm})`],
      ["constant used", data.used || "none", data.used ? `bound of the body × distance of two rows` : "no radius is above 0", "Each certified radius is a margin (difference of the two largest logits) divided by this: the bound of all layers but the last, times the distance of two rows of the last one. Radii of 0 are left out"],
    ];
    if (sub) rows.push(["unknown", `${sub.unknown} of ${all(sub.n)}`, `${sub.certified} certified, ${sub.n - sub.attacked} broken or wrong`, "Attacked inputs that are neither certified nor broken at eps"]);
    this.sentence = `${this.one.name}: ${rows.map(([name, value]) => `${name} ${value}`).join(", ")}`;
    this.numbers.style.display = data.numbers ? "" : "none";
    while (this.numbers.children.length > rows.length) this.numbers.lastChild.remove();
    rows.forEach((row, i) => {
      const tile = this.numbers.children[i] ?? make(this.numbers, "div");
      if (!tile.children.length) for (const [tag, name] of [["dt"], ["dd"], ["dd", "small"]]) make(tile, tag, name ? { class: name } : {});
      row.slice(0, 3).forEach((text, j) => set(tile.children[j], { text }));
      set(tile, { title: row[3] });
    });
  }
}

export default function (component) { picture(component, RadiiPicture); }
