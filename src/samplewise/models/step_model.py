"""Models whose samples depend on earlier samples alone: they are drawn one at a time."""

from jaxtyping import Float, Int
from torch import Tensor

from samplewise.heads.base import OneStageHead
from samplewise.models.base import AutoregressiveModel, Config, State


class StepModel(AutoregressiveModel[Config]):
    """Base of the models that draw one sample a step; a subsequence may have any length."""

    def step(
        self,
        previous: Int[Tensor, " batch"],
        state: State,
        target: Int[Tensor, " batch"] | None = None,
        conditioning: Float[Tensor, "batch width"] | None = None,
    ) -> tuple[Float[Tensor, "batch parameters"], State]:
        """Advance by one sample; equal to :meth:`forward` on a subsequence of one."""
        targets = None if target is None else target.unsqueeze(1)
        vectors = None if conditioning is None else conditioning.unsqueeze(1)
        params, state = self(previous.unsqueeze(1), state, targets, vectors)
        return params.squeeze(1), state

    def sample(
        self,
        previous: Int[Tensor, " batch"],
        state: State,
        uniforms: Float[Tensor, " batch"],
        temperature: Float[Tensor, " batch"] | None = None,
        conditioning: Float[Tensor, "batch width"] | None = None,
        min_p: float = 0.0,
    ) -> tuple[Int[Tensor, " batch"], State, Float[Tensor, "batch parameters"]]:
        """Draw one sample.

        Args:
            previous: The code before it.
            state: After the codes before ``previous``.
            uniforms: The random number that makes each code, in [0, 1).
            temperature: Of each row; below 1 sharpens. None means 1.
            conditioning: The vector in force; None for a model without conditioning.
            min_p: Codes at most ``min_p`` times as probable as the most probable code are not
                drawn; 0 cuts off none.

        Returns:
            The code, the state after it, and the parameters of the head, as :meth:`step` returns
            them.
        """
        assert isinstance(self.head, OneStageHead)  # families with staged heads override this
        params, state = self.step(previous, state, conditioning=conditioning)
        return self.head.sample(params, uniforms, temperature, min_p), state, params

    def draw(
        self,
        previous: Int[Tensor, " batch"],
        state: State,
        uniforms: Float[Tensor, " batch"],
        temperature: Float[Tensor, " batch"] | None = None,
        conditioning: Float[Tensor, "batch width"] | None = None,
        min_p: float = 0.0,
    ) -> tuple[Int[Tensor, " batch"], State, Float[Tensor, " batch"]]:
        """Draw one sample, as :meth:`sample` does; return ln p of it in place of the parameters.

        The log-probability is that of the model at temperature 1, in nats.
        """
        code, state, params = self.sample(
            previous, state, uniforms, temperature, conditioning, min_p
        )
        return code, state, self.head.log_prob(params, code)
