"""Fits a new last layer to what the other layers of a pretrained net put out.

This is the first phase of training on your own photos, as in TF1's image retraining tutorial
(tensorflow/hub, examples/image_retraining), which calls the features "bottlenecks".
"""

import numpy as np
import tensorflow.compat.v1 as tf

from base.runtime import session_config
from training.batches import batch_indices
from training.frozen import FrozenFeatures, PretrainedNet
from training.plan import Plan

MAX_IMAGES = 1_024  # a random subset of a larger set is enough to start from
# The inverse of the regularization, as scikit-learn counts it. With more, the layer fits its few
# photos perfectly, and fine-tuning no longer improves the layers before it.
C = 1e-3
# Logits above 0 for every class, so that the final ReLU passes a gradient to all of them.
BIAS = 1.0


def fit_last_layer(
    plan: Plan, checkpoint: str, frozen: FrozenFeatures | None = None
) -> dict[str, np.ndarray]:
    """Fits the last layer of plan.model; the other layers' weights come from a checkpoint.

    It is a logistic regression on what its inputs are on average over an image, and over its mirror
    image, in which all classes have the same say. The same pass over the images computes what the
    frozen layers put out. The result is a function of the plan and the checkpoint, bit for bit.

    Returns `final_conv/kernel`, float32 [1, 1, channels, classes], and `final_conv/bias`, float32
    [classes]. Raises UserError if a photo can no longer be read.
    """
    from sklearn.linear_model import LogisticRegression  # takes seconds to import

    labels = plan.dataset.train.labels
    indices = np.arange(len(labels))
    if frozen is None and len(labels) > MAX_IMAGES:
        _, one_of_each_class = np.unique(labels, return_index=True)
        chosen = batch_indices(len(labels), MAX_IMAGES, plan.schedule.seed, 0)
        indices = np.union1d(one_of_each_class, chosen)
    with tf.Graph().as_default(), tf.Session(config=session_config()) as session:
        net = PretrainedNet(plan)
        *others, _, _ = tf.trainable_variables()
        tf.train.init_from_checkpoint(checkpoint, {v.op.name: v for v in others})
        session.run(tf.global_variables_initializer())
        inputs = tf.cast(net.output("dropout/Identity:0"), tf.float32)
        outputs = [tf.reduce_mean(inputs, [1, 2])]
        if frozen:
            outputs.append(net.output(frozen.layer.output))
        means, *frozen_outputs = net.compute(session, outputs, indices)
    if frozen:
        [frozen.values] = frozen_outputs
    features, classes = np.concatenate(means), np.tile(labels[indices], len(means))
    regression = LogisticRegression(C=C, class_weight="balanced", max_iter=1_000)
    fitted = regression.fit(features, classes)
    kernel, bias = fitted.coef_, fitted.intercept_
    if len(fitted.classes_) == 2:  # scikit-learn gives one logit, of the second class
        kernel, bias = np.concatenate([-kernel, kernel]) / 2, np.concatenate([-bias, bias]) / 2
    return {
        "final_conv/kernel": kernel.T[None, None].astype(np.float32),
        "final_conv/bias": (bias + BIAS).astype(np.float32),
    }
