"""`spinelab info`: what is installed."""

from spinelab.cli.console import say, say_json
from spinelab.cli.parameters import AsJson
from spinelab.models import weights_digest
from spinelab.tasks.fracture_network import digest_of_reader
from spinelab.tasks.manifest import versions


def show_info(as_json: AsJson = False) -> None:
    """Show versions and the hashes of the shipped weights."""
    weights = weights_digest() | digest_of_reader(None)
    if as_json:
        say_json({"versions": versions(), "weights": weights})
        return
    for package, version in versions().items():
        say(f"{package:12} {version}")
    for name, sha256 in weights.items():
        say(f"weights      {name} sha256 {sha256}")
