"""How the scripts of this folder take time."""

import time


def timed(function, repeats=3, clock=time.perf_counter):
    """The shortest of some times that a function took, and what it gave.

    Parameters
    ----------
    function : takes nothing
    repeats : how often it is called
    clock : of the wall; or `time.process_time`, of the processor, where other work goes on
    """
    taken = []
    for _ in range(repeats):
        began = clock()
        result = function()
        taken.append(clock() - began)
    return min(taken), result


def seconds(function, repeats=3):
    """The shortest of some times that a function took."""
    return timed(function, repeats)[0]
