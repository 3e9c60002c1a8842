"""The machine's own rate: products of square float32 matrices, with TensorFlow's own kernel."""

from benchmarks.contenders.turns import Turns
from squeezenet_model import tf

SIDE = 2048
FLOP = 2 * SIDE**3  # per product: a multiplication and an addition for each of SIDE^3 terms


def main() -> None:
    """Multiplies until it is stopped; a step is one product."""
    turns = Turns(FLOP)
    with tf.Graph().as_default():
        matrix = tf.get_variable("matrix", [SIDE, SIDE])
        product = tf.matmul(matrix, matrix)
        with tf.Session() as session:
            session.run(tf.global_variables_initializer())
            while True:
                session.run(product.op)
                turns.step_done()


if __name__ == "__main__":
    main()
