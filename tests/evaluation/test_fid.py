"""The Fréchet distance against closed forms, SciPy's matrix root, and pytorch-fid where installed."""

import numpy as np
import pytest
from scipy import linalg

from jaxgan.evaluation.errors import EvaluationError
from jaxgan.evaluation.fid import fid, frechet_distance, small_set_note
from jaxgan.evaluation.statistics import Moments


def rotation(dim, seed):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(dim, dim)))[0]


def covariance(dim, seed):
    samples = np.random.default_rng(seed).normal(size=(4 * dim, dim)) * np.geomspace(0.01, 3.0, dim)
    return np.cov(samples, rowvar=False)


def moments_of(rows):
    moments = Moments()
    moments.update(rows)
    return moments


def test_gaussians_that_commute():
    # Common axes: the distance is |m1 - m2|^2 + sum (s1 - s2)^2 over standard deviations.
    dim, axes = 40, rotation(40, 0)
    s1, s2 = np.geomspace(1e-3, 10.0, dim), np.linspace(0.5, 2.0, dim)
    m1, m2 = np.linspace(-1, 1, dim), np.linspace(0, 1, dim) ** 2
    expected = np.sum((m1 - m2) ** 2) + np.sum((s1 - s2) ** 2)
    found = frechet_distance(m1, (axes * s1**2) @ axes.T, m2, (axes * s2**2) @ axes.T)
    assert found == pytest.approx(expected, rel=1e-10)


def test_two_by_two_that_do_not_commute():
    # Tr (A B)^(1/2) = (Tr AB + 2 sqrt(det AB))^(1/2) for 2 x 2.
    a, b = np.array([[2.0, 0.7], [0.7, 1.0]]), np.array([[0.5, -0.3], [-0.3, 3.0]])
    root = np.sqrt(np.trace(a @ b) + 2 * np.sqrt(np.linalg.det(a) * np.linalg.det(b)))
    expected = 4.0 + np.trace(a) + np.trace(b) - 2 * root
    assert frechet_distance(np.zeros(2), a, np.array([2.0, 0.0]), b) == pytest.approx(expected, rel=1e-12)


def test_against_the_matrix_root():
    a, b = covariance(30, 1), covariance(30, 2)
    mean = np.linspace(0, 1, 30)
    expected = mean @ mean + np.trace(a) + np.trace(b) - 2 * np.trace(linalg.sqrtm(a @ b)).real
    assert frechet_distance(np.zeros(30), a, mean, b) == pytest.approx(expected, rel=1e-8)


def test_it_is_symmetric_and_zero_for_equal_gaussians():
    mean, a, b = np.ones(30), covariance(30, 1), covariance(30, 2)
    assert frechet_distance(mean, a, 2 * mean, b) == pytest.approx(frechet_distance(2 * mean, b, mean, a), rel=1e-12)
    assert 0 <= frechet_distance(mean, a, mean, a) < 1e-12 * np.trace(a)


@pytest.mark.parametrize("rank", [1, 5, 29])
def test_singular_covariances(rank):
    axes = rotation(30, 3)
    s1, s2 = (np.where(np.arange(30) < rank, s, 0.0) for s in (np.linspace(1, 2, 30), np.linspace(3, 5, 30)))
    a, b = (axes * s1**2) @ axes.T, (axes * s2**2) @ axes.T
    zero = np.zeros(30)
    assert frechet_distance(zero, a, zero, b) == pytest.approx(np.sum((s1 - s2) ** 2), rel=1e-9)
    assert frechet_distance(zero, a, zero, a) < 1e-12 * np.trace(a)
    # One regular, one singular; and planes that share no direction, whose product is zero.
    assert frechet_distance(zero, a, zero, np.eye(30)) == pytest.approx(np.sum((s1 - 1) ** 2), rel=1e-9)
    s3 = np.where(np.arange(30) >= rank, 1.0, 0.0)
    apart = frechet_distance(zero, a, zero, (axes * s3) @ axes.T)
    assert apart == pytest.approx(np.sum(s1**2) + np.sum(s3), rel=1e-9)


def test_a_singular_covariance_whose_rounding_has_a_root():
    a = np.array([[1.0, 1.0], [1.0, 1.0 + np.finfo(np.float64).eps]])  # ones, in the last place not: Cholesky takes it
    zero = np.zeros(2)
    assert frechet_distance(zero, a, zero, np.eye(2)) == pytest.approx(4 - 2 * np.sqrt(2), rel=1e-12)


def test_small_variances_of_a_singular_covariance_count():
    axes = rotation(12, 4)
    s1 = np.where(np.arange(12) < 9, np.geomspace(1e-7, 1.0, 12), 0.0)
    zero = np.zeros(12)
    found = frechet_distance(zero, (axes * s1**2) @ axes.T, zero, np.eye(12) * 25.0)
    assert found == pytest.approx(np.sum((s1 - 5.0) ** 2), rel=1e-9)


@pytest.mark.parametrize("seed", range(8))
def test_fewer_samples_than_features(seed):
    rows = np.random.default_rng(seed).normal(size=(20, 30))
    a = np.cov(rows, rowvar=False)
    assert frechet_distance(np.zeros(30), a, np.zeros(30), 4 * a) == pytest.approx(np.trace(a), rel=1e-11)


def test_points_without_any_spread():
    assert frechet_distance(np.zeros(3), np.zeros((3, 3)), np.ones(3), np.zeros((3, 3))) == 3.0


def test_fewer_images_than_features_is_noted():
    generator = np.random.default_rng(0)
    few, many = generator.normal(size=(20, 20)), generator.normal(size=(21, 20))
    distance, notes = fid(moments_of(many), moments_of(few))
    assert len(notes) == 1 and "biased upwards: 20 generated images" in notes[0] and "20 features" in notes[0]
    mean, cov = zip(*((x.mean(axis=0), np.cov(x, rowvar=False)) for x in (many, few)), strict=True)
    assert distance == pytest.approx(frechet_distance(mean[0], cov[0], mean[1], cov[1]), rel=1e-9)
    assert fid(moments_of(many), moments_of(many))[1] == ()
    note = small_set_note("reference", 5, 64)
    assert note and "5 reference images" in note and "below 65" in note


def test_bad_input_is_refused():
    one, two = moments_of(np.zeros((1, 3))), moments_of(np.eye(3))
    with pytest.raises(EvaluationError, match="1 generated images is undefined"):
        fid(two, one)
    with pytest.raises(EvaluationError, match="0 reference images"):
        fid(Moments(), two)
    with pytest.raises(EvaluationError, match=r"must be \(D,\) and \(D, D\)"):
        fid(two, moments_of(np.eye(4)))
    with pytest.raises(EvaluationError, match="must be finite"):
        frechet_distance(np.full(2, np.nan), np.eye(2), np.zeros(2), np.eye(2))


@pytest.mark.filterwarnings("ignore:The `disp` argument is deprecated")  # pytorch-fid 0.3.0 passes it to SciPy
def test_against_pytorch_fid():
    fid_score = pytest.importorskip("pytorch_fid.fid_score")
    a, b, mean = covariance(30, 1), covariance(30, 2), np.linspace(0, 1, 30)
    expected = fid_score.calculate_frechet_distance(np.zeros(30), a, mean, b)
    assert frechet_distance(np.zeros(30), a, mean, b) == pytest.approx(expected, rel=1e-6)
