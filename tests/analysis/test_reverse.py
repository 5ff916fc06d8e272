"""The reverse mapping, where the answer is known."""

from __future__ import annotations

import torch

from mmseg_isda.analysis.reverse import (
    PRESETS,
    Descent,
    class_distance,
    descend,
    invert,
    nearest_images,
    standardize,
)


def _linear(latent: int = 6) -> tuple:
    """A generator of 4x4 images and an encoder of features, both linear, and true inputs."""
    mixing, projection = torch.randn(16, latent).double(), torch.randn(10, 16).double() / 4
    truth = standardize(torch.randn(3, latent).double())

    def render(z: torch.Tensor) -> torch.Tensor:
        return (z @ mixing.T).view(-1, 1, 4, 4)

    def encode(images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1) @ projection.T

    return render, encode, truth


def _descent(lr: float) -> Descent:
    return Descent('SGD', lr, 2000, dict(momentum=0.9, weight_decay=1e-4))


def test_step_1_recovers_the_input_of_a_linear_generator() -> None:
    """The scale of z is free (it is standardized), and weight decay on it must not bias the image."""
    render, encode, truth = _linear()
    images = render(truth)
    start = torch.randn(3, 6).double()
    z, _ = invert(render, encode, encode(images), start, descent=_descent(0.003), images=images, eta=0.5)
    assert (standardize(z) - truth).abs().max() < 1e-3


def test_step_2_recovers_the_input_that_has_the_features() -> None:
    render, encode, truth = _linear()
    start = standardize(truth + 0.3 * torch.randn(3, 6).double())
    z, values = invert(render, encode, encode(render(truth)), start, descent=_descent(0.003))
    assert (standardize(z) - truth).abs().max() < 1e-3 and values.max() < 1e-5


def test_each_image_is_found_on_its_own() -> None:
    """A sum over the batch must not let one row move another; and the best of a path is kept, not its end."""
    render, encode, truth = _linear()

    def objective(z: torch.Tensor) -> torch.Tensor:
        return (encode(render(z)) - encode(render(truth[: len(z)]))).square().sum(1)

    start = torch.randn(3, 6).double()
    short = Descent('SGD', 0.003, 200, {})
    together, alone = descend(objective, start, short)[0], descend(objective, start[:1], short)[0]
    assert torch.allclose(together[:1], alone)
    wild, values = descend(objective, start, Descent('SGD', 1e3, 20, {}))
    assert torch.allclose(objective(standardize(wild)), values)
    assert (objective(standardize(wild)) <= objective(standardize(start)) + 1e-9).all()


def test_standardized_inputs_have_mean_0_and_deviation_1() -> None:
    z = standardize(5 + 3 * torch.randn(4, 50))
    assert z.mean(1).abs().max() < 1e-5 and torch.allclose(z.std(1), torch.ones(4))
    assert torch.allclose(standardize(7 * z + 1), z, atol=1e-4)


def test_presets_are_those_of_the_paper() -> None:
    first, second = PRESETS['cifar']
    assert (first.optimizer, first.lr, second.lr, first.steps) == ('SGD', 10, 1, 10_000)
    assert first.options == dict(momentum=0.9, weight_decay=1e-4)


def test_errors_are_measured_by_the_distance_within_a_class() -> None:
    """100 % is an image no nearer than another one of its class."""
    features, labels = 3 * torch.randn(4000, 5), torch.arange(4000) % 2
    pairs = (features[0:2000:2] - features[2000::2]).square().sum(1).mean()
    assert torch.allclose(class_distance(features, labels), pairs.expand(2), rtol=0.1)


def test_nearest_images_are_found_across_parts_of_the_pool() -> None:
    pool = torch.randint(256, (9000, 1, 2, 2), dtype=torch.uint8)
    found = nearest_images(pool[[17, 8999]].float(), pool, count=3)
    distance = (pool.float().flatten(1)[None] - pool[[17, 8999]].float().flatten(1)[:, None]).square().sum(2)
    truth = distance.sort(1).values[:, :3]
    assert torch.allclose(distance.gather(1, found), truth)
