#include "models/wavernn.h"

#include <algorithm>

#include "size.h"

namespace samplewise {
namespace {

constexpr int kBlockGates = 3 * kPanelRows;

// A stage's code as the gates see it, in [-1, 1].
float RealValue(int32_t code) {
  return static_cast<float>(code) * (2.0F / (kStageLevels - 1)) - 1.0F;
}

WaveRnnWorkspace::Half SplitHalf(const PackedWaveRnn& weights, int index, int threads) {
  const std::vector<size_t> panels = PanelCosts(weights.recurrent);
  const int first = index * weights.blocks;
  std::vector<size_t> blocks;
  for (int block = first; block < first + weights.blocks; ++block) {
    blocks.push_back(panels[Size(3 * block)] + panels[Size(3 * block + 1)] +
                     panels[Size(3 * block + 2)]);
  }
  const PackedHalf& half = weights.halves[index];
  return {Partition::Balanced(blocks, threads).Shifted(first),
          Partition::Balanced(PanelCosts(half.hidden), threads),
          Partition::Balanced(PanelCosts(half.output), threads)};
}

}  // namespace

WaveRnnWorkspace::WaveRnnWorkspace(const PackedWaveRnn& weights, const Kernels& kernels,
                                   ThreadTeam& team, int max_batch)
    : weights(weights), kernels(kernels), team(team), max_batch(max_batch) {
  const size_t batch = Size(max_batch);
  for (const int index : {kCoarse, kFine}) {
    halves[index] = SplitHalf(weights, index, team.threads());
  }
  for (Floats& states : h) states.resize(batch * Size(weights.padded()));
  u.resize(batch * weights.bias.size());
  bias.resize(batch * weights.bias.size());
  hidden.resize(batch * Size(weights.padded_half()));
  logits.resize(batch * 2 * kStageLevels);
  drawn.resize(batch);
}

void WaveRnnWorkspace::Load(const State& state) {
  latest = 0;
  std::copy(state.arrays[0].values.begin(), state.arrays[0].values.end(), h[0].begin());
}

void WaveRnnWorkspace::Store(State& state) const {
  Floats& to = state.arrays[0].values;
  std::copy_n(h[latest].begin(), to.size(), to.begin());
}

WaveRnnStepper::WaveRnnStepper(WaveRnnWorkspace& shared, int thread)
    : shared_(shared),
      weights_(shared.weights),
      kernels_(shared.kernels),
      team_(shared.team),
      thread_(thread),
      history_(shared.max_batch, weights_.lookback()),
      input_(weights_.padded(), shared.max_batch, weights_.format),
      half_input_(weights_.half, shared.max_batch, weights_.format),
      conditioning_(weights_.conditioning, shared.max_batch, weights_.format),
      coarse_(Size(shared.max_batch)),
      codes_(Size(shared.max_batch)),
      residual_(Size(shared.max_batch)),
      log_probs_(Size(shared.max_batch)) {}

void WaveRnnStepper::Run(State& state, const Chunk& chunk, int begin, int end, int active) {
  batch_ = state.batch;
  for (const int index : {kCoarse, kFine}) {
    const WaveRnnWorkspace::Half& all = shared_.halves[index];
    halves_[index] = {all.units.Of(thread_, active), all.hidden.Of(thread_, active),
                      all.output.Of(thread_, active)};
  }
  conditioning_.Forget();  // rows may have gone to another thread
  history_.Load(state);
  latest_ = shared_.latest;
  const bool needs_logits = chunk.draws() || chunk.log_probs != nullptr || chunk.logits != nullptr;
  for (int sample = begin; sample < end; ++sample) {
    Step(chunk, sample, needs_logits);
    history_.Push({0, batch_}, codes_);
  }
  team_.Barrier();  // before anything is written that other threads may still read
  if (thread_ != 0) return;
  history_.Store({0, batch_}, state);
  state.clock = history_.clock();
  shared_.latest = latest_;
}

// While a thread waits for the others, it computes a third of the fine half of R h, which only it
// needs.
void WaveRnnStepper::Step(const Chunk& chunk, int sample, bool needs_logits) {
  LoadForcedCodes(chunk, sample);
  if (conditioning_.Take(kernels_, chunk, sample, history_.clock(), {0, batch_})) Condition();
  for (int clip = 0; clip < batch_; ++clip) {
    input_.Set(kernels_, clip, &shared_.h[latest_][Size(clip) * Size(weights_.padded())]);
  }
  const Range fine = halves_[kFine].units;
  const auto third = [&](int part) { return fine.first + fine.size() * part / 3; };
  Recurrent(halves_[kCoarse].units.first, halves_[kCoarse].units.last);
  Gates(kCoarse);
  if (!needs_logits) {
    Recurrent(fine.first, fine.last);
    Gates(kFine);
    team_.Barrier();
  } else {
    unsigned arrival = team_.Arrive();
    Recurrent(third(0), third(1));
    team_.Await(arrival);
    Hidden(kCoarse);
    arrival = team_.Arrive();
    Recurrent(third(1), third(2));
    team_.Await(arrival);
    Logits(kCoarse);
    arrival = team_.Arrive();
    Recurrent(third(2), third(3));
    team_.Await(arrival);
    DrawAll(chunk, sample, kCoarse);
    Gates(kFine);
    team_.Barrier();
    Hidden(kFine);
    team_.Barrier();
    Logits(kFine);
    team_.Barrier();
    DrawAll(chunk, sample, kFine);
  }
  latest_ = 1 - latest_;
}

void WaveRnnStepper::LoadForcedCodes(const Chunk& chunk, int sample) {
  for (int clip = 0; clip < batch_; ++clip) {
    const int32_t code = ForcedCode(chunk, clip, sample);
    if (code < 0) continue;
    codes_[Size(clip)] = code;
    coarse_[Size(clip)] = code / kStageLevels;
  }
}

// Adds the term of the conditioning to the bias.
void WaveRnnStepper::Condition() {
  const size_t row = weights_.bias.size();
  for (const Half& half : halves_) {
    Multiply(kernels_, weights_.condition, conditioning_.vectors(), batch_, shared_.bias.data(),
             row, half.units.first * 3, half.units.last * 3);
    const size_t first = Size(half.units.first) * kBlockGates;
    for (int clip = 0; clip < batch_; ++clip) {
      float* bias = &shared_.bias[Size(clip) * row + first];
      kernels_.add(half.units.size() * kBlockGates, bias, &weights_.bias[first], bias);
    }
  }
}

// R h for the gates of blocks [first, last) of units.
void WaveRnnStepper::Recurrent(int first, int last) {
  Multiply(kernels_, weights_.recurrent, input_, batch_, shared_.u.data(), weights_.bias.size(),
           first * 3, last * 3);
}

// The paper's u, r, e and h of one half.
void WaveRnnStepper::Gates(Stage stage) {
  const PackedHalf& half = weights_.halves[stage];
  const Range own = halves_[stage].units;
  const int inputs = stage == kCoarse ? 2 : 3;
  const size_t row = weights_.bias.size();
  const size_t gate = Size(own.first) * kBlockGates;
  const size_t unit = Size(own.first) * kPanelRows;
  const int within = own.first - stage * weights_.blocks;  // of the half's blocks
  for (int clip = 0; clip < batch_; ++clip) {
    const int32_t last = history_.Last(clip);
    const float real_inputs[] = {RealValue(last / kStageLevels), RealValue(last % kStageLevels),
                                 RealValue(coarse_[Size(clip)])};
    const float* bias =
        weights_.is_conditioned() ? &shared_.bias[Size(clip) * row] : weights_.bias.data();
    const size_t h = Size(clip) * Size(weights_.padded()) + unit;
    kernels_.gru_real_inputs(own.size(), inputs, bias + gate,
                             half.columns.data() + Size(within * inputs) * kBlockGates, real_inputs,
                             shared_.u.data() + Size(clip) * row + gate,
                             weights_.candidate_bias.data() + unit, shared_.h[latest_].data() + h,
                             shared_.h[1 - latest_].data() + h);
  }
}

// relu(O1 y_c) or relu(O3 y_f)
void WaveRnnStepper::Hidden(Stage stage) {
  const PackedHalf& half = weights_.halves[stage];
  const size_t padded_half = Size(weights_.padded_half());
  const Range own = halves_[stage].hidden;
  const float* y = shared_.h[1 - latest_].data() + Size(stage) * padded_half;
  for (int clip = 0; clip < batch_; ++clip) {
    half_input_.Set(kernels_, clip, y + Size(clip) * Size(weights_.padded()));
  }
  Multiply(kernels_, half.hidden, half_input_, batch_, shared_.hidden.data(), padded_half,
           own.first, own.last);
  const size_t first = Size(own.first) * kPanelRows;
  for (int clip = 0; clip < batch_; ++clip) {
    float* hidden = shared_.hidden.data() + Size(clip) * padded_half + first;
    kernels_.relu(own.size() * kPanelRows, hidden, half.hidden_bias.data() + first, hidden);
  }
}

// The product of O2 or O4.
void WaveRnnStepper::Logits(Stage stage) {
  const PackedHalf& half = weights_.halves[stage];
  const Range own = halves_[stage].output;
  for (int clip = 0; clip < batch_; ++clip) {
    half_input_.Set(kernels_, clip, &shared_.hidden[Size(clip) * Size(weights_.padded_half())]);
  }
  float* to = shared_.logits.data() + Size(stage) * kStageLevels;
  Multiply(kernels_, half.output, half_input_, batch_, to, 2 * kStageLevels, own.first, own.last);
  const size_t first = Size(own.first) * kPanelRows;
  for (int clip = 0; clip < batch_; ++clip) {
    float* logits = to + Size(clip) * 2 * kStageLevels + first;
    kernels_.add(own.size() * kPanelRows, logits, half.output_bias.data() + first, logits);
  }
}

// All threads draw a single clip, which saves a barrier; of several clips each draws some.
void WaveRnnStepper::DrawAll(const Chunk& chunk, int sample, Stage stage) {
  const int step = batch_ == 1 ? 1 : team_.active();
  for (int clip = batch_ == 1 ? 0 : thread_; clip < batch_; clip += step) {
    Draw(chunk, sample, stage, clip);
  }
  if (batch_ == 1 || !chunk.draws()) return;
  team_.Barrier();
  std::copy_n(shared_.drawn.begin(), batch_, (stage == kCoarse ? coarse_ : codes_).begin());
}

void WaveRnnStepper::Draw(const Chunk& chunk, int sample, Stage stage, int clip) {
  const size_t own = Size(clip);
  const float* logits = &shared_.logits[own * 2 * kStageLevels];
  const float* of_stage = logits + stage * kStageLevels;
  const size_t index = IndexOf(chunk, clip, sample);
  Drawn drawn;
  if (ForcedCode(chunk, clip, sample) >= 0) {
    const int code = stage == kCoarse ? coarse_[own] : codes_[own] % kStageLevels;
    drawn = ScoreCode(kernels_, chunk, of_stage, kStageLevels, code);
  } else {
    const double uniform =
        stage == kCoarse ? static_cast<double>(chunk.uniforms[index]) : residual_[own];
    drawn = DrawCode(kernels_, chunk, index, of_stage, kStageLevels, uniform);
  }
  if (stage == kCoarse) {
    coarse_[own] = drawn.code;
    residual_[own] = drawn.residual;
    log_probs_[own] = drawn.log_prob;
    if (batch_ > 1) shared_.drawn[own] = drawn.code;
    return;
  }
  codes_[own] = coarse_[own] * kStageLevels + drawn.code;
  log_probs_[own] += drawn.log_prob;
  if (batch_ > 1) shared_.drawn[own] = codes_[own];
  if (batch_ > 1 || thread_ == 0) {
    StoreSample(chunk, index, codes_[own], log_probs_[own], logits, 2 * kStageLevels);
  }
}

}  // namespace samplewise
