import pytest

torch = pytest.importorskip("torch")

from spinelab.nets.unet import LocateNet, OutlineNet, UNet, count_parameters, fold, unfold  # noqa: E402

pytestmark = pytest.mark.train


def test_fold_puts_the_eight_voxels_of_a_cell_into_channels():
    x = torch.arange(64.0).reshape(1, 1, 4, 4, 4)
    folded = fold(x)
    assert folded.shape == (1, 8, 2, 2, 2)
    # voxel (i, j, k) holds 16 i + 4 j + k; the channel counts i, then j, then k of the place in the cell
    assert folded[0, :, 0, 0, 0].tolist() == [0, 1, 4, 5, 16, 17, 20, 21]
    assert folded[0, :, 1, 0, 1].tolist() == [34, 35, 38, 39, 50, 51, 54, 55]


def test_fold_keeps_the_channels_of_the_input_apart():
    x = torch.stack([torch.zeros(2, 2, 2), torch.ones(2, 2, 2)])[None]
    assert fold(x)[0, :, 0, 0, 0].tolist() == [0] * 8 + [1] * 8


def test_unfold_undoes_fold():
    x = torch.randn(2, 3, 4, 6, 8)
    assert torch.equal(unfold(fold(x)), x)
    assert torch.equal(fold(unfold(torch.randn(1, 16, 2, 3, 4) * 0 + 5)), torch.full((1, 16, 2, 3, 4), 5.0))


def test_the_unet_answers_at_cell_resolution():
    assert UNet(2, (4, 8, 8))(torch.zeros(1, 2, 16, 8, 24)).shape == (1, 4, 8, 4, 12)


def test_locate_answers_every_voxel_and_levels_every_cell():
    voxels, levels = LocateNet((4, 6, 8, 8)).eval()(torch.zeros(2, 1, 32, 16, 48))
    assert voxels.shape == (2, 5, 32, 16, 48)
    assert levels.shape == (2, 26, 16, 8, 24)


def test_locate_starts_from_nowhere():
    net = LocateNet((4, 6, 8, 8)).eval()
    voxels, _ = net(torch.zeros(1, 1, 16, 16, 16))
    assert torch.sigmoid(voxels[:, 0]).max() < 0.1


def test_outline_answers_every_voxel():
    assert OutlineNet((4, 6, 8)).eval()(torch.zeros(1, 2, 24, 16, 8)).shape == (1, 1, 24, 16, 8)


@pytest.mark.parametrize(("widths", "multiple"), [((4, 6, 8), 8), ((4, 6, 8, 8), 16)])
def test_sizes_must_be_multiples_of_two_to_the_depth(widths, multiple):
    net = UNet(1, widths).eval()
    assert net(torch.zeros(1, 1, multiple, multiple, multiple)).shape[2:] == (multiple // 2,) * 3
    with pytest.raises(RuntimeError, match="size of tensor"):
        net(torch.zeros(1, 1, multiple * 3 // 2, multiple, multiple))


def test_the_shipped_sizes_fit_the_wheel():
    assert count_parameters(LocateNet()) + count_parameters(OutlineNet()) < 5_000_000


def test_trainable_parameters_are_counted():
    net = torch.nn.Linear(3, 2)
    assert count_parameters(net) == 8
    net.bias.requires_grad_(False)
    assert count_parameters(net) == 6
