"""Every operation of the format is evaluated, or is on a list with the reason."""

from minuet.export.quiet import quiet
from minuet.runtimes.mil.evaluate import CONTROL
from minuet.runtimes.mil.operations import OPERATIONS, REFUSED

# No network that is exported here has them: loops over time, lists, detection, labels; and what
# the converter itself knows only before a package is written.
ELSEWHERE = {
    *("gru", "lstm", "rnn"),
    *("list_gather", "list_length", "list_read", "list_scatter", "list_write", "make_list"),
    *("classify", "crop_resize", "non_maximum_suppression"),
    *("_const_symbolic", "conv_quantized"),
}


def test_what_is_not_evaluated_is_known_by_name() -> None:
    with quiet():
        from coremltools.converters.mil.mil.ops.registry import SSAOpRegistry

    written = set(SSAOpRegistry.core_ops)
    assert written - {*OPERATIONS, *REFUSED, *CONTROL} == ELSEWHERE & written


def test_no_operation_is_both_evaluated_and_refused() -> None:
    assert not OPERATIONS.keys() & {*REFUSED, *CONTROL, *ELSEWHERE}
