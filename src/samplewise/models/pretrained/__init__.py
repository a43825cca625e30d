"""Models that come with the package: a model file and a model card each."""

from pathlib import Path

FOLDER = Path(__file__).parent


def pretrained_names() -> list[str]:
    """Return the names of the models, sorted."""
    return sorted(file.stem for file in FOLDER.glob("*.safetensors"))


def pretrained_file(name: str | Path) -> Path | None:
    """Return the file of a model that comes with the package; None if none has the name."""
    file = FOLDER / f"{name}.safetensors"
    return file if str(name) in pretrained_names() else None


def model_card(name: str) -> str:
    """Return the model card of a model, as Markdown."""
    return (FOLDER / f"{name}.md").read_text()
