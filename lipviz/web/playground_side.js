// Beside the map: how the radii are spread, with eps to drag, and how the training went. And the picture of the wave.

const DASHES = [null, "6 3"], HOW = ["solid", "dashed"];

/** Share of radii of at least eps at one moment of the training, between the levels that Python sent. */
function between(levels, shares, eps) {
  let k = levels.findIndex((level) => level >= eps);
  if (k < 0) return shares[shares.length - 1];
  if (k === 0) return shares[0];
  const t = (eps - levels[k - 1]) / (levels[k] - levels[k - 1]);
  return shares[k - 1] + t * (shares[k] - shares[k - 1]);
}

class Histogram {
  constructor(parent, owner) {
    this.owner = owner;
    this.svg = make(parent, "svg", { viewBox: "0 0 330 128", role: "group", "aria-label": "Histogram of the certified radii of the points" }, SVG);
    this.sheet = new Sheet(this.svg);
  }
  paint(maps) {
    const { sheet, owner } = this, look = owner.look, bins = 28;
    const plane = new Plane({ left: 34, top: 22, width: 286, height: 74 }, [0, owner.most], [0, 1], false);
    const counts = maps.map((map) => {
      const found = new Float64Array(bins), points = map.points;
      if (points && points.label.length === owner.y.length) points.radius.forEach((r, i) => {
        if (points.label[i] === owner.y[i]) found[Math.min(bins - 1, Math.floor((r / owner.most) * bins))]++;
      });
      return found;
    });
    const top = Math.max(1, ...counts.flatMap((c) => [...c]));
    sheet.begin();
    label(sheet, "title", 4, 13, "radii of the points that are right", look, {});
    counts.forEach((found, m) => {
      const width = plane.width / bins, colour = look.palette[maps[m].net.colour];
      let line = `M${plane.left} ${plane.top + plane.height}`;
      found.forEach((n, k) => { line += `V${(plane.top + plane.height * (1 - n / top)).toFixed(1)}H${(plane.left + width * (k + 1)).toFixed(1)}`; });
      line += `V${plane.top + plane.height}`;
      sheet.put("path", `bars ${m}`, { d: line, fill: m ? "none" : colour, "fill-opacity": 0.35, stroke: colour, "stroke-width": 1.5, "stroke-dasharray": DASHES[m] });
    });
    sheet.put("line", "base", { x1: plane.left, x2: plane.left + plane.width, y1: 96, y2: 96, stroke: look.strong });
    for (const value of ticks(plane.xs, 5)) label(sheet, `t ${value}`, plane.x(value), 111, short(value), look, { "text-anchor": "middle", fill: look.strong });
    label(sheet, "most", 29, plane.top + 8, short(top), look, { "text-anchor": "end", fill: look.strong });
    label(sheet, "none", 29, 96, "0", look, { "text-anchor": "end", fill: look.strong });
    label(sheet, "unit", 320, 124, "certified radius", look, { "text-anchor": "end", "font-size": 11 });
    const x = plane.x(Math.min(owner.eps, owner.most));
    sheet.put("line", "eps", { x1: x, x2: x, y1: 18, y2: 96, stroke: look.text, "stroke-width": 2 });
    label(sheet, "name", x > 270 ? x - 6 : x + 6, 27, `eps ${short(owner.eps, 3)}`, look, { "text-anchor": x > 270 ? "end" : "start", "font-weight": 600 });
    const node = sheet.put("rect", "grip", { x: x - 9, y: 14, width: 18, height: 86, fill: "transparent" });
    grip(node, this.svg, {
      name: "eps", words: () => `eps ${short(owner.eps, 3)}`, plane: () => plane, value: () => [owner.eps, 0], step: () => [0.01, 0],
      move: ([value]) => owner.setEps(value), end: () => owner.epsDone(),
    });
    node.style.cursor = "ew-resize";
    sheet.end();
  }
}

/** Clean and certified accuracy over the steps. */
class Spark {
  constructor(parent, owner) {
    this.owner = owner;
    this.svg = make(parent, "svg", { viewBox: "0 0 330 118", role: "img", "aria-label": "Accuracy over the training" }, SVG);
    this.sheet = new Sheet(this.svg);
  }
  paint(maps) {
    const { sheet, owner } = this, look = owner.look;
    const last = Math.max(1, ...maps.map((map) => map.net.history.at(-1)?.[0] ?? 0));
    const plane = new Plane({ left: 34, top: 22, width: 286, height: 66 }, [0, last], [0, 1], false);
    sheet.begin();
    label(sheet, "title", 4, 13, "over the training: thin clean, thick certified at eps", look, {});
    for (const value of [0, 0.5, 1]) {
      const y = plane.y(value);
      sheet.put("line", `g ${value}`, { x1: plane.left, x2: plane.left + plane.width, y1: y, y2: y, stroke: look.grid });
      label(sheet, `p ${value}`, 29, y + 4, `${100 * value}%`, look, { "text-anchor": "end", fill: look.strong, "font-size": 11 });
    }
    maps.forEach((map, m) => {
      const rows = map.net.history, colour = look.palette[map.net.colour];
      const clean = rows.map((row) => [row[0], row[1]]), sure = rows.map((row) => [row[0], between(owner.levels, row[2], owner.eps)]);
      const common = { fill: "none", stroke: colour, "stroke-dasharray": DASHES[m] };
      if (rows.length) sheet.put("path", `clean ${m}`, { d: plane.path(clean), ...common, "stroke-width": 1.2 });
      if (rows.length) sheet.put("path", `sure ${m}`, { d: plane.path(sure), ...common, "stroke-width": 2.8 });
    });
    for (const value of ticks(plane.xs, 4)) label(sheet, `t ${value}`, plane.x(value), 103, short(value), look, { "text-anchor": "middle", fill: look.strong });
    label(sheet, "unit", 320, 115, "step", look, { "text-anchor": "end", "font-size": 11 });
    sheet.end();
  }
}

/** f on [-2, 2] against the square wave, its steepest place, and the cone that the bound allows at the probe. */
class Wave {
  constructor(parent, owner) {
    this.owner = owner;
    this.box = make(parent, "div", { class: "pg-wave" });
    this.svg = make(this.box, "svg", { viewBox: "0 0 760 440", role: "group", "aria-label": "The fit of the square wave" }, SVG);
    this.sheet = new Sheet(this.svg);
    this.fits = [];
  }
  take(nets) {
    this.fits = nets.map((net, i) => {
      const key = JSON.stringify(net.ops), old = this.fits[i];
      if (old && old.key === key) return { ...old, net };
      const network = new Network(net.ops, 1), places = [];
      let steep = { slope: 0, x: 0 };
      for (let k = 0; k <= 800; k++) places.push([-2 + k / 200, network.scores(-2 + k / 200)[0]]);
      for (let k = 0; k < 4000; k++) { // the derivative: exact between the kinks
        const x = -2 + (k + 0.5) / 1000, slope = Math.abs(network.slopes(x)[1][0]);
        if (slope > steep.slope) steep = { slope, x };
      }
      return { key, network, places, steep, net };
    });
  }
  plane() { return new Plane({ left: 40, top: 24, width: 706, height: 380 }, [-2, 2], [-0.7, 1.7], false); }
  paint() {
    const { sheet, owner } = this, look = owner.look, plane = this.plane();
    sheet.begin();
    plane.axes(sheet, "axes", look, ["x", "f(x)"]);
    const wave = [[-2, 1], [-1, 1], [-1, 0], [0, 0], [0, 1], [1, 1], [1, 0], [2, 0]];
    sheet.put("path", "target", { d: plane.path(wave), fill: "none", stroke: look.strong, "stroke-width": 2, "stroke-dasharray": "2 4" });
    const first = this.fits[0];
    if (first) {
      const x = owner.probe[0], y = first.network.scores(x)[0], b = first.net.bound;
      label(sheet, "bound", 740, 398, `shaded: where a slope of at most ${short(b, 3)} keeps the curve`, look, { "text-anchor": "end" });
      sheet.put("path", "cone", { d: this.clipped(x, y, b, plane), fill: look.palette[first.net.colour], "fill-opacity": 0.13, stroke: "none" });
    }
    this.fits.forEach(({ places, steep, network, net }, i) => {
      const colour = look.palette[net.colour], y = network.scores(steep.x)[0];
      const d = plane.path(places.filter(([, v]) => Number.isFinite(v)).map(([a, v]) => [a, Math.max(-0.7, Math.min(1.7, v))]));
      if (d) sheet.put("path", `fit ${i}`, { d, fill: "none", stroke: colour, "stroke-width": 2.8, "stroke-dasharray": DASHES[i] });
      if (Number.isFinite(y)) {
        shape(sheet, `steep ${i}`, "triangle", plane.x(steep.x), plane.y(Math.max(-0.7, Math.min(1.7, y))), 7, { fill: colour, stroke: look.paper, "stroke-width": 1.5 });
        label(sheet, `slope ${i}`, plane.x(steep.x) + (steep.x > 1 ? -12 : 12), plane.y(Math.max(-0.6, Math.min(1.6, y))) + (i ? 18 : -8), `steepest found ${short(steep.slope, 3)}`, look, { "text-anchor": steep.x > 1 ? "end" : "start", fill: look.text, "font-weight": 600, stroke: look.paper, "stroke-width": 3, "paint-order": "stroke" });
      }
    });
    if (first) {
      const x = owner.probe[0], y = first.network.scores(x)[0], py = plane.y(Math.max(-0.7, Math.min(1.7, y)));
      sheet.put("circle", "dot", { cx: plane.x(x), cy: py, r: 5, fill: look.text, stroke: look.paper, "stroke-width": 2, "pointer-events": "none" });
      const node = sheet.put("circle", "grip", { cx: plane.x(x), cy: py, r: 18, fill: "transparent" });
      grip(node, this.svg, {
        name: "Place on the curve", words: () => owner.words(), plane: () => plane, value: () => [owner.probe[0], y], step: () => [0.02, 0],
        move: ([to]) => owner.move([Math.max(-2, Math.min(2, to)), owner.probe[1]]), end: () => owner.dropped(),
      });
    }
    sheet.end();
  }
  /** The places that a slope of at most b cannot leave from (x, y): a double cone, cut to the frame. */
  clipped(x, y, b, plane) {
    const low = -0.7, high = 1.7, cut = (v) => Math.max(low, Math.min(high, v)), half = [];
    for (const end of [-2, 2]) {
      const up = [], down = [];
      for (let k = 0; k <= 60; k++) { const at = x + ((end - x) * k) / 60, d = b * Math.abs(at - x); up.push([at, cut(y + d)]); down.push([at, cut(y - d)]); }
      half.push(plane.path([...up, ...down.reverse()], true));
    }
    return half.join("");
  }
  words() {
    return this.fits.map(({ steep, net }) => `${net.name}: steepest found ${short(steep.slope, 3)}, bound ${short(net.bound, 4)}, tightness ${(100 * steep.slope / net.bound).toFixed(0)} %`).join("; ");
  }
}
