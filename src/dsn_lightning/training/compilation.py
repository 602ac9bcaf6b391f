"""Networks that run compiled while they are trained."""

import os
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import nn

from dsn_lightning.errors import UsageError


def check_compiler() -> None:
    """Refuse to compile where the C++ compiler that `torch.compile` would call is missing.

    Raises:
        UsageError: names the compiler.
    """
    given = shlex.split(os.environ.get("CXX", ""))
    name = given[0] if given else "clang++" if sys.platform == "darwin" else "g++"
    if shutil.which(name) is None:
        raise UsageError(
            f"compile=true: found no C++ compiler {name}; install it, name another in CXX, or compile=false"
        )


@contextmanager
def compiled(networks: Sequence[nn.Module]) -> Iterator[None]:
    """Let networks run compiled by `torch.compile`, in place, so that parameters and checkpoints keep their names.

    Training and eval mode have a graph each. The second batch size that is seen makes a graph for all sizes, so the
    number of clips that are rewarded does not matter.
    """
    for network in networks:
        network.compile()
    try:
        yield
    finally:
        for network in networks:
            network._compiled_call_impl = None
