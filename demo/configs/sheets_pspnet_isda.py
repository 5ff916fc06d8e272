# The twin of sheets_pspnet.py: nothing differs but the loss.
_base_ = './sheets_pspnet.py'

model = dict(decode_head=dict(loss_decode=dict(type='ISDASegLoss', covariance='full', lambda_0=1.0)))
