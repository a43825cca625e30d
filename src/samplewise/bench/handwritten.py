"""A hand-written SampleRNN over torch's own GRU, the peer of the benchmark of training.

It has an ``nn.GRU`` for each tier, and ``nn.Embedding`` and ``nn.Linear`` for the rest. It has no
weight normalisation, and carries its state between subsequences. It shares no layer with this
package.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from samplewise.config.models import SampleRNNConfig


class HandWritten(nn.Module):
    """A SampleRNN for subsequences whose length is a multiple of the top frame size."""

    def __init__(self, config: SampleRNNConfig):
        super().__init__()
        dim, self.frame_sizes = config.dim, config.frame_sizes
        self.dim, self.q_levels = dim, config.q_levels
        self.lookback = config.lookback
        tiers = range(2, len(config.frame_sizes) + 1)
        top = config.top_frame
        self.inputs = nn.ModuleList(
            nn.Identity() if size == top else nn.Linear(size, dim) for size in self.frame_sizes[1:]
        )
        self.rnns = nn.ModuleList(
            nn.GRU(size if size == top else dim, dim, config.n_rnn, batch_first=True)
            for size in self.frame_sizes[1:]
        )
        self.upsamples = nn.ModuleList(nn.Linear(dim, config.ratio(k) * dim) for k in tiers)
        self.embedding = nn.Embedding(config.q_levels, config.emb_size)
        self.first = nn.Linear(self.frame_sizes[0] * config.emb_size, dim)
        self.mlp = nn.Sequential(
            *(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim), nn.ReLU()),
            nn.Linear(dim, config.q_levels),
        )

    def forward(
        self, codes: Int[Tensor, "batch codes"], states: list[Tensor | None]
    ) -> tuple[Float[Tensor, "batch codes+1-{self.lookback} {self.q_levels}"], list[Tensor]]:
        """Return logits of the samples after the first ``lookback`` codes, and the states."""
        batch, time = codes.shape[0], codes.shape[1] - self.lookback + 1
        values = codes.float() * (4 / self.q_levels) - 2
        condition, after = None, []
        for tier in reversed(range(len(self.rnns))):
            size = self.frame_sizes[tier + 1]
            begin = self.lookback - size
            frames = values[:, begin : begin + time].reshape(batch, time // size, size)
            inp = self.inputs[tier](frames)
            if condition is not None:
                inp = inp + condition
            h, state = self.rnns[tier](inp, states[tier])
            after.insert(0, state)
            condition = self.upsamples[tier](h).view(batch, -1, self.dim)
        window = self.frame_sizes[0]
        embedded = self.embedding(codes[:, self.lookback - window :])
        embedded = torch.cat([embedded[:, i : i + time] for i in range(window)], -1)
        return self.mlp(self.first(embedded) + condition), after


class HandWrittenTraining:
    """Stateful truncated BPTT with Adam and gradients clipped by value."""

    def __init__(self, config: SampleRNNConfig, device: str, autocast: bool = False):
        self.model = HandWritten(config).to(device)
        self.optimizer = torch.optim.Adam(self.model.parameters())
        self.states: list[Tensor | None] = [None] * len(self.model.rnns)
        self.autocast = autocast

    def step(self, codes: Int[Tensor, "batch lookback_and_time"]) -> None:
        """Train on one subsequence."""
        device = codes.device.type
        with torch.autocast(device, torch.bfloat16, enabled=self.autocast):
            logits, states = self.model(codes[:, :-1], self.states)
        target = codes[:, self.model.lookback :]
        loss = F.cross_entropy(logits.float().flatten(0, 1), target.flatten())
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_value_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.states = [state.detach() for state in states]
