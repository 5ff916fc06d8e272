_base_ = './mean-teacher_resnet8_digits-50.py'

model = dict(
    head=dict(loss=dict(type='ISDALoss', lambda_0=0.5, covariance='full')),
    semi_train_cfg=dict(eta_1=1.0),
)
