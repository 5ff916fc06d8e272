"""Builds MMCV's compiled operators (NMS, RoIAlign, ...) into this Python, once, where they are missing.

MMDetection and the classic MMSegmentation need them. A ready wheel is taken where pip finds one (PIP_FIND_LINKS);
otherwise they are compiled, which takes 13 to 17 minutes on two cores.

    python tools/build_mmcv_ops.py onedl-mmcv --constraint requirements/maintained.txt
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TextIO

CHECK = 'import mmcv._ext'
# The build runs without isolation, or it would not see PyTorch. onedl-mmcv wants setuptools 80 or later, and mmcv one
# before 81, as it needs pkg_resources.
NEEDS = ('setuptools>=80,<81', 'wheel', 'ninja', 'psutil')
COUNT = re.compile(r'^\s*\[(\d+)/(\d+)\]')  # ninja's
INTERVAL = 15.0  # seconds between two lines of progress
USUAL_MINUTES = 27  # of one core
TAIL = 15


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('package', choices=('onedl-mmcv', 'mmcv'), help='of the maintained or of the classic stack')
    parser.add_argument('--constraint', required=True, help='file with the versions, as of pip -c')
    parser.add_argument('--log', type=Path, help="file for all of pip's output (default: in the temporary folder)")
    args = parser.parse_args()
    if not Path(args.constraint).is_file():
        parser.error(f'--constraint {args.constraint} does not exist')
    if has_operators():
        return 0
    log = args.log or Path(tempfile.gettempdir()) / f'build_{args.package}_{os.getpid()}.log'
    if has_wheel(args) and not install(args, ['--only-binary', args.package], log) and has_operators():
        return 0
    jobs = int(os.environ.get('MAX_JOBS') or os.cpu_count() or 1)
    print(
        f"MMCV's compiled operators are missing and are built now, once: about {max(2, round(USUAL_MINUTES / jobs))} "
        f'minutes with {jobs} processes. All of the output: {log}',
        flush=True,
    )
    began = time.monotonic()
    status = pip(['install', '--quiet', '-c', args.constraint, *NEEDS], log)
    status = status or install(args, ['--no-binary', args.package, '--no-cache-dir'], log)
    if status or not has_operators():
        tail = ''.join(log.read_text(errors='replace').splitlines(keepends=True)[-TAIL:])
        print(
            f"error: MMCV's operators could not be built (status {status}); all of it: {log}\n{tail}", file=sys.stderr
        )
        return 1
    print(f"MMCV's operators are built, in {(time.monotonic() - began) / 60:.0f} minutes.", flush=True)
    return 0


def has_operators() -> bool:
    """Whether a fresh process can load them; PyTorch must be loaded first."""
    return subprocess.run([sys.executable, '-c', f'import torch; {CHECK}'], capture_output=True).returncode == 0


def has_wheel(args: argparse.Namespace) -> bool:
    """Whether a folder of PIP_FIND_LINKS has a wheel of the package, of its version, that was built for this Python."""
    pinned = re.search(rf'^{args.package}==(\S+)', Path(args.constraint).read_text(encoding='utf-8'), re.MULTILINE)
    number = pinned[1] if pinned else '*'
    pattern = f'{args.package.replace("-", "_")}-{number}-cp{sys.version_info[0]}{sys.version_info[1]}-*.whl'
    folders = [Path(place) for place in os.environ.get('PIP_FIND_LINKS', '').split()]
    return any(True for folder in folders if folder.is_dir() for _ in folder.glob(pattern))


def install(args: argparse.Namespace, options: list[str], log: Path) -> int:
    """Installs the package, over the one without operators if there is one; returns pip's status."""
    try:
        version(args.package)
        options = ['--force-reinstall', '--no-deps', *options]
    except PackageNotFoundError:
        pass
    return pip(['install', '-v', '--no-build-isolation', *options, '-c', args.constraint, args.package], log)


def pip(arguments: list[str], log: Path) -> int:
    command = [sys.executable, '-m', 'pip', '--disable-pip-version-check', *arguments]
    jobs = os.environ.get('MAX_JOBS') or str(os.cpu_count() or 1)
    environment = {**os.environ, 'MMCV_WITH_OPS': '1', 'MAX_JOBS': jobs, 'PYTHONUNBUFFERED': '1'}
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors='replace')
    with log.open('a', encoding='utf-8') as file, subprocess.Popen(command, **pipes, env=environment) as process:
        try:
            follow(process.stdout, file)
        except BaseException:
            process.terminate()
            process.wait()
            raise
    return process.returncode


def follow(lines: Iterable[str], log: TextIO) -> None:
    """Writes everything to the log, and to the screen now and then how far the compiler is and what time is left."""
    began, shown = time.monotonic(), 0.0
    for line in lines:
        log.write(line)
        count = COUNT.match(line)
        now = time.monotonic()
        if count is None or now < shown + INTERVAL:
            continue
        shown, done, total = now, int(count[1]), int(count[2])
        left = (now - began) / max(1, done) * (total - done)
        print(f'    {done} of {total} files compiled, about {left / 60:.0f} minutes left', flush=True)


if __name__ == '__main__':
    sys.exit(main())
