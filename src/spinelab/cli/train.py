"""`spinelab train segment` and `train landmarks`: retrain on your own cases. Needs the extra ``train``."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from spinelab.cli.flags import with_flags
from spinelab.errors import DependencyError

app = typer.Typer(
    help="Train the networks on your own cases (needs torch: pip install spinelab[train]).",
    rich_markup_mode=None,
)


@app.callback()
def root() -> None:
    """Train the networks on your own cases (needs torch: pip install spinelab[train])."""


@app.command(
    "segment",
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def train_segment(context: typer.Context) -> None:
    """Train both segmentation networks on a VerSe-layout folder; --help lists the options (needs torch)."""
    inner = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    inner.command()(segment_command())
    inner(args=context.args, prog_name="spinelab train segment", standalone_mode=False)


@app.command(
    "landmarks",
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def train_landmarks(context: typer.Context) -> None:
    """Train the MR landmark network on scans with masks of bodies; --help lists the options (needs torch)."""
    inner = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    inner.command()(landmarks_command())
    inner(args=context.args, prog_name="spinelab train landmarks", standalone_mode=False)


def landmarks_command() -> Callable[..., Any]:
    """Returns the function behind `spinelab train landmarks`, with flags from its `LandmarkOptions`.

    Raises:
        DependencyError: torch or onnx is not installed.
    """
    try:
        from spinelab.train.landmarks import LandmarkOptions, landmark_recipe
    except ModuleNotFoundError as error:
        raise _missing(error) from error

    @with_flags(LandmarkOptions)
    def train(
        *,
        labelled: Annotated[
            Path, typer.Option(help="Folder of NAME_CONTRAST.nii.gz with NAME_bodies.nii.gz beside.")
        ],
        out: Annotated[
            Path, typer.Option("--out", "-o", help="Folder for weights, curve and model card.")
        ] = Path("spinelab-landmarks"),
        options: LandmarkOptions,
    ) -> None:
        """Train the landmark network; run again with the same --out to go on after an interruption."""
        landmark_recipe(labelled, out, options)

    return train


def _missing(error: ModuleNotFoundError) -> Exception:
    """Returns what to raise when a package of the extra `train` is absent; our own modules never are."""
    if (error.name or "").startswith("spinelab"):
        return error
    return DependencyError(
        f"training needs the package {error.name}, which is not installed; pip install spinelab[train]"
    )


def segment_command() -> Callable[..., Any]:
    """Returns the function behind `spinelab train segment`, with flags from its `TrainOptions`.

    Raises:
        DependencyError: torch or onnx is not installed.
    """
    try:
        from spinelab.train.segment import TrainOptions, main_recipe
    except ModuleNotFoundError as error:
        raise _missing(error) from error

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
