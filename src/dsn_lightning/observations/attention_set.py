"""An observation network with self-attention among the clips of a section, in any order (not the paper's)."""

from torch import Tensor, nn

from dsn_lightning.backbones.clip_network import ClipNetwork, check_clip_network
from dsn_lightning.errors import UsageError
from dsn_lightning.observations.observation_network import ObservationNetwork
from dsn_lightning.observations.policy_layer import PolicyLayer


class SetObservation(ObservationNetwork):
    """Scores each clip from its features and, by self-attention, from those of its section's other clips; any N.

    As in Eq. 3, a section's policy depends on all of its clips and on no others. All positions share the weights, so
    reordering the clips reorders their logits likewise.

    Args:
        trunk: clip network without a classification layer, (B, C, T, H, W) -> (B, D).
        width: W, number of a clip's features in the attention, a multiple of ``num_heads``.
        num_heads: heads of the attention.
        may_skip: True adds an arm, the last, for skipping the section, from the mean of its clips' features.

    Raises:
        UsageError: ``width`` is not a multiple of ``num_heads``.
    """

    head = "scorer"
    clips_per_section = None

    def __init__(self, trunk: ClipNetwork, *, width: int = 128, num_heads: int = 4, may_skip: bool = False) -> None:
        super().__init__()
        check_clip_network(trunk, key="trunk")
        self.trunk = trunk
        self.may_skip = may_skip
        self.scorer = SetScorer(trunk.num_features, width=width, num_heads=num_heads, may_skip=may_skip)

    def forward(self, clips: Tensor) -> Tensor:
        """Map normalised section clips (..., N, C, T, H, W) to policy logits (..., N), or (..., N + 1)."""
        *leading, c, t, h, w = clips.shape
        logits: Tensor = self.scorer(self.trunk(clips.reshape(-1, c, t, h, w)).unflatten(0, leading))
        return logits


class SetScorer(nn.Module):
    """The head of `SetObservation`: features of clips (..., N, D) -> policy logits; see there for the arguments."""

    def __init__(self, num_features: int, *, width: int, num_heads: int, may_skip: bool) -> None:
        super().__init__()
        self.embed = nn.Sequential(nn.LayerNorm(num_features), nn.Linear(num_features, width))
        self.attention = attention_layer(width, num_heads)
        self.norm = nn.LayerNorm(width, bias=False)
        self.policy = PolicyLayer(width, may_skip=may_skip)

    def forward(self, features: Tensor) -> Tensor:
        """Map the features of the clips (..., N, D) to policy logits (..., N), or (..., N + 1)."""
        embedded = self.embed(features)  # (..., N, W)
        attended = self.attention(embedded.reshape(-1, *embedded.shape[-2:]))
        clips = self.norm(attended).reshape(embedded.shape)
        logits: Tensor = self.policy(clips, clips.mean(-2))
        return logits


def attention_layer(width: int, num_heads: int) -> nn.TransformerEncoderLayer:
    """Return self-attention and a hidden layer over sequences of clips (B, L, W), without dropout.

    Raises:
        UsageError: ``width`` is not a multiple of ``num_heads``.
    """
    if width % num_heads:
        raise UsageError(f"width={width}: must be a multiple of num_heads={num_heads}")
    return nn.TransformerEncoderLayer(width, num_heads, 2 * width, dropout=0.0, batch_first=True, norm_first=True)
