"""Does a run folder say what its weights say?

The Lipschitz bound and the certificates of test images are computed again from the weights; the shares in run.json are
taken again from certificates.csv; and no attack that is kept may lie inside a radius.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64
from torch import Tensor

from lipviz import autoattack
from lipviz.attacks import tested
from lipviz.certify import Certifier
from lipviz.data import evenly
from lipviz.runs import MARKS, Certificates, Run, RunError, table

EXACT = 2e-6  # relative: certificates.csv keeps seven digits, rounded down; another machine sums in another order
ABOVE = 1e-8  # relative, of what would promise more: older runs kept nine digits, rounded to the nearest
NEAR = 1e-12  # absolute, with it: the rounding of logits, where the margin is small
CLOSE = 1e-9  # absolute, of margins, radii and shares
FLOAT32 = 1e-6  # absolute, of radii in attacks.npz: it may be of pixels that were rounded to float32


@dataclass(frozen=True)
class Finding:
    """One sentence about a run folder, and whether all is well."""

    holds: bool
    text: str


def verify(
    run: Run, source: str | None = None, images: int | None = 200, certifier: Certifier | None = None
) -> list[Finding]:
    """What was compared, each in a sentence.

    Args:
        run: finished.
        source: where its test set is; without it no certificate is computed again.
        images: of the test set, evenly spaced; None for all.
        certifier: of the run's weights, where there is one already: its bound takes seconds.

    Raises:
        ValueError: the run has no certificates, or the data is not that of the run.
    """
    rows = run.certificates
    if rows is None:
        raise ValueError(
            f"{run.folder} has no certificates.csv: finish it with `lipviz train --resume --out {run.folder}`"
        )
    certifier = certifier or Certifier(run.model, run.spec.input_shape)
    found = [_bound(run, certifier), _shares(run, rows)]
    if source is None:
        found.append(Finding(True, "No certificate was computed again: name the test set with --data."))
    else:
        x, y, index = tested(run, source, images)
        found += recomputed(certifier, rows, x, y.numpy(), index)
    return [*found, *_attacked(run, rows)]


def _bound(run: Run, certifier: Certifier) -> Finding:
    said, now = run.results.get("bound"), certifier.bound.value
    if not isinstance(said, int | float):
        return Finding(False, "run.json holds no Lipschitz bound.")
    agrees = now * (1 - ABOVE) <= said <= now * (1 + EXACT)  # a smaller bound promises more
    how = "as run.json says" if agrees else f"not {said:.9g} as run.json says"
    return Finding(agrees, f"The weights have the Lipschitz bound {now:.9g}, {how}.")


def _shares(run: Run, rows: Certificates) -> Finding:
    """run.json against certificates.csv."""
    results, certified = run.results, table(run.results.get("certified"))
    said = [results.get("test_images"), results.get("accuracy"), *(certified.get(str(k)) for k in MARKS)]
    now = [len(rows.radius), rows.accuracy(), *(rows.accuracy(k / 255) for k in MARKS)]
    names = ["the number of test inputs", "the clean accuracy", *(f"the certified accuracy at {k}/255" for k in MARKS)]
    wrong = [
        f"{name} is {b:.9g}, run.json says {a}"
        for name, a, b in zip(names, said, now, strict=True)
        if not isinstance(a, int | float) or not abs(a - b) <= CLOSE  # NaN agrees with nothing
    ]
    text = (
        f"By certificates.csv {'; '.join(wrong)}." if wrong else "run.json and certificates.csv give the same shares."
    )
    return Finding(not wrong, text)


def recomputed(
    certifier: Certifier, rows: Certificates, x: Tensor, label: Int64[np.ndarray, " n"], index: Int64[np.ndarray, " n"]
) -> list[Finding]:
    """certificates.csv against certificates that are computed now, of the test inputs `x` at the places `index`."""
    now = certifier(x)
    radius = now.radius.numpy()
    larger = rows.radius[index] > radius * (1 + ABOVE) + NEAR
    wrong = {
        "index": rows.index[index] != index,
        "label": rows.label[index] != label,
        "answer": rows.prediction[index] != now.label.numpy(),
        "margin": ~_close(rows.margin[index], now.margin.numpy()),
        "radius": ~_close(rows.radius[index], radius) & ~larger,
        "larger radius": larger,
    }
    again = f"Computed again for {len(index):,} of {len(rows.index):,} test inputs:"
    rest = "" if len(index) == len(rows.index) else " The others were not looked at: --images 0 takes all."
    changed = [name for name, each in wrong.items() if each.any()]
    if not changed:
        return [
            Finding(True, f"{again} indices, labels, answers, margins and radii are those of certificates.csv.{rest}")
        ]
    where = {name: f"{wrong[name].sum():,}, first at {index[wrong[name]][0]}" for name in changed}
    said = {name: f"another {name} than in certificates.csv" for name in changed}
    said["larger radius"] = "certificates.csv has a larger radius, which is not certified,"
    return [Finding(False, f"{again} {said[name]} for {where[name]}.") for name in changed]


def _close(a: Float64[np.ndarray, " n"], b: Float64[np.ndarray, " n"]) -> np.ndarray:
    return np.isclose(a, b, rtol=EXACT, atol=CLOSE)


def _attacked(run: Run, rows: Certificates) -> Iterator[Finding]:
    """attacks.npz and autoattack.json, where they are, against the radii."""
    try:
        kept = run.attacks
        if kept:
            n, broken = len(kept.index), kept.broken
            said = f"Of {n:,} smallest changes in attacks.npz {broken or 'none'} ended inside a certified radius"
            yield Finding(not broken, f"{said}{', which is a bug' if broken else ''}.")
            if not np.allclose(kept.radius, rows.radius[kept.index], rtol=EXACT, atol=FLOAT32):
                yield Finding(False, "attacks.npz was made with other radii than certificates.csv has: attack again.")
        outcome = autoattack.read(run)
        if outcome:
            holds = not outcome.inside and outcome.left >= outcome.certified
            left = f"{outcome.left:,} of {outcome.images:,} images right"
            said = f"AutoAttack left {left}, {outcome.certified:,} are certified"
            if not _counted(outcome, rows):
                other = f"{autoattack.FILE} counts other right or certified answers than certificates.csv"
                yield Finding(False, f"{other}: attack again.")
            yield Finding(holds, f"{said}{'' if holds else ': it ended inside a certified radius, which is a bug'}.")
    except RunError as error:
        yield Finding(False, f"{error}.")
    except IndexError:
        yield Finding(False, "attacks.npz names test inputs that certificates.csv does not have: attack again.")


def _counted(outcome: autoattack.Outcome, rows: Certificates) -> bool:
    """Whether the images, right and certified answers of AutoAttack are those of certificates.csv.

    It counts radii before they are rounded down, so one within EXACT of eps may stand on either side.
    """
    count, eps = len(rows.index), outcome.plan.eps
    index = evenly(count, outcome.images)
    right, radius = rows.correct[index], rows.radius[index]
    low, high = int((right & (radius > eps)).sum()), int((right & (radius * (1 + EXACT) > eps)).sum())
    return (outcome.images, outcome.right) == (len(index), int(right.sum())) and low <= outcome.certified <= high
