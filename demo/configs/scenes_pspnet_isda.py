# The twin of scenes_pspnet.py: nothing differs but the losses.
_base_ = './scenes_pspnet.py'

loss = dict(type='ISDASegLoss', lambda_0=1.0)
model = dict(decode_head=dict(loss_decode=loss), auxiliary_head=dict(loss_decode=loss))
