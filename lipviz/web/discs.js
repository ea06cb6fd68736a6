// Gershgorin discs to drag: of G = W^T W or of T - G, under the similarity Q = diag(q), q = 2^e.
// A small matrix is computed here while it is dragged (discs_numbers.js); the discs of a layer arrive computed, and are
// only shown, moved and played. Beside them: discs_side.js.

const SECONDS = 0.25; // from one state to the next

class Discs extends DiscsSide {
  constructor(root) {
    super();
    root.derive = derive; // for tests: the numbers of the picture from {W, e, view, rule, t}
    this.root = root; this.lit = null; this.held = null; this.sentAt = null; this.point = -1; this.show = null; this.angles = new Map();
    const whole = make(root, "div", { class: "discs" });
    this.left = make(whole, "div", { class: "plane" });
    this.side = make(whole, "div", { class: "side" });
    this.svg = make(this.left, "svg", { role: "group", "aria-label": "Gershgorin discs and eigenvalues" }, SVG);
    const clip = make(make(make(this.svg, "defs", {}, SVG), "clipPath", { id: "frame" }, SVG), "rect", {}, SVG);
    this.clip = clip;
    const sheet = (more = {}) => new Sheet(make(this.svg, "g", more, SVG));
    this.sheets = { axes: sheet(), discs: sheet({ "clip-path": "url(#frame)" }), marks: sheet(), crosses: sheet(), grips: sheet() };
    this.bar = make(this.left, "div", { class: "lv-bar" });
    this.perron = make(this.bar, "button", { type: "button", text: "Perron", title: "the q that pulls the right-most edge as far left as any", onclick: () => this.setExponents(bestExponents(gramOf(this.state.W))) });
    this.reset = make(this.bar, "button", { type: "button", text: "Reset q", onclick: () => this.setExponents(this.state.e.map(() => 0)) });
    make(this.bar, "button", { type: "button", text: "SVG", title: "Save the picture", onclick: () => saveSvg(this.svg, "discs", this.look) });
    this.time = make(this.bar, "div", { class: "lv-bar time" });
    this.goal = make(this.bar, "span", { class: "numbers" });
    this.say = make(root, "div", { class: "say", "aria-live": "polite" });
    this.sliders = make(this.side, "svg", { role: "group", "aria-label": "Factors q of the neurons" }, SVG);
    this.knobs = new Sheet(this.sliders);
    this.tables = make(this.side, "div", { class: "tables" });
    this.svg.onpointermove = (event) => this.hover(event);
    this.svg.onpointerleave = () => this.light(null);
    this.draw = framed(() => this.paint());
    new ResizeObserver(() => this.draw()).observe(this.left);
  }

  update({ data, setStateValue }) {
    const first = !this.data;
    this.data = data; this.look = data.look; this.setState = setStateValue;
    // what was let go is on its way through Python: an older state that arrives first must not jump back
    const late = this.sentAt && data.heard !== this.sentAt && Date.now() - this.sentAt < 5000;
    if (!this.held && !late) {
      this.state = data.W ? { W: data.W, e: data.e, view: data.view, rule: data.rule, t: data.t } : null;
      this.point = data.point;
    } else if (this.state) { this.state.view = data.view; if (!this.held) this.state.rule = data.rule; }
    for (const node of [this.perron, this.reset]) node.style.display = data.W ? "" : "none";
    this.sliders.style.display = data.W ? "" : "none";
    this.build();
    this.retarget(!first && !this.held);
  }

  /** What is to be seen in the end: of the small matrix, of a frame of the training, or of the layer now. */
  target() {
    if (this.state && this.data.W) return derive(this.state);
    return (this.point >= 0 && this.data.frames?.[this.point]) || this.data;
  }

  /** Go to the new state, from what is seen now; at once while dragging and for those who want no motion. */
  retarget(animate, seconds = SECONDS) {
    const goal = this.target(), still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    const range = this.held && this.range ? this.grown(goal) : this.fit(goal);
    this.goalState = goal; this.goalRange = range;
    if (!animate || still || !this.show) { this.show = this.seen(goal); this.range = range; this.motion = null; }
    else this.motion = { from: this.show, range: this.range, start: performance.now(), seconds };
    this.draw();
  }
  seen(goal) {
    const { numbers, centers, radii, eigenvalues, best } = goal;
    return { numbers, centers, radii, eigenvalues, best, edge: Math.max(...centers.map((c, i) => c + radii[i])) };
  }

  /** [left, right, height] of what is drawn; over a whole training, so that the axes stand still. */
  fit(goal) {
    const all = this.data.frames && !this.data.W ? [goal, this.data, ...this.data.frames] : [goal];
    let left = 0, right = 0, high = 0;
    for (const { centers, radii, eigenvalues } of all) {
      centers.forEach((c, i) => { left = Math.min(left, c - radii[i]); right = Math.max(right, c + radii[i]); high = Math.max(high, radii[i]); });
      for (const value of eigenvalues) { left = Math.min(left, value); right = Math.max(right, value); }
    }
    if (!(right - left > 0)) return [-1, 1, 1];
    const pad = 0.07 * (right - left);
    return [left - pad, right + pad, 1.12 * Math.max(high, 0.15 * (right - left))];
  }
  /** While something is dragged the axes only give way. They stand still under a disc that is pulled itself. */
  grown(goal) {
    if (this.held === "disc") return this.range;
    const [left, right, high] = this.fit(goal);
    return [Math.min(left, this.range[0]), Math.max(right, this.range[1]), Math.max(high, this.range[2])];
  }

  /** The state between two: discs and crosses of the same number travel in a straight line. */
  between() {
    const goal = this.seen(this.goalState);
    if (!this.motion) return goal;
    const { from, range, start, seconds } = this.motion, part = Math.min((performance.now() - start) / 1000 / seconds, 1);
    const k = part * part * (3 - 2 * part), mix = (a, b) => a + (b - a) * k;
    if (part >= 1) { this.motion = null; this.range = this.goalRange; return goal; }
    const old = new Map(from.numbers.map((number, i) => [number, i]));
    const along = (name) => goal[name].map((x, i) => (old.has(goal.numbers[i]) ? mix(from[name][old.get(goal.numbers[i])], x) : x));
    const same = from.eigenvalues.length === goal.eigenvalues.length;
    this.range = range.map((x, i) => mix(x, this.goalRange[i]));
    this.draw();
    return {
      ...goal, centers: along("centers"), radii: along("radii"),
      eigenvalues: same ? goal.eigenvalues.map((x, i) => mix(from.eigenvalues[i], x)) : goal.eigenvalues,
    };
  }

  paint() {
    if (!this.data || !this.left.clientWidth) return;
    const show = (this.show = this.between()), { look } = this, [left, right, high] = this.range;
    const width = Math.round(this.left.clientWidth), height = Math.round(clamp(0.64 * width, 270, 385));
    set(this.svg, { viewBox: `0 0 ${width} ${height}` });
    const box = { left: 40, top: 52, width: width - 52, height: height - 92 };
    const plane = (this.plane = new Plane(box, [left, right], [-high, high]));
    set(this.clip, { x: box.left, y: box.top, width: box.width, height: box.height });
    for (const sheet of Object.values(this.sheets)) sheet.begin();
    const { axes, discs, crosses, grips } = this.sheets;
    plane.axes(axes, "p", look, ["", ""]);
    label(axes, "title", box.left + box.width, height - 8, `real part, discs of ${this.data.view === "G" ? "G" : "T − G"}`, look, { "text-anchor": "end" });
    axes.put("line", "real", { x1: box.left, x2: box.left + box.width, y1: plane.y(0), y2: plane.y(0), stroke: look.strong });
    const far = this.furthest(show), many = show.numbers.length > 12;
    const order = show.numbers.map((_, i) => i).sort((a, b) => (a === far) - (b === far));
    if (!this.held) this.turn(plane, show);
    for (const i of order) {
      const bold = i === far, lit = show.numbers[i] === this.lit, colour = look.palette[bold ? 4 : 0];
      discs.put("circle", show.numbers[i], {
        cx: plane.x(show.centers[i]), cy: plane.y(0), r: Math.max(show.radii[i] * plane.kx, 1), stroke: colour,
        "stroke-width": lit ? 4 : bold ? 3 : many ? 0.7 : 1.3, fill: colour, "fill-opacity": lit ? 0.3 : many ? 0.02 : 0.08, "data-disc": show.numbers[i],
      });
      if (!many || bold || lit) this.handle(grips, plane, show, i, bold, lit);
    }
    show.eigenvalues.forEach((value, i) => shape(crosses, i, "cross", plane.x(value), plane.y(0), many ? 4 : 6, { stroke: look.text, "stroke-width": many ? 1.4 : 2.4, fill: "none", "data-eigenvalue": value }));
    this.marks(plane, show, far);
    for (const sheet of Object.values(this.sheets)) sheet.end();
    if (this.state) this.paintKnobs();
    this.paintTables();
    this.words(show, far);
  }

  furthest({ centers, radii }) {
    const reach = centers.map((c, i) => (this.data.view === "G" ? c + radii[i] : radii[i] - c));
    return reach.indexOf(Math.max(...reach));
  }

  /** Where on its circle each disc has its grip: at the top, or so far beside it that no grip hides another. */
  turn(plane, { numbers, centers, radii }) {
    const placed = [];
    this.angles = new Map();
    if (numbers.length > 12) return;
    numbers.forEach((number, i) => {
      const spots = [90, 70, 110, 50, 130, 30, 150].map((degrees) => {
        const angle = (degrees * Math.PI) / 180;
        return { angle, x: plane.x(centers[i] + radii[i] * Math.cos(angle)), y: plane.y(radii[i] * Math.sin(angle)) };
      });
      const gap = (spot) => Math.min(...placed.map((other) => Math.hypot(other.x - spot.x, other.y - spot.y)), 24);
      const spot = spots.find((each) => gap(each) >= 24) ?? spots.reduce((a, b) => (gap(b) > gap(a) ? b : a));
      placed.push(spot); this.angles.set(number, spot.angle);
    });
  }

  /** The number of a disc at its top; of a small matrix a grip: pulled down, the disc shrinks and its q grows. */
  handle(grips, plane, show, i, bold, lit) {
    const number = show.numbers[i], { look } = this, angle = this.angles.get(number) ?? Math.PI / 2;
    const x = plane.x(show.centers[i] + show.radii[i] * Math.cos(angle)), y = plane.y(show.radii[i] * Math.sin(angle));
    const visible = x > plane.left - 9 && x < plane.left + plane.width + 9 && y > plane.top - 9 && y < plane.top + plane.height + 9;
    if (!visible) return;
    const colour = look.palette[bold ? 4 : 0];
    if (!this.state) {
      label(grips, `n${number}`, x, y - 5, number, look, { "text-anchor": "middle", "font-weight": 700 });
      return;
    }
    const knob = grips.put("circle", `g${number}`, { cx: x, cy: y, r: lit ? 12 : 10, fill: look.paper, stroke: colour, "stroke-width": bold ? 3 : 2, "data-grip": number, ...this.ranges(this.state.e[i]) });
    label(grips, `n${number}`, x, y + 4, number, look, { "text-anchor": "middle", "font-weight": bold ? 700 : 400, "pointer-events": "none" });
    if (knob.ready) return;
    knob.ready = true;
    knob.onfocus = () => this.light(number); knob.onblur = () => this.light(null);
    const at = number - 1;
    this.grip(knob, this.svg, "disc", {
      name: `q${number} at the top of disc ${number}: down is a smaller disc`, plane: () => this.plane,
      value: () => { const { centers, radii } = derive(this.state); return [centers[at], radii[at]]; },
      step: () => [0, Math.max(derive(this.state).radii[at] * 0.03, 1e-12)],
      move: ([, radius]) => {
        const now = derive(this.state).radii[at];
        if (now > 0) this.setOne(at, this.state.e[at] + Math.log2(now / Math.max(radius, 1e-300)));
      },
    });
  }

  ranges(e) { return { "aria-valuemin": -REACH, "aria-valuemax": REACH, "aria-valuenow": e.toFixed(3), "aria-valuetext": `q ${short(2 ** e, 3)}` }; }

  /** common.js's grip, which tells this picture when it is held. */
  grip(node, svg, kind, { move, ...more }) {
    grip(node, svg, {
      ...more, words: () => "", move: (to) => { this.held = kind; move(to); }, end: () => { if (this.held) this.sendExponents(); },
    });
    const start = node.onpointerdown;
    node.onpointerdown = (event) => { this.stop(); start(event); };
  }
  stop() { if (this.motion) { this.motion = null; this.range = this.goalRange; } }

  setOne(i, e) { this.state.e = this.state.e.with(i, clamp(e, -REACH, REACH)); this.retarget(false); }
  setExponents(e) { this.state = { ...this.state, e }; this.retarget(true); this.sendExponents(); }
  sendExponents() {
    this.state.e = this.state.e.map((x) => Math.round(1000 * x) / 1000 + 0);
    this.tell({ q: this.state.e });
  }
  tell(message) {
    this.held = null; this.sentAt = Date.now();
    this.setState("moved", { at: this.sentAt, ...message });
    this.retarget(true);
  }

  /** Lines at the bound, at the best that scaling can do, and at the extreme eigenvalue: each on a row of its own. */
  marks(plane, show, far) {
    const { look } = this, { marks } = this.sheets, slack = this.data.view !== "G";
    const scale = Math.max(...show.centers.map(Math.abs), ...show.radii, 1e-300), tidy = (x) => short(this.tidy(x, scale));
    const edge = slack ? show.centers[far] - show.radii[far] : show.centers[far] + show.radii[far];
    const name = `disc ${show.numbers[far]}`;
    const lines = slack
      ? [[edge, `left-most edge ${tidy(edge)}, ${name}`, "6 4", look.palette[4]],
         [show.eigenvalues[0], `smallest eigenvalue ${tidy(show.eigenvalues[0])}`, "", look.text],
         [0, "zero", "2 3", look.strong]]
      : [[edge, `right-most edge ${tidy(edge)}, ${name}`, "6 4", look.palette[4]],
         ...(this.point < 0 || this.state ? [[show.best, `best of any q ${tidy(show.best)}`, "2 3", look.palette[2]]] : []),
         [show.eigenvalues.at(-1), `largest eigenvalue ${tidy(show.eigenvalues.at(-1))}`, "", look.text]];
    lines.forEach(([value, words, dash, stroke], row) => {
      const x = plane.x(value), top = 14 + 15 * row, past = x + (slack ? 4 : -4);
      const anchor = slack && row === 2 ? "end" : slack ? (x + 190 > plane.left + plane.width ? "end" : "start") : (x < 190 ? "start" : "end");
      marks.put("line", `line ${row}`, { x1: x, x2: x, y1: top - 8, y2: plane.top + plane.height, stroke, "stroke-width": row ? 1.5 : 2.2, "stroke-dasharray": dash || null, "data-mark": value });
      label(marks, `text ${row}`, anchor === "start" ? Math.max(x, 0) + 4 : (slack ? x - 4 : past), top, words, look, { "text-anchor": anchor, "font-weight": row ? 400 : 700 });
    });
  }

  hover(event) {
    if (this.held || !this.plane || !this.show) return;
    const [x, y] = this.plane.at(event, this.svg), near = 9 / this.plane.kx;
    let found = null, least = near;
    this.show.numbers.forEach((number, i) => {
      const far = Math.abs(Math.hypot(x - this.show.centers[i], y) - this.show.radii[i]);
      if (far < least) [found, least] = [number, far];
    });
    this.light(found ?? (event.target.dataset?.grip ? +event.target.dataset.grip : null));
  }
  light(number) { if (this.lit !== number) { this.lit = number; this.draw(); } }

  /** How far the goal is, and what a screen reader hears. */
  words(show, far) {
    const { view } = this.data, [one] = [this.lit && show.numbers.indexOf(this.lit)];
    let words = "";
    if (one !== null && one >= 0 && show.numbers[one]) {
      const [c, r] = [show.centers[one], show.radii[one]];
      words = `Disc ${show.numbers[one]}: centre ${short(c)}, radius ${short(r)}, from ${short(c - r)} to ${short(c + r)}`;
    } else if (this.state && view === "G" && show.best > 0) {
      const flat = derive({ ...this.state, e: this.state.e.map(() => 0) }), start = this.seen(flat).edge;
      const way = (start - show.edge) / (start - show.best);
      words = show.edge <= 1.005 * show.best ? "Goal reached: no q pulls further." : `Goal: pull the right-most edge to ${short(show.best)}. ${way > 0 ? `${Math.floor(100 * way)} % of the way.` : ""}`;
    }
    set(this.goal, { text: words });
    if (!this.held && !this.motion) set(this.say, { text: `Disc ${show.numbers[far]} reaches furthest. ${words}` });
  }
}

export default function (component) { picture(component, Discs); }
