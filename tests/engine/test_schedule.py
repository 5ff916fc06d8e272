import pytest

from mmseg_isda.engine import strength_at

AT = dict(max_iters=100, max_epochs=10)


def test_iter_is_one_based_and_ends_at_lambda_0():
    assert strength_at(7.5, 'iter', iteration=0, epoch=0, **AT) == pytest.approx(0.075)
    assert strength_at(7.5, 'iter', iteration=99, epoch=9, **AT) == 7.5


def test_epoch_is_zero_based_and_constant_within_an_epoch():
    assert strength_at(0.5, 'epoch', iteration=9, epoch=0, **AT) == 0
    assert strength_at(0.5, 'epoch', iteration=30, epoch=3, **AT) == strength_at(
        0.5, 'epoch', iteration=39, epoch=3, **AT
    )
    assert strength_at(0.5, 'epoch', iteration=99, epoch=9, **AT) == pytest.approx(0.45)


def test_constant():
    assert strength_at(2.0, 'constant', iteration=0, epoch=0, **AT) == 2.0


def test_epochs_that_are_not_counted_are_an_error():
    """Guards against a lambda that silently stays 0 under IterBasedTrainLoop."""
    with pytest.raises(ValueError, match="schedule='epoch' needs more than one epoch"):
        strength_at(2.0, 'epoch', iteration=5, max_iters=10, epoch=0, max_epochs=1)


def test_an_unknown_schedule_is_named():
    with pytest.raises(ValueError, match="schedule must be one of 'iter', 'epoch', 'constant', got 'linear'"):
        strength_at(2.0, 'linear', iteration=0, epoch=0, **AT)
