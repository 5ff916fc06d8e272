"""Cityscapes' classes: names, raw label ids and train ids (cityscapes-dataset.com, "Class Definitions")."""

import numpy as np

CLASSES = (
    'road',
    'sidewalk',
    'building',
    'wall',
    'fence',
    'pole',
    'traffic light',
    'traffic sign',
    'vegetation',
    'terrain',
    'sky',
    'person',
    'rider',
    'car',
    'truck',
    'bus',
    'train',
    'motorcycle',
    'bicycle',
)
RAW_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
IGNORED = 255

(
    ROAD,
    SIDEWALK,
    BUILDING,
    WALL,
    FENCE,
    POLE,
    TRAFFIC_LIGHT,
    TRAFFIC_SIGN,
    VEGETATION,
    TERRAIN,
    SKY,
    PERSON,
    RIDER,
    CAR,
    TRUCK,
    BUS,
    TRAIN,
    MOTORCYCLE,
    BICYCLE,
) = RAW_IDS
# Raw ids that no class of the training has: all become 255.
EGO_VEHICLE, OUT_OF_ROI, STATIC, RAIL_TRACK = 1, 3, 4, 10

TRAIN_ID_OF_RAW = np.full(256, IGNORED, np.uint8)
TRAIN_ID_OF_RAW[list(RAW_IDS)] = np.arange(len(RAW_IDS), dtype=np.uint8)
