"""Presets: whole training configurations as constants, each with its source."""

from collections.abc import Iterable
from dataclasses import replace

from samplewise.config.conditioning import LPC_ORDER, ConditioningConfig, MelConfig
from samplewise.config.models import (
    FusedSubscaleConfig,
    HybridConfig,
    RNNConfig,
    SampleRNNConfig,
    SubscaleWaveRNNConfig,
    WaveNetConfig,
    WaveRNNConfig,
)
from samplewise.config.training import BudgetConfig, OptimizerConfig, PreviewConfig, TrainConfig

PAPER_3TIER = TrainConfig(
    preset="paper-3tier",
    model=SampleRNNConfig(frame_sizes=(2, 2, 8), dim=1024, n_rnn=1, emb_size=256, q_levels=256),
    level="paper",
    random_offsets=False,
    lanes=128,
    seq_len=512,
)
"""Mehri et al. 2017, section 3: FS(1) = FS(2) = 2, FS(3) = 8, one GRU of 1024 a tier, MLP of 1024,
1024 and 256, embedding 256, linear q = 256, subsequences of 512, batch 128, Adam at 0.001,
gradients clipped to [-1, 1]; clips of 8 s, each stretched to full scale as in the official code."""

PAPER_2TIER = TrainConfig(
    preset="paper-2tier",
    model=SampleRNNConfig(frame_sizes=(16, 16), dim=1024, n_rnn=3, emb_size=256, q_levels=256),
    level="paper",
    random_offsets=False,
    lanes=128,
    seq_len=1024,
)
"""The same, with three GRU layers in one tier. The paper does not state its frame size and
subsequence; 16 and 64 frames are the official README's."""

PAPER_RNN = replace(
    PAPER_3TIER, preset="paper-rnn", model=RNNConfig(dim=1024, n_rnn=3, emb_size=256, q_levels=256)
)
"""The baseline of Eqs. 2-3. The paper does not state its depth: three layers, as in two tiers."""

PAPER_WAVENET = replace(
    PAPER_3TIER,
    preset="paper-wavenet",
    model=WaveNetConfig(),
    lanes=8,
    seq_len=1600,
    optimizer=OptimizerConfig(learning_rate=0.0001),
)
"""Section 3.1: 4 blocks of 10 dilated layers, filters of 2, 64 channels, targets of 1600, batch 8,
Adam at 0.0001 (Onomatopoeia and Music; on Blizzard 0.001 for three days, then 0.0001)."""

PAPER_RNN_WAVENET = replace(
    PAPER_WAVENET, preset="paper-rnn-wavenet", model=HybridConfig(), seq_len=1536
)
"""Appendix A: an RNN over frames of 128 above a WaveNet that sees 509 samples. What the paper does
not state is WaveNet's, with subsequences of whole frames."""

PAPER_CONV_WAVENET = replace(
    PAPER_RNN_WAVENET,
    preset="paper-conv-wavenet",
    model=HybridConfig(frame_level="convolution"),
)
"""Appendix A, fully convolutional: dilated convolutions over frames of 128 and over samples."""

PAPER_RNN_GMM = replace(
    PAPER_RNN,
    preset="paper-rnn-gmm",
    level="keep",
    model=replace(PAPER_RNN.model, head="gmm", sample_input="real", q_levels=65536),
)
"""Table 2: four Gaussians over amplitudes, normalised by the training split's moments."""

PAPER_2TIER_GMM = replace(
    PAPER_2TIER,
    preset="paper-2tier-gmm",
    level="keep",
    model=replace(PAPER_2TIER.model, head="gmm", sample_input="real", q_levels=65536),
)
"""Table 2: the same head on two tiers."""

PAPER_NO_EMBEDDING = replace(
    PAPER_2TIER,
    preset="paper-no-embedding",
    model=replace(PAPER_2TIER.model, sample_input="real"),
)
"""Table 4: the sample level sees amplitudes."""

PAPER_MULTI_SOFTMAX = replace(
    PAPER_2TIER,
    preset="paper-multi-softmax",
    model=replace(PAPER_2TIER.model, sample_input="none"),
)
"""Table 4: the sample level sees no samples; those of a frame are independent of each other."""

SMALL = TrainConfig(
    preset="small",
    model=SampleRNNConfig(
        frame_sizes=(4, 4, 16),
        dim=256,
        n_rnn=1,
        cell="gru-reset-after",
        emb_size=64,
        quantizer="mulaw",
        frame_values="code",
        mlp_maps=2,
        lp_order=64,
        lp_window=2048,
        lp_noise=1e-4,
    ),
    output_init="unigram",
    lanes=16,
    seq_len=128,
    sample_stride=2,
    optimizer=OptimizerConfig(
        learning_rate=0.003, clip="norm", schedule="cooldown", warmup_steps=100
    ),
    ema=0.999,
    budget=BudgetConfig(minutes=20.0),
    valid_every=1000,
    valid_seconds=30.0,
    preview=PreviewConfig(minutes=5.0),
    threads=1,
)
"""For a computer without a GPU: 20 minutes on one core, which is faster than two: its products are
so small that threads wait longer for each other than they compute (docs/speed.md). Of eight shapes
tried for two and a half minutes each on 27 minutes of piano, this one scored best
(docs/training.md). Beyond the paper: a linear predictor, two maps in the MLP, and costs at half of
the samples (docs/samplernn.md)."""

SMALL_16BIT = replace(
    SMALL,
    preset="small-16bit",
    model=replace(
        SMALL.model,
        frame_sizes=(16, 16, 64),
        sample_input="none",
        head="mol",
        quantizer="linear",
        q_levels=65536,
        frame_values="companded",
        lp_order=256,
        lp_method="burg",
        lp_hop=128,
        lp_noise=1e-3,
        lp_damping=5e-5,
        lp_largest_error=0.016,
        lp_errors=32,
    ),
    clip_seconds=30.0,
    seq_len=512,
    sample_stride=4,
)
"""`SMALL` with 16-bit codes: tones last and there is no hiss of 8 bits; for tonal sound. Clips are
longer, because a clip begins after silence, and what follows silence is drawn as it was learned."""

TINY = replace(
    SMALL_16BIT,
    preset="tiny",
    optimizer=replace(SMALL_16BIT.optimizer, warmup_steps=20),
    ema=0.99,
    budget=BudgetConfig(minutes=2.0),
    valid_every=200,
    valid_seconds=10.0,
    preview=PreviewConfig(minutes=1.0, count=1),
)
"""The demo: `SMALL_16BIT` for two minutes on a CPU core, time enough for notes."""

VOICE_16BIT = replace(
    SMALL_16BIT,
    preset="voice-16bit",
    model=replace(
        SMALL_16BIT.model,
        lp_order=32,
        lp_window=512,
        lp_hop=64,
        lp_damping=3e-3,
        lp_errors=128,
    ),
    clip_seconds=8.0,
)
"""`SMALL_16BIT` for voices and other sounds that change fast: short filters of short windows, whose
resonances lose half of their amplitude in 14 ms at 16 kHz, so that none becomes a whistle."""


def _for_a_gpu(config: TrainConfig, preset: str) -> TrainConfig:
    budget = BudgetConfig(steps=4500)
    return replace(config, preset=preset, lanes=64, budget=budget, valid_every=500, threads=None)


MUSIC = _for_a_gpu(SMALL_16BIT, "music")
"""`SMALL_16BIT` for a GPU: four times as many lanes, as many steps as gave the best sound there. A
greater width, depth or subsequence brought neither bits nor sound (docs/samplernn.md)."""

SPEECH = _for_a_gpu(VOICE_16BIT, "speech")
"""`VOICE_16BIT` for a GPU, as the bundled `voice` was trained."""

WAVERNN = TrainConfig(
    preset="wavernn-896",
    model=WaveRNNConfig(dim=896),
    clip_seconds=0.0,
    output_init="unigram",
    lanes=32,
    seq_len=960,
    optimizer=OptimizerConfig(
        learning_rate=0.0005, clip="norm", schedule="cooldown", warmup_steps=200
    ),
    ema=0.999,
    budget=BudgetConfig(epochs=100.0),
)
"""Kalchbrenner et al. 2018: 896 units, sequences of 960 samples, 16 bits at 24 kHz (prepare with
--sample-rate 24000). Optimiser, batch, rates and clipping are not in the paper. State is carried
from one sequence to the next."""

VOCODER = replace(
    WAVERNN,
    preset="vocoder",
    model=WaveRNNConfig(
        dim=896,
        conditioning=ConditioningConfig(
            MelConfig(), channels=256, layers=3, upsampling=4, width=128, lpc_order=LPC_ORDER
        ),
    ),
    mel=True,
    clip_seconds=4.0,
)
"""WaveRNN-896 conditioned on mel spectrograms (docs/vocode.md). The paper states nothing about
conditioning; those values are ours."""

VOCODER_SMALL = replace(
    VOCODER,
    preset="vocoder-small",
    model=replace(VOCODER.model, dim=224),
    lanes=32,
    seq_len=480,
    optimizer=OptimizerConfig(
        name="muon",
        muon_scale=2.5,
        learning_rate=0.001,
        clip="norm",
        schedule="cooldown",
        cooldown=0.5,
        warmup_steps=300,
    ),
    valid_every=1000,
    valid_seconds=15.0,
    budget=BudgetConfig(minutes=60.0),
)
"""The smallest of the paper's sizes, for one or two CPU cores and an hour (docs/vocode.md)."""

WAVERNN_PRESETS = tuple(
    replace(WAVERNN, preset=f"wavernn-{dim}", model=WaveRNNConfig(dim=dim))
    for dim in (224, 384, 896, 2048)
)
"""The sizes of Table 3."""

SUBSCALE_PRESETS = tuple(
    replace(
        WAVERNN,
        preset=f"subscale-wavernn-{rows}x",
        model=SubscaleWaveRNNConfig(n_subscale=rows, columns=8192 // rows),
        lanes=8,
        seq_len=8192,
    )
    for rows in (8, 16)
)
"""Section 5.3: 1024 units, ten layers of three taps, 384 and 768 channels, a horizon of 128 columns
of 8 or 16 samples. Segments must be longer than the horizon: 8192 samples; fewer lanes of them."""

FUSED_SUBSCALE = replace(
    WAVERNN,
    preset="fused-subscale-wavernn-896",
    model=FusedSubscaleConfig(dim=896, columns=480),
)
"""Section 4.4: 896 units make two samples a step; sequences of 960 samples as for WaveRNN."""

PRESETS = {
    config.preset: config
    for config in (
        *(TINY, SMALL, SMALL_16BIT, VOICE_16BIT, MUSIC, SPEECH),
        *(PAPER_2TIER, PAPER_3TIER, PAPER_RNN, PAPER_WAVENET),
        *(PAPER_RNN_WAVENET, PAPER_CONV_WAVENET, PAPER_RNN_GMM, PAPER_2TIER_GMM),
        *(PAPER_NO_EMBEDDING, PAPER_MULTI_SOFTMAX),
        *(*WAVERNN_PRESETS, VOCODER, VOCODER_SMALL, *SUBSCALE_PRESETS, FUSED_SUBSCALE),
    )
}

LIMITS = ("steps", "epochs", "minutes")


def preset_for(name: str, named: Iterable[str]) -> TrainConfig:
    """Return a preset; limits that are named take the place of all of its limits.

    Args:
        name: Of a preset.
        named: Fields that somebody gives values to.
    """
    config = PRESETS[name]
    if not set(LIMITS) & set(named):
        return config
    return replace(config, budget=BudgetConfig(patience=config.budget.patience))


LEAST_SECONDS, LEAST_RATE = 600, 16000
"""Ten minutes at 16 kHz: the least audio that `samplewise prepare` does not warn about."""

PRESET_STEPS = {
    preset: round(epochs * LEAST_SECONDS * LEAST_RATE / (config.lanes * config.seq_len))
    for preset, config in PRESETS.items()
    if (epochs := config.budget.epochs) is not None
} | {
    **{"tiny": 500, "small": 12000, "small-16bit": 5000, "voice-16bit": 9000},
    **{"music": 4500, "speech": 4500, "vocoder-small": 6500},
}
"""Steps that a preset was made for.

`small`: what its minutes hold at 20,500 samples/s, the speed of one AVX2 core (docs/training.md);
`tiny` and `small-16bit`: at 34,000. `music`, `speech`: their budgets. `vocoder-small`: the
run in docs/vocode.md. Presets with a budget in epochs: what it is with that much audio. The papers'
presets have no budget.
"""
