"""Packaging of mmseg-isda. What it requires outright, everybody with a working MMSegmentation already has."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = re.search(r"__version__ = '(.+)'", (ROOT / 'mmseg_isda' / 'version.py').read_text()).group(1)

setup(
    name='mmseg-isda',
    version=VERSION,
    description='Implicit semantic data augmentation (ISDA) as a loss for MMSegmentation',
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    python_requires='>=3.10,<3.14',
    packages=find_packages(include=['mmseg_isda', 'mmseg_isda.*']),
    package_data={'demo.report': ['*.html']},
    install_requires=['torch>=2.1', 'numpy', 'opencv-python', 'matplotlib'],
    extras_require={
        # The two stacks provide the same import packages: never both in one environment.
        'onedl': [
            'onedl-mmcv>=2.3.6',
            'onedl-mmengine>=0.10.12',
            'onedl-mmsegmentation>=1.4.2',
        ],
        'openmmlab': [
            'mmcv>=2.0.0,<2.2.0',
            'mmengine>=0.10.0',
            'mmsegmentation>=1.2.0',
            'ftfy',
            'regex',
        ],
        # Each toolkit beside, or in place of, MMSegmentation. MMDetection needs MMCV's compiled operators too, which
        # no extra can ask for: tools/build_mmcv_ops.py builds them.
        'onedl-classification': [
            'onedl-mmcv>=2.3.6',
            'onedl-mmengine>=0.10.12',
            'onedl-mmpretrain>=1.3.6',
            'torchvision',
        ],
        'onedl-detection': ['onedl-mmcv>=2.3.6', 'onedl-mmengine>=0.10.12', 'onedl-mmdetection>=3.5.1', 'torchvision'],
        'openmmlab-classification': ['mmcv>=2.0.0,<2.2.0', 'mmengine>=0.10.0', 'mmpretrain>=1.2.0', 'torchvision'],
        'openmmlab-detection': ['mmcv>=2.0.0,<2.2.0', 'mmengine>=0.10.0', 'mmdet>=3.3.0', 'torchvision'],
        'analysis': ['scikit-learn'],
        'cityscapes': ['cityscapesscripts'],
        'test': ['pytest', 'pytest-xdist', 'ruff', 'tensorboard', 'cityscapesscripts'],
    },
    classifiers=[
        'License :: OSI Approved :: Apache Software License',
        'Programming Language :: Python :: 3.10',
        'Programming Language :: Python :: 3.11',
        'Programming Language :: Python :: 3.12',
        'Programming Language :: Python :: 3.13',
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
    ],
)
