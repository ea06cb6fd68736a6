// A plotly figure of lines, points and bars as plain SVG: it stands while plotly's own JavaScript is still on its way.
// What it does not know it leaves out; of a figure with other traces (maps, surfaces) or with words on an axis it makes
// no sketch at all.

const WIDTHS = { f8: Float64Array, f4: Float32Array, i4: Int32Array, u4: Uint32Array, i2: Int16Array, u2: Uint16Array, i1: Int8Array, u1: Uint8Array };
const DASHED = { dash: "9 6", dot: "2 4", dashdot: "9 5 2 5", longdash: "14 6", longdashdot: "14 6 2 6" };

/** Words without the markup that plotly knows. */
function plain(text) {
  return String(text).replace(/10<sup>(-?\d+)<\/sup>/g, (_, power) => short(10 ** power)).replace(/<[^>]*>/g, " ");
}

/** The numbers of a trace: a list, or bytes in base64. */
function decoded(values) {
  if (!values?.bdata) return Array.from(values ?? []);
  const bytes = Uint8Array.from(atob(values.bdata), (c) => c.charCodeAt(0));
  return Array.from(new WIDTHS[values.dtype](bytes.buffer));
}

/** A path with a gap wherever a place is no number. */
function broken(points) {
  let pen = "M";
  return points.map(([x, y]) => {
    if (!Number.isFinite(x) || !Number.isFinite(y)) { pen = "M"; return ""; }
    const step = `${pen}${x.toFixed(1)} ${y.toFixed(1)}`;
    pen = "L";
    return step;
  }).join("");
}

/** An axis of the layout between two pixels; low and high are its ends, exponents of ten on a log axis. */
class Axis {
  constructor(layout, name, from, to) {
    Object.assign(this, { title: "", domain: [0, 1], ...layout[name] });
    this.words = this.title?.text ?? this.title;
    this.log = this.type === "log";
    const [low, high] = this.domain;
    this.from = from + (to - from) * low; this.to = from + (to - from) * high; // pixels of the low and the high end
    this.low = Infinity; this.high = -Infinity;
  }
  unit(value) { return this.log ? Math.log10(value) : value; }
  see(values) {
    for (const v of values.map((value) => this.unit(value))) if (Number.isFinite(v)) { this.low = Math.min(this.low, v); this.high = Math.max(this.high, v); }
  }
  close(room) {
    const pad = room * (this.high - this.low || 1);
    [this.low, this.high] = this.range ?? (this.low <= this.high ? [this.low - pad, this.high + pad] : [0, 1]);
  }
  at(value) { return this.place(this.unit(value)); }
  place(unit) { return this.from + ((unit - this.low) / (this.high - this.low)) * (this.to - this.from); }
  marks(apart) {
    if (this.tickvals) return decoded(this.tickvals).map((v, i) => [this.place(this.unit(v)), decoded(this.ticktext)[i] ?? short(v)]);
    if (!this.log) return ticks([this.low, this.high], Math.abs(this.to - this.from) / apart).map((v) => [this.place(v), short(v)]);
    const found = [];
    for (let k = Math.ceil(this.low); k <= this.high; k++) found.push([this.place(k), short(10 ** k)]);
    return found;
  }
}

/** The sketch of a figure {data, layout} in `parent`, or null where there is none. */
function sketch(parent, { data, layout }, look) {
  const known = (t) => ["scatter", "bar", undefined].includes(t.type) && ![...decoded(t.x), ...decoded(t.y)].some((v) => typeof v === "string");
  const shown = data.filter((t) => t.visible === undefined || t.visible === true);
  const width = parent.clientWidth, height = layout.height;
  if (!shown.length || !shown.every(known) || !width || !height) return null;
  const svg = make(parent, "svg", { viewBox: `0 0 ${width} ${height}`, width, height, "aria-hidden": "true", class: "sketch" }, SVG);
  const colours = layout.template?.layout?.colorway ?? look.palette, font = { "font-family": look.font };
  const put = (tag, attributes) => make(svg, tag, attributes, SVG);
  const words = (x, y, text, attributes = {}) => put("text", { x, y, text: plain(text), fill: look.text, "font-size": 14, ...font, ...attributes });
  put("rect", { width, height, fill: look.paper });
  const left = 64, right = width - 14, foot = height - (layout.sliders ? 130 : 52);
  const top = legend(svg, shown.filter((t) => t.name && t.showlegend !== false && layout.showlegend !== false), colours, look, right - left, left);
  const axes = {};
  const axis = (id) => (axes[id] ??= new Axis(layout, id.replace(/^(.)/, "$1axis"), ...(id[0] === "x" ? [left, right] : [foot, top])));
  const traces = shown.map((t, i) => ({ ...t, x: decoded(t.x), y: decoded(t.y), ax: axis(t.xaxis ?? "x"), ay: axis(t.yaxis ?? "y"), colour: t.line?.color ?? t.marker?.color ?? colours[i % colours.length] }));
  for (const t of traces) { t.ax.see(t.x); t.ay.see(t.fill || t.type === "bar" ? [...t.y, 0] : t.y); }
  for (const [id, a] of Object.entries(axes)) a.id = id;
  const all = Object.values(axes), shared = (a) => axes[a.matches] ?? a; // panels over each other have one axis
  for (const a of all) { const b = shared(a); b.low = Math.min(b.low, a.low); b.high = Math.max(b.high, a.high); }
  for (const a of all) a.close(a.id[0] === "x" ? 0.02 : 0.06);
  for (const a of all) { a.low = shared(a).low; a.high = shared(a).high; }
  frame(put, words, axes, look, { left, right, top, foot });
  for (const t of traces) drawn(put, t);
  const ends = (ref, id, value) => {
    if (ref === "paper" || /domain/.test(ref ?? "")) { const a = axis(/domain/.test(ref ?? "") ? ref.split(" ")[0] : id); return a.from + value * (a.to - a.from); }
    return axis(ref ?? id).at(value);
  };
  for (const s of layout.shapes ?? []) if (s.type === "line") put("line", {
    x1: ends(s.xref, "x", s.x0), x2: ends(s.xref, "x", s.x1), y1: ends(s.yref, "y", s.y0), y2: ends(s.yref, "y", s.y1),
    stroke: s.line?.color ?? look.strong, "stroke-width": s.line?.width ?? 1, "stroke-dasharray": DASHED[s.line?.dash] ?? null,
  });
  return svg;
}

/** The names of the traces above the picture, in as many rows as they need; where the picture may begin. */
function legend(svg, named, colours, look, room, left) {
  if (named.length < 2) return 40;
  const longest = Math.max(...named.map((t) => t.name.length)), wide = Math.min(room, 48 + 7 * longest), columns = Math.max(1, Math.floor(room / wide));
  const top = Math.max(40, 19 * Math.ceil(named.length / columns) + 12);
  named.forEach((t, i) => {
    const x = left + (i % columns) * wide, y = top - 14 - 19 * (Math.ceil(named.length / columns) - 1 - Math.floor(i / columns));
    const stroke = t.line?.color ?? t.marker?.color ?? colours[i % colours.length];
    if (t.mode === "markers" || t.type === "bar") make(svg, "circle", { cx: x + 16, cy: y - 4, r: 4, fill: stroke }, SVG);
    else make(svg, "line", { x1: x, x2: x + 32, y1: y - 4, y2: y - 4, stroke, "stroke-width": t.line?.width ?? 2, "stroke-dasharray": DASHED[t.line?.dash] ?? null }, SVG);
    make(svg, "text", { x: x + 38, y, text: plain(t.name), fill: look.text, "font-size": 13, "font-family": look.font }, SVG);
  });
  return top;
}

/** Grid, ticks and titles. */
function frame(put, words, axes, look, { left, right }) {
  for (const a of Object.values(axes)) {
    if (a.id[0] === "x") {
      const ys = Object.values(axes).filter((b) => b.id.slice(1) === a.id.slice(1) && b.id[0] === "y")[0];
      if (!ys) continue;
      for (const [x, text] of a.marks(150)) {
        put("line", { x1: x, x2: x, y1: ys.from, y2: ys.to, stroke: look.grid });
        if (a.showticklabels !== false) words(x, ys.from + 16, text, { "text-anchor": "middle" });
      }
      if (a.words) words((left + right) / 2, ys.from + 38, a.words, { "text-anchor": "middle", "font-size": 14 });
    } else {
      for (const [y, text] of a.marks(40)) {
        put("line", { x1: left, x2: right, y1: y, y2: y, stroke: look.grid });
        words(left - 6, y + 4, text, { "text-anchor": "end" });
      }
      const middle = (a.from + a.to) / 2;
      if (a.words) words(16, middle, a.words, { "text-anchor": "middle", "font-size": 14, transform: `rotate(-90 16 ${middle})` });
    }
  }
}

/** The curve, bars or points of one trace. */
function drawn(put, t) {
  const points = t.x.map((x, i) => [t.ax.at(x), t.ay.at(t.y[i])]), zero = t.ay.log ? t.ay.from : t.ay.at(0);
  if (t.type === "bar") {
    const wide = t.x.length > 1 ? 0.8 * Math.abs(points[1][0] - points[0][0]) : 20;
    for (const [x, y] of points) if (Number.isFinite(x) && Number.isFinite(y)) put("rect", { x: x - wide / 2, width: wide, y: Math.min(y, zero), height: Math.abs(zero - y), fill: t.colour, "fill-opacity": t.opacity ?? null });
    return;
  }
  const mode = t.mode ?? "lines", steps = t.line?.shape === "hv" ? points.flatMap((p, i) => (i ? [[p[0], points[i - 1][1]], p] : [p])) : points;
  if (t.fill === "tozeroy" && points.length > 1) put("path", { d: `${broken(steps)}L${points.at(-1)[0]} ${zero}L${points[0][0]} ${zero}Z`, fill: t.fillcolor ?? t.colour, stroke: "none" });
  if (mode.includes("lines")) put("path", { d: broken(steps), fill: "none", stroke: t.colour, "stroke-width": t.line?.width ?? 2, "stroke-opacity": t.opacity ?? null, "stroke-dasharray": DASHED[t.line?.dash] ?? (/px/.test(t.line?.dash ?? "") ? t.line.dash.replace(/px|,/g, " ") : null) });
  if (!mode.includes("markers")) return;
  const every = t.marker?.maxdisplayed ? Math.ceil(points.length / t.marker.maxdisplayed) : 1, sizes = [].concat(t.marker?.size ?? 6);
  points.forEach(([x, y], i) => {
    if (i % every || !Number.isFinite(x) || !Number.isFinite(y)) return;
    const r = (sizes[i] ?? sizes[0]) / 2, kind = String([].concat(t.marker?.symbol ?? "circle")[0]).replace("-open", "");
    const same = { square: "square", diamond: "diamond", "triangle-down": "triangle", "triangle-up": "triangle", x: "cross", cross: "cross" }[kind] ?? "circle";
    const colour = [].concat(t.marker?.color ?? t.colour), own = typeof colour[0] === "string" ? colour[i] ?? colour[0] : t.colour;
    put("path", { d: outline(same, r), transform: `translate(${x.toFixed(1)} ${y.toFixed(1)})${kind === "triangle-down" ? " rotate(180)" : ""}`, fill: same === "cross" || /open/.test(t.marker?.symbol ?? "") ? "none" : own, stroke: own, "stroke-width": same === "cross" ? 3 : 1 });
  });
}
