// Beside the curves: of each class the share that is right (hollow) and the share that is certified at eps, with intervals.

/** The 95 % interval of a share, after Wilson, in percent; the same as lipviz.radii.wilson. */
function wilson(hits, n, z = 1.959964) {
  if (!n) return [0, 100];
  const share = hits / n, spread = (z * z) / n, middle = (share + spread / 2) / (1 + spread);
  const half = (z * Math.sqrt((share * (1 - share)) / n + spread / n / 4)) / (1 + spread);
  return [100 * Math.max(0, middle - half), 100 * Math.min(1, middle + half)];
}

const percent = (hits, n) => (n ? (100 * hits) / n : 0);
/** What a count says of k/255: the last entry holds for all that follow. */
const beyond = (counts, k) => counts[Math.min(k, counts.length - 1)];

class RadiiClasses {
  constructor(parent) {
    this.parent = parent;
    this.svg = make(parent, "svg", { role: "img" }, SVG);
    this.sheet = new Sheet(this.svg);
  }
  /** `classes` holds names, n, right, and kept, a count of sizes for each class; null draws nothing. */
  paint(classes, look, colour, k, name) {
    this.parent.style.display = classes ? "" : "none";
    if (!classes) return;
    const { sheet, svg } = this, rows = classes.names.length, step = rows > 12 ? 17 : 29;
    const width = Math.max(260, Math.min(this.parent.clientWidth || 380, 460)), height = 62 + rows * step + 38;
    set(svg, { viewBox: `0 0 ${width} ${height}`, style: `max-width: ${width}px` });
    const longest = Math.max(...classes.names.map((text) => text.length)), left = Math.min(20 + 6.6 * longest, 105);
    const plane = new Plane({ left, top: 54, width: width - left - 16, height: rows * step }, [0, 100], [0, rows], false);
    sheet.begin();
    label(sheet, "title", 4, 15, `By class at ${k}/255, ${name}`, look, { "font-weight": 600 });
    sheet.put("circle", "key dot", { cx: 10, cy: 33, r: 5, fill: colour });
    label(sheet, "key certified", 20, 37, "certified, 95 % interval", look);
    sheet.put("circle", "key ring", { cx: 172, cy: 33, r: 4.5, fill: "none", stroke: look.strong, "stroke-width": 1.5 });
    label(sheet, "key right", 182, 37, "right", look);
    for (const value of [0, 25, 50, 75, 100]) {
      const x = plane.x(value);
      sheet.put("line", `x ${value}`, { x1: x, x2: x, y1: plane.top, y2: plane.top + plane.height, stroke: look.grid });
      label(sheet, `tx ${value}`, x, plane.top + plane.height + 15, value, look, { "text-anchor": "middle", fill: look.strong });
    }
    label(sheet, "x title", plane.left + plane.width, plane.top + plane.height + 31, "% of the class", look, { "text-anchor": "end" });
    classes.names.forEach((text, i) => {
      const y = plane.top + (i + 0.5) * step, n = classes.n[i], hits = beyond(classes.kept[i], k), [low, high] = wilson(hits, n);
      label(sheet, `name ${i}`, left - 8, y + 4, text.length > 13 ? `${text.slice(0, 12)}…` : text, look, { "text-anchor": "end" });
      const clean = plane.x(percent(classes.right[i], n)), at = plane.x(percent(hits, n));
      sheet.put("line", `fall ${i}`, { x1: at, x2: clean, y1: y, y2: y, stroke: look.strong, "stroke-width": 1, "stroke-dasharray": "2 3" });
      sheet.put("line", `interval ${i}`, { x1: plane.x(low), x2: plane.x(high), y1: y, y2: y, stroke: colour, "stroke-width": 5, "stroke-opacity": 0.45 });
      sheet.put("circle", `right ${i}`, { cx: clean, cy: y, r: 4.5, fill: look.paper, stroke: look.strong, "stroke-width": 1.5 });
      sheet.put("circle", `dot ${i}`, { cx: at, cy: y, r: 5, fill: colour });
    });
    sheet.end();
    const order = classes.names.map((text, i) => [percent(beyond(classes.kept[i], k), classes.n[i]), text]).sort((a, b) => b[0] - a[0]);
    const [best, worst] = [order[0], order.at(-1)];
    set(svg, { "aria-label": `Certified by class at ${k}/255: most ${best[1]} ${best[0].toFixed(1)} %, least ${worst[1]} ${worst[0].toFixed(1)} %; a table follows` });
  }
}
