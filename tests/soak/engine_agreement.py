"""Draw with both back ends, a million samples of a trained model; every difference must be a tie.

    python tests/soak/engine_agreement.py runs/mine --samples 1000000

Prints how many samples agreed, and for each difference how far the uniform was from the edge of the
cumulative distribution where the two chose differently. After a difference the engine is put back
on the reference's track. Also prints, for every format, the mean KL divergence from the reference.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from samplewise.engine.sampler import NativeSampler, NativeSamplerState
from samplewise.generate.reference import ReferenceSampler
from samplewise.generate.uniforms import uniforms
from samplewise.models.io import load_model

CHUNK = 2000


def margin(logits: np.ndarray, code: int, other: int, uniform: float) -> float:
    """Return how far the uniform is from the edge between two neighbouring choices."""
    values = torch.from_numpy(logits).double().softmax(-1).cumsum(-1)
    return abs(float(values[min(code, other)]) - uniform)


def compare(path: Path, samples: int, clips: int, seed: int) -> None:
    """Draw and count."""
    model = load_model(path).model
    reference, native = ReferenceSampler(model, clips), NativeSampler(model, clips, "f32")
    theirs, ours = reference.start(clips), native.start(clips)
    agreed, ties = 0, []
    for start in range(0, samples // clips, CHUNK):
        numbers = uniforms(seed, range(clips), start, CHUNK)
        codes, _, theirs = reference.draw(theirs, numbers)
        drawn, _, after = native.draw(ours, numbers)
        equal = np.cumprod(codes == drawn, axis=1).astype(bool)
        agreed += int(equal.sum())
        for clip in np.flatnonzero(~equal[:, -1]):
            at = int(equal[clip].sum())
            track = codes[:, : at + 1]
            logits = native.logits(track, ours)[clip, at]
            pair = int(codes[clip, at]), int(drawn[clip, at])
            ties.append(margin(logits, *pair, float(numbers[clip, at])))
            print(f"clip {clip}, sample {start + at}: {pair}, margin {ties[-1]:.1e}", flush=True)
        # Everybody goes on from what the reference drew.
        state = ours.state.copy()
        forced = np.ascontiguousarray(codes, dtype=np.int32)
        native.engine.run(state, CHUNK, forced=forced)
        ours = after if equal[:, -1].all() else NativeSamplerState(state, clips)
    print(f"{agreed} samples agree; {len(ties)} ties, largest margin {max(ties, default=0):.1e}")
    divergence(model, native, clips, seed)
    if max(ties, default=0.0) > 1e-4:
        raise SystemExit("a difference that is not a tie")


def divergence(model, native: NativeSampler, clips: int, seed: int) -> None:
    """Print the mean KL divergence of every format, on codes that the model drew itself."""
    codes, _, _ = native.draw(native.start(clips), uniforms(seed + 1, range(clips), 0, CHUNK))
    silence = np.full((clips, 1), model.quantizer.silence)
    previous = torch.from_numpy(np.concatenate([silence, codes[:, :-1]], 1))
    with torch.inference_mode():
        logits, _ = model(previous, model.initial_state(clips))
    truth = logits.double().log_softmax(-1)
    for weights in ("f32", "f16", "int8x16", "int8"):
        found = torch.from_numpy(NativeSampler(model, clips, weights).logits(codes)).double()
        kl = (truth.exp() * (truth - found.log_softmax(-1))).sum(-1).mean()
        print(f"{weights}: mean KL {kl:.2e} nats, largest logit difference "
              f"{(found - logits).abs().max():.2e}")  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--clips", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    compare(arguments.model, arguments.samples, arguments.clips, arguments.seed)
