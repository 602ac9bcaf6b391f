"""The conversion of a MoViNet-A0-Stream with folded batch norms."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import convert_movinet
from dsn_lightning.backbones.movinet import MoViNetA0
from dsn_lightning.backbones.weights import WeightsError, load_into, read_weights, tensors_of
from dsn_lightning.config.initial_weights import take_weights
from dsn_lightning.video.pyav_decoder import PyAV
from helpers.networks import drawn_weights


def folded_network() -> tuple[MoViNetA0, dict[str, torch.Tensor]]:
    """Return a network, and its weights as a file has them whose batch norms are folded into the convolutions."""
    network = MoViNetA0(7, causal=True).eval()
    state = network.state_dict()
    load_into(network, drawn_weights({n: v.shape for n, v in state.items() if "num_batches" not in n}), keep_head=False)
    modules, folded = dict(network.named_modules()), {}
    blocks = [f"blocks.{name}." for name, _ in network.blocks.named_children()]
    for name, conv in modules.items():
        if not isinstance(conv, nn.Conv2d):
            continue
        layer = name.removesuffix(".conv2d")
        for i, block in enumerate(blocks):
            layer = layer.replace(block, f"blocks.{i}.")
        for folded_name, ours in {**convert_movinet.ENDS, **convert_movinet.OF_BLOCKS}.items():
            layer = layer.replace(ours, folded_name)
        norm = modules[name.replace("conv2d", "norm")]
        weight, bias = conv.weight.detach(), conv.bias
        if isinstance(norm, nn.BatchNorm2d):
            scale = norm.weight.detach() / (norm.running_var + norm.eps).sqrt()
            weight, bias = weight * scale.view(-1, 1, 1, 1), norm.bias - norm.running_mean * scale
        if layer.endswith(("reduce", "gate", "dense")):
            weight = weight.flatten(1)
        folded |= {f"{layer}.weight": weight.contiguous(), f"{layer}.bias": bias.detach().contiguous()}
    for i, block in enumerate(network.blocks):
        folded[f"blocks.{i}.alpha"] = 1 / block.alpha.detach().reshape(1)
    last = modules[network.head]
    return network, folded | {"classes.weight": last.weight.detach(), "classes.bias": last.bias.detach()}


def test_a_converted_network_has_the_features_of_the_folded_one(tmp_path, monkeypatch, capsys):
    network, folded = folded_network()
    save_file(folded, tmp_path / "folded.safetensors")
    output = tmp_path / "output.safetensors"
    monkeypatch.setattr("sys.argv", ["convert_movinet.py", str(tmp_path / "folded.safetensors"), str(output)])
    assert convert_movinet.main() == 0
    trunk = MoViNetA0(0, causal=True).eval()
    take_weights(trunk, str(output), {}, key="weights")
    inputs = []
    network.get_submodule(network.head).register_forward_pre_hook(lambda _, arguments: inputs.append(arguments[0]))
    clips = torch.rand(2, 3, 3, 32, 32)
    with torch.no_grad():
        network(clips)
        torch.testing.assert_close(trunk(clips), inputs[0], rtol=1e-4, atol=1e-3)
        take_weights(MoViNetA0(5, causal=True), str(output), {}, key="weights")  # with a new layer of classes


def test_other_files_are_refused(tmp_path, monkeypatch, capsys):
    _, folded = folded_network()
    for change, complaint in (
        ({"blocks.0.time.weight": torch.ones(24, 1, 3)}, r"unexpected keys: \['blocks\.0\.time\.weight'\]"),
        ({"head.weight": torch.ones(1, 480, 104)}, r"head\.weight: expected the shape of \(480, 104, 1, 1\), got"),
    ):
        with pytest.raises(WeightsError, match=complaint):
            convert_movinet.converted(folded | change)
    torch.save(folded, tmp_path / "folded.pt")
    for source, target, complaint in (
        ("none.pt", "output.safetensors", "none.pt: no such file"),
        ("folded.pt", "folded.pt/output.safetensors", "output.safetensors: cannot be written"),
    ):
        monkeypatch.setattr("sys.argv", ["convert_movinet.py", str(tmp_path / source), str(tmp_path / target)])
        with pytest.raises(SystemExit, match="2"):
            convert_movinet.main()
        assert complaint in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda weight: weight.to_sparse(), "expected a dense tensor"),
        (lambda weight: weight.to("meta"), "expected a dense tensor"),
        (lambda weight: weight.int(), "expected floating-point numbers"),
        (lambda weight: weight / 0, "expected finite numbers"),
    ],
)
def test_other_numbers_are_refused(change, complaint):
    _, folded = folded_network()
    with pytest.raises(WeightsError, match=f"head.weight: {complaint}"):
        convert_movinet.converted(folded | {"head.weight": change(folded["head.weight"])})
    with pytest.raises(WeightsError, match=r"blocks\.0\.alpha: expected finite numbers"):
        convert_movinet.converted(folded | {"blocks.0.alpha": torch.zeros(1)})


def test_features_of_one_real_video_are_alike(real_data):
    """Features of two clips of a video are closer to each other than to those of other classes' videos."""
    file = real_data.parent / "weights" / "movinet_a0_stream.safetensors"
    if not file.is_file():
        pytest.skip(f"{file} is missing: no weights of MoViNet-A0-Stream to test with")
    network = MoViNetA0(0, causal=True).eval()
    load_into(network, convert_movinet.converted(tensors_of(read_weights(file))))
    features = []
    first_of_class = {path.parent: path for path in sorted((real_data / "ucf101").rglob("*.avi"), reverse=True)}
    for path in sorted(first_of_class.values())[:5]:
        info = PyAV().probe(path)
        starts = (info.num_frames // 4, info.num_frames // 2)
        frames = PyAV().read(path, [start + 6 * t for start in starts for t in range(4)], (172, 172), info)
        clips = torch.from_numpy(frames).permute(3, 0, 1, 2).unflatten(1, (2, 4)).transpose(0, 1) / 255
        with torch.no_grad():
            features.append(network(clips))
    features = torch.stack(features)  # (videos, 2, D)
    assert features.isfinite().all()
    assert features.std() < 3  # grows without bound where the parts of a block are put together in another way
    features = nn.functional.normalize(features - features.mean((0, 1)), dim=-1)
    assert ((features[:, 0] @ features[:, 1].T).argmax(1) == torch.arange(len(features))).all()
