"""lipviz: see, train and certify 1-Lipschitz neural networks.

    LAYERS                      the table: name -> row
    dense, conv2d               layers of a row; conv_transpose2d for the rows with one kernel
    Spec, build                 networks
    explicit                    the same function as plain, frozen torch layers
    bound                       a rigorous upper bound of the Lipschitz constant
    certify                     label, margin and certified radius of images
    train, load                 make a run folder, read one

Names are imported when first used: `import lipviz` alone does not import torch.
"""

import sys
from importlib import import_module
from types import ModuleType

_HOMES = {
    "LAYERS": "layers",
    "dense": "layers",
    "conv2d": "layers",
    "conv_transpose2d": "layers",
    "explicit": "layers",
    "Spec": "networks",
    "build": "networks",
    "bound": "bounds",
    "certify": "certify",
    "Certifier": "certify",
    "certified_accuracy": "certify",
    "train": "train",
    "load": "runs",
}
__all__ = list(_HOMES)
__version__ = "0.1.0"


class _Package(ModuleType):
    """`lipviz.certify` and `lipviz.train` are the functions, not the modules of the same name."""

    def __getattr__(self, name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module 'lipviz' has no attribute {name!r}")
        return getattr(import_module(f"lipviz.{_HOMES[name]}"), name)

    def __dir__(self) -> list[str]:
        return sorted({*_HOMES, *super().__dir__()})

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):  # the import system binds submodules here
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
