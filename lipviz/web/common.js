// What the pictures share: a sheet of SVG nodes, a plane with equal axes, grips to drag, exports. No module of its own:
// lipviz/ui_canvas.py puts it in front of each picture's file. Texts are set with textContent only, never as HTML.

const SVG = "http://www.w3.org/2000/svg";
const instances = new WeakMap();

/** The picture of this place on the page: built once, then told of every change of its data. */
function picture(component, Kind) {
  const parent = component.parentElement;
  if (!instances.has(parent)) instances.set(parent, new Kind(parent.querySelector(".lv"), component));
  instances.get(parent).update(component);
}

/** A child of `parent`: tag, attributes (on... are handlers, text is its text). */
function make(parent, tag, attributes = {}, space = null) {
  const made = space ? document.createElementNS(space, tag) : document.createElement(tag);
  set(made, attributes);
  parent.appendChild(made);
  return made;
}

function set(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "text") { if (element.textContent !== String(value)) element.textContent = value; }
    else if (name.startsWith("on")) element[name] = value; // assignment: a second update does not add a second handler
    else if (value === null || value === undefined || value === false) element.removeAttribute(name);
    else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
  }
  return element;
}

/** SVG that is drawn anew in each frame, while its nodes live on: a grip keeps its focus and its pointer. */
class Sheet {
  constructor(svg) { this.svg = svg; this.nodes = new Map(); this.seen = new Set(); }
  begin() { this.seen.clear(); this.last = null; }
  /** The node of this key with these attributes; nodes lie over each other in the order of their first frame. */
  put(tag, key, attributes) {
    let node = this.nodes.get(key);
    if (!node) this.nodes.set(key, (node = make(this.svg, tag, {}, SVG)));
    this.seen.add(key);
    return set(node, attributes);
  }
  end() {
    for (const [key, node] of this.nodes) if (!this.seen.has(key)) { node.remove(); this.nodes.delete(key); }
  }
}

/** A part of a sheet with two axes of its own. `equal`: one scale for both, so that circles are circles. */
class Plane {
  constructor(box, x, y, equal = true) {
    Object.assign(this, box); // left, top, width, height in pixels of the sheet
    let kx = this.width / (x[1] - x[0]), ky = this.height / (y[1] - y[0]);
    if (equal) kx = ky = Math.min(kx, ky);
    const cx = (x[0] + x[1]) / 2, cy = (y[0] + y[1]) / 2;
    this.kx = kx; this.ky = ky;
    this.xs = [cx - this.width / 2 / kx, cx + this.width / 2 / kx];
    this.ys = [cy - this.height / 2 / ky, cy + this.height / 2 / ky];
  }
  x(value) { return this.left + (value - this.xs[0]) * this.kx; }
  y(value) { return this.top + (this.ys[1] - value) * this.ky; }
  /** [x, y] of a pointer event, in units of the axes. */
  at(event, svg) {
    const p = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    return [this.xs[0] + (p.x - this.left) / this.kx, this.ys[1] - (p.y - this.top) / this.ky];
  }
  /** SVG path through points [[x, y], ...]. */
  path(points, close = false) {
    return points.map(([x, y], i) => `${i ? "L" : "M"}${this.x(x).toFixed(2)} ${this.y(y).toFixed(2)}`).join("") + (close ? "Z" : "");
  }
  /** Frame, ticks and titles. */
  axes(sheet, key, look, titles = ["", ""]) {
    sheet.put("rect", `${key} frame`, { x: this.left, y: this.top, width: this.width, height: this.height, fill: "none", stroke: look.grid });
    for (const value of ticks(this.xs, this.width / 70)) {
      const x = this.x(value);
      sheet.put("line", `${key} x ${value}`, { x1: x, x2: x, y1: this.top, y2: this.top + this.height, stroke: look.grid });
      label(sheet, `${key} tx ${value}`, x, this.top + this.height + 14, short(value), look, { "text-anchor": "middle", fill: look.strong });
    }
    for (const value of ticks(this.ys, this.height / 50)) {
      const y = this.y(value);
      sheet.put("line", `${key} y ${value}`, { y1: y, y2: y, x1: this.left, x2: this.left + this.width, stroke: look.grid });
      label(sheet, `${key} ty ${value}`, this.left - 5, y + 4, short(value), look, { "text-anchor": "end", fill: look.strong });
    }
    if (titles[0]) label(sheet, `${key} title x`, this.left + this.width, this.top + this.height + 30, titles[0], look, { "text-anchor": "end" });
    if (titles[1]) label(sheet, `${key} title y`, this.left, this.top - 8, titles[1], look, {});
  }
}

function label(sheet, key, x, y, text, look, attributes = {}) {
  return sheet.put("text", key, { x, y, text, fill: look.text, "font-size": 12, "font-family": look.font, ...attributes });
}

/** Round numbers within [low, high], about `count` of them. */
function ticks([low, high], count) {
  const raw = (high - low) / Math.max(2, count), power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((k) => k * power).find((s) => s >= raw);
  const found = [];
  for (let i = Math.ceil(low / step); i * step <= high; i++) found.push(+(i * step).toPrecision(12));
  return found;
}

/** A number as a person writes it. */
function short(value, digits = 4) {
  if (!Number.isFinite(value)) return value > 0 ? "∞" : value < 0 ? "-∞" : "not a number";
  const text = String(+value.toPrecision(digits));
  return text.replace("e+", "e");
}

/** A radius in so many digits, never more than it is. */
function atMost(value, digits = 3) {
  const near = +value.toPrecision(digits);
  if (!(near > value) || !Number.isFinite(value)) return short(value, digits);
  return short(near - 10 ** (Math.floor(Math.log10(value)) - digits + 1), digits);
}

/**
 * Make a node a thing to drag, with pointer and keyboard.
 * `plane()` gives the plane of now; `move([x, y], event)` is called for every place; `value()` is [x, y] of now, from which
 * the arrow keys step by `step()` (times ten with shift), all four where it moves along one line only; `end()` is called
 * once when it is let go, also after a key.
 */
function grip(node, svg, { name, words, plane, value, step, move, end }) {
  set(node, { tabindex: 0, role: "slider", "aria-label": name, "aria-valuetext": words() });
  node.style.touchAction = "none"; node.style.cursor = "grab";
  node.onpointerdown = (event) => {
    const from = plane().at(event, svg), start = value();
    node.setPointerCapture(event.pointerId); node.style.cursor = "grabbing"; node.focus({ preventScroll: true });
    event.preventDefault();
    node.onpointermove = (e) => { const to = plane().at(e, svg); move([start[0] + to[0] - from[0], start[1] + to[1] - from[1]], e); };
    node.onpointerup = node.onpointercancel = () => {
      node.onpointermove = node.onpointerup = node.onpointercancel = null; node.style.cursor = "grab"; end();
    };
  };
  node.onkeydown = (event) => {
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (!way) return;
    event.preventDefault();
    const [dx, dy] = step(), far = event.shiftKey ? 10 : 1, [x, y] = value();
    const along = way[0] || way[1]; // right and up are more
    move([x + (dy ? way[0] : along) * dx * far, y + (dx ? way[1] : along) * dy * far], event);
    clearTimeout(node.waiting); node.waiting = setTimeout(end, 400); // one message for a row of key strokes
  };
}

/** Shapes that tell classes and rules apart without colour: "circle", "square", "diamond", "triangle", "cross". */
function shape(sheet, key, kind, x, y, r, attributes) {
  return sheet.put("path", key, { d: outline(kind, r), transform: `translate(${x.toFixed(2)} ${y.toFixed(2)})`, ...attributes });
}

/** SVG path of such a shape around 0. */
function outline(kind, r) {
  return {
    circle: `M${-r} 0A${r} ${r} 0 1 0 ${r} 0A${r} ${r} 0 1 0 ${-r} 0Z`,
    square: `M${-r} ${-r}H${r}V${r}H${-r}Z`,
    diamond: `M0 ${-1.3 * r}L${1.3 * r} 0L0 ${1.3 * r}L${-1.3 * r} 0Z`,
    triangle: `M0 ${-1.2 * r}L${1.1 * r} ${0.9 * r}L${-1.1 * r} ${0.9 * r}Z`,
    cross: `M${-r} ${-r}L${r} ${r}M${r} ${-r}L${-r} ${r}`,
  }[kind];
}

/** A line of buttons under a picture: [[text, what it does], ...]. */
function buttons(parent, items) {
  const bar = make(parent, "div", { class: "lv-bar" });
  for (const [text, onclick] of items) make(bar, "button", { type: "button", text, onclick });
  return bar;
}

/** Give the visitor a file. */
function download(name, type, text) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const link = make(document.body, "a", { href: url, download: name });
  link.click(); link.remove(); setTimeout(() => URL.revokeObjectURL(url), 1000);
}

/** The picture as an SVG file that stands by itself: its colours are attributes, its paper is drawn. */
function saveSvg(svg, name, look) {
  const copy = svg.cloneNode(true), box = svg.viewBox.baseVal;
  set(copy, { xmlns: SVG, width: box.width, height: box.height });
  const paper = document.createElementNS(SVG, "rect");
  set(paper, { width: box.width, height: box.height, fill: look.paper });
  copy.insertBefore(paper, copy.firstChild);
  download(`${name}.svg`, "image/svg+xml", new XMLSerializer().serializeToString(copy));
}

function saveCsv(name, header, rows) {
  download(`${name}.csv`, "text/csv", [header, ...rows].map((row) => row.join(",")).join("\n") + "\n");
}

/** At most one call of `draw` a frame of the screen, however often it is asked for. */
function framed(draw) {
  let asked = false;
  return () => { if (!asked) { asked = true; requestAnimationFrame(() => { asked = false; draw(); }); } };
}
