// Two neurons: the plane of T = diag(t1, t2) with the region G = W^T W <= T, the unit circle and its image, the
// eigenvalues of T - G, and W itself. Everything moves in the browser; Python hears of it once it is let go.
//
// For tests, the <div class="lv"> has a property `condition`: solve(w, t, q), image(B, form), toEdge(w, t), state() and places(), which
// gives the places of what can be dragged, in pixels of their own pictures.

const Condition = {
  /** G = W^T W for w = [w11, w12, w21, w22]: {a: G11, b: G12, d: G22}. */
  gram([p, q, r, s]) { return { a: p * p + r * r, b: p * q + r * s, d: q * q + s * s }; },
  /** Eigenvalues of [[a, b], [b, d]] and the unit eigenvector of the larger one. */
  eigen(a, b, d) {
    const mean = (a + d) / 2, half = (a - d) / 2, r = Math.hypot(half, b);
    const angle = r > 0 ? Math.atan2(b, half) / 2 : 0;
    return { low: mean - r, high: mean + r, top: [Math.cos(angle), Math.sin(angle)] };
  },
  /** All that the page shows of W, T and q2/q1 = 2^q. */
  solve(w, t, q) {
    const G = Condition.gram(w), S = Condition.eigen(t[0] - G.a, -G.b, t[1] - G.d), c = Math.abs(G.b), r = 2 ** q;
    const tolerance = 1e-12 * Math.max(t[0], t[1], G.a, G.d);
    const root = t.map((x) => (x > 0 ? 1 / Math.sqrt(x) : 0)); // T > 0 but where a column of W is zero
    const B = [w[0] * root[0], w[1] * root[1], w[2] * root[0], w[3] * root[1]];
    const H = Condition.gram(B), K = Condition.eigen(H.a, H.b, H.d), norm = Math.sqrt(Math.max(K.high, 0));
    const top = Condition.eigen(G.a, G.b, G.d).high;
    return {
      G, B, norm, slack: S.low, other: S.high, trace: t[0] + t[1],
      state: S.low < -tolerance ? "fails" : S.low <= tolerance ? "on the edge" : "holds",
      aol: [G.a + c, G.d + c], sll: [G.a + c * r, G.d + c / r], cpl: [top, top],
    };
  },
  /** The point of the edge on the diagonal line through t. */
  toEdge(w, t) {
    const G = Condition.gram(w), s = Condition.eigen(t[0] - G.a, -G.b, t[1] - G.d).low;
    return [Math.max(t[0] - s, 0), Math.max(t[1] - s, 0)];
  },
  /** M = W T^{-1/2}, or I - 2 W T^{-1} W^T, as [m11, m12, m21, m22]; the longest image of a unit vector, and its length. */
  image(B, form) {
    const [p, q, r, s] = B, off = -2 * (p * r + q * s);
    const M = form === "affine" ? B : [1 - 2 * (p * p + q * q), off, off, 1 - 2 * (r * r + s * s)];
    const H = Condition.gram(M), K = Condition.eigen(H.a, H.b, H.d), [x, y] = K.top;
    return { M, stretch: Math.sqrt(Math.max(K.high, 0)), tip: [M[0] * x + M[1] * y, M[2] * x + M[3] * y] };
  },
};

const WIDE = 4; // of log2(q2/q1)
const LARGEST = 100; // entry of W

class ConditionPicture {
  constructor(root) {
    this.root = root; this.frames = {}; this.dragged = null;
    this.row = make(root, "div", { class: "cd-row" });
    const svg = (place, name) => make(place, "svg", { role: "group", "aria-label": name }, SVG);
    const [region, circle, weight] = ["region", "circle", "weight"].map((name) => make(this.row, "div", { class: `cd-${name}` }));
    this.parts = {
      region: svg(region, "The plane of T: the region where the condition holds, its edge, and the rules"),
      circle: svg(circle, "The unit circle and its image"),
      bars: svg(circle, "The two eigenvalues of T - G"),
      weight: svg(weight, "The two columns of W as arrows"),
    };
    this.sheets = Object.fromEntries(Object.entries(this.parts).map(([name, node]) => [name, new Sheet(node)]));
    this.clips(); this.matrix(weight);
    this.said = make(root, "div", { class: "say", "aria-live": "polite" });
    const bar = buttons(root, [
      ["T to AOL", () => this.jump("aol")], ["T to SLL", () => this.jump("sll")], ["T to CPL", () => this.jump("cpl")],
      ["T to the edge", () => this.jump(null)], ["SVG", () => this.svg()], ["CSV", () => this.csv()],
    ]);
    this.live = make(bar, "span", { class: "numbers" });
    this.draw = framed(() => this.paint());
    new ResizeObserver(this.draw).observe(root);
    root.condition = {
      solve: Condition.solve, image: Condition.image, toEdge: Condition.toEdge,
      state: () => ({ w: this.w, t: this.t, q: this.q, edge: this.edge, form: this.form }),
      places: () => ({ t: this.spot(this.t), sll: this.spot(this.now.sll), aol: this.spot(this.now.aol), w1: this.tip(0), w2: this.tip(1) }),
    };
  }
  update(component) {
    this.look = component.data.look; this.styles = component.data.styles; this.form = component.data.form;
    this.send = component.setTriggerValue; // a state that is sent a second time would call nothing
    if (!this.dragged) {
      const { w, t, q, edge } = component.data;
      Object.assign(this, { w: [...w], t: [...t], q, edge });
    }
    this.draw();
  }
  // ---- what the visitor does ----
  start(what) { this.dragged = what; }
  stop() {
    this.dragged = null; this.draw();
    this.said.textContent = this.words();
    this.send("moved", { w: this.w, t: this.t, q: this.q, edge: this.edge });
  }
  /** Put T somewhere in view; within a few pixels of the edge it snaps to it, unless the keyboard moves it. */
  move([x, y], event) {
    this.start("t");
    const { plane } = this.frames.region, least = 0.004 * this.frames.size;
    this.t = [Math.min(Math.max(x, plane.xs[0], least), plane.xs[1]), Math.min(Math.max(y, plane.ys[0], least), plane.ys[1])];
    const near = Condition.toEdge(this.w, this.t);
    this.edge = event.type !== "keydown" && Math.abs(near[0] - this.t[0]) * plane.kx < 5;
    if (this.edge) this.t = near;
    this.draw();
  }
  slide([x, y]) { // the marker of SLL: (t1 - G11) / (t2 - G22) = (q2/q1)^2
    this.start("q");
    const G = this.now.G, tiny = 1e-9 * this.frames.size;
    const ratio = Math.max(x - G.a, tiny) / Math.max(y - G.d, tiny);
    this.q = Math.min(Math.max(Math.log2(ratio) / 2, -WIDE), WIDE);
    this.draw();
  }
  weigh(index, value) {
    this.start("w");
    this.w[index] = Math.min(Math.max(value, -LARGEST), LARGEST);
    if (this.edge) this.t = Condition.toEdge(this.w, this.t);
    this.draw();
  }
  jump(name) {
    this.t = name ? [...this.now[name]] : Condition.toEdge(this.w, this.t);
    this.edge = true; this.stop();
  }
  words() {
    const now = this.now;
    const worst = this.form === "residual" ? ` · worst piece ${short(Math.max(1, 2 * now.norm ** 2 - 1))}` : "";
    const low = now.state === "on the edge" ? "0" : short(now.slack, 3);
    return `live: ${now.state} · smallest eigenvalue ${low} · trace ${short(now.trace)} · norm ${short(now.norm)}${worst}`;
  }
  // ---- W as numbers ----
  matrix(place) {
    const line = make(place, "div");
    make(line, "span", { text: "W = " });
    const grid = make(line, "div", { class: "cd-matrix", role: "group", "aria-label": "W" });
    this.cells = [0, 1, 2, 3].map((i) => this.cell(make(grid, "div", { class: "cd-entry", role: "spinbutton", tabindex: 0 }), i));
    place.insertBefore(line, place.firstChild);
    const field = make(place, "label", { class: "cd-q" });
    this.qname = make(field, "span");
    this.slider = make(field, "input", {
      type: "range", min: -WIDE, max: WIDE, step: 0.01,
      oninput: () => { this.start("q"); this.q = +this.slider.value; this.draw(); }, onchange: () => this.stop(),
    });
  }
  cell(node, i) {
    const step = () => Math.max(0.01, 0.01 * 10 ** Math.floor(Math.log10(Math.max(...this.w.map(Math.abs), 1))));
    const later = () => { clearTimeout(node.waiting); node.waiting = setTimeout(() => this.stop(), 400); };
    const tidy = (x) => +x.toFixed(6);
    set(node, {
      "aria-label": `W, row ${1 + (i >> 1)}, column ${1 + (i & 1)}`, title: "Drag up or down, or use the arrow keys",
      onpointerdown: (event) => {
        const from = event.clientY, before = this.w[i], unit = step();
        node.setPointerCapture(event.pointerId); node.focus({ preventScroll: true }); event.preventDefault();
        node.onpointermove = (e) => this.weigh(i, tidy(before + Math.round((from - e.clientY) / 1.5) * unit));
        node.onpointerup = node.onpointercancel = () => {
          node.onpointermove = node.onpointerup = node.onpointercancel = null; this.stop();
        };
      },
      onkeydown: (event) => {
        const way = { ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1, PageUp: 10, PageDown: -10 }[event.key];
        if (!way) return;
        event.preventDefault(); this.weigh(i, tidy(this.w[i] + way * step() * (event.shiftKey ? 10 : 5))); later();
      },
    });
    node.addEventListener("wheel", (event) => { // the page scrolls, unless this very number was chosen
      if (node.getRootNode().activeElement !== node || !event.deltaY) return;
      event.preventDefault(); this.weigh(i, tidy(this.w[i] - Math.sign(event.deltaY) * step() * 5)); later();
    }, { passive: false });
    return node;
  }
  // ---- what is drawn ----
  clips() { // ids are known within this picture only; its parts lie in one shadow tree and in one exported file
    const rule = (svg, id, tag) => make(make(make(svg, "defs", {}, SVG), "clipPath", { id }, SVG), tag, {}, SVG);
    this.clip = {
      region: rule(this.parts.region, "cd-clip-region", "rect"), circle: rule(this.parts.circle, "cd-clip-circle", "rect"),
      outside: rule(this.parts.circle, "cd-clip-outside", "path"),
    };
  }
  /** One unit of a picture is one pixel of the screen, so that letters keep their size. */
  fit(name, height) {
    const svg = this.parts[name], width = Math.max(svg.clientWidth || svg.parentNode.clientWidth, 200), h = Math.round(height(width));
    set(svg, { viewBox: `0 0 ${width} ${h}` });
    return [width, h];
  }
  spot([x, y]) { const { plane } = this.frames.region; return [plane.x(x), plane.y(y)]; }
  tip(j) { const { plane } = this.frames.weight; return [plane.x(this.w[j]), plane.y(this.w[2 + j])]; }
  /** The window of the region follows W at once, stands still while T or q is dragged, and then glides. */
  view(now) {
    const { a, d } = now.G, points = [now.aol, now.cpl, now.sll, this.t];
    const reach = (i, g) => Math.max(...points.map((p) => p[i] - g), 0.25 * Math.max(a, d));
    const far = Math.max(reach(0, a), reach(1, d)) || 1;
    const low = [Math.max(0, a - 3 * far), Math.max(0, d - 3 * far)];
    const size = 1.1 * Math.max(...points.map((p) => Math.max(p[0] - low[0], p[1] - low[1])), 0.5 * far);
    const goal = [low[0], low[1], size], old = this.window;
    if (!old || this.dragged === "w" || matchMedia("(prefers-reduced-motion: reduce)").matches && !this.dragged) return (this.window = goal);
    if (this.dragged) return old;
    const left = Math.max(...goal.map((x, i) => Math.abs(x - old[i]))) / size;
    if (left < 0.003) return (this.window = goal);
    this.draw();
    return (this.window = old.map((x, i) => x + 0.25 * (goal[i] - x)));
  }
  colour() { const p = this.look.palette; return { holds: p[2], "on the edge": p[8], fails: p[4] }[this.now.state]; }
  paint() {
    if (!this.w || !this.look) return;
    this.now = Condition.solve(this.w, this.t, this.q);
    this.region(); this.circle(); this.bars(); this.weight();
    this.live.textContent = this.words();
    this.cells.forEach((cell, i) => set(cell, { text: short(this.w[i]), "aria-valuenow": this.w[i], "aria-valuetext": short(this.w[i]) }));
    set(this.qname, { text: `SLL: log2(q2/q1) = ${this.q.toFixed(2)}` });
    if (this.dragged !== "q" || +this.slider.value !== this.q) this.slider.value = this.q;
  }
  region() {
    const [width, height] = this.fit("region", (w) => Math.min(0.86 * w, 340));
    const now = this.now, { look } = this, { palette } = look, [x0, y0, size] = this.view(now);
    const box = { left: 44, top: 22, width: width - 54, height: height - 60 }, wide = box.width / box.height;
    const plane = new Plane(box, [x0 - 0.04 * size, x0 + size * Math.max(wide, 1)], [y0 - 0.04 * size, y0 + size / Math.min(wide, 1)]);
    this.frames.region = { plane }; this.frames.size = size;
    set(this.clip.region, { x: box.left, y: box.top, width: box.width, height: box.height });
    const sheet = this.sheets.region, inside = { "clip-path": "url(#cd-clip-region)" };
    sheet.begin();
    const { a, b, d } = now.G, c = Math.abs(b), [right, high] = [plane.xs[1] + size, plane.ys[1] + size], edge = [];
    if (c > 0) {
      const from = Math.log(c / (high - d)), to = Math.log((right - a) / c); // t1 - G11 = c e^s, t2 - G22 = c e^-s
      for (let k = 0; k <= 200; k++) { const s = from + (k / 200) * (to - from); edge.push([a + c * Math.exp(s), d + c * Math.exp(-s)]); }
      edge.push([a + c, d + c]); edge.sort((p, q) => p[0] - q[0] || q[1] - p[1]);
    } else edge.push([a, high], [a, d], [right, d]);
    sheet.put("path", "holds", { d: plane.path([...edge, [right, high]], true), fill: palette[2], "fill-opacity": look.dark ? 0.2 : 0.14, ...inside });
    plane.axes(sheet, "axes", look, ["t1", "t2"]);
    sheet.put("path", "diagonal", { d: plane.path([[0, 0], [right + high, right + high]]), stroke: look.strong, "stroke-dasharray": "2 5", fill: "none", ...inside });
    if (c > 0) for (const [key, path] of [["G11", [[a, 0], [a, high]]], ["G22", [[0, d], [right, d]]]])
      sheet.put("path", key, { d: plane.path(path), stroke: look.strong, "stroke-dasharray": "6 4", fill: "none", "stroke-opacity": 0.6, ...inside });
    sheet.put("path", "edge", { d: plane.path(edge), stroke: look.text, "stroke-width": 2.2, fill: "none", ...inside });
    label(sheet, "region name", box.left + box.width - 6, box.top + 16, box.width > 330 ? "T − WᵀW ≥ 0: condition holds" : "holds", look, { "text-anchor": "end" });
    const taken = [[box.left + box.width - 190, box.top, 190, 20]];
    this.names(sheet, plane, taken);
    this.grips(sheet, plane, taken);
    sheet.end();
  }
  /** A name beside a marker, at the first of eight places that is free and in view. */
  name(sheet, plane, taken, key, text, [x, y], colour) {
    const w = 7 * text.length, boxes = key === "t" ? [[14, -12], [14, 24], [-14 - w, -12], [-14 - w, 24], [-w / 2, -20], [-w / 2, 34]] : [[-12 - w, 20], [12, -10], [12, 22], [-12 - w, -10], [-w / 2, 30], [-w / 2, -18], [-12 - w, 38], [12, 40]];
    const free = ([l, t]) => l >= plane.left && l + w <= plane.left + plane.width && t >= plane.top && t + 14 <= plane.top + plane.height &&
      !taken.some(([L, T, W, H]) => l < L + W && L < l + w && t < T + H && T < t + 14);
    const places = boxes.map(([dx, dy]) => [x + dx, y + dy - 11]), [left, top] = places.find(free) ?? places[1];
    taken.push([left, top, w, 14]);
    label(sheet, `${key} name`, left, top + 11, text, this.look, { fill: colour, "font-weight": 600, stroke: this.look.paper, "stroke-width": 3, "paint-order": "stroke" });
  }
  names(sheet, plane, taken) {
    const inside = ([x, y]) => x >= plane.left - 1 && x <= plane.left + plane.width + 1 && y >= plane.top - 1 && y <= plane.top + plane.height + 1;
    const words = { cpl: "CPL, spectral", aol: "AOL", sll: "SLL" }, named = [];
    const spots = Object.fromEntries(["cpl", "aol", "sll"].map((k) => [k, this.spot(this.now[k])]));
    for (const [x, y] of [...Object.values(spots), this.spot(this.t)]) taken.push([x - 8, y - 8, 16, 16]);
    for (const [key, at] of Object.entries(spots)) {
      if (!inside(at)) continue;
      const [colour, marker] = this.styles[key], same = named.find((one) => Math.hypot(one.at[0] - at[0], one.at[1] - at[1]) < 4);
      shape(sheet, key, marker, ...at, { cpl: 8, aol: 7, sll: 5.5 }[key], { fill: this.look.palette[colour], stroke: this.look.paper, "stroke-width": 1.5 });
      if (same) same.text += ` = ${words[key]}`; // rules in one place share one name
      else named.push({ key, at, text: words[key] });
    }
    for (const { key, at, text } of named) this.name(sheet, plane, taken, key, text, at, this.look.text);
  }
  grips(sheet, plane, taken) {
    const [x, y] = this.spot(this.t), colour = this.colour(), [sx, sy] = this.spot(this.now.sll);
    const share = { svg: this.parts.region, plane: () => this.frames.region.plane, end: () => this.stop() };
    const step = () => [0.005 * this.frames.size, 0.005 * this.frames.size];
    const sll = sheet.put("circle", "sll grip", { cx: sx, cy: sy, r: 14, fill: "transparent" });
    grip(sll, share.svg, {
      ...share, name: "SLL on the edge: q2/q1", words: () => `log2 of q2/q1 ${this.q.toFixed(2)}`, value: () => this.now.sll, step, move: (p) => this.slide(p),
    });
    sheet.put("circle", "t ring", { cx: x, cy: y, r: 9, fill: this.look.paper, "fill-opacity": 0.35, stroke: colour, "stroke-width": 3.5 });
    sheet.put("circle", "t dot", { cx: x, cy: y, r: 2.5, fill: colour });
    const said = { holds: "T holds", "on the edge": "T on the edge", fails: "T fails" }[this.now.state];
    this.name(sheet, plane, taken, "t", said, [x, y], colour);
    const node = sheet.put("circle", "t grip", { cx: x, cy: y, r: 18, fill: "transparent" });
    grip(node, share.svg, {
      ...share, name: "T", words: () => `t1 ${short(this.t[0])}, t2 ${short(this.t[1])}, ${said}`, value: () => this.t, step, move: (p, e) => this.move(p, e),
    });
  }
  circle() {
    const [width, height] = this.fit("circle", (w) => Math.min(w, 254)), { look, now } = this, sheet = this.sheets.circle;
    const { M, stretch, tip } = Condition.image(now.B, this.form);
    const far = Math.min(Math.max(1.35, 1.12 * stretch), 4);
    const box = { left: 4, top: 22, width: width - 8, height: height - 26 }, plane = new Plane(box, [-far, far], [-far, far]);
    set(this.clip.circle, { x: box.left, y: box.top, width: box.width, height: box.height });
    const at = (k) => { const s = (2 * Math.PI * k) / 180; return [Math.cos(s), Math.sin(s)]; }, ring = Array.from({ length: 180 }, (_, k) => at(k));
    const image = plane.path(ring.map(([x, y]) => [M[0] * x + M[1] * y, M[2] * x + M[3] * y]), true);
    set(this.clip.outside, { d: `M${box.left} ${box.top}h${box.width}v${box.height}h${-box.width}Z${plane.path(ring, true)}`, "clip-rule": "evenodd" });
    const colour = this.colour(), inside = { "clip-path": "url(#cd-clip-circle)" }, fails = now.state === "fails";
    sheet.begin();
    label(sheet, "title", 4, 14, `unit circle, image under ${this.form === "affine" ? "W T^(−1/2)" : "I − 2 W T⁻¹ Wᵀ"}`, look);
    for (const [key, path] of [["x", [[-far * 2, 0], [far * 2, 0]]], ["y", [[0, -far], [0, far]]]])
      sheet.put("path", key, { d: plane.path(path), stroke: look.grid, fill: "none", ...inside });
    sheet.put("path", "image", { d: image, fill: colour, "fill-opacity": 0.22, stroke: colour, "stroke-width": 2, ...inside });
    if (fails) sheet.put("path", "poke", { d: image, fill: colour, "fill-opacity": 0.85, "clip-path": "url(#cd-clip-outside)" });
    sheet.put("circle", "unit", { cx: plane.x(0), cy: plane.y(0), r: plane.kx, fill: "none", stroke: look.text, "stroke-width": 2 });
    if (stretch > 0) {
      sheet.put("path", "direction", { d: plane.path([tip.map((x) => -x), tip]), stroke: look.text, "stroke-width": 1.5, "stroke-dasharray": fails ? "none" : "4 3", fill: "none", ...inside });
      for (const s of [1, -1]) shape(sheet, `tip ${s}`, fails ? "triangle" : "circle", plane.x(s * tip[0]), plane.y(s * tip[1]), fails ? 6 : 4, { fill: fails ? colour : look.text, stroke: look.paper });
      label(sheet, "length", width / 2, height - 5, `longest image: ${short(stretch, 3)} times as long`, look,
        { "text-anchor": "middle", "font-weight": 600, fill: fails ? colour : look.text, stroke: look.paper, "stroke-width": 3, "paint-order": "stroke" });
    }
    sheet.end();
  }
  bars() {
    const [width, height] = this.fit("bars", () => 80), { look, now } = this, sheet = this.sheets.bars, size = this.frames.size;
    const zero = 0.33 * width, k = (0.6 * width) / size, colour = this.colour();
    sheet.begin();
    label(sheet, "title", 4, 14, "eigenvalues of T − WᵀW", look);
    [now.other, now.slack].forEach((value, i) => {
      const y = 24 + 26 * i, length = Math.max(Math.min(value * k, width - zero - 4), 4 - zero), minus = value < 0;
      const mine = i === 1 ? colour : look.palette[2], word = i === 1 && now.state === "on the edge" ? "0" : `${minus ? "−" : "+"}${short(Math.abs(value), 3)}`;
      sheet.put("rect", `bar ${i}`, { x: Math.min(zero, zero + length), y, width: Math.max(Math.abs(length), 0.5), height: 18, fill: mine, "fill-opacity": i ? 0.85 : 0.45 });
      label(sheet, `value ${i}`, minus ? zero + 6 : zero - 6, y + 14, word, look, { "text-anchor": minus ? "start" : "end", "font-weight": i ? 600 : 400 });
    });
    sheet.put("line", "zero", { x1: zero, x2: zero, y1: 20, y2: height - 6, stroke: look.text, "stroke-width": 1.5 });
    sheet.end();
  }
  weight() {
    const [width, height] = this.fit("weight", (w) => Math.min(w, 210)), { look, w } = this, sheet = this.sheets.weight;
    const want = 1.3 * (Math.max(...w.map(Math.abs)) || 1);
    if (this.dragged !== "w" || !this.reach || want > 1.29 * this.reach) this.reach = want;
    const box = { left: 4, top: 18, width: width - 8, height: height - 22 }, plane = new Plane(box, [-this.reach, this.reach], [-this.reach, this.reach]);
    this.frames.weight = { plane };
    sheet.begin();
    label(sheet, "title", 4, 12, "columns of W: drag their ends", look);
    for (const [key, path] of [["x", [[plane.xs[0], 0], [plane.xs[1], 0]]], ["y", [[0, plane.ys[0]], [0, plane.ys[1]]]]])
      sheet.put("path", key, { d: plane.path(path), stroke: look.grid, "stroke-width": 1.5, fill: "none" });
    for (const j of [0, 1]) {
      const [x, y] = this.tip(j), colour = look.palette[[8, 9][j]], angle = (Math.atan2(y - plane.y(0), x - plane.x(0)) * 180) / Math.PI;
      sheet.put("path", `shaft ${j}`, { d: `M${plane.x(0)} ${plane.y(0)}L${x} ${y}`, stroke: colour, "stroke-width": 3, "stroke-dasharray": j ? "7 4" : "none" });
      sheet.put("path", `head ${j}`, { d: "M4 0L-9 -6L-9 6Z", transform: `translate(${x} ${y}) rotate(${angle})`, fill: colour });
      label(sheet, `name ${j}`, x + (x > width - 30 ? -24 : 9), y + (y < 40 ? 18 : -8), `w${j + 1}`, look, { fill: colour, "font-weight": 600 });
      const node = sheet.put("circle", `grip ${j}`, { cx: x, cy: y, r: 16, fill: "transparent" });
      grip(node, this.parts.weight, {
        name: `Column ${j + 1} of W`, words: () => `${short(w[j])}, ${short(w[2 + j])}`, plane: () => this.frames.weight.plane, value: () => [w[j], w[2 + j]],
        step: () => [0.01 * this.reach, 0.01 * this.reach],
        move: ([a, b]) => { const tidy = (v) => +v.toPrecision(3); this.weigh(j, tidy(a)); this.weigh(2 + j, tidy(b)); }, end: () => this.stop(),
      });
    }
    sheet.end();
  }
  // ---- files ----
  svg() { // the four parts side by side in one picture
    const whole = document.createElementNS(SVG, "svg"), gap = 16, sizes = {};
    for (const [name, svg] of Object.entries(this.parts)) sizes[name] = svg.viewBox.baseVal;
    const place = (name, x, y) => { const copy = this.parts[name].cloneNode(true); set(copy, { x, y, width: sizes[name].width, height: sizes[name].height }); whole.appendChild(copy); };
    const second = gap + sizes.region.width + gap, third = second + sizes.circle.width + gap;
    place("region", gap, gap); place("circle", second, gap); place("bars", second, gap + sizes.circle.height + gap); place("weight", third, gap);
    const tall = Math.max(sizes.region.height, sizes.circle.height + gap + sizes.bars.height, sizes.weight.height);
    set(whole, { viewBox: `0 0 ${third + sizes.weight.width + gap} ${tall + 2 * gap}` });
    saveSvg(whole, "condition", this.look);
  }
  csv() {
    const rows = [["AOL", this.now.aol], ["SLL", this.now.sll], ["CPL spectral", this.now.cpl], ["own T", this.t]].map(([name, t]) => {
      const found = Condition.solve(this.w, t, this.q);
      return [name, ...t, found.trace, found.slack, found.state];
    });
    saveCsv("condition", ["rule", "t1", "t2", "trace", "smallest eigenvalue of T - G", "condition"], rows);
  }
}
export default function (component) { picture(component, ConditionPicture); }
