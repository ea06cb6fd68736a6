// The network of the playground in the browser, in doubles: scores, radii, slopes, breaks. Nothing here touches the page.

/** Doubles from base64, little-endian. */
function doubles(text) {
  const raw = atob(text), bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  return new Float64Array(bytes.buffer);
}

/** A frozen network: affine, residual, maxmin and relu in a row. */
class Network {
  /** `ops` as Python sends them; `lipschitz` is the constant of all layers but the last, by which radii divide. */
  constructor(ops, lipschitz) {
    this.ops = ops.map((op) => ({ ...op, W: op.W && doubles(op.W), V: op.V && doubles(op.V), b: op.b && doubles(op.b) }));
    this.lipschitz = lipschitz;
    const sizes = this.ops.flatMap((op) => [op.rows || 0, op.cols || 0]);
    const widest = Math.max(2, ...sizes), last = this.ops.findLast((op) => op.op === "affine");
    this.classes = last.rows;
    // per tangent (value, d/dx, d/dy): two buffers to go back and forth, and one for what is inside a residual layer
    this.buffers = [0, 1, 2].map(() => [0, 1, 2].map(() => new Float64Array(widest)));
    this.unit = this.distances(last, lipschitz);
  }
  /** L ||w_i - w_j|| of the rows of the last layer. */
  distances({ W, rows, cols }, lipschitz) {
    const found = new Float64Array(rows * rows);
    for (let i = 0; i < rows; i++) for (let j = 0; j < rows; j++) {
      let sum = 0;
      for (let k = 0; k < cols; k++) sum += (W[i * cols + k] - W[j * cols + k]) ** 2;
      found[i * rows + j] = lipschitz * Math.sqrt(sum);
    }
    return found;
  }
  /** The same weights under another constant: what a formula without the constant would claim. */
  under(lipschitz) {
    const other = Object.create(this), last = this.ops.findLast((op) => op.op === "affine");
    other.lipschitz = lipschitz; other.unit = this.distances(last, lipschitz);
    return other;
  }
  /** Scores at (x, y); of a network of one number the second is left out. */
  scores(x, y = 0) { return this.run([[x, y]])[0]; }
  /** [scores, d scores / dx, d scores / dy], exact where the network is differentiable. */
  slopes(x, y = 0) { return this.run([[x, y], [1, 0], [0, 1]]); }
  run(inputs) {
    const count = inputs.length, at = [0, 0, 0];
    for (let t = 0; t < count; t++) { this.buffers[t][0][0] = inputs[t][0]; this.buffers[t][0][1] = inputs[t][1]; }
    let n = 2, now = 0;
    for (const op of this.ops) {
      if (op.op === "affine") {
        for (let t = 0; t < count; t++) affine(op, this.buffers[t][now], this.buffers[t][1 - now], t === 0);
        now = 1 - now; n = op.rows;
      } else if (op.op === "residual") {
        const inner = this.buffers[0][2];
        for (let t = 0; t < count; t++) before(op, this.buffers[t][now], this.buffers[t][2], t === 0);
        for (let t = count - 1; t >= 0; t--) { // the value last: its sign decides for all
          const hidden = this.buffers[t][2];
          for (let k = 0; k < op.cols; k++) if (!(inner[k] > 0)) hidden[k] = 0;
          after(op, hidden, this.buffers[t][now]);
        }
      } else if (op.op === "maxmin") {
        const value = this.buffers[0][now], half = n / 2;
        for (let k = 0; k < half; k++) if (value[k] < value[k + half]) for (let t = 0; t < count; t++) {
          const row = this.buffers[t][now], kept = row[k];
          row[k] = row[k + half]; row[k + half] = kept;
        }
      } else if (op.op === "relu") {
        const value = this.buffers[0][now];
        for (let k = 0; k < n; k++) if (!(value[k] > 0)) for (let t = 0; t < count; t++) this.buffers[t][now][k] = 0;
      }
    }
    at.length = count;
    return at.map((_, t) => this.buffers[t][now]);
  }
  label(x, y) { return largest(this.scores(x, y), this.classes); }
  /** min_j (s_y - s_j) / (L ||w_y - w_j||) of scores, not below 0. */
  radius(s, label) {
    let least = Infinity;
    for (let j = 0; j < this.classes; j++) if (j !== label) {
      const gap = s[label] - s[j];
      least = Math.min(least, gap > 0 ? gap / this.unit[label * this.classes + j] : 0);
    }
    return least;
  }
  /** {label, radius} at a place. */
  certificate(x, y) {
    const s = this.scores(x, y), label = largest(s, this.classes);
    return { label, radius: this.radius(s, label) };
  }
  /** |gradient of s_y - s_j| / (L ||w_y - w_j||) for the class j that decides the radius: how much of L is used. */
  used(x, y) {
    const [s, dx, dy] = this.slopes(x, y), k = this.classes, label = largest(s, k);
    let least = Infinity, found = 0;
    for (let j = 0; j < k; j++) if (j !== label) {
      const unit = this.unit[label * k + j], r = (s[label] - s[j]) / unit;
      if (r < least) { least = r; found = Math.hypot(dx[label] - dx[j], dy[label] - dy[j]) / unit; }
    }
    return found;
  }
}

function affine({ W, b, rows, cols }, x, out, biased) {
  for (let o = 0, i = 0; o < rows; o++) {
    let sum = biased ? b[o] : 0, k = 0;
    for (; k + 3 < cols; k += 4, i += 4) sum += W[i] * x[k] + W[i + 1] * x[k + 1] + W[i + 2] * x[k + 2] + W[i + 3] * x[k + 3];
    for (; k < cols; k++, i++) sum += W[i] * x[k];
    out[o] = sum;
  }
}

/** V^T x + b. */
function before({ V, b, rows, cols }, x, out, biased) {
  if (biased) for (let k = 0; k < cols; k++) out[k] = b[k]; else out.fill(0, 0, cols);
  for (let o = 0, i = 0; o < rows; o++) {
    const value = x[o];
    if (value === 0) i += cols; else for (let k = 0; k < cols; k++, i++) out[k] += V[i] * value;
  }
}

/** x - 2 V h, in place. */
function after({ V, rows, cols }, h, x) {
  for (let o = 0, i = 0; o < rows; o++) {
    let sum = 0;
    for (let k = 0; k < cols; k++, i++) sum += V[i] * h[k];
    x[o] -= 2 * sum;
  }
}

function largest(s, count) {
  let best = 0;
  for (let j = 1; j < count; j++) if (s[j] > s[best]) best = j;
  return best;
}

/** Scores on a grid of (n + 1)^2 places over a box [[x0, x1], [y0, y1]], row 0 at the bottom. */
class Grid {
  constructor(network, box, n) {
    Object.assign(this, { network, box, n });
    const size = (n + 1) ** 2;
    this.label = new Uint8Array(size); this.radius = new Float64Array(size);
    this.scores = new Float64Array(size * network.classes); this.used = null; this.tight = null;
  }
  x(i) { return this.box[0][0] + ((this.box[0][1] - this.box[0][0]) * i) / this.n; }
  y(j) { return this.box[1][0] + ((this.box[1][1] - this.box[1][0]) * j) / this.n; }
  /** Everything by rows; the caller stops between two of them. */
  *fill(claimed) {
    const k = this.network.classes, side = this.n + 1;
    for (let j = 0; j < side; j++) {
      for (let i = 0, at = j * side; i < side; i++, at++) {
        const s = this.network.scores(this.x(i), this.y(j)), label = largest(s, k);
        this.label[at] = label; this.radius[at] = claimed.radius(s, label);
        for (let c = 0; c < k; c++) this.scores[at * k + c] = s[c];
      }
      yield;
    }
  }
  *slopes(claimed) {
    const found = new Float64Array(this.label.length), side = this.n + 1;
    for (let j = 0; j < side; j++) { for (let i = 0; i < side; i++) found[j * side + i] = claimed.used(this.x(i), this.y(j)); yield; }
    this.used = found;
  }
  /** Radius over the distance to the boundary, as far as this grid knows it. */
  *tightness() {
    const found = new Float64Array(this.label.length), side = this.n + 1, k = this.network.classes, lines = [];
    for (let c = 0; c < (k === 2 ? 1 : k); c++) lines.push(...this.contour((at) => this.lead(at, c)));
    const boundary = Float64Array.from(lines);
    yield;
    for (let j = 0; j < side; j++) {
      for (let i = 0, at = j * side + i; i < side; i++, at++) {
        const far = toSegments(boundary, this.x(i), this.y(j));
        found[at] = far > 1e-9 ? Math.min(1, this.radius[at] / far) : 1;
      }
      yield;
    }
    this.tight = found;
  }
  /** c's score less the largest other one. */
  lead(at, c) {
    const k = this.network.classes;
    let other = -Infinity;
    for (let j = 0; j < k; j++) if (j !== c) other = Math.max(other, this.scores[at * k + j]);
    return this.scores[at * k + c] - other;
  }
  /** Segments [x0, y0, x1, y1, ...] of the lines on which `value(at)` is zero (marching squares). */
  contour(value) {
    const side = this.n + 1, found = [];
    for (let j = 0; j < this.n; j++) for (let i = 0; i < this.n; i++) {
      const a = j * side + i, corners = [a, a + 1, a + 1 + side, a + side].map(value);
      const places = [[i, j], [i + 1, j], [i + 1, j + 1], [i, j + 1]], cuts = [];
      for (let e = 0; e < 4; e++) {
        const f = corners[e], g = corners[(e + 1) % 4];
        if (f > 0 !== g > 0) {
          const t = f / (f - g), [p, q] = [places[e], places[(e + 1) % 4]];
          cuts.push(this.x(p[0] + t * (q[0] - p[0])), this.y(p[1] + t * (q[1] - p[1])));
        }
      }
      found.push(...cuts); // four cuts are a saddle, where either pairing will do
    }
    return found;
  }
  /** Places of another answer: where two neighbours differ, the boundary between them to 1/1000 of a step. */
  *breaks() {
    const side = this.n + 1, found = [];
    for (let j = 0; j < side; j++) {
      for (let i = 0; i < side; i++) for (const [di, dj] of [[1, 0], [0, 1]]) {
        if (i + di > this.n || j + dj > this.n) continue;
        const from = this.label[j * side + i];
        if (from === this.label[(j + dj) * side + i + di]) continue;
        let low = 0, high = 1;
        for (let step = 0; step < 10; step++) {
          const t = (low + high) / 2;
          if (this.network.label(this.x(i + t * di), this.y(j + t * dj)) === from) low = t; else high = t;
        }
        found.push(this.x(i + high * di), this.y(j + high * dj), from);
      }
      yield;
    }
    this.found = found;
  }
}

/** Distance to the nearest of the segments [x0, y0, x1, y1, ...]. */
function toSegments(lines, x, y) {
  let best = Infinity;
  for (let i = 0; i < lines.length; i += 4) {
    const ax = lines[i], ay = lines[i + 1], dx = lines[i + 2] - ax, dy = lines[i + 3] - ay, px = x - ax, py = y - ay;
    const t = Math.max(0, Math.min(1, (px * dx + py * dy) / (dx * dx + dy * dy || 1)));
    const d = (px - t * dx) ** 2 + (py - t * dy) ** 2;
    if (d < best) best = d;
  }
  return Math.sqrt(best);
}

/** The nearest of breaks [x, y, class on this side, ...]: it lies a hair off the boundary, and either side will do. */
function nearest(breaks, x, y) {
  let best = Infinity, at = -1;
  for (let i = 0; i < breaks.length; i += 3) {
    const d = (breaks[i] - x) ** 2 + (breaks[i + 1] - y) ** 2;
    if (d < best) { best = d; at = i; }
  }
  return { distance: Math.sqrt(best), at };
}

/** The nearest place of another answer found from (x, y): from the nearest of `breaks` on, by turning and bisection. */
function breakOf(network, breaks, x, y, label, radius, rounds = 7) {
  const start = nearest(breaks, x, y);
  if (start.at < 0) return null;
  let angle = Math.atan2(breaks[start.at + 1] - y, breaks[start.at] - x), turn = 0.25;
  let best = along(network, x, y, angle, label, radius, start.distance * 1.02 + 1e-9);
  for (let round = 0; round < rounds; round++, turn /= 2) for (const way of [-turn, turn]) {
    const found = along(network, x, y, angle + way, label, radius, best === Infinity ? start.distance * 1.1 : best);
    if (found < best) { best = found; angle += way; break; }
  }
  return best === Infinity ? null : { distance: best, x: x + best * Math.cos(angle), y: y + best * Math.sin(angle) };
}

/** Distance of another answer in this direction: none if there is none at `most`, else by bisection. */
function along(network, x, y, angle, label, least, most) {
  const dx = Math.cos(angle), dy = Math.sin(angle);
  if (network.label(x + most * dx, y + most * dy) === label) return Infinity;
  let low = Number.isFinite(least) ? Math.min(least, most) : 0, high = most;
  if (network.label(x + low * dx, y + low * dy) !== label) low = 0;
  for (let step = 0; step < 22 && high - low > 1e-6 * high; step++) {
    const t = (low + high) / 2;
    if (network.label(x + t * dx, y + t * dy) === label) low = t; else high = t;
  }
  return high;
}

/** A search in all directions, outwards in steps; stops between two directions. Never farther than `most`. */
function* around(network, x, y, label, least, most, directions = 90, steps = 40) {
  let best = null;
  const from = Number.isFinite(least) ? least : 0;
  for (let d = 0; d < directions; d++) {
    const angle = (2 * Math.PI * d) / directions;
    for (let k = 1; k <= steps; k++) {
      const r = from + ((best ? best.distance : most) - from) * (k / steps);
      if (network.label(x + r * Math.cos(angle), y + r * Math.sin(angle)) !== label) {
        const distance = along(network, x, y, angle, label, from, r);
        if (!best || distance < best.distance) best = { distance, x: x + distance * Math.cos(angle), y: y + distance * Math.sin(angle) };
        break;
      }
    }
    yield;
  }
  return best;
}
