"""What is out of its range is refused before any image is read, in the words of the flags."""

import dataclasses

import pytest

from jaxgan import config_rules
from jaxgan.config import EvalConfig
from jaxgan.evaluation.errors import EvaluationError
from jaxgan.evaluation.inception import DIMS
from jaxgan.evaluation.resize import RESIZERS
from jaxgan.evaluation.settings import EXTRACTORS, LOWER_IS_BETTER, METRICS, Settings


def test_what_the_metrics_need():
    def needs(*metrics, **options):
        found = Settings(metrics=metrics, **options)
        return found.needs_network, found.needs_features, found.needs_logits, found.needs_reference

    assert needs("fid") == (True, False, False, True)
    assert needs("is") == (True, False, True, False)
    assert needs("is", extractor="classifier") == (True, False, True, True), "it is trained on the reference"
    assert needs("cas") == (False, False, False, True)
    for metric in ("kid", "prdc", "intra_fid"):
        assert needs(metric) == (True, True, False, True)
    every = Settings(metrics=("kid", "fid", "kid", "is"))
    assert every.metrics == ("kid", "fid", "is") and every.score_names == ("kid", "kid_std", "fid", "is", "is_std")


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"metrics": ("fid", "fdi")}, r"metrics \(='fdi'\) must be some of fid,is,kid,prdc,intra_fid,cas"),
        ({"metrics": ()}, r"metrics \(=''\)"),
        ({"extractor": "vgg"}, r"extractor \(='vgg'\) must be one of inception, classifier"),
        ({"batch_size": 0}, r"batch_size \(=0\) must be at least 1"),
        ({"kid_subset_size": 1}, r"kid_subset_size \(=1\) must be at least 2"),
        ({"kid_seed": 2**32}, "seed"),
        ({"classifier_steps": 0}, "classifier_steps"),
    ],
)
def test_values_out_of_range(values, text):
    with pytest.raises(EvaluationError, match=text):
        Settings(**values)


def test_sizes_that_the_metrics_need():
    every = Settings(metrics=tuple(METRICS), kid_subset_size=20, k=7, is_splits=30)
    every.check_sizes(30, 20)
    for sizes, text in (
        ((29, 20), r"is_splits \(=30\) must be at most 29"),
        ((30, 19), r"kid_subset_size \(=20\) must be at most 19.*kid_subsets 1 and kid_subset_size 30"),
        ((1, 20), "mine has 1 image and needs at least 2"),
        ((30, 0), "theirs has 0 images and needs at least 2"),
    ):
        with pytest.raises(EvaluationError, match=text):
            every.check_sizes(*sizes, names=("mine", "theirs"))
    with pytest.raises(EvaluationError, match=r"k \(=7\) must be less than 7"):
        dataclasses.replace(every, metrics=("prdc",)).check_sizes(30, 7)
    Settings(metrics=("kid",), kid_subsets=1, kid_subset_size=30).check_sizes(30, 8)
    Settings(metrics=("fid",), kid_subset_size=100, k=100).check_sizes(30, 8)
    Settings(metrics=("is",)).check_sizes(30, None)


def test_labels_that_are_missing():
    Settings(metrics=("fid",)).check_labels(False, False)
    with pytest.raises(EvaluationError, match="cas and intra_fid need the classes of the evaluated images"):
        Settings(metrics=("intra_fid", "cas")).check_labels(False, True)
    with pytest.raises(EvaluationError, match="cas needs a reference with classes; give a labelled --data"):
        Settings(metrics=("cas",), extractor="classifier").check_labels(True, False)
    with pytest.raises(EvaluationError, match="the classifier as extractor needs a reference with classes"):
        Settings(extractor="classifier").check_labels(True, False)


def test_the_configuration_offers_the_same():
    """It stands on a lower floor, so it cannot ask."""
    assert tuple(METRICS) == config_rules._METRICS and set(LOWER_IS_BETTER) < set(METRICS)
    choices = config_rules._CHOICES
    assert choices["eval.extractor"] == EXTRACTORS and choices["eval.resizer"] == RESIZERS
    assert tuple(choices["eval.feature_dims"]) == tuple(DIMS)
    defaults, settings = EvalConfig(), Settings()
    for name in ("metrics", "extractor", "feature_dims", "resizer", "inception_weights"):
        assert getattr(defaults, name) == getattr(settings, name)
