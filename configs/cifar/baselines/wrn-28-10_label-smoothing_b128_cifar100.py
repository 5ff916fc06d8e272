_base_ = '../wrn-28-10_b128_cifar100.py'

# The paper does not name the strength.
model = dict(head=dict(loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, num_classes=100)))
