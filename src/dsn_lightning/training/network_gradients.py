"""A DDP strategy that sends only the gradients of the network that is trained; Lightning's sends those of all."""

from typing import Any

from pytorch_lightning.overrides.distributed import prepare_for_backward
from pytorch_lightning.strategies import DDPStrategy
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from dsn_lightning.algorithms.recognizer import Recognizer
from dsn_lightning.errors import UsageError


class NetworkDDPStrategy(DDPStrategy):
    """`DDPStrategy` with a DDP wrapper for each network that a `Recognizer` trains, instead of one for all.

    Algorithm 1 has two backward passes a step, each through one network. One wrapper would send the gradients of both
    networks in each of them. Here a pass sends those of the network whose optimiser steps next, in buckets, while the
    pass goes on; with ``accumulate`` > 1 only the last pass before the step sends. The wrappers' forward passes are not
    used: networks keep their names, and no buffers are sent.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.wrappers: dict[str, DistributedDataParallel] = {}  # by optimiser

    def configure_ddp(self) -> None:
        """Make the wrappers, which give all processes the first one's weights."""
        recognizer = self._recognizer()
        self.wrappers = {name: self._setup_model(recognizer.network(name)) for name in recognizer.optimizer_names}

    def pre_backward(self, closure_loss: Tensor) -> None:
        """Let the pass that completes a gradient average it over the processes; the passes before only add to it."""
        name = self._recognizer().completes
        if name is not None:
            prepare_for_backward(self.wrappers[name], closure_loss)

    def post_backward(self, closure_loss: Tensor) -> None:
        """Refuse parameters without a gradient: DDP would wait for them, and fail in the next step.

        Raises:
            UsageError: names them.
        """
        name = self._recognizer().completes
        if name is None:
            return
        parameters = self._recognizer().network(name).named_parameters()
        missing = [key for key, p in parameters if p.requires_grad and p.grad is None]
        if missing:
            raise UsageError(
                f"the {name} does not use the parameters {', '.join(missing)}; with several processes each parameter "
                "needs a gradient: remove them, or set their requires_grad to False"
            )

    def teardown(self) -> None:
        """Drop the wrappers, and with them their hooks on the parameters."""
        self.wrappers.clear()
        super().teardown()

    def _recognizer(self) -> Recognizer:
        recognizer = self.lightning_module
        assert isinstance(recognizer, Recognizer)
        return recognizer
