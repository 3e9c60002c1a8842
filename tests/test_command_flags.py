"""Which flags of train.py contradict each other."""

import re

import pytest

from command.flags import parse_flags


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        *(
            (f"--eval_only {flag}", f"{flag.split()[0]} has no effect with --eval_only; .*")
            for flag in (
                *(
                    "--seed 0",
                    "--num_epochs 2",
                    "--batch_size 8",
                    "--recipe chapter",
                    "--init_from",
                ),
                *("--learning_rate 1", "--held_out 5", "--eval_every 5", "--num_towers 2"),
                *("--original_dim 32", "--class_weights", "--summarize_layers"),
            )
        ),
        *((flag, f"{flag.split()[0]} needs --eval_only") for flag in ("--watch", "--split test")),
        ("--checkpoint a", "--checkpoint needs --eval_only"),
        ("--eval_only --checkpoint a --watch", ".* drop the other flag"),
        ("--eval_only --checkpoint a --run_dir b", ".* drop the other flag"),
        ("--recipe wise_ft", "--recipe wise_ft needs --init_from, .*"),
        ("--recipe mine", ".*invalid choice: 'mine'.*"),
        ("--epochs 3", "unrecognized arguments: --epochs 3"),
        ("--num_ep 3", "unrecognized arguments: --num_ep 3"),
        ("--num_epochs 0", "argument --num_epochs: '0' is not a number from .*"),
        ("--batch_size 2.5", "argument --batch_size: '2.5' is not a whole number from 1 .*"),
    ],
)
def test_a_wrong_flag_is_one_sentence(flags, sentence, capsys):
    with pytest.raises(SystemExit, match=r"^2$"):
        parse_flags(flags.split())
    assert re.fullmatch(f"train.py: error: {sentence}; see --help.\n", capsys.readouterr().err)


def test_an_evaluation_takes_those_that_say_which_images():
    flags = "--eval_only --watch --split train --dataset pets --data_dir a --run_dir b"
    assert parse_flags(flags.split()).split == "train"
