"""What the backbones of conf/ need that are made of a network or model of the user's."""

from helpers.exported_models import INPUT, exported_file
from helpers.video_models import model_folder


def needed_by(backbone: str) -> list[str]:
    """The overrides without which a backbone is not complete."""
    if backbone == "custom":
        return ["backbone.network._target_=conftest.MeanClassifier"]
    if backbone == "huggingface":
        return [f"backbone.model={model_folder()}"]
    if backbone == "exported":
        return ["algorithm=dsn_fixed", f"backbone.model={exported_file('pt')}", *INPUT]
    return []
