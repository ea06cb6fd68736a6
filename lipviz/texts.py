"""Explanations below the pictures of pages, in words and with the mathematics: (words, mathematics) each."""

HOME = (
    """
#### What 1-Lipschitz means

Change the input by some distance: the output of a 1-Lipschitz network changes by that distance at most. The gap
between the best answer and the next one can therefore close only so fast, and the size of the change that it would
take is known before anyone tries. No attack has to be run, and none can succeed with a smaller change.
""",
    """
#### What 1-Lipschitz means

A map $f$ is 1-Lipschitz if $\\lVert f(x) - f(y) \\rVert_2 \\le \\lVert x - y \\rVert_2$ for all $x, y$. A composition
of such maps is one. A layer $x \\mapsto W T^{-1/2} x + b$ is one if $W^\\top W \\le T$ for a diagonal $T$, and so is
$x \\mapsto x - 2 W T^{-1} \\mathrm{relu}(W^\\top x + b)$ (Araujo, Havens, Delattre, Allauzen & Hu, ICLR 2023). Every
rule for $T$ is a row of the table of layers.
""",
)

CERTIFY = (
    """
#### What the picture proves

The line is the proof: the margin of the answer cannot fall faster than the line, whatever is done to the picture. The
curve is what really happened to the margin on one way out. It may touch the line but never cross it. Where the line
meets zero the proof ends: that size is the certified radius. Where the curve meets zero the answer changed.

**Try harder** starts more searches, each from its own random point, and marks the best point of each. A point below
the line would be a mistake in the proof or in this program. The smallest break found is an upper limit of what the
network stands: the true limit lies between the radius and that break.

Certified means stable, not right: a network may be sure of a wrong answer, and a picture of something that it does not
know gets an answer, and a radius, all the same.
""",
    """
#### The line

Let $m(x) = s_y(x) - s_j(x)$ be the margin over class $j$, with $s = W h(x) + b$ and $h$ $L$-Lipschitz. For every change
$\\delta$,

$$ m(x + \\delta) \\ge m(x) - L \\, \\lVert w_y - w_j \\rVert \\, \\lVert \\delta \\rVert_2 , $$

and the line in the picture is the smallest of these over all $j$. The answer stands while
$\\lVert \\delta \\rVert_2 < m(x) / (L \\lVert w_y - w_j \\rVert)$ for every $j$. With
rows of norm 1, $\\lVert w_y - w_j \\rVert \\le \\sqrt 2$ for orthogonal rows and at most $2$. $L$ is the product of
the proved bounds of all layers but the last.

Pixels lie in $[0, 1]$, $\\lVert \\delta \\rVert_2$ runs over all values of the picture, and clipping to $[0, 1]$ only
makes a change smaller.
""",
)

TRAIN = (
    """
#### What training does here

All layers but the last are 1-Lipschitz at every step, whatever the optimiser does. The last one makes a logit of each
class from a row of length 1: what the bound has above 1 is its share. The loss asks for a margin: a right answer by
less than the margin still costs. Large margins give large radii, at the price of some accuracy; that trade is what the
two curves show.

**Plain** layers have no constraint. Their bound is computed like any other, and grows while they learn; that is why
their certified accuracy stays near zero.
""",
    """
#### The loss

With margin (offset) $u$ and temperature $\\tau$ the loss is

$$ \\tau \\cdot \\mathrm{CE}\\big( (s - u\\, e_y) / \\tau,\\ y \\big), $$

the cross entropy of the logits with $u$ taken off the right one (Prach & Lampert, ECCV 2022). For $\\tau \\to 0$ it
becomes
$\\max_{j \\ne y} (s_j - s_y + u)_+$. Adam, with a learning rate that rises over the first 30 % of the steps and then
falls to 0. Certified accuracy is evaluated on held-out data with the proved bounds of all layers but the last, in
float64.
""",
)

LESSONS = (
    """
#### For teachers

Every page of this app can become a task for a class. *Lesson link* at its end makes an address that sets a task and
hides what would distract: controls, suggestions, text, numbers. The address also holds the state of the page as it is,
so prepare the picture first, then make the link.

The questions are checked by the page, not stored anywhere: nobody sees who answered what.
""",
    """
#### What the course needs

Matrices and eigenvalues, and that a norm is a length. The chain is short:

1. If $W^\\top W \\le T$ with $T$ diagonal, then $x \\mapsto W T^{-1/2} x + b$ is 1-Lipschitz (lessons 4 and 5).
2. Gershgorin's discs give such a $T$ without an eigenvalue (lesson 6).
3. A composition of 1-Lipschitz maps is 1-Lipschitz, so a margin divided by a proved constant is a radius (1 to 3).
4. What a layer loses, depth loses many times (lesson 7); without a proved constant the formula lies (lesson 8).
""",
)
