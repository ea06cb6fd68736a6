"""The course: eight lessons of ten minutes, in order, each on one page of the app, each with one question.

Nothing heavy is imported before an answer is checked. `docs/course.md` is `markdown()`; a test compares them.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode

MINUTES = 10


@dataclass(frozen=True)
class Lesson:
    """One lesson.

    Attributes:
        title: a question, or what is to be found.
        page: of the app, the name of its file.
        state: of that page, as its address has it.
        steps: what to do, in order.
        question: asked on the page; what to read off it answers it.
        choices: to choose from; empty where a number is asked.
        answer: the right choice, or a function that computes the number.
        tolerance: of a number, relative; `near` is absolute.
        why: said after a right answer.
        hint: said after a wrong one.
    """

    title: str
    page: str
    steps: tuple[str, ...]
    question: str
    answer: str | Callable[[], float]
    why: str
    hint: str
    choices: tuple[str, ...] = ()
    state: Mapping[str, str | float | int] = field(default_factory=dict)
    tolerance: float = 0.02
    near: float = 0.0

    def right(self, given: str | float | int | None) -> bool:
        """Whether an answer is right; a number within the tolerance."""
        if given is None:
            return False
        if isinstance(self.answer, str):
            return given == self.answer
        wanted = self.answer()
        return isinstance(given, int | float) and math.isclose(given, wanted, rel_tol=self.tolerance, abs_tol=self.near)


def share_kept(run: str, k: int) -> float:
    """Percent of the test set of a shipped run with the right answer and a radius above k/255."""
    from lipviz import ui
    from lipviz.runs import load

    found = load(ui.CHECKPOINTS / run).certificates
    if found is None:
        raise ValueError(f"{run} has no certificates: its training did not come to its end")
    return 100 * float((found.correct & (found.radius > k / 255)).mean())


def largest_eigenvalue(W: str) -> float:
    """lambda_max(W^T W): from here on t1 = t2 = t satisfies the condition."""
    from lipviz import lessons

    G = lessons.from_text(W)
    return float(lessons.discs(G.T @ G).eigenvalues[-1])


def best_edge() -> float:
    """rho(|G|) of the example on the page of the discs: no q pulls the right-most edge further."""
    from lipviz import lessons

    W = lessons.example(5, 410)
    return lessons.best_edge(W.T @ W)


CONDITION_W = "1.2 0.8; -0.3 0.6"
CONDITION: dict[str, str | float | int] = {
    **{"cd_view": "2 neurons", "cd_w11": 1.2, "cd_w12": 0.8},
    **{"cd_w21": -0.3, "cd_w22": 0.6},
}

LESSONS = (
    Lesson(
        "What does a certificate say?",
        "certify",
        (
            "Look at the cat: two networks answer, and each answer comes with a radius.",
            "Read the sentence below the radius: it speaks of every change of that size, not of some.",
            "Now choose the palace among the samples. No network here knows such a class.",
        ),
        "The palace is none of the ten classes. What happens to the answer of the constrained network?",
        "It is certified all the same",
        "A certificate says that an answer is stable. Whether it is right is another question.",
        "Choose the sample Palace and look at the badge below the answer.",
        ("It is certified all the same", "Its radius is 0", "There is no answer"),
        {"ci_sample": "Cat"},
    ),
    Lesson(
        "How much survives?",
        "radii",
        (
            "Each curve shows the share of a test set that is right and certified beyond a size.",
            "Drag eps from 36/255 to 72/255 and watch the numbers below the picture, then the table of all runs.",
            "Compare where a curve starts with how fast it falls.",
        ),
        "What percent of the CIFAR-10 test set does cifar10-sll keep at 72/255?",
        lambda: share_kept("cifar10-sll", 72),
        "That share is a promise: no attack of l2 norm 72/255 can change one of these answers.",
        "Set eps to 72/255 and read the column of certified accuracy.",
        state={"cr_data": "cifar10", "cr_eps": 36, "cr_one_cifar10": "cifar10-sll"},
        tolerance=0.0,
        near=0.11,
    ),
    Lesson(
        "Can you break it?",
        "playground",
        (
            "Drag the probe towards the boundary: its disc shrinks, and stops at the boundary at the latest.",
            "The dashed line leads to the nearest break that a search has found.",
            "Let the network train on, and drag again.",
        ),
        "Which of these is never seen, wherever you put the probe?",
        "A break closer than the proof",
        "That is what proof means: the distance to the nearest break is at least the radius, always.",
        "Compare the two distances at several places, far from the boundary and near to it.",
        ("A break closer than the proof", "A break further than the proof", "A probe with radius below 0.1"),
        {"pg_data": "moons", "pg_layer": "SLL"},
    ),
    Lesson(
        "One condition",
        "condition",
        (
            "Drag T: inside the shaded region the condition WᵀW ≤ T holds, outside it fails.",
            "Watch the circle: outside, its image pokes out, and an eigenvalue bar turns negative.",
            "Now keep T on the diagonal, t1 = t2, and pull it down as far as the condition allows.",
        ),
        "With t1 = t2 = t, what is the smallest t for which the condition holds?",
        lambda: largest_eigenvalue(CONDITION_W),
        "It is the largest eigenvalue of WᵀW, the square of its norm: the spectral rule, and CPL.",
        "The marker of the spectral rule stands on the diagonal: read its place off the table.",
        state=CONDITION,
    ),
    Lesson(
        "Four methods, one edge",
        "condition",
        (
            "With two neurons AOL, SLL and CPL all stand on the edge of the region.",
            "Now take three neurons, and flip a sign: some point leaves the edge.",
            "Flip it back and forth, and watch which ones stay.",
        ),
        "When does AOL leave the edge?",
        "When the product of the three signs is -",
        "AOL adds magnitudes. It loses nothing as long as one choice of signs of the neurons makes all entries of WᵀW "
        "positive: the pattern is balanced. The spectral rule looks at the eigenvalue itself and always stays.",
        "Flip a sign and read what to notice: where AOL is, and the product of the signs.",
        (
            "When the product of the three signs is +",
            "When the product of the three signs is -",
            "It never does",
        ),
        {"cd_view": "3 neurons"},
    ),
    Lesson(
        "Circles that bound a layer",
        "discs",
        (
            "Every eigenvalue lies in a disc, so the right-most edge is a bound.",
            "Pull the factors q: the discs move, the crosses never do.",
            "Pull the right-most edge as far left as you can.",
        ),
        "How far left can it be pulled?",
        best_edge,
        "To the spectral radius of |G|: the Perron vector makes all edges meet. What is left is the price of "
        "forgetting signs.",
        "There is a button that finds the best factors.",
        state={"gd_source": "example", "gd_view": "G", "gd_n": 5, "gd_seed": 410, "gd_w": ""},
    ),
    Lesson(
        "What does a layer keep?",
        "spectra",
        (
            "A singular value is the factor by which a layer stretches one direction.",
            "Compare the families: values below 1 damp a direction, values above 1 stretch it.",
            "Look at the distance to orthogonal, before and after training.",
        ),
        "Which of these families loses no direction, before training and after?",
        "Cayley",
        "Its layers are orthogonal by construction: every singular value is 1, whatever training does.",
        "Look for the smallest distance to orthogonal.",
        ("AOL", "Cayley", "Plain"),
        {},
    ),
    Lesson(
        "The liar",
        "playground",
        (
            "The twin has the same size and the same data, but no constraint.",
            "Take the certificate's formula and pretend that its Lipschitz constant is 1: "
            "large discs that nothing proves. One with a break inside is false.",
            "Drag the probe until the nearest break lies inside its disc.",
        ),
        "What is wrong with the discs of the network without a constraint?",
        "Its Lipschitz constant is larger than 1",
        "The radius is the margin divided by a proved constant. Without the constant there is no certificate.",
        "Compare its proved bound with 1.",
        (
            "Its margins are too small",
            "Its Lipschitz constant is larger than 1",
            "It was trained for too few steps",
        ),
        {"pg_data": "moons", "pg_layer": "SLL", "pg_with": "Plain"},
    ),
)


def lesson(number: str) -> Lesson | None:
    """The lesson of an address, None where it names none.

    >>> lesson("1").page, lesson("9"), lesson("x"), lesson("-1")
    ('certify', None, None, None)
    """
    return LESSONS[int(number) - 1] if number in {str(i + 1) for i in range(len(LESSONS))} else None


def parameters(number: int) -> dict[str, str]:
    """What the address of lesson `number` (from 1) holds after the question mark."""
    return {**{key: str(value) for key, value in LESSONS[number - 1].state.items()}, "lesson": str(number), "v": "1"}


def markdown() -> str:
    """The course as a page of the documentation; its links are those of an app on this machine."""
    lines = [
        "# A course in eight lessons",
        "",
        f"Each takes about {MINUTES} minutes, happens on one page of the app, and ends with a question that the page "
        "checks. Start the app (`make app`) and open *Lessons*, or follow the links. Lesson links of your own: "
        "*Lesson link* at the end of every page hides what would distract and sets a task.",
    ]
    for number, it in enumerate(LESSONS, 1):
        link = f"http://localhost:8501/{it.page}?{urlencode(parameters(number))}"
        lines += ["", f"## {number}. [{it.title}]({link})", ""]
        lines += [f"{i}. {step}" for i, step in enumerate(it.steps, 1)]
        lines += ["", f"**Question.** {it.question}"]
        lines += [f"- {choice}" for choice in it.choices] and ["", *(f"- {choice}" for choice in it.choices)]
    return "\n".join([*lines, ""])
