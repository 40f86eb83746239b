"""The MONAI transform."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
monai = pytest.importorskip("monai")

from monai.data.meta_tensor import MetaTensor  # noqa: E402
from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged  # noqa: E402

from spinelab.errors import InputError  # noqa: E402
from spinelab.io import write_image, write_mask  # noqa: E402
from spinelab.measurement import measure  # noqa: E402
from spinelab.measurement.named_mask import spine_of_mask  # noqa: E402
from spinelab.simulate.random_flow import RandomDeformity  # noqa: E402
from spinelab.train.transform import RandSpinalDeformityd  # noqa: E402
from spinelab.volume import Mask  # noqa: E402
from tests.phantom import make_phantom  # noqa: E402

LEVELS = ("T11", "T12", "L1", "L2", "L3", "L4")
KEYS = ["image", "label"]


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    folder = tmp_path_factory.mktemp("monai")
    phantom = make_phantom(levels=LEVELS, spacing_mm=(2.0, 2.0, 2.0), codes="RAS")
    write_image(phantom.image, folder / "image.nii.gz")
    write_mask(phantom.mask, folder / "label.nii.gz")
    loaded = Compose([LoadImaged(KEYS), EnsureChannelFirstd(KEYS)])
    return phantom, loaded({key: str(folder / f"{key}.nii.gz") for key in KEYS})


def transform(**settings):
    options = RandomDeformity(severities=("severe",), posture=0.3)
    return RandSpinalDeformityd(KEYS, "label", prob=1.0, options=options, **settings)


def test_columns_bend_and_image_and_labels_stay_together(case):
    phantom, loaded = case
    bends = []
    for seed in range(3):
        bent = transform().set_random_state(seed)(loaded)
        array = bent["label"][0].numpy().astype(np.uint8)
        assert set(np.unique(array)) <= {0, 18, 19, 20, 21, 22, 23}
        bone = bent["image"][0].numpy()[array > 0].mean()
        assert bone == pytest.approx(loaded["image"][0].numpy()[phantom.mask.array > 0].mean(), rel=0.1)
        mask = Mask(array, phantom.mask.geometry)
        curves = measure(None, mask, spine_of_mask(mask)).curvature.coronal
        bends.append(max((curve.angle_deg for curve in curves), default=0))
    assert max(bends) > 20


def test_the_seed_decides_and_meta_data_stay(case):
    _, loaded = case
    first, again, other = (transform().set_random_state(seed)(loaded)["image"] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert isinstance(first, MetaTensor)
    assert torch.equal(first.affine, loaded["image"].affine)


def test_never_means_never(case):
    _, loaded = case
    same = RandSpinalDeformityd(KEYS, "label", prob=0.0)(loaded)
    assert torch.equal(same["image"], loaded["image"])


def test_a_single_vertebra_is_left_as_it_is():
    labels = torch.zeros(1, 40, 40, 40)
    labels[:, 10:30, 10:30, 12:28] = 20
    data = {"image": torch.rand(1, 40, 40, 40), "label": labels}
    assert torch.equal(transform()(data)["image"], data["image"])


def test_what_does_not_fit_is_refused(case):
    _, loaded = case
    with pytest.raises(InputError, match=r"label has 3 dimensions, wanted .channel, i, j, k.; put Ensure"):
        transform()({**loaded, "label": loaded["label"][0]})
    with pytest.raises(InputError, match="image is not on the grid of label; resample it first"):
        transform()({**loaded, "image": loaded["image"][:, :-3]})
