# Fig. 10, with covariances that are estimated. All of the figure's values:
# mmseg-isda sweep CONFIG --set model.head.loss.num_samples=1,2,5,10,20
_base_ = '../cifar/wrn-28-10_autoaugment_b128_cifar100.py'

model = dict(head=dict(loss=dict(type='ExplicitSDALoss', num_samples=5, lambda_0=0.5, covariance='full')))
