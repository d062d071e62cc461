"""Rounds: who runs when, what is paired with what, and what is written."""

from __future__ import annotations

import argparse
import json

from benchmarks import rounds


def test_contestants_take_turns_and_every_other_round_is_reversed():
    ran = []

    def work(name):
        return lambda: ran.append(name) or 1

    rates = rounds.alternate({name: work(name) for name in "abc"}, rounds=2, warm_up=1)
    assert "".join(ran) == "abccbaabc"
    assert {name: len(found) for name, found in rates.items()} == {"a": 2, "b": 2, "c": 2}
    assert all(rate > 0 for found in rates.values() for rate in found)


def test_work_may_keep_its_own_time():
    rates = rounds.alternate({"a": lambda: (6, 2.0), "b": lambda: (6, 3.0)}, rounds=2)
    assert rates == {"a": [3.0, 3.0], "b": [2.0, 2.0]}


def test_ratios_pair_rates_of_one_round():
    record = rounds.compare("x", [10, 40, 30], [10, 10, 20], size=32, precision="fp32")
    assert (record.ratio_low, record.ratio_median, record.ratio_high) == (1.0, 1.5, 4.0)
    assert (record.ours, record.peer, record.rounds) == (30, 10, 3)


def test_records_are_written_and_printed(tmp_path, capsys):
    record = rounds.compare(
        "knn/lightly", [10.0], [5.0], size=0, precision="bf16", details={"k": 20, "share": 0.25}
    )
    parser = argparse.ArgumentParser()
    rounds.add_options(parser)
    path = tmp_path / "records.json"
    rounds.emit([record], parser.parse_args(["--json", str(path)]))
    assert capsys.readouterr().out == ""
    assert json.loads(path.read_text()) == [vars(record)]
    rounds.emit([record], parser.parse_args([]))
    assert "k 20, share 0.25" in capsys.readouterr().out
    rounds.emit([record], parser.parse_args(["--table"]))
    assert (
        "| knn/lightly | - | bf16 | 10 | 5 | 2.00 | 2.00 to 2.00 | 1 |" in capsys.readouterr().out
    )
