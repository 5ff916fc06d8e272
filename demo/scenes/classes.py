"""Names of Cityscapes' 19 training classes, in the order of their train ids."""

CLASSES = (
    'road', 'sidewalk', 'building', 'wall', 'fence', 'pole', 'traffic light', 'traffic sign', 'vegetation', 'terrain',
    'sky', 'person', 'rider', 'car', 'truck', 'bus', 'train', 'motorcycle', 'bicycle',
)  # fmt: skip
THINGS = CLASSES[11:]  # classes with instances, as in Cityscapes
IGNORED = 255
