"""A certificate as a file: everything that the radius of one picture hangs on, for somebody else to compute again.

`proof` makes it, `check` takes it apart: the hashes of the weights and of the pixels, then the bound of every layer,
the logits and the radius, all from the weights of a run folder and not from the file.
"""

import base64
import hashlib
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image

from lipviz.certify import Certifier
from lipviz.pictures import data_uri
from lipviz.provenance import revision
from lipviz.runs import Run
from lipviz.verify import ABOVE, CLOSE, EXACT, NEAR, Finding

BESIDE = {"picture", "notes"}  # what the command line adds: about the file that the picture came from


def proof(run: Run, certifier: Certifier, pixels: UInt8[np.ndarray, "c h w"]) -> dict[str, Any]:
    """The certificate of one picture, as it goes into a file of JSON.

    Args:
        run: of the network.
        certifier: of `run.model`, which knows the hash of its file.
        pixels: what the network sees, 0 to 255.

    Raises:
        ValueError: the certifier is not of weights that were read from a file.
    """
    if not certifier.weights_sha256:
        raise ValueError("a certificate names the file of its weights: certify with Certifier(run.model, ...)")
    certificate = certifier(torch.tensor(pixels)[None])
    index = int(certificate.label[0])
    return {
        "run": run.name,
        "label": run.class_name(index),
        "margin": float(certificate.margin[0]),
        "radius": float(certificate.radius[0]),
        "norm": "l2",
        "unit": "pixels in [0, 1]",
        "index": index,
        "logits": certificate.logits[0].tolist(),
        "error_of_logits": float(certificate.error[0]),
        "bound_of_body": certifier.body,
        "layers": [asdict(layer) for layer in certifier.bound.layers],
        "weights_sha256": certifier.weights_sha256,
        "pixels_sha256": hashlib.sha256(pixels.tobytes()).hexdigest(),
        "pixels": data_uri(pixels),
        "lipviz": revision(),
    }


def weights_hash(run: Run) -> str:
    """SHA-256 of the file of weights."""
    return hashlib.sha256((run.folder / "weights.safetensors").read_bytes()).hexdigest()


def fitting(said: Mapping[str, Any], found: Sequence[Run]) -> Run:
    """The run whose weights the certificate names.

    Raises:
        ValueError: none of them has these weights.
    """
    for run in found:
        if weights_hash(run) == said.get("weights_sha256"):
            return run
    raise ValueError(f"no run here has the weights of this certificate, which names {said.get('run')!r}: give --model")


def check(said: Mapping[str, Any], run: Run, certifier: Certifier | None = None) -> list[Finding]:
    """What was compared with the weights and the picture, each in a sentence; nothing is believed of the file.

    Args:
        said: what `proof` made, read again.
        run: the network it should be about.
        certifier: of the run's weights, where there is one already.

    Raises:
        ValueError: the file is no certificate, or its picture is of another shape than the network takes.
    """
    try:
        pixels = _pixels(said["pixels"])
        if pixels.shape != tuple(run.spec.input_shape):
            raise ValueError(f"its picture has shape {pixels.shape}, {run.name} takes {tuple(run.spec.input_shape)}")
        return list(_check(said, run, certifier or Certifier(run.model, run.spec.input_shape), pixels))
    except (LookupError, TypeError, AttributeError, OSError, ValueError) as error:
        wrong = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"not a certificate of {run.name}: {wrong}") from None


def _check(said: Mapping[str, Any], run: Run, certifier: Certifier, pixels: np.ndarray) -> Iterator[Finding]:
    now = proof(run, certifier, pixels)
    if strange := sorted(set(said) - set(now) - BESIDE):
        yield Finding(False, f"It says {strange[0]!r}, which is no part of a certificate.")
    unit = all(said[key] == now[key] for key in ("norm", "unit"))
    words = f"the {now['norm']} norm and {now['unit']}"
    yield Finding(unit, f"It speaks of {'' if unit else 'something else than '}{words}.")
    for key, what in (("weights_sha256", "weights"), ("pixels_sha256", "pixels")):
        same = said[key] == now[key]
        yield Finding(same, f"The {what} {'have' if same else 'do not have'} the hash that the certificate names.")
    pairs = [*_bounds(said["layers"], now["layers"]), ("body", said["bound_of_body"], now["bound_of_body"])]
    low = [name for name, a, b in pairs if not b * (1 - ABOVE) <= a <= b * (1 + EXACT)]
    named = _names(said["layers"]) == _names(now["layers"])
    holds = named and not low
    which = f" but {', '.join(low)}" if low else ""
    text = f"The bounds of the {len(now['layers'])} layers{which} are those of the weights."
    yield Finding(holds, text if named else "The certificate is about other layers than the network has.")
    a, b = np.array(said["logits"], dtype=float), np.array(now["logits"])
    same = a.shape == b.shape and bool(np.allclose(a, b, rtol=EXACT, atol=CLOSE)) and said["index"] == now["index"]
    same = same and said["label"] == now["label"] and math.isclose(said["margin"], now["margin"], abs_tol=CLOSE)
    same = same and said["error_of_logits"] >= now["error_of_logits"] * (1 - EXACT)
    yield Finding(same, f"The network answers {now['label']}{'' if same else ', with other logits or in other words'}.")
    radius = now["radius"]
    agrees = 0 <= said["radius"] <= (radius * (1 + ABOVE) + NEAR if radius else 0.0)
    words = "is certified" if agrees else "is not certified"
    if agrees and said["radius"] > radius:  # another machine sums in another order
        words = "agrees to eight digits with the one that is certified here"
    yield Finding(agrees, f"The radius {said['radius']} {words}; computed again it is {radius}.")


def _names(layers: Sequence[Mapping[str, Any]]) -> list[object]:
    """Name and method of each layer and of those inside it."""
    return [[each["name"], each["method"], _names(each["branch"])] for each in layers]


def _bounds(said: Sequence[Mapping[str, Any]], now: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, float, float]]:
    """(name, value there, value now) of each layer and of those inside it."""
    for a, b in zip(said, now, strict=False):
        yield str(b["name"]), float(a["value"]), float(b["value"])
        yield from _bounds(a["branch"], b["branch"])


def _pixels(uri: str) -> UInt8[np.ndarray, "c h w"]:
    """The pixels of `data_uri`, channels first."""
    _, _, content = uri.partition(",")
    with Image.open(io.BytesIO(base64.b64decode(content)), formats=["PNG"]) as image:
        if max(image.size) > 4096:
            raise ValueError(f"its picture has {image.width} x {image.height} pixels, no network here takes that many")
        if image.mode not in ("L", "RGB") or "transparency" in image.info:  # what a viewer shows must be what counts
            raise ValueError(f"its picture is of mode {image.mode}, not 8 bits of grey or of red, green and blue")
        pixels = np.asarray(image)
    return pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))
