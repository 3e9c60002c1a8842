"""What `python train.py` does: reads the flags, makes a plan, and trains or evaluates."""

import argparse
import os
import sys
from contextlib import nullcontext

from base.program import run
from base.runtime import load_tensorflow_quietly
from cluster.config import read_config
from command.flags import parse_flags
from saved.run_dir import open_run_dir


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit code, as `base.program.run` does."""
    return run("train.py", lambda: train_or_evaluate(parse_flags(arguments)))


def train_or_evaluate(flags: argparse.Namespace) -> None:
    """Does what the flags ask for, as a task of a cluster if TF_CONFIG says so."""
    config = read_config(os.environ.get("TF_CONFIG"))
    load_tensorflow_quietly()  # which the following imports need
    if flags.eval_only or (config and config.name == "evaluator"):
        from command.evaluate import evaluate_run

        return evaluate_run(flags, in_cluster=config is not None)

    from cluster.alone import ALONE
    from cluster.task import Task
    from command.plan import make_plan
    from reporting.console import print_plan, print_report
    from train import train

    plan = make_plan(flags, config)
    cluster = Task(config) if config else ALONE
    folder = open_run_dir(plan.run_dir, plan.settings) if plan.run_dir else nullcontext()
    if plan.run_dir:
        print_plan(plan)
    with folder, cluster.joined():
        results = train(cluster.adapted(plan), cluster)
        if results and plan.run_dir:
            print_report(results, plan.run_dir)


if __name__ == "__main__":
    sys.exit(main())
