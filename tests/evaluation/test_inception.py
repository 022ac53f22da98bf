"""FID's Inception against a plain PyTorch statement of the same network, with random weights, at every depth.

And, where JAXGAN_DATA names a folder with them, with the published weights against pytorch-fid's own features.
"""

import os
from pathlib import Path

import jax
import numpy as np
import pytest
from absl import logging

from jaxgan.core import network
from jaxgan.core.compilation import compiler_options
from jaxgan.evaluation import features, inception
from jaxgan.evaluation.errors import EvaluationError

PUBLISHED_BYTES = 95_628_359  # pt_inception-2015-12-05-6726825d.pth


def random_weights(seed: int = 0) -> dict[str, np.ndarray]:
    """Weights that keep the scale of the activations, with variances near the norm's eps, so that eps shows."""
    rng = np.random.default_rng(seed)
    weights = {}
    for name, shape in inception.parameter_shapes().items():
        values = rng.standard_normal(shape, np.float32)
        if name.endswith("running_var"):
            values = rng.uniform(0.5e-3, 4e-3, shape)
        elif name.endswith("conv.weight"):
            values *= np.sqrt(2 / np.prod(shape[1:])) * np.sqrt(3e-3)
        elif name.endswith("bn.weight"):
            values = 1 + 0.1 * values
        elif name.endswith("running_mean"):
            values *= 5e-3
        elif name == "fc.weight":
            values *= np.sqrt(1 / shape[1])
        else:
            values *= 0.1
        weights[name] = values.astype(np.float32)
    return weights


class TorchInception:
    """The layers one after the other, as the graph has them, on (B, 3, H, W); written without the table under test."""

    def __init__(self, weights):
        import torch

        self.torch, self.f = torch, torch.nn.functional
        self.weights = {name: torch.tensor(value) for name, value in weights.items()}

    def conv(self, x, name, stride=1, padding=0):
        w = self.weights
        y = self.f.conv2d(x, w[f"{name}.conv.weight"], stride=stride, padding=padding)
        norm = [w[f"{name}.bn.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        return self.f.batch_norm(y, *norm, training=False, eps=0.001).relu()

    def mean_pool(self, x):
        return self.f.avg_pool2d(x, 3, 1, 1, count_include_pad=False)

    def a(self, x, n):
        five = self.conv(self.conv(x, f"{n}.branch5x5_1"), f"{n}.branch5x5_2", padding=2)
        three = self.conv(self.conv(x, f"{n}.branch3x3dbl_1"), f"{n}.branch3x3dbl_2", padding=1)
        three = self.conv(three, f"{n}.branch3x3dbl_3", padding=1)
        pooled = self.conv(self.mean_pool(x), f"{n}.branch_pool")
        return self.torch.cat([self.conv(x, f"{n}.branch1x1"), five, three, pooled], 1)

    def b(self, x, n):
        three = self.conv(x, f"{n}.branch3x3", 2)
        double = self.conv(self.conv(x, f"{n}.branch3x3dbl_1"), f"{n}.branch3x3dbl_2", padding=1)
        double = self.conv(double, f"{n}.branch3x3dbl_3", 2)
        return self.torch.cat([three, double, self.f.max_pool2d(x, 3, 2)], 1)

    def c(self, x, n):
        wide, tall = (0, 3), (3, 0)
        seven = self.conv(self.conv(x, f"{n}.branch7x7_1"), f"{n}.branch7x7_2", padding=wide)
        seven = self.conv(seven, f"{n}.branch7x7_3", padding=tall)
        double = self.conv(x, f"{n}.branch7x7dbl_1")
        for i, padding in enumerate((tall, wide, tall, wide)):
            double = self.conv(double, f"{n}.branch7x7dbl_{i + 2}", padding=padding)
        pooled = self.conv(self.mean_pool(x), f"{n}.branch_pool")
        return self.torch.cat([self.conv(x, f"{n}.branch1x1"), seven, double, pooled], 1)

    def d(self, x, n):
        three = self.conv(self.conv(x, f"{n}.branch3x3_1"), f"{n}.branch3x3_2", 2)
        seven = self.conv(self.conv(x, f"{n}.branch7x7x3_1"), f"{n}.branch7x7x3_2", padding=(0, 3))
        seven = self.conv(self.conv(seven, f"{n}.branch7x7x3_3", padding=(3, 0)), f"{n}.branch7x7x3_4", 2)
        return self.torch.cat([three, seven, self.f.max_pool2d(x, 3, 2)], 1)

    def e(self, x, n, pool):
        def both(y, stem):
            parts = [self.conv(y, f"{stem}a", padding=(0, 1)), self.conv(y, f"{stem}b", padding=(1, 0))]
            return self.torch.cat(parts, 1)

        three = both(self.conv(x, f"{n}.branch3x3_1"), f"{n}.branch3x3_2")
        double = self.conv(self.conv(x, f"{n}.branch3x3dbl_1"), f"{n}.branch3x3dbl_2", padding=1)
        double = both(double, f"{n}.branch3x3dbl_3")
        return self.torch.cat(
            [self.conv(x, f"{n}.branch1x1"), three, double, self.conv(pool(x), f"{n}.branch_pool")], 1
        )

    def __call__(self, images):
        """Returns {64, 192, 768, 2048: features, "logits": without bias} for images (B, H, W, 3)."""
        x, found = self.torch.tensor(images).permute(0, 3, 1, 2), {}
        x = self.conv(self.conv(x, "Conv2d_1a_3x3", 2), "Conv2d_2a_3x3")
        x = self.f.max_pool2d(self.conv(x, "Conv2d_2b_3x3", padding=1), 3, 2)
        found[64] = x.mean((2, 3))
        x = self.f.max_pool2d(self.conv(self.conv(x, "Conv2d_3b_1x1"), "Conv2d_4a_3x3"), 3, 2)
        found[192] = x.mean((2, 3))
        x = self.b(self.a(self.a(self.a(x, "Mixed_5b"), "Mixed_5c"), "Mixed_5d"), "Mixed_6a")
        x = self.c(self.c(self.c(self.c(x, "Mixed_6b"), "Mixed_6c"), "Mixed_6d"), "Mixed_6e")
        found[768] = x.mean((2, 3))
        x = self.e(self.d(x, "Mixed_7a"), "Mixed_7b", self.mean_pool)
        x = self.e(x, "Mixed_7c", lambda y: self.f.max_pool2d(y, 3, 1, 1))
        found[2048] = x.mean((2, 3))
        found["logits"] = found[2048] @ self.weights["fc.weight"].T
        return {name: value.numpy() for name, value in found.items()}


@pytest.fixture(scope="module")
def weights():
    return random_weights()


@pytest.fixture(scope="module")
def images():
    # Sides that are no multiples of a stride, and unlike each other: cheap, and every border counts.
    return np.random.default_rng(1).uniform(-1, 1, (2, 123, 107, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def reference(weights, images):
    pytest.importorskip("torch")
    return TorchInception(weights)(images)


def run(weights, images, *, dims, logits=False):
    net, params, stats = network.create(
        lambda _: inception.InceptionV3(weights, dims=dims, logits=logits), jax.random.key(0)
    )
    apply = jax.jit(lambda p, x: net(p, stats, x, train=False)[0], compiler_options=compiler_options())
    return apply(params, images)


def relative_error(actual, expected):
    return np.linalg.norm(np.asarray(actual) - expected) / np.linalg.norm(expected)


@pytest.mark.parametrize(("dims", "logits"), [(64, False), (192, False), (768, False), (2048, True)])
def test_equals_the_network_stated_in_pytorch(weights, images, reference, dims, logits):
    found, found_logits = run(weights, images, dims=dims, logits=logits)
    assert found.shape == (2, dims)
    assert relative_error(found, reference[dims]) < 1e-5  # float32; the bar of the project is 1e-4
    assert np.abs(reference[dims]).mean() > 1e-2  # the weights keep the signal alive
    if logits:
        assert relative_error(found_logits, reference["logits"]) < 1e-5
    else:
        assert found_logits is None


def test_shallow_features_and_logits_come_from_one_run(weights):
    module = inception.InceptionV3(weights, dims=64, logits=True)
    assert module.stages == (64, 192, 768, 2048)
    shallow, logits = jax.eval_shape(module, jax.ShapeDtypeStruct((2, 75, 75, 3), np.float32))
    assert (shallow.shape, logits.shape) == ((2, 64), (2, 1008))


def test_bias_of_the_logits_is_added_on_request(weights):
    module = inception.InceptionV3(weights, dims=64, logits=True)
    module._run = lambda path, x, prefix: jax.numpy.ones((1, 1, 1, 2048))  # the last layer alone
    plain, biased = (np.asarray(module(jax.numpy.zeros(()), fc_bias=fc_bias)[1]) for fc_bias in (False, True))
    np.testing.assert_allclose(plain[0], weights["fc.weight"].sum(1), atol=1e-4)
    np.testing.assert_allclose(biased - plain, weights["fc.bias"][None], atol=1e-6)


def test_needs_and_holds_only_what_the_asked_depth_needs(weights):
    needed = inception.parameter_shapes(64, logits=False)
    assert {name.split(".")[0] for name in needed} == {"Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3"}
    module = inception.InceptionV3({name: weights[name] for name in needed}, dims=64)
    assert set(module.convs) == {"Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3"}
    deeper = [len(inception.parameter_shapes(dims, logits=False)) for dims in inception.DIMS]
    assert deeper == sorted(set(deeper)) and deeper[-1] + 2 == len(inception.parameter_shapes(768, logits=True))


def test_parameters_are_those_of_the_published_file():
    shapes = inception.parameter_shapes()
    assert len(shapes) == 94 * 5 + 2
    assert shapes["Mixed_6c.branch7x7_2.conv.weight"] == (160, 160, 1, 7)
    assert shapes["Mixed_7c.branch3x3dbl_3b.conv.weight"] == (384, 384, 3, 1)
    assert shapes["fc.weight"] == (1008, 2048)
    data_bytes = 4 * sum(int(np.prod(shape)) for shape in shapes.values())
    assert 0 < PUBLISHED_BYTES - data_bytes < 1e-3 * PUBLISHED_BYTES  # the rest is names


def test_every_product_asks_for_the_highest_precision(weights):
    module = inception.InceptionV3(weights, dims=2048, logits=True)
    jaxpr = jax.make_jaxpr(module)(jax.ShapeDtypeStruct((1, 75, 75, 3), np.float32))
    products = [eqn for eqn in _equations(jaxpr.jaxpr) if eqn.primitive.name in ("conv_general_dilated", "dot_general")]
    assert len(products) == 95
    assert {eqn.params["precision"] for eqn in products} == {(jax.lax.Precision.HIGHEST,) * 2}


def _equations(jaxpr):
    for eqn in jaxpr.eqns:
        yield eqn
        for value in eqn.params.values():
            if hasattr(value, "jaxpr"):
                yield from _equations(value.jaxpr)


@pytest.fixture(scope="module")
def genuine():
    """Published weights up to Mixed_7a, and the features that pytorch-fid's own module computes with them."""
    folder = Path(os.environ.get("JAXGAN_DATA", "")) / "inception"
    file = folder / "pt_inception-2015-12-05-upto-Mixed_7a-half.pth"
    if not os.environ.get("JAXGAN_DATA") or not file.is_file():
        pytest.skip(f"needs {file.name} in the folder inception of the folder named by JAXGAN_DATA")
    with np.load(folder / "golden_features.npz") as golden:
        return file, dict(golden)


@pytest.mark.parametrize("dims", [64, 192, pytest.param(768, marks=pytest.mark.slow)])
def test_genuine_weights_give_the_features_of_pytorch_fid(genuine, dims, monkeypatch):
    file, golden = genuine
    monkeypatch.setattr(logging, "warning", lambda *_: None)  # that the file is not the whole published one
    extractor = features.inception_extractor(dims=dims, resizer="bilinear", weights=file, batch_size=8)
    for size in (32, 224):
        expected = golden[f"f{size}_{dims}"]
        found = extractor(golden[f"images_{size}"]).features
        assert np.linalg.norm(found - expected) / np.linalg.norm(expected) < 1e-5
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).mean())


def test_genuine_partial_weights_are_refused_for_what_they_lack(genuine):
    with pytest.raises(EvaluationError, match="lacks Mixed_7b.branch1x1.conv.weight, which 2048 .* 64 or 192 or 768 "):
        features.inception_extractor(dims=2048, weights=genuine[0])
