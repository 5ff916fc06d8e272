"""Values and gradients of every path against float64: none may err more than plain PyTorch does, plus a tolerance."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mmseg_isda.core import (
    ISDACriterion,
    fused_cross_entropy,
    isda_cross_entropy,
    mask_invalid_labels,
    new_statistics,
)

from . import Report, Settings, Verdict, judged
from .literal import IGNORED, KINDS, STRENGTH, Problem, errors, literal, make_problem, nearest, results, upsampled

CLAIMS = {
    'values float32': 'In float32 every path errs no more than plain PyTorch does.',
    'values bfloat16': 'So it does in bfloat16.',
    'values float16': 'So it does in float16.',
    'values autocast': 'So it does in mixed precision, with autocast and GradScaler.',
    'values compile': 'So it does within torch.compile.',
    'overflow': 'An overflowed batch leaves the statistics alone, and GradScaler skips the step.',
    'bad label': 'A label that is out of range is named; it ends no process in a device-side assertion.',
}
FACTOR = 2.0  # A sum in another order may err so much more.
TOLERANCE = {torch.float32: 4e-6, torch.float16: 1e-3, torch.bfloat16: 8e-3}
PLACEMENTS = ('feature', 'label')
Path = Callable[[Problem, str, str], dict[str, Tensor]]


class Case(NamedTuple):
    """One comparison.

    Attributes:
        tensor: the one that errs the most beyond plain PyTorch: the loss or a gradient.
    """

    path: str
    kind: str
    augment_at: str
    tensor: str
    error: float
    plain_error: float

    @property
    def excess(self) -> float:
        return self.error - FACTOR * self.plain_error

    def __str__(self) -> str:
        where = f'{self.path}, {self.kind}, at the {self.augment_at}s, {self.tensor}'
        return f'{where}: {self.error:.1e}, plain {self.plain_error:.1e}'


# The paths


def _inputs(problem: Problem) -> tuple[Tensor, Tensor, Tensor]:
    x, weight, bias = problem.features[1], problem.weight, problem.bias
    return tuple(tensor.detach().clone().requires_grad_() for tensor in (x, weight, bias))


def by_functions(loss: Callable[..., Tensor]) -> Path:
    """Return the path through statistics, table and loss as functions."""

    def path(problem: Problem, kind: str, augment_at: str) -> dict[str, Tensor]:
        x, weight, bias = _inputs(problem)
        statistics = new_statistics(kind, *weight.shape, rank=weight.shape[1], sync=False).to(x.device)
        for features, labels in zip(problem.features, problem.labels, strict=True):
            statistics.update(features, nearest(labels, x.shape[2:]), IGNORED)
        logits = nn.functional.conv2d(x, weight[..., None, None], bias)
        shift = statistics.shift(weight, STRENGTH)
        return results(_scaled(loss(logits, problem.labels[1], shift, augment_at)), x, weight, bias)

    return path


def plain_loss(logits: Tensor, labels: Tensor, shift: Tensor, augment_at: str) -> Tensor:
    options = dict(augment_at=augment_at, feature_size=logits.shape[2:], align_corners=True, avg_non_ignore=True)
    return isda_cross_entropy(upsampled(logits, labels), labels, shift, ignore_index=IGNORED, **options)


def fused_loss(logits: Tensor, labels: Tensor, shift: Tensor, augment_at: str) -> Tensor:
    options = dict(augment_at=augment_at, align_corners=True, avg_non_ignore=True)
    return fused_cross_entropy(logits, labels, shift, ignore_index=IGNORED, **options)


def _scaled(loss: Tensor) -> Tensor:
    """Float32 whatever the network computes in, as GradScaler wants a loss."""
    return loss.float() if loss.dtype in (torch.float16, torch.bfloat16) else loss


def by_module(make: Callable[[Problem, str, str], tuple[nn.Module, Callable[[Tensor, Tensor], Tensor]]]) -> Path:
    """Return the path through a classifier and a criterion that watches it.

    Args:
        make: returns the classifier, and the loss of features and labels.
    """

    def path(problem: Problem, kind: str, augment_at: str) -> dict[str, Tensor]:
        classifier, loss = make(problem, kind, augment_at)
        with torch.no_grad():
            classifier.weight.copy_(problem.weight.view_as(classifier.weight))
            classifier.bias.copy_(problem.bias)
        loss(problem.features[0].clone().requires_grad_(), problem.labels[0])
        x = problem.features[1].clone().requires_grad_()
        value = _scaled(loss(x, problem.labels[1]))
        found = results(value, x, classifier.weight, classifier.bias)
        return found | {'weight': found['weight'].flatten(1)}

    return path


def _criterion(problem: Problem, kind: str, augment_at: str) -> tuple[nn.Module, Callable]:
    num_classes, size = problem.weight.shape
    like = dict(device=problem.weight.device, dtype=problem.weight.dtype)
    of_maps = problem.features[0].dim() == 4
    classifier = nn.Conv2d(size, num_classes, 1, **like) if of_maps else nn.Linear(size, num_classes, **like)
    options = dict(covariance=kind, rank=size, augment_at=augment_at, ignore_index=IGNORED, align_corners=True)
    criterion = ISDACriterion(classifier, STRENGTH, sync=False, **options)
    return classifier, lambda x, labels: criterion(classifier(x), labels, progress=1.0)


def _compiled(problem: Problem, kind: str, augment_at: str) -> tuple[nn.Module, Callable]:
    classifier, loss = _criterion(problem, kind, augment_at)
    return classifier, torch.compile(loss, backend=_backend(problem.weight.device.type))


def _backend(device: str) -> str:
    return 'inductor' if device == 'cuda' else 'aot_eager'  # A machine without a GPU may lack a compiler.


def _decode_head(fused: bool) -> Callable:
    def make(problem: Problem, kind: str, augment_at: str) -> tuple[nn.Module, Callable]:
        import segmentation

        num_classes, size = problem.weight.shape
        options = dict(covariance=kind, rank=size, augment_at=augment_at, sync=False, fused=fused, avg_non_ignore=True)
        head = segmentation.new_head(num_classes, size, fused, dict(type='ISDASegLoss', **options), align_corners=True)
        head = head.to(problem.weight.device, problem.weight.dtype)
        return head.conv_seg, lambda x, labels: segmentation.head_loss(head, x, labels, STRENGTH)

    return make


def _linear_head(problem: Problem, kind: str, augment_at: str) -> tuple[nn.Module, Callable]:
    import classification

    num_classes, size = problem.weight.shape
    head = classification.new_head(num_classes, size, dict(type='ISDALoss', covariance=kind, rank=size, sync=False))
    head = head.to(problem.weight.device, problem.weight.dtype)

    def loss(x: Tensor, labels: Tensor) -> Tensor:
        options = dict(ignore_index=IGNORED, avg_factor=(labels != IGNORED).sum())  # The host's mean is over all.
        return classification.head_loss(head, x, labels, STRENGTH, **options)

    return head.fc, loss


def paths(compiled: bool) -> Iterator[tuple[str, bool, Path]]:
    """Yield the name of each path, whether it takes maps, and the path."""
    if compiled:
        for name, loss in (('plain functions', plain_loss), ('fused functions', fused_loss)):
            yield name, True, by_functions(lambda *args, f=loss: _compile_for(args[0], f)(*args))
        yield 'criterion', True, by_module(_compiled)
        return
    yield 'plain functions', True, by_functions(plain_loss)
    yield 'fused functions', True, by_functions(fused_loss)
    yield 'criterion', True, by_module(_criterion)
    yield 'criterion of vectors', False, by_module(_criterion)
    if find_spec('mmseg'):
        yield 'ISDASegLoss', True, by_module(_decode_head(fused=False))
        yield 'ISDASegLoss in a fused head', True, by_module(_decode_head(fused=True))
    if find_spec('mmpretrain'):
        yield 'ISDALoss', False, by_module(_linear_head)


def _compile_for(like: Tensor, function: Callable) -> Callable:
    return torch.compile(function, backend=_backend(like.device.type))


# The comparisons


def compare(settings: Settings, dtype: torch.dtype, *, half: torch.dtype | None = None, compiled: bool = False):
    """Yield a case for each path, kind and placement.

    Args:
        dtype: of the network.
        half: what autocast computes in, if it is on.
        compiled: take the paths within torch.compile.
    """
    problems = {of_maps: make_problem(of_maps=of_maps, quick=settings.quick) for of_maps in (True, False)}
    kinds = KINDS[:2] if compiled else KINDS
    for (name, of_maps, path), kind, placement in itertools.product(paths(compiled), kinds, PLACEMENTS):
        if not of_maps and placement == 'label':
            continue
        here = problems[of_maps].to(settings.device, dtype)
        truth = literal(problems[of_maps].to('cpu', dtype).to('cpu', torch.float64), kind, placement)
        plain = errors(literal(here, kind, placement, logits_dtype=half), truth)
        with torch.autocast(settings.device, dtype=half or torch.bfloat16, enabled=half is not None):
            found = errors(path(here, kind, placement), truth)
        cases = (Case(name, kind, placement, tensor, found[tensor], plain[tensor]) for tensor in truth)
        yield max(cases, key=lambda case: case.excess)


def verdict_of(cases: list[Case], tolerance: float) -> Verdict:
    """Judge the case that exceeds plain PyTorch the most."""
    worst = max(cases, key=lambda case: case.excess)
    return judged(worst.excess <= tolerance, f'{len(cases)} cases; {worst}')


def try_overflow(device: str) -> Verdict:
    """Train one step on features that overflow."""
    torch.manual_seed(0)
    classifier = nn.Linear(8, 5, device=device)
    criterion = ISDACriterion(classifier, 1.0, covariance='full', sync=False)
    optimizer = torch.optim.SGD(classifier.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler(device)
    before = {}
    for scale in (1.0, float('inf')):
        before = {name: tensor.clone() for name, tensor in criterion.statistics.state_dict().items()}
        weight = classifier.weight.detach().clone()
        x, labels = torch.randn(16, 8, device=device) * scale, torch.arange(16, device=device) % 5
        optimizer.zero_grad()
        scaler.scale(criterion(classifier(x), labels, progress=0.5)).backward()
        scaler.step(optimizer)
        scaler.update()
    same = all(torch.equal(tensor, before[name]) for name, tensor in criterion.statistics.state_dict().items())
    skipped = torch.equal(weight, classifier.weight) and int(criterion.statistics.num_skipped) == 1
    return judged(same and skipped, f'statistics unchanged: {same}; step and batch skipped: {skipped}')


def try_bad_label(device: str) -> Verdict:
    """Hand over a label that is out of range."""
    labels = torch.tensor([[[0, 1, 77, IGNORED]]], device=device)
    masked, suspect = mask_invalid_labels(labels, 5, IGNORED)
    loss = isda_cross_entropy(torch.zeros(1, 5, 1, 4, device=device), masked, None, ignore_index=IGNORED)
    return judged(int(suspect) == 77 and bool(loss.isfinite()), f'named {int(suspect)}, loss {float(loss):.3f}')


def run(settings: Settings) -> Report:
    """Try all claims."""
    half = torch.float16 if settings.device == 'cuda' else torch.bfloat16
    modes: dict[str, dict[str, Any]] = {
        'float32': dict(dtype=torch.float32),
        'bfloat16': dict(dtype=torch.bfloat16),
        'float16': dict(dtype=torch.float16),
        'autocast': dict(dtype=torch.float32, half=half),
        'compile': dict(dtype=torch.float32, compiled=True),
    }
    missing = [f'{name} is not installed' for name in ('mmseg', 'mmpretrain') if not find_spec(name)]
    verdicts, figures = {}, {}
    for name, mode in modes.items():
        cases = list(compare(settings, **mode))
        figures[name] = [case._asdict() for case in cases]
        outcome, why = verdict_of(cases, TOLERANCE[mode.get('half') or mode['dtype']])
        verdicts[f'values {name}'] = Verdict(outcome, '; '.join([why, *missing]))
    verdicts['overflow'] = try_overflow(settings.device)
    verdicts['bad label'] = try_bad_label(settings.device)
    return Report(verdicts, figures)
