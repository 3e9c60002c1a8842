#!/usr/bin/env python3
"""Trains the chapter's SqueezeNetModel: `python train.py`.

One training graph, session and loop: the function `train`. Everything a run writes goes into one
folder, runs/<dataset>; run the same command again to resume. `python train.py --help` lists the
flags.
"""

if __name__ == "__main__":  # command/train.py reads the flags, calls `train` and exits
    import runpy

    runpy.run_module("command.train", run_name="__main__")

from cluster.alone import ALONE, Cluster
from evaluation.evaluator import Evaluator
from reporting.progress import progress_of
from saved.checkpoints import Checkpoints
from squeezenet_model import tf
from training.health import Health
from training.initial_weights import initialize
from training.input_pipeline import TrainingBatches
from training.plan import Plan
from training.step import build_training_step


def train(plan: Plan, cluster: Cluster = ALONE) -> dict | None:
    """Trains from the newest checkpoint, or from the start, to the last step.

    In a cluster every task runs this function; one all-reduce per step averages their gradients.

    Returns:
      What results.json holds; None in the tasks of a cluster that write nothing.

    Raises:
      Stopped: a signal came; the step in progress was finished and saved.
      UserError: the training cannot continue; the message says why and what to do.
    """
    schedule = plan.schedule
    with (
        tf.Graph().as_default(),
        cluster.device(),
        cluster.interruption() as interruption,
        Evaluator(plan.model, plan.dataset.evaluation_set, schedule.precision) as evaluator,
    ):
        # 1. The graph: batch -> towers -> mean gradient -> one step of the optimizers.
        tf.set_random_seed(schedule.seed)
        batches = TrainingBatches(plan, cluster.part)
        training_step = build_training_step(
            plan, batches.next_batch, cluster.part, cluster.all_reduce
        )
        checkpoints = Checkpoints(plan.run_dir)
        if not checkpoints.step:
            initialize(plan, batches.frozen)
        health = Health(plan.model.output_size)

        # 2. The session: it resumes after the step of the newest checkpoint.
        with (
            cluster.session(interruption) as session,
            progress_of(plan, checkpoints.step) as progress,
            batches.errors(),
            checkpoints.saved_if_output_is_lost(session),
        ):
            step = checkpoints.restore_or_initialize(session)
            step = cluster.broadcast(session, step, schedule)
            batches.start_at(session, step)
            progress.started(session)
            is_interrupted = bool(interruption.received)

            # 3. The loop: all that is shown of a step comes from this one session.run.
            while True:
                if plan.run_dir and step and schedule.evaluates_at(step):
                    evaluation = evaluator.evaluate(checkpoints.newest)
                    progress.evaluated(evaluation, evaluator)
                    checkpoints.keep_best(session, step, evaluation.accuracy)
                if step >= schedule.total_steps or is_interrupted:
                    break
                values = session.run(training_step)
                step = int(values.step)
                progress.step_done(values)
                health.check(values)
                is_interrupted = bool(interruption.received)
                if plan.run_dir and (schedule.evaluates_at(step) or is_interrupted):
                    progress.flush()
                    checkpoints.save(session, step)
            cluster.wait_for_all(session)

        interruption.check(step, schedule.total_steps)
        return progress.finished()
