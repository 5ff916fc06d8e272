_base_ = '../resnet110_b128_cifar10.py'

# A sixth of each batch is generated. First train the generator: configs/analysis/wgan-conditional_cifar10.py.
data_preprocessor = dict(
    type='GeneratedImagesPreprocessor', generator='work_dirs/wgan-conditional_cifar10/generator.pt'
)
