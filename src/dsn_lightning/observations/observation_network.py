"""The contract of an observation network, and its check at build time."""

from torch import Tensor, nn

from dsn_lightning.backbones.clip_network import (
    Attributes,
    ClipNetwork,
    attribute_problems,
    clip_network_problems,
    raise_problems,
)


class ObservationNetwork(nn.Module):
    """What the package needs to know of a network that maps section clips to the logits of a policy (Eq. 3).

    A network need not inherit from this class: class attributes are enough. Its configuration also names the trunk as a
    clip classifier (``clip_classifier`` in ``conf/observation``), which ``observation.checkpoint=auto`` trains.

    Attributes:
        trunk: the clip network that looks at each clip; pretrained weights go there.
        clips_per_section: N that it is made for; None if it takes any N.
        head: dotted name of the module that may have a separate learning rate, such as ``fc``.
        may_skip: True if the policy has one more arm, the last, which skips the section: it keeps none of its clips. A
            network without this attribute counts as False. The relative probabilities of the clips must not depend on
            the logit of this arm.
    """

    trunk: ClipNetwork
    clips_per_section: int | None
    head: str
    may_skip: bool = False

    def forward(self, clips: Tensor) -> Tensor:
        """Map normalised clips of whole videos (..., M, N, C, T, H, W) to policy logits (..., M, N).

        With ``may_skip``, to policy logits (..., M, N + 1).
        """
        raise NotImplementedError


_ATTRIBUTES: Attributes = {
    "trunk": (nn.Module, "the clip network that looks at each clip"),
    "clips_per_section": (int | None, "N that it is made for, None for any"),
    "head": (str, "dotted name of the module that may have a separate learning rate"),
}


def check_observation_network(network: nn.Module, *, key: str) -> None:
    """Check that a network satisfies `ObservationNetwork`, its trunk included; see `check_clip_network`.

    Raises:
        UsageError: lists everything that is missing or wrong.
    """
    problems = ["expected a torch.nn.Module"]
    if isinstance(network, nn.Module):
        problems = attribute_problems(network, _ATTRIBUTES)
        if not isinstance(skips := getattr(network, "may_skip", False), bool):
            problems.append(f"may_skip: expected bool, got {type(skips).__name__}")
        trunk = getattr(network, "trunk", None)
        if isinstance(trunk, nn.Module):
            problems += [f"trunk ({type(trunk).__name__}): {problem}" for problem in clip_network_problems(trunk)]
    raise_problems(network, problems, key=key, contract="observations.ObservationNetwork")


def may_skip(network: ObservationNetwork) -> bool:
    """Return whether the policy's last arm skips a section; False for a network without ``may_skip``."""
    return getattr(network, "may_skip", False)


def frames_looked_at(network: ObservationNetwork, frames_per_clip: int) -> int:
    """Return how many of a clip's frames the network looks at, in its middle: its trunk's ``num_frames``, or all."""
    count = getattr(network.trunk, "num_frames", None)
    return frames_per_clip if count is None else int(count)
