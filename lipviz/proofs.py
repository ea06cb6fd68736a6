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
from lipviz.runs import Run
from lipviz.train import revision
from lipviz.verify import ABOVE, EXACT, NEAR, TINY, Finding


def proof(run: Run, certifier: Certifier, pixels: UInt8[np.ndarray, "c h w"]) -> dict[str, Any]:
    """The certificate of one picture, as it goes into a file of JSON.

    Args:
        run: of the network.
        certifier: of the run's weights.
        pixels: what the network sees, 0 to 255.
    """
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
        "weights_sha256": weights_hash(run),
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
    for key, what in (("weights_sha256", "weights"), ("pixels_sha256", "pixels")):
        same = said[key] == now[key]
        yield Finding(same, f"The {what} {'have' if same else 'do not have'} the hash that the certificate names.")
    low = [name for name, a, b in _bounds(said["layers"], now["layers"]) if not b * (1 - ABOVE) <= a <= b * (1 + EXACT)]
    named = [each["name"] for each in said["layers"]] == [each["name"] for each in now["layers"]]
    holds = named and not low and math.isclose(said["bound_of_body"], now["bound_of_body"], rel_tol=EXACT)
    which = f" but {', '.join(low)}" if low else ""
    text = f"The bounds of the {len(now['layers'])} layers{which} are those of the weights."
    yield Finding(holds, text if named else "The certificate is about other layers than the network has.")
    a, b = np.array(said["logits"], dtype=float), np.array(now["logits"])
    same = a.shape == b.shape and bool(np.allclose(a, b, rtol=EXACT, atol=TINY)) and said["index"] == now["index"]
    same = same and said["label"] == now["label"] and math.isclose(said["margin"], now["margin"], abs_tol=TINY)
    yield Finding(same, f"The network answers {now['label']}{'' if same else ', with other logits or in other words'}.")
    certified = 0 <= said["radius"] <= now["radius"] * (1 + ABOVE) + NEAR
    words = "is certified" if certified else "is not certified"
    yield Finding(certified, f"The radius {said['radius']} {words}; computed again it is {now['radius']}.")


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
        pixels = np.asarray(image)
    return pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))
