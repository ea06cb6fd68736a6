// Beside the discs: a slider for each q, the matrices as tables of numbers to drag, and the slider of the training.

/** What the picture of the discs is made on: it reads and writes `state`, `point`, `lit` and `held` of the picture. */
class DiscsSide {
  /** The tables beside the picture and the slider of the training: built again only when their shape changes. */
  build() {
    const { W, cells, frames, view } = this.data, shape = W ? `${W.length} ${W[0].length} ${view}` : `layer ${cells.length} ${view} ${frames?.length}`;
    if (shape === this.shape) return;
    this.shape = shape; this.tables.replaceChildren(); this.time.replaceChildren(); this.lit = null;
    this.cells = {}; this.scrubber = null;
    const rest = view === "G" ? "Q⁻¹ G Q" : "Q⁻¹ (T − G) Q";
    if (W) {
      this.table("W", "W, one column for each neuron: drag a number up or down", W, (i, j) => j + 1, (i, j) => this.number("W", i, j));
      if (view !== "G") this.table("T", "T: drag a number for a T of your own", [W[0]], (i, j) => j + 1, (i, j) => this.number("T", i, j));
      this.table("M", `${rest}: row i makes disc i`, square(W[0].length, () => 0), (i) => i + 1, null, view === "G" ? "right edge" : "left edge");
    } else {
      this.table("M", `${rest}${this.data.complex ? ", magnitudes" : ""}: row i makes disc i`, cells, (i) => i + 1, null);
      this.tables.lastChild.classList.add("small");
    }
    if (!frames?.length) return;
    const name = make(this.time, "label", { text: "Point of the training " });
    this.scrubber = make(name, "input", {
      type: "range", min: 0, max: frames.length, step: 1,
      oninput: () => { this.point = this.slid(); this.retarget(true, 0.15); },
      onchange: () => { this.point = this.slid(); this.tell({ point: this.point < 0 ? 100 : frames[this.point].point }); },
    });
    make(this.time, "button", { type: "button", text: "Play", onclick: () => this.play() });
    this.when = make(this.time, "span", { class: "numbers" });
  }
  slid() { const at = +this.scrubber.value; return at < this.data.frames.length ? at : -1; }
  /** From the first frame to now, once. */
  play() {
    clearInterval(this.playing);
    let at = 0;
    const step = () => {
      if (!this.root.isConnected || !this.data.frames) return clearInterval(this.playing);
      this.point = at < this.data.frames.length ? at++ : -1;
      this.retarget(true);
      if (this.point < 0) { clearInterval(this.playing); this.tell({ point: 100 }); }
    };
    step(); this.playing = setInterval(step, 450);
  }

  /** A table of cells; `disc(i, j)` is the disc that a cell belongs to, `drag(i, j)` makes it a number to drag. */
  table(name, caption, values, disc, drag, edge = "") {
    const table = make(this.tables, "table"), rows = [];
    make(table, "caption", { text: caption });
    const head = make(make(table, "thead"), "tr"), body = make(table, "tbody");
    if (edge) {
      make(head, "th", { text: "" });
      values[0].forEach((_, j) => make(head, "th", { text: j + 1, scope: "col" }));
      make(head, "th", { text: edge, scope: "col" });
    }
    values.forEach((row, i) => {
      const line = make(body, "tr");
      if (edge) make(line, "th", { text: i + 1, scope: "row" });
      rows.push(row.map((_, j) => {
        const cell = make(line, "td", { onpointerenter: () => this.light(disc(i, j)), onpointerleave: () => this.light(null) });
        cell.disc = disc(i, j);
        if (drag) this.dragged(cell, drag(i, j), `${name}${name === "T" ? "" : ` row ${i + 1}`} column ${j + 1}`);
        return cell;
      }));
      if (edge) { line.edge = make(line, "td", { class: "edge" }); rows.at(-1).edge = line.edge; }
      if (!drag && edge) set(line, { tabindex: 0, onfocus: () => this.light(i + 1), onblur: () => this.light(null) });
      rows.at(-1).line = line;
    });
    this.cells[name] = rows;
  }

  /** What a cell of W or T reads, writes and sends. */
  number(name, i, j) {
    const peak = (values) => Math.max(...values.map(Math.abs)), power = (x, part) => (x > 0 ? 10 ** Math.floor(Math.log10(x)) / part : 0.1);
    if (name === "W") return {
      get: () => this.state.W[i][j], step: () => power(peak(this.state.W.flat()), 10),
      put: (x) => { this.state.W = this.state.W.map((row, k) => (k === i ? row.with(j, clamp(x, -LARGEST, LARGEST)) : row)); },
      message: () => { this.state.W = this.state.W.map((row) => row.map((x) => rounded(x, 6))); return { w: this.state.W }; },
    };
    return {
      get: () => derive(this.state).t[j], step: () => power(peak(derive(this.state).t), 20),
      put: (x) => { this.state = { ...this.state, t: derive(this.state).t.with(j, clamp(x, 0, 16 * LARGEST ** 2)), rule: "own" }; },
      message: () => { this.state.t = this.state.t.map((x) => rounded(x, 6)); return { t: this.state.t }; },
    };
  }

  /** Make a cell a number to drag up and down, with the arrow keys as well. */
  dragged(cell, { get, step, put, message }, name) {
    set(cell, { tabindex: 0, role: "spinbutton", "aria-label": name, class: "free" });
    const write = (x, unit) => { this.held = "cell"; put(rounded(Math.round(x / unit) * unit, 9)); this.retarget(false); };
    const end = () => { if (this.held) this.tell(message()); };
    cell.onfocus = () => this.light(cell.disc); cell.onblur = () => this.light(null);
    cell.onpointerdown = (event) => {
      const from = event.clientY, start = get(), unit = step();
      this.stop(); cell.setPointerCapture(event.pointerId); cell.focus({ preventScroll: true }); event.preventDefault();
      cell.onpointermove = (e) => write(start + Math.round((from - e.clientY) / 3) * unit, unit);
      cell.onpointerup = cell.onpointercancel = () => { cell.onpointermove = cell.onpointerup = cell.onpointercancel = null; end(); };
    };
    cell.onkeydown = (event) => {
      const way = { ArrowUp: 1, ArrowDown: -1 }[event.key];
      if (!way) return;
      event.preventDefault();
      write(get() + way * step() * (event.shiftKey ? 10 : 1), step());
      clearTimeout(cell.waiting); cell.waiting = setTimeout(end, 400);
    };
  }

  paintTables() {
    const { look } = this, live = this.state && this.data.W ? derive(this.state) : null;
    const values = live ? { W: this.state.W, T: [live.t], M: live.cells } : { M: this.data.cells };
    for (const [name, rows] of Object.entries(this.cells)) {
      const peak = Math.max(...values[name].flat().map(Math.abs), 1e-300);
      rows.forEach((row, i) => {
        row.forEach((cell, j) => {
          const value = values[name][i][j], part = Math.round(110 * Math.min(Math.abs(value) / peak, 1));
          cell.style.background = look.palette[value < 0 ? 4 : 0] + part.toString(16).padStart(2, "0");
          cell.classList.toggle("lit", this.lit === cell.disc);
          if (live) set(cell, { text: short(value, 3) });
          if (cell.classList.contains("free")) set(cell, { "aria-valuenow": rounded(value, 4), "aria-valuetext": short(value, 4) });
        });
        if (live && row.edge) set(row.edge, { text: short(this.data.view === "G" ? live.centers[i] + live.radii[i] : this.tidy(live.centers[i] - live.radii[i], peak), 3) });
      });
    }
    this.tables.classList.toggle("stale", this.point >= 0 && !live); // the matrix is that of now
    if (!this.scrubber) return;
    const { frames, epochs } = this.data, at = this.point < 0 ? frames.length : this.point;
    if (+this.scrubber.value !== at) this.scrubber.value = at;
    const words = this.point < 0 ? "now" : `epoch ${frames[at].epoch} of ${epochs}`;
    set(this.when, { text: words }); set(this.scrubber, { "aria-valuetext": words });
  }
  tidy(x, scale) { return Math.abs(x) < 1e-9 * scale ? 0 : x; }

  /** One vertical slider for each q. */
  paintKnobs() {
    const { look, knobs, state } = this, n = state.e.length, width = Math.round(this.side.clientWidth), height = 98;
    set(this.sliders, { viewBox: `0 0 ${width} ${height}` });
    const plane = (this.tracks = new Plane({ left: 32, top: 24, width: width - 36, height: height - 44 }, [0, n], [-REACH, REACH], false));
    knobs.begin();
    for (const e of [-3, 0, 3]) {
      knobs.put("line", `grid ${e}`, { x1: 32, x2: width, y1: plane.y(e), y2: plane.y(e), stroke: look.grid });
      label(knobs, `tick ${e}`, 26, plane.y(e) + 4, e < 0 ? "1/8" : 2 ** e, look, { "text-anchor": "end", fill: look.strong });
    }
    state.e.forEach((e, i) => {
      const x = plane.x(i + 0.5), lit = this.lit === i + 1;
      knobs.put("line", `track ${i}`, { x1: x, x2: x, y1: plane.y(REACH), y2: plane.y(-REACH), stroke: look.strong, "stroke-width": 2 });
      label(knobs, `name ${i}`, x, height - 4, `q${i + 1}`, look, { "text-anchor": "middle", "font-weight": lit ? 700 : 400 });
      label(knobs, `value ${i}`, x, 12, short(2 ** e, 3), look, { "text-anchor": "middle" });
      const knob = knobs.put("circle", `knob ${i}`, { cx: x, cy: plane.y(e), r: lit ? 11 : 9, fill: look.palette[0], stroke: look.paper, "stroke-width": 2, "data-knob": i + 1, ...this.ranges(e) });
      if (knob.ready) return;
      knob.ready = true;
      knob.onpointerenter = knob.onfocus = () => this.light(i + 1); knob.onpointerleave = knob.onblur = () => this.light(null);
      this.grip(knob, this.sliders, "slider", {
        name: `q${i + 1}`, plane: () => this.tracks, value: () => [i, this.state.e[i]], step: () => [0, 0.05], move: ([, to]) => this.setOne(i, to),
      });
    });
    knobs.end();
  }
}
