"""The sentences of the page on the condition: what to notice now, and the text below the picture in two depths."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from lipviz import condition

IN_WORDS = """
#### One condition, many layers

A layer is 1-Lipschitz if it makes no difference between two inputs longer. For the layers here one condition is
enough. Take the matrix $G = W^\\top W$ of the weight, and one positive number $t_i$ for each neuron. If the $t_i$ are
large enough that $T - G$ has no negative eigenvalue, both layers are 1-Lipschitz: the affine one, whose columns are
divided by $\\sqrt{t_i}$, and the residual one. If an eigenvalue is negative, the affine layer does stretch some
direction, and the residual layer has a piece that does.

**Small is good.** A larger $t_i$ is always safe, and wastes: the layer shrinks more than it must. So a rule should pick
$T$ close to the edge. *Spectral* normalisation and *CPL* use one number for all neurons. *AOL* adds up magnitudes in
each row of $G$. *SLL* weighs the rows with learned factors $q$. *SR* does what AOL does, with a power of $G$.

**Two neurons.** All these rules stand on the edge itself, except SR. Learning $q$ walks along it. AOL is the place of
smallest trace.

**Three and more.** AOL looks at magnitudes only. If the signs in $G$ agree with each other it still stands on the edge.
If they do not, they cancel in part, AOL does not see it, and stands inside. With eight random neurons that is nearly
always so.
"""

WITH_MATHEMATICS = """
#### One condition, many layers

**The condition.** $G = W^\\top W \\preceq T = \\mathrm{diag}(t)$, that is $v^\\top (T - G)\\, v \\ge 0$ for all $v$.
Then $x \\mapsto W T^{-1/2} x + b$ is 1-Lipschitz: with $v = T^{-1/2} x$,
$\\|W T^{-1/2} x\\|^2 = v^\\top G v \\le v^\\top T v = \\|x\\|^2$.
So is $x \\mapsto x - 2 W T^{-1} \\sigma(W^\\top x + b)$ for every $\\sigma$ with slopes in $[0, 1]$. Its pieces are
$I - 2 W D T^{-1} W^\\top$ with $D$ diagonal, entries in $[0, 1]$. The worst one has $D = I$; its eigenvalues are
$1 - 2 \\sigma_k^2$, with $\\sigma_k$ the singular values of $W T^{-1/2}$, and $1$ across the columns of $W$. It
stretches exactly if the condition fails. With one given $b$ that piece need not occur.

**Two neurons.** $\\det (T - G) = (t_1 - G_{11})(t_2 - G_{22}) - G_{12}^2$, so the edge is one branch of a hyperbola.
SLL has $t_1 - G_{11} = |G_{12}|\\, q_2/q_1$ and $t_2 - G_{22} = |G_{12}|\\, q_1/q_2$: the product is $G_{12}^2$ for
every $q$. The sum is smallest at $q_1 = q_2$, which is AOL. $\\lambda_{\\max}(G)\\, I$ lies on the edge for any
number of neurons.

**Why AOL leaves the edge.** With AOL's $T$,
$x^\\top (T - G)\\, x = \\sum_{i<j} |G_{ij}|\\, (x_i - \\mathrm{sign}(G_{ij})\\, x_j)^2$,
a signed graph Laplacian. It is singular exactly if signs $x_i = \\pm 1$ exist with
$x_i x_j = \\mathrm{sign}(G_{ij})$ for all pairs of a connected part: the pattern is *balanced* there. For three
neurons, no $G_{ij} = 0$: the product of the three signs is $+$. For SLL the matrix is $Q (T - G)\\, Q$ with
$Q = \\mathrm{diag}(q)$, and the same signs decide.

**Trace.** $\\sum_i t_i(q) = \\sum_i G_{ii} + \\sum_{i<j} |G_{ij}| (q_i/q_j + q_j/q_i)$, smallest where all $q$ are
equal. Among all $T \\succeq G$ the smallest trace is a semidefinite program; its dual is $\\max \\langle G, X \\rangle$
over $X \\succeq 0$ with $X_{ii} = 1$. AOL reaches it exactly where all connected parts are balanced: take
$X = x x^\\top$ with those signs.
"""


def two(W: NDArray, t: NDArray, form: str) -> str:
    """What to see for two neurons."""
    G, word = W.T @ W, condition.state(W.T @ W, t)
    image = "image" if form == "affine" else "image under the worst piece"
    if not G.any():
        return "W = 0: the region is the whole quadrant t1 ≥ 0, t2 ≥ 0, and every rule sits in its corner."
    if abs(G[0, 1]) <= 1e-12 * np.sqrt(G[0, 0] * G[1, 1]):
        shape = (
            "The columns of W are orthogonal: the region is a quadrant with its corner at (G11, G22), which is AOL. "
        )
        return shape + {"fails": "T lies outside.", "holds": "T lies inside."}.get(word, "T lies on its edge.")
    if word == "on the edge":
        return (
            f"On the edge: one eigenvalue is zero, and the {image} touches the circle. AOL, SLL with every q, and CPL "
            "all stand on this same curve."
        )
    v, grown, allowed = condition.direction(W, t)
    if word == "fails":
        return (
            f"T lies outside: an eigenvalue is negative, and the {image} pokes out of the circle. With "
            f"v = {condition.vector(v)}, |W v|² = {grown:.4g} is larger than v·T v = {allowed:.4g}. Pull T up or right."
        )
    return (
        f"T lies inside: both eigenvalues are positive, and nothing is stretched (norm {condition.norm(W, t):.3g}). "
        "Pull T down across the edge and watch the bar and the circle together."
    )


def three(G: NDArray, found: Mapping[str, NDArray]) -> str:
    """What to see for three neurons: whether AOL stands on the edge, and why."""
    signs = [np.sign(G[i, j]) for i, j in condition.PAIRS.values()]
    named = ", ".join(
        f"{name} {'+' if s > 0 else '-' if s < 0 else '0'}" for name, s in zip(condition.PAIRS, signs, strict=True)
    )
    if not G.any():
        return "W = 0: the region is an octant, and every rule sits in its corner."
    inside = condition.slack(G, found["AOL"])
    if condition.balanced(G):
        why = "a neuron or a pair stands alone" if 0 in signs else "the product of the three signs is +"
        return f"AOL is on the edge: signs {named}; {why}, so the pattern is balanced. Flip one and watch AOL leave."
    words = f"AOL is inside by {inside:.3g}: signs {named}; their product is -, the pattern is not balanced."
    if "smallest trace" in found and found["smallest trace"].sum() > 0:
        words += f" Its trace is {found['AOL'].sum() / found['smallest trace'].sum():.3f} times the smallest."
    return words


def many(G: NDArray, found: Mapping[str, NDArray]) -> str:
    """What to see in the bars of up to eight neurons."""
    if not G.any():
        return "W = 0: every t may be 0."
    traces = {name: float(t.sum()) for name, t in found.items() if name != "smallest trace"}
    best = min(traces, key=lambda name: traces[name])
    where = "on the edge (its sign pattern is balanced)" if condition.balanced(G) else "inside (its signs do not agree)"
    words = f"AOL is {where}. Of the rules, {best} has the smallest trace here, {traces[best]:.4g}"
    if "smallest trace" in found:
        least = float(found["smallest trace"].sum())
        words += f"; a semidefinite solver finds {least:.4g}, and nothing smaller" if least > 0 else ""
        if traces[best] <= least * (1 + 1e-6):
            words += ": nothing is lost"
    return words + ". SLL with Perron's q makes all t equal, as CPL does, but never smaller than CPL."


def own(W: NDArray, t: NDArray) -> str:
    """Whether a T of one's own is feasible, and which direction says no."""
    G, word = W.T @ W, condition.state(W.T @ W, t)
    v, grown, allowed = condition.direction(W, t)
    if word == "fails":
        times = condition.norm(W, t)
        longer = f"it makes some input {times:.4g} times as long" if np.isfinite(times) else "T must be positive there"
        return (
            f"Not feasible. Take v = {condition.vector(v)}: |W v|² = {grown:.4g} is larger than v·T v = {allowed:.4g}, "
            f"so v·(T - G) v = {allowed - grown:.4g} is negative. The affine layer is not 1-Lipschitz: {longer}."
        )
    if word == "on the edge":
        return (
            f"Feasible, on the edge. In the direction v = {condition.vector(v)} v·T v equals |W v|² = {grown:.4g}: "
            "no t_i with v_i ≠ 0 may shrink alone."
        )
    return (
        f"Feasible. Even in the tightest direction v = {condition.vector(v)} v·T v = {allowed:.4g} is above "
        f"|W v|² = {grown:.4g}. All t may shrink by {condition.slack(G, t):.4g} at once."
    )
