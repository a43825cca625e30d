import pytest
from beartype import beartype
from jaxtyping import Float
from tests.checked_calls import calls, check_some_calls
from torch import Tensor, zeros

from samplewise.quantizers import make_quantizer


@check_some_calls(typechecker=beartype)
def add(left: Float[Tensor, " time"], right: Float[Tensor, " time"]) -> Float[Tensor, " time"]:
    return left + right


def test_the_first_calls_of_a_test_are_checked_and_then_ever_fewer():
    calls.clear()
    refused = []
    for _ in range(9):
        try:
            add(zeros(3), zeros(1))  # a broadcast that the annotation forbids
            refused.append(False)
        except Exception as error:
            refused.append("right" in str(error))
    assert refused == [True, True, False, True, False, False, False, True, False]
    assert (add(zeros(3), zeros(3)) == 0).all()


def test_the_package_is_checked():
    with pytest.raises(Exception, match="Type-check error whilst checking the parameters"):
        make_quantizer("linear", 1.5)
