"""The comparison with other frameworks: how contenders take turns, how results are combined."""

import argparse

import pytest

from benchmarks import peers
from benchmarks.contenders import matrix_product
from training import RunError


@pytest.fixture
def flags(tmp_path):
    return argparse.Namespace(
        contenders=[], data_dir=tmp_path, peers_python=tmp_path / "no_python", rounds=1, seconds=0.1
    )


def test_a_contender_works_when_it_is_its_turn(flags, tmp_path):
    contender = peers.Contender(
        peers.MATRIX_PRODUCT, peers.CONTENDERS[peers.MATRIX_PRODUCT], flags, tmp_path / "log"
    )
    try:
        rates = [contender.take_turn(0.1) for _ in range(2)]
    finally:
        contender.close()
    assert min(rates) > 1e9  # any machine's; a product that was not computed would be far above
    assert max(rates) < 1e9 * matrix_product.SIDE**2


def test_one_that_does_not_run_is_named_with_its_reason(flags, tmp_path):
    kind = peers.CONTENDERS["course, batch 32"]
    with pytest.raises(RunError, match=r"course, batch 32: does not run \(.*holds no CIFAR-10"):
        peers.Contender("course, batch 32", kind, flags, tmp_path / "log")


def test_says_how_to_install_the_peers(flags, capsys):
    path = str(flags.peers_python)
    assert peers.main(["--peers_python", path, "--contenders", "PyTorch"]) == 2
    error = capsys.readouterr().err
    assert path in error
    assert "requirements-peers.txt" in error


def test_ratios_are_taken_round_by_round():
    rates = {peers.OURS: [300.0, 30.0, 600.0], "PyTorch": [100.0, 10.0, 150.0]}
    _, ours, theirs = peers.as_table(rates).splitlines()
    assert "300" in ours
    assert "3.00 times as fast" in theirs


def test_the_share_of_matrix_products_counts_the_nets_operations():
    flop = peers.flop_per_image()
    assert flop == 67_571_712
    assert "50% of that" in peers.as_share([1_000.0] * 3, [2_000.0 * flop] * 3, flop)
