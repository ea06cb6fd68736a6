"""The texts of the page on false certificates: what is wrong, what repairs it, what to notice, the Python of a case."""

from typing import TYPE_CHECKING, Any, NamedTuple

from lipviz.digits import rounded_down
from lipviz.tables import as_csv

if TYPE_CHECKING:
    from lipviz.falsehoods import Case

IN_WORDS = """
#### Five ways to promise too much

A certificate is a division: the lead of the answer, divided by how fast that lead can fall. Both numbers have to be
right, in the right unit, and rounded to the safe side. On this page one of them is always wrong, and the promise is too
large.

* **Assumed constant.** Any network can be divided by 1. Nothing kept this one from changing fast, and it does.
* **Power iteration.** An estimate of a norm that comes from below is at most the norm, and a little too low in every
  layer is far too low in all of them together.
* **Forgotten std.** A network that is fed pictures divided by 0.25 sees every change four times as large.
* **Unit rows.** Rows of length 1 are 1.41 apart where they stand at a right angle. They can be up to 2 apart.
* **float32.** Seven digits are few once a large number has been added: the lead is what is left of them.

A search that finds no other answer proves nothing. A search that finds one inside the promise has refuted it. What is
called certified here comes from the weights, in double precision with a bound of every rounding error: no search ends
inside it, and if one did, the page would show it.
"""

WITH_MATHEMATICS = r"""
#### Five ways to promise too much

With logits $s = W z + b$, features $z = h(x)$ and $h$ $L$-Lipschitz in the l2 norm, no change smaller than

$$ r(x) = \min_{j \ne y} \frac{s_y(x) - s_j(x)}{L \, \lVert w_y - w_j \rVert_2} $$

alters the answer $y$. What goes wrong:

* **Assumed constant.** $m / (\sqrt 2\, c)$ with any $c$ is a number. It is a radius if $c$ is at least the Lipschitz
  constant of the whole map $x \mapsto s$. Scaling the logits by $t$ scales $m$ and the constant; with a fixed $c$ only
  the promise grows.
* **Power iteration.** $\lVert A v \rVert \le \lVert A \rVert$ for every unit vector $v$: each step $v \leftarrow A^\top
  A v / \lVert A^\top A v \rVert$ gives a lower bound. From a random start in $n$ dimensions the share of the top
  direction is about $n^{-1/2}$, and it grows by $(\sigma_1 / \sigma_2)^2$ a step.
* **Forgotten std.** $x \mapsto (x - \mu) / \sigma$ has the constant $1 / \min_i \sigma_i$, the smallest and not the
  largest: 4.1 for the usual numbers of CIFAR-10.
* **Unit rows.** $\lVert w_y - w_j \rVert = 2 \sin(\theta / 2)$ for unit rows at the angle $\theta$. So
  $m / (\sqrt 2 L)$ is sound only up to $\theta = 90^\circ$. The whole map may have the constant
  $L \lVert W \rVert \le \sqrt K L$.
* **float32.** Near $2^k$ the numbers of float32 are $2^{k - 23}$ apart. The feature $\langle a, x \rangle + 2^k$ is
  rounded to one of them; subtracting $2^k$ again is exact, and does not bring back what is lost. A radius has to use
  $s_y - s_j - 2 e$ with a proved bound $e$ of the error.

A search finds an upper bound of the distance to the nearest other answer, a certificate a lower one.
"""


class Words(NamedTuple):
    """Of one falsehood: its formula, what is wrong with it, what repairs it."""

    formula: str
    wrong: str
    repair: str


KINDS: dict[str, Words] = {
    "Assumed constant": Words(
        "margin / (√2 × a constant that somebody assumed)",
        "Nothing in this network keeps its constant at the assumed one, so the margin falls faster than the line.",
        "Divide by a bound that is computed from the weights of every layer.",
    ),
    "Power iteration": Words(
        "margin / (product of estimated norms × distance of the rows)",
        "Power iteration approaches a norm from below: stopped at any step, it is a lower bound, and depth multiplies "
        "what is missing.",
        "Use an upper bound of each norm instead, such as Gram iteration or a checked factorisation.",
    ),
    "Forgotten std": Words(
        "margin / (constant of the network × distance of the rows)",
        "The network is fed (x - mean) / std. Its constant is right for that input, but the picture is changed before "
        "the division.",
        "Multiply the constant by 1 / std; where channels differ, by 1 / the smallest of them.",
    ),
    "Unit rows": Words(
        "margin / √2, for a head whose rows have length 1",
        "√2 is the distance of two unit rows at a right angle. Rows that point away from each other are up to 2 apart.",
        "Divide by the distance of the two rows themselves, at most 2.",
    ),
    "float32": Words(
        "margin / (constant × distance of the rows), all in float32",
        "A feature had a large number added and taken away again. That changes nothing on paper; in float32 it "
        "rounds the margin.",
        "Evaluate in float64, and take a bound of the rounding error off the margin.",
    ),
}
NAMES = tuple(KINDS)

STATES: dict[str, tuple[str, str, Any]] = {
    "broken": ("Broken: another answer inside the claim", ":material/heart_broken:", "red"),
    "open": ("Not broken by this search, and not proven", ":material/help:", "orange"),
    "true": ("True: to six digits the claim is no larger than what is proven", ":material/verified:", "green"),
    "bug": ("Another answer inside the certified radius: a bug", ":material/bug_report:", "red"),
}


def size(value: float, digits: int = 3) -> str:
    """A size that is no promise; with its zeros, so that it is not taken for a digit that is an answer.

    >>> size(0.123456), size(7.0), size(0.0000123, 2)
    ('0.123', '7.00', '1.2e-05')
    """
    return f"{value:#.{digits}g}".rstrip(".")


def number(value: float, digits: int = 3) -> str:
    """A number that is no size.

    >>> number(0.123456), number(2.0)
    ('0.123', '2')
    """
    return f"{value:.{digits}g}"


def digits(case: "Case") -> int:
    """So many that a claim which is broken by a hair does not look like its break; three are enough for most."""
    enough = range(3, 12)
    if not case.broken:
        return enough[0]
    return next(
        (d for d in enough if float(rounded_down(case.claimed, d)) > float(size(case.found.size, d))), enough[-1]
    )


def notice(kind: str, case: "Case", answers: tuple[str, str]) -> str:
    """What to see in the picture as it is now; `answers` are the names of the first and of the other answer."""
    found, first, other = case.found, *answers
    d = digits(case)
    radius, claimed = rounded_down(case.certified), rounded_down(case.claimed, d)
    if case.state == "bug":
        return (
            f"A change of {size(found.size)} alters the answer although {radius} is certified. This must not happen: "
            "please report it with the address of this page."
        )
    if case.state == "true":
        if kind == "Power iteration":
            return (
                "Now the estimate agrees with the proven bound to six digits. Nothing in the estimate says so: only "
                "the bound does."
            )
        return f"The claim is true now: it promises {claimed}, and {radius} is certified."
    if case.state == "broken":
        ratio = case.claimed / found.size if found.size else float("inf")
        lie = f"{number(100 * (ratio - 1))} % too far" if ratio < 1.995 else f"{number(ratio)} times too far"
        return (
            f"{first} becomes {other} at size {size(found.size, d)}, inside the claimed {claimed}. The promise "
            f"reaches at least {lie}; certified is {radius}."
        )
    if found.label == case.label:
        return (
            f"No counterexample found in {found.steps} steps, up to size {size(found.size)}; that proves nothing. "
            f"Certified is only {radius}."
        )
    return (
        f"The nearest other answer found lies at {size(found.size)}, outside the claimed {claimed}. That "
        f"{found.steps} steps found none inside proves nothing: certified is only {radius}."
    )


def numbers(case: "Case") -> list[tuple[str, str, str]]:
    """The line of numbers, (label, value, what it means)."""
    other, d = case.found.label != case.label, digits(case)
    unit = "l2 norm, pixels in [0, 1]."
    return [
        ("claimed radius", rounded_down(case.claimed, d), f"What the false formula promises. {unit}"),
        (
            "nearest break found",
            size(case.found.size, d) if other else "none",
            f"Size of the smallest change that a search of {case.found.steps} gradient steps found; checked in "
            f"float64. {unit}",
        ),
        ("certified radius", rounded_down(case.certified), f"From the weights, in float64. {unit}"),
        (
            "claim / break",
            number(case.claimed / case.found.size, d) if other and case.found.size else "-",
            "Above 1 the claim is refuted.",
        ),
    ]


def table(case: "Case", answers: tuple[str, str]) -> list[dict[str, str]]:
    """The text twin of the picture."""
    found, d = case.found, digits(case)
    none = f"none in {found.steps} steps, up to {size(found.size)}"
    broken = f"{size(found.size, d)} ({answers[1]})" if found.label != case.label else none
    return [
        {
            "": "claimed",
            "margin": number(case.margin),
            "divided by": number(case.divisor),
            "size": rounded_down(case.claimed, d),
        },
        {
            "": "certified",
            "margin": number(float(found.margins[0])),
            "divided by": number(float(found.margins[0]) / case.certified) if case.certified else "-",
            "size": rounded_down(case.certified),
        },
        {"": "nearest other answer found", "size": broken},
    ]


def csv(case: "Case") -> str:
    """The margin on the way that the search found, beside the two lines, one size a line."""
    rows = []
    for s, m in zip(case.found.sizes.tolist(), case.found.margins.tolist(), strict=True):
        claimed = case.margin * (1 - s / case.claimed) if case.claimed else 0.0
        certified = float(case.found.margins[0]) * (1 - s / case.certified) if case.certified else 0.0
        rows.append((s, m, max(claimed, 0.0), max(certified, 0.0)))
    return as_csv(["size", "margin", "claimed_line", "certified_line"], rows)


def code(call: str, folder: str | None, picture: str, other: str, shape: tuple[int, ...], built: bool) -> str:
    """Python that makes the case again.

    Args:
        call: of the function of `falsehoods`, with `certifier`, `run`, `x` and `other` as names.
        folder: of the run, or None where the network is made up.
        picture: name of the sample.
        other: name of the second sample; "" where there is none.
        shape: of the input.
        built: the network is `stretched`, made from the two pictures.
    """
    lines = [
        "import lipviz",
        "from lipviz import falsehoods, figures_false",
        "from lipviz.certify import Certifier",
        "",
    ]
    if folder:
        lines += [f"run = lipviz.load({folder!r})", "certifier = Certifier(run.model, run.spec.input_shape)"]
    lines += [f"x = falsehoods.sample({picture!r}, {shape!r})"]
    if other:
        lines += [f"other = falsehoods.sample({other!r}, {shape!r})"]
    if built:
        lines += ["model = falsehoods.stretched(x, other)", "certifier = Certifier(model, tuple(x.shape))"]
    lines += [
        f"case = {call}",
        "found = case.found",
        'print("claimed", case.claimed, "certified", case.certified, case.state)',
        'print("nearest other answer found:", found.size if found.label != case.label else None)',
        "broken = found.size if found.label != case.label else None",
        "figure = figures_false.claim(found.sizes, found.margins, case.margin, case.claimed, case.certified, broken)",
        'figure.write_html("false.html", config={"showSendToCloud": False})',
        "",
    ]
    return "\n".join(line for line in lines if folder is not None or line != "import lipviz")
