"""`spinelab train segment`, `landmarks`, `fracture`: retrain on your own cases. Needs the extra ``train``."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from spinelab.cli.console import complain
from spinelab.cli.extras import needing_the_extra
from spinelab.cli.flags import with_flags

app = typer.Typer(
    help="Train the networks on your own cases (needs torch: pip install spinelab[train]).",
    rich_markup_mode=None,
)


@app.callback()
def root() -> None:
    """Train the networks on your own cases (needs torch: pip install spinelab[train])."""


def _register(verb: str, build: Callable[[], Callable[..., Any]], summary: str) -> None:
    """Adds a verb whose flags are looked up, and torch loaded, only once it is called."""

    @app.command(
        verb,
        help=f"{summary}; --help lists the options (needs torch).",
        add_help_option=False,
        context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    )
    def run(context: typer.Context) -> None:
        inner = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
        inner.command()(build())
        inner(args=context.args, prog_name=f"spinelab train {verb}", standalone_mode=False)


def fracture_command() -> Callable[..., Any]:
    """Returns the function behind `spinelab train fracture`, with flags from its `FractureTrainOptions`.

    Raises:
        DependencyError: torch or onnx is not installed.
    """
    with needing_the_extra("train", "training"):
        from spinelab.train.fracture import FractureTrainOptions, fracture_recipe

    @with_flags(FractureTrainOptions)
    def train(
        *,
        data: Annotated[Path, typer.Argument(help="Folder of cases with outlines, as for train segment.")],
        out: Annotated[
            Path, typer.Option("--out", "-o", help="Folder for cache, weights, curves and model card.")
        ] = Path("spinelab-fracture"),
        labels: Annotated[
            Path | None, typer.Option(help="labels.csv or labels.json exported from the workstation.")
        ] = None,
        unlabelled: Annotated[Path | None, typer.Option(help="Folder of scans without outlines.")] = None,
        options: FractureTrainOptions,
    ) -> None:
        """Train the fracture network; run again with the same --out to go on after an interruption."""
        fracture_recipe(data, out, options, labels=labels, unlabelled=unlabelled)

    return train


def landmarks_command() -> Callable[..., Any]:
    """Returns the function behind `spinelab train landmarks`, with flags from its `LandmarkOptions`.

    Raises:
        DependencyError: torch or onnx is not installed.
    """
    with needing_the_extra("train", "training"):
        from spinelab.train.landmarks import LandmarkOptions, landmark_recipe

    @with_flags(LandmarkOptions)
    def train(
        *,
        labelled: Annotated[
            list[Path],
            typer.Option(
                help="Folder of NAME_CONTRAST.nii.gz with NAME_bodies.nii.gz (masks of bodies) or "
                "NAME_ctd.json (centres) beside; may be given again."
            ),
        ],
        unlabelled: Annotated[
            list[Path] | None,
            typer.Option(help="Folder of scans to use without labels; may be given again."),
        ] = None,
        out: Annotated[
            Path, typer.Option("--out", "-o", help="Folder for weights, curve and model card.")
        ] = Path("spinelab-landmarks"),
        options: LandmarkOptions,
    ) -> None:
        """Train the landmark network; run again with the same --out to go on after an interruption."""
        refused = landmark_recipe(labelled, out, options, unlabelled=unlabelled or ())
        for name, reason in refused.items():
            complain(f"left out {name}: {reason}")

    return train


def segment_command() -> Callable[..., Any]:
    """Returns the function behind `spinelab train segment`, with flags from its `TrainOptions`.

    Raises:
        DependencyError: torch or onnx is not installed.
    """
    with needing_the_extra("train", "training"):
        from spinelab.train.segment import TrainOptions, main_recipe

    @with_flags(TrainOptions)
    def train(
        *,
        data: Annotated[Path, typer.Option(help="Folder of cases in VerSe layout, or flat.")],
        out: Annotated[
            Path, typer.Option("--out", "-o", help="Folder for weights, curves and model card.")
        ] = Path("spinelab-training"),
        options: TrainOptions,
    ) -> None:
        """Train both segmentation networks; run again with the same --out to go on after an interruption."""
        main_recipe(data, out, options)

    return train


_register("segment", segment_command, "Train both segmentation networks on a VerSe-layout folder")
_register("landmarks", landmarks_command, "Train the MR landmark network on labelled and unlabelled scans")
_register("fracture", fracture_command, "Train the fracture network on scans with outlines")
