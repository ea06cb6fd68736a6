// The mathematics of the Gershgorin discs: the formulas of lipviz/lessons.py, in doubles.

const REACH = 3; // of the exponents e
const LARGEST = 1e6; // entries of W

const square = (n, f) => Array.from({ length: n }, (_, i) => Array.from({ length: n }, (_, j) => f(i, j)));
const rowSum = (row) => row.reduce((sum, x) => sum + x, 0);
const clamp = (x, low, high) => Math.min(Math.max(x, low), high);
const rounded = (x, digits) => +x.toPrecision(digits);

/** W^T W. */
function gramOf(W) { return square(W[0].length, (i, j) => W.reduce((sum, row) => sum + row[i] * row[j], 0)); }

/** Eigenvalues of a real symmetric matrix, ascending: Jacobi rotations until nothing is left off the diagonal. */
function eigenvaluesOf(G) {
  const n = G.length, scale = Math.max(...G.flat().map(Math.abs));
  if (!(scale > 0)) return G.map(() => 0);
  const A = G.map((row) => row.map((x) => x / scale));
  for (let sweep = 0; sweep < 60; sweep++) {
    let off = 0;
    for (let p = 0; p < n; p++) for (let q = p + 1; q < n; q++) {
      off += Math.abs(A[p][q]);
      if (Math.abs(A[p][q]) < 1e-300) continue;
      const theta = (A[q][q] - A[p][p]) / (2 * A[p][q]);
      const t = (theta >= 0 ? 1 : -1) / (Math.abs(theta) + Math.hypot(theta, 1)), c = 1 / Math.hypot(t, 1), s = t * c;
      for (let k = 0; k < n; k++) [A[k][p], A[k][q]] = [c * A[k][p] - s * A[k][q], s * A[k][p] + c * A[k][q]];
      for (let k = 0; k < n; k++) [A[p][k], A[q][k]] = [c * A[p][k] - s * A[q][k], s * A[p][k] + c * A[q][k]];
    }
    if (off < 1e-18) break;
  }
  return A.map((row, i) => row[i] * scale).sort((a, b) => a - b);
}

/** x with A x = b, by elimination with row exchanges. */
function solve(A, b) {
  const M = A.map((row, i) => [...row, b[i]]), n = b.length;
  for (let k = 0; k < n; k++) {
    let best = k;
    for (let i = k + 1; i < n; i++) if (Math.abs(M[i][k]) > Math.abs(M[best][k])) best = i;
    [M[k], M[best]] = [M[best], M[k]];
    for (let i = k + 1; i < n; i++) {
      const f = M[i][k] / M[k][k];
      for (let j = k; j <= n; j++) M[i][j] -= f * M[k][j];
    }
  }
  const x = b.map(() => 0);
  for (let i = n - 1; i >= 0; i--) x[i] = (M[i][n] - M[i].reduce((sum, m, j) => (j > i && j < n ? sum + m * x[j] : sum), 0)) / M[i][i];
  return x;
}

/** Exponents of the q whose right-most edge is smallest: the Perron vector of |G|, as lessons.best_q and exponents. */
function bestExponents(G) {
  const A = G.map((row) => row.map(Math.abs)), rho = eigenvaluesOf(A).at(-1);
  if (!(rho > 0)) return A.map(() => 0);
  let q = solve(square(A.length, (i, j) => (i === j ? 1 + 1e-7 : 0) - A[i][j] / rho), A.map(() => 1));
  for (let k = 0; k < 30; k++) q = q.map((x, i) => (x + rowSum(A[i].map((a, j) => a * q[j])) / rho) / 2);
  let e = q.map((x) => Math.log2(Math.max(x, 1e-300)));
  const mean = rowSum(e) / e.length;
  e = e.map((x) => x - mean);
  const high = Math.max(...e), low = Math.min(...e);
  if (high > REACH || low < -REACH) e = e.map((x) => x - (high + low) / 2);
  return e.map((x) => clamp(Math.round(1000 * x) / 1000, -REACH, REACH));
}

/** All that follows from W, e, the view, the rule and an own t: the discs, the eigenvalues, the matrix of the rows. */
function derive({ W, e, view, rule, t }) {
  const G = gramOf(W), A = G.map((row) => row.map(Math.abs)), q = e.map((x) => 2 ** x), values = eigenvaluesOf(G);
  const scaled = A.map((row, i) => rowSum(row.map((a, j) => a * q[j])) / q[i]);
  const radii = scaled.map((s, i) => Math.max(s - A[i][i], 0)), best = eigenvaluesOf(A).at(-1);
  const numbers = G.map((_, i) => i + 1), cells = square(G.length, (i, j) => G[i][j] * q[j] / q[i]);
  if (view === "G") return { numbers, centers: G.map((row, i) => row[i]), radii, eigenvalues: values, best, cells, t };
  const T = { AOL: () => A.map(rowSum), SLL: () => scaled, spectral: () => A.map(() => values.at(-1)), own: () => t }[rule]();
  const rest = square(G.length, (i, j) => (i === j ? T[i] - G[i][j] : -G[i][j]));
  return {
    numbers, centers: rest.map((row, i) => row[i]), radii, eigenvalues: eigenvaluesOf(rest), best, t: T,
    cells: square(G.length, (i, j) => rest[i][j] * q[j] / q[i]),
  };
}
