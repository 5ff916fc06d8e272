# Fig. 10, with covariances that are learned; num_samples=None is the limit of infinitely many samples. The paper tunes
# the weight of the entropy on held-out images and does not name it.
_base_ = './wrn-28-10_autoaugment_explicit_b128_cifar100.py'

model = dict(head=dict(loss=dict(learned=dict(num_classes=100, num_features=640))))
