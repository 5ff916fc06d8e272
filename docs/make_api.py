"""Write docs/api.md from the docstrings of what the packages export: ``python docs/make_api.py`` (needs ``griffe``).

The sources are read, not imported, so that no toolkit has to be installed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import griffe

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ('core', 'engine', 'segmentation', 'classification', 'detection', 'analysis')
LISTS = ('parameters', 'attributes', 'returns', 'raises')


def main() -> None:
    package = griffe.load('mmseg_isda', search_paths=[ROOT], docstring_parser='google')
    lines = ['# API', '', 'Made from the docstrings by `make docs`.']
    for name in PACKAGES:
        if name in package.members:
            lines += ['', *_of_package(package[name])]
    (ROOT / 'docs' / 'api.md').write_text('\n'.join(lines) + '\n')


def _of_package(package: griffe.Object) -> Iterator[str]:
    yield f'## `{package.path}`'
    yield from ('', *_of_docstring(package))
    for name in sorted(package.exports or [], key=str.lower):
        yield from ('', *_of_object(package[name].final_target, 3))


def _of_object(obj: griffe.Object, level: int) -> Iterator[str]:
    yield f'{"#" * level} `{obj.name}`'
    if obj.is_class or obj.is_function:
        yield from ('', '```python', f'{obj.name}{_signature(obj)}', '```')
    yield from ('', *_of_docstring(obj))
    if obj.is_class:
        for member in obj.members.values():
            if member.is_function and member.docstring and not member.name.startswith('_'):
                yield from ('', *_of_object(member, level + 1))


def _signature(obj: griffe.Object) -> str:
    parameters = list(obj.parameters)
    names = [parameter.name for parameter in parameters if parameter.name not in ('self', 'cls')]
    written = []
    for parameter in (parameter for parameter in parameters if parameter.name in names):
        keyword_only = parameter.kind is griffe.ParameterKind.keyword_only
        if keyword_only and '*' not in written and not any(name.startswith('*') for name in written):
            written.append('*')
        stars = {griffe.ParameterKind.var_positional: '*', griffe.ParameterKind.var_keyword: '**'}
        default = '' if parameter.default is None or parameter.kind in stars else f'={parameter.default}'
        written.append(f'{stars.get(parameter.kind, "")}{parameter.name}{default}')
    return f'({", ".join(written)})'


def _of_docstring(obj: griffe.Object) -> Iterator[str]:
    for number, section in enumerate(obj.docstring.parsed if obj.docstring else ()):
        if number:
            yield ''
        kind = section.kind.value
        if kind == 'text':
            yield _markdown(section.value)
        elif kind in LISTS:
            yield f'{kind.capitalize()}:'
            yield ''
            for item in section.value:
                name = getattr(item, 'name', '') or (item.annotation if kind == 'raises' else '')
                text = ' '.join(_markdown(item.description).split())
                yield f'- `{name}`: {text}' if name else f'- {text}'
        elif kind == 'examples':
            yield from ('```python', *(text for _, text in section.value), '```')
        else:  # sections that are this project's own, such as "Buffers:"
            text = section.value.description
            yield f'{section.title}:'
            yield ''
            yield f'```python\n{text}\n```' if '>>>' in text else _items(text)


def _items(text: str) -> str:
    """Turn ``name: text`` lines and their indented continuations into a list."""
    lines = [re.sub(r'^(\w+): ', r'- `\1`: ', line) for line in text.splitlines()]
    return _markdown('\n'.join(f'  {line.strip()}' if line.startswith(' ') else line for line in lines))


def _markdown(text: str) -> str:
    """Turn the roles of reST into Markdown as GitHub reads it."""
    text = re.sub(r':math:`([^`]+)`', lambda found: f'$`{" ".join(found[1].split())}`$', text)
    text = re.sub(r':\w+:`~?(?:[\w.]*\.)?(\w+)`', r'`\1`', text)
    text = text.replace('``', '`')
    return re.sub(r'\.\. math::(?: (.+)|\n+((?:    .*(?:\n|$)|\n)+))', _math_block, text).strip()


def _math_block(found: re.Match) -> str:
    return f'```math\n{dedent(found[1] or found[2]).strip()}\n```\n\n'


if __name__ == '__main__':
    main()
