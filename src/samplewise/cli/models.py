"""`samplewise models`: the models that come with the package."""

from dataclasses import dataclass

import tyro


@dataclass(frozen=True)
class ModelsArgs:
    """List the models that come with the package, or show the model card of one.

    Their names stand for files: samplewise generate piano, samplewise train CORPUS --from piano.
    """

    name: tyro.conf.Positional[str | None] = None
    """Model whose card is shown: data, licence, training, figures and use."""
    json: bool = False
    """Print the list as JSON."""


def main(argv: list[str]) -> int:
    """Run `samplewise models` with ``argv`` and return the exit code."""
    args = tyro.cli(ModelsArgs, args=argv, prog="samplewise models")

    from samplewise.models.io import read_description
    from samplewise.models.pretrained import model_card, pretrained_file, pretrained_names
    from samplewise.strict_json import to_text

    names = pretrained_names()
    if args.name is not None:
        if args.name not in names:
            raise ValueError(f"there is no model {args.name!r}; there are: {', '.join(names)}")
        print(model_card(args.name))
        return 0
    rows = []
    for name in names:
        file = pretrained_file(name)
        assert file is not None
        stored = read_description(file)
        rows.append(
            {
                "name": name,
                "family": stored.config.family,
                "sample_rate": stored.audio.sample_rate,
                "valid_bits": stored.provenance.get("valid_bits"),
                "megabytes": round(file.stat().st_size / 1e6, 1),
                "about": model_card(name).split("\n")[2],
            }
        )
    if args.json:
        print(to_text(rows, indent=2, ascii_only=True))
        return 0
    width = max(map(len, names))
    for row in rows:
        print(
            f"{row['name']:<{width}} {row['family']:<10} {row['sample_rate']} Hz  "
            f"{row['megabytes']} MB  {row['about']}"
        )
    return 0
