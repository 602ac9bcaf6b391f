"""Observation networks: a section's N clips in, N logits of the policy out."""

import torch
from torch import Tensor, nn

from dsn_lightning.errors import UsageError


class ConcatObservation(nn.Module):
    """The paper's head: the N clips' features are concatenated and one layer gives N logits (Eq. 3).

    The policy starts uniform, since the last layer starts at zero.

    Args:
        trunk: clip network (B, C, T, H, W) -> (B, D) with an attribute ``num_features`` = D.
        clips_per_section: N; the head is made for this number and refuses any other.
    """

    def __init__(self, trunk: nn.Module, *, clips_per_section: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.clips_per_section = clips_per_section
        num_features = trunk.num_features
        assert isinstance(num_features, int)
        self.fc = nn.Linear(clips_per_section * num_features, clips_per_section)
        nn.init.zeros_(self.fc.weight)
        nn.init.zeros_(self.fc.bias)

    def forward(self, clips: Tensor) -> Tensor:
        """Map normalised section clips (..., N, C, T, H, W) to policy logits (..., N).

        Raises:
            UsageError: N is not the number that the head was made for.
        """
        *leading, n, c, t, h, w = clips.shape
        if n != self.clips_per_section:
            raise UsageError(
                f"N={n}: this observation network was made for N={self.clips_per_section} clips a section; "
                f"use N={self.clips_per_section} or train one with N={n}"
            )
        features = self.trunk(clips.reshape(-1, c, t, h, w))  # (... * N, D)
        return self.fc(features.reshape(*leading, -1))


class SharedObservation(nn.Module):
    """Scores each clip by itself with one layer that all positions share; takes any N.

    A restriction of Eq. 3, whose layer sees the N clips side by side and has weights of its own for each position.
    What it learns about a clip holds wherever the clip stands, so it needs fewer examples and cannot collapse to one
    position.

    Args:
        trunk: clip network (B, C, T, H, W) -> (B, D) with an attribute ``num_features`` = D.
    """

    def __init__(self, trunk: nn.Module) -> None:
        super().__init__()
        self.trunk = trunk
        num_features = trunk.num_features
        assert isinstance(num_features, int)
        self.fc = nn.Linear(num_features, 1)
        nn.init.zeros_(self.fc.weight)
        nn.init.zeros_(self.fc.bias)

    def forward(self, clips: Tensor) -> Tensor:
        """Map normalised section clips (..., N, C, T, H, W) to policy logits (..., N)."""
        *leading, c, t, h, w = clips.shape
        return self.fc(self.trunk(clips.reshape(-1, c, t, h, w))).reshape(leading)


class VideoObservation(nn.Module):
    """Scores each clip by how far it agrees with the whole video; takes any M and N.

    The observation network is a clip classifier here. With p_n its class probabilities of a clip and q their mean over
    the video's M * N clips, P is in proportion to (q . p_n) to a power: likely are clips that show, surely, what the
    video as a whole seems to show, not what merely stands out in its section.

    Not the paper's: in Eq. 3 a section's policy depends on its own clips alone, which do not tell the video's action
    from another one. It looks at the same clips at the same cost.

    Args:
        trunk: clip classifier (B, C, T, H, W) -> (B, J), started from one that was trained as such.
        power: at the beginning, > 0; it is learned along. The greater, the surer the first policy.
    """

    def __init__(self, trunk: nn.Module, *, power: float = 2.0) -> None:
        super().__init__()
        if power <= 0:
            raise UsageError(f"observation.network.power={power}: must be above 0")
        self.trunk = trunk
        self.power = nn.Parameter(torch.tensor(float(power)))

    @property
    def fc(self) -> nn.Module:
        """The classification layer, which may have a learning rate of its own."""
        return self.trunk.get_submodule(str(getattr(self.trunk, "head", "fc")))

    def forward(self, clips: Tensor) -> Tensor:
        """Map normalised clips of whole videos (..., M, N, C, T, H, W) to policy logits (..., M, N)."""
        *leading, c, t, h, w = clips.shape
        log_p = self.trunk(clips.reshape(-1, c, t, h, w)).log_softmax(-1).unflatten(0, leading)  # (..., M, N, J)
        log_q = log_p.logsumexp((-3, -2), keepdim=True)  # but for a constant
        return self.power * (log_p + log_q).logsumexp(-1)
