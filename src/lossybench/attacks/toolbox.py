"""The parts of ART that attacks are built from, without all its others.

`import art` imports every attack, defence and metric of ART, and with them pandas and scikit-learn: a second of each
job. The modules that are needed here need little of that. So ART's packages, where they are not imported yet, are put
off: of a package, what is looked for in it is imported if that is a module, and all of it otherwise.
"""

from __future__ import annotations

import importlib
import importlib.util
import itertools
import sys
from types import ModuleType
from typing import Any

_PACKAGES = (
    "art.attacks.evasion.projected_gradient_descent",
    "art.estimators.classification",
    "art.estimators.object_detection",
    "art.defences.preprocessor",
    "art.defences.postprocessor",
    "art.preprocessing.standardisation_mean_std",
)


class _PutOff(ModuleType):
    """A package whose own code runs when something is asked of it that is no module of it."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__version__":  # what Python itself asks modules for
            raise AttributeError(name)
        if importlib.util.find_spec(f"{self.__name__}.{name}"):
            return importlib.import_module(f"{self.__name__}.{name}")
        self.__class__ = ModuleType  # type: ignore[assignment]
        assert self.__spec__ and self.__spec__.loader
        self.__spec__.loader.exec_module(self)
        return getattr(self, name)


for _package in _PACKAGES:
    for _name in itertools.accumulate(_package.split("."), "{}.{}".format):
        if _name not in sys.modules:
            _spec = importlib.util.find_spec(_name)
            assert _spec
            _made = importlib.util.module_from_spec(_spec)
            _made.__class__ = _PutOff
            sys.modules[_name] = _made

from art.attacks.evasion.auto_projected_gradient_descent import AutoProjectedGradientDescent  # noqa: E402
from art.attacks.evasion.fast_gradient import FastGradientMethod  # noqa: E402
from art.attacks.evasion.projected_gradient_descent.projected_gradient_descent_numpy import (  # noqa: E402
    ProjectedGradientDescentNumpy,
)
from art.attacks.evasion.projected_gradient_descent.projected_gradient_descent_pytorch import (  # noqa: E402
    ProjectedGradientDescentPyTorch,
)
from art.defences.preprocessor.preprocessor import PreprocessorPyTorch  # noqa: E402
from art.estimators.classification.pytorch import PyTorchClassifier  # noqa: E402
from art.estimators.object_detection.object_detector import ObjectDetectorMixin  # noqa: E402
from art.estimators.object_detection.pytorch_object_detector import PyTorchObjectDetector  # noqa: E402

__all__ = [
    "AutoProjectedGradientDescent",
    "FastGradientMethod",
    "ObjectDetectorMixin",
    "PreprocessorPyTorch",
    "ProjectedGradientDescentNumpy",
    "ProjectedGradientDescentPyTorch",
    "PyTorchClassifier",
    "PyTorchObjectDetector",
]
