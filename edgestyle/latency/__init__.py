"""How long exported files take, what they could take, and whether that has changed.

stats.py       what durations say: pure functions of lists
machine.py     what the durations were measured on
subject.py     what can be timed: a file on a delegate, a checkpoint on torch
measure.py     one subject timed in a process of its own, and two in turn
work.py        multiplications, parameters and bytes of each layer of a file or a network
roofline.py    what this machine can do at most
scaling.py     which sizes fit into memory
results.py     what was measured, as it stands in reports
baseline.py    an earlier report, and what has changed since; budgets
report.py      results as a document, as JUnit cases and for github-action-benchmark
study.py       how often the verdict is wrong: `python -m edgestyle.latency.study`
android.py     a phone over adb; benchmark_model.py reads what LiteRT's tool prints there
browsers.py    what browsers have measured
peers.py       our zoo against other people's files: `python -m edgestyle.latency.peers`
"""
