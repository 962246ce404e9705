"""What integer number formats need to know of a network: the range of each of its values, found once for all targets.

`photos` chooses what the network looks at, `observers` turns what it saw into ranges, `calibration` runs the network
and finds each value again in a target's file. How a format is written is the business of the schemes in `quantize/`.
"""
