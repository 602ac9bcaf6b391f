"""Dynamic Sampling Networks (Zheng, Liu, Lu, Wang): a learned clip sampler in front of any video classifier.

`DSN` is a trained one, for Python; `dsn_lightning.algorithms.dsn` is how it is trained.
"""

from typing import TYPE_CHECKING, Any

from dsn_lightning.current_folder import load_cusparselt_elsewhere

if TYPE_CHECKING:
    from dsn_lightning.pretrained import PretrainedDSN as DSN  # noqa: N814 (its public name)

__version__ = "0.1.0"
__all__ = ["DSN", "__version__"]

load_cusparselt_elsewhere()  # here: before any module of this package imports PyTorch, in every process


def __getattr__(name: str) -> Any:
    if name == "DSN":  # when it is asked for: commands report a typing error before they load PyTorch
        from dsn_lightning.pretrained import PretrainedDSN

        return PretrainedDSN
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
