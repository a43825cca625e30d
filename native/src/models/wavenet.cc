#include "models/wavenet.h"

#include <algorithm>
#include <cmath>

#include "size.h"

namespace samplewise {
namespace {

// A layer of the chain takes this many times longer than reading as many weights elsewhere: its
// products are short, and gates lie between them.
constexpr double kChainCost = 1.4;

// Panels of the skip maps: fewer for the first thread, which also has the chain of layers, while
// the others have the lookahead.
Partition SplitSkips(const PackedWaveNet& weights, int threads) {
  double chain = 0.0;
  double lookahead = 0.0;
  for (const PackedDilatedLayer& layer : weights.layers) {
    chain += static_cast<double>(layer.present.bytes() + layer.residual.bytes());
    lookahead += static_cast<double>(layer.past.bytes());
  }
  double skips = 0.0;
  for (const PackedSkips& group : weights.skips) skips += static_cast<double>(group.map.bytes());
  chain *= kChainCost;
  const double fair = (chain + lookahead + skips) / threads;
  const double first = skips > 0.0 ? std::clamp((fair - chain) / skips, 0.0, 1.0) : 0.0;
  const int blocks = weights.blocks;
  const int own = threads == 1 ? blocks : static_cast<int>(std::lround(first * blocks));
  std::vector<int> bounds{0};
  for (int thread = 0; thread < threads; ++thread) {
    bounds.push_back(own + (blocks - own) * thread / std::max(1, threads - 1));
  }
  return Partition(std::move(bounds));
}

}  // namespace

WaveNetWorkspace::WaveNetWorkspace(const PackedWaveNet& weights, const Kernels& kernels,
                                   ThreadTeam& team, int max_batch)
    : weights(weights),
      kernels(kernels),
      team(team),
      max_batch(max_batch),
      units(Partition::Balanced(PanelCosts(weights.mlp.hidden), team.threads())),
      skip_rows(SplitSkips(weights, team.threads())),
      skips(Size(max_batch) * Size(weights.padded())),
      gated(Size(max_batch) * weights.layers.size() * Size(weights.channels)),
      mlp(weights.mlp, max_batch, team.threads()) {
  for (Floats& gates : lookahead) {
    gates.resize(weights.layers.size() * Size(max_batch) * 2 * Size(weights.padded_channels()));
  }
}

WaveNetStepper::WaveNetStepper(WaveNetWorkspace& shared, int thread)
    : shared_(shared),
      weights_(shared.weights),
      kernels_(shared.kernels),
      team_(shared.team),
      thread_(thread),
      history_(shared.max_batch, weights_.lookback()),
      conditioning_(weights_.conditioning, shared.max_batch, weights_.format),
      mlp_(weights_.mlp, shared.mlp, kernels_, team_, shared.max_batch, thread),
      input_(weights_.channels, shared.max_batch, weights_.format),
      x_(Size(shared.max_batch) * Size(weights_.channels)),
      gates_(Size(shared.max_batch) * 2 * Size(weights_.padded_channels())),
      past_(gates_.size()),
      condition_(Size(shared.max_batch) * Size(weights_.condition.rows())),
      products_(Size(shared.max_batch) * Size(weights_.padded())),
      relu_(Size(weights_.padded())),
      zeros_(Size(weights_.padded())),
      codes_(Size(shared.max_batch)) {
  for (const PackedSkips& group : weights_.skips) {
    skip_inputs_.emplace_back(group.map.cols(), shared.max_batch, weights_.format);
  }
}

void WaveNetStepper::Run(State& state, const Chunk& chunk, int begin, int end, int active) {
  Divide(state, active);
  history_.Load(state);
  conditioning_.Forget();  // clips may have gone to another thread
  if (!division_.by_clip) BeginPipeline(state);
  const bool needs_skips = NeedsLogits(chunk);
  for (int sample = begin; sample < end; ++sample) {
    const bool has_chain = division_.by_clip || thread_ == 0;
    if (has_chain && conditioning_.Take(kernels_, chunk, sample, history_.clock(), clips_)) {
      Condition();
    }
    if (division_.by_clip) {
      RunAllLayers(state, needs_skips);
    } else {
      if (thread_ == 0) {
        RunChain(state, needs_skips);
      } else {
        FollowChain(state, needs_skips);
      }
      team_.Barrier();
    }
    SampleLevel(chunk, sample);
    history_.Push(clips_, codes_);
  }
  team_.Barrier();  // before anything is written that other threads may still read
  if (thread_ == 0 || division_.by_clip) history_.Store(clips_, state);
  if (thread_ == 0) state.clock = history_.clock();
}

// The layers are many and small, so threads meet as rarely as possible: never if there is a clip
// for each of them.
void WaveNetStepper::Divide(const State& state, int active) {
  batch_ = state.batch;
  const bool by_clip = batch_ >= active;
  clips_ = {0, batch_};
  if (by_clip) {
    clips_ = {batch_ * thread_ / active, batch_ * (thread_ + 1) / active};
    active = 1;
  }
  skip_rows_ = shared_.skip_rows.Of(thread_, active);
  division_ = {by_clip, batch_, clips_, shared_.units.Of(thread_, active),
               shared_.mlp.output.Of(thread_, active)};
}

// Computes what the past gives to the first sample of a block of samples.
void WaveNetStepper::BeginPipeline(const State& state) {
  finished_ = 0;
  if (thread_ == 0) shared_.chain.Reset();
  for (size_t index = 0; index < weights_.layers.size(); ++index) {
    if (index % Size(team_.active()) != Size(thread_)) continue;
    Past(state, index, history_.clock(), Lookahead(index, history_.clock()));
  }
  team_.Barrier();
}

void WaveNetStepper::RunAllLayers(State& state, bool needs_skips) {
  Embed();
  for (size_t index = 0; index < weights_.layers.size(); ++index) {
    Past(state, index, history_.clock(), past_.data());
    RunLayer(state, index, past_.data());
  }
  for (size_t group = 0; needs_skips && group < weights_.skips.size(); ++group) Skips(group);
}

void WaveNetStepper::RunChain(State& state, bool needs_skips) {
  Embed();
  for (const PackedSkips& group : weights_.skips) {
    for (size_t index = group.first; index < group.last; ++index) {
      RunLayer(state, index, Lookahead(index, history_.clock()));
    }
    shared_.chain.Reach(++finished_);
  }
  for (size_t group = 0; needs_skips && group < weights_.skips.size(); ++group) Skips(group);
}

void WaveNetStepper::FollowChain(const State& state, bool needs_skips) {
  LookAhead(state, false);
  for (size_t group = 0; group < weights_.skips.size(); ++group) {
    shared_.chain.Await(++finished_);
    if (needs_skips) Skips(group);
  }
  LookAhead(state, true);
}

// Computes what the past gives to the next sample, in the layers of this thread; the first thread
// has none. A dilation of 1 takes this sample's input, which is known after the chain has run.
void WaveNetStepper::LookAhead(const State& state, bool has_unit_dilation) {
  const int64_t next = history_.clock() + 1;
  for (size_t index = 0; index < weights_.layers.size(); ++index) {
    const bool is_unit = weights_.layers[index].dilation == 1;
    const size_t owner = 1 + index % Size(team_.active() - 1);
    if (is_unit != has_unit_dilation || owner != Size(thread_)) continue;
    Past(state, index, next, Lookahead(index, next));
  }
}

// What the conditioning vectors in force give to the filters and gates of all layers.
void WaveNetStepper::Condition() {
  Multiply(kernels_, weights_.condition, conditioning_.vectors(), clips_.size(), condition_.data(),
           Size(weights_.condition.rows()), 0, weights_.condition.panels());
}

void WaveNetStepper::Embed() {
  const int channels = weights_.channels;
  for (int clip = clips_.first; clip < clips_.last; ++clip) {
    const size_t row = Size(history_.Last(clip)) * Size(channels);
    std::copy_n(&weights_.embedding[row], channels, &x_[Size(clip) * Size(channels)]);
  }
}

// The terms of a layer's past and of the bias in its filters and gates at `time`.
// to: (batch, 2 * padded channels)
void WaveNetStepper::Past(const State& state, size_t index, int64_t time, float* to) {
  const PackedDilatedLayer& layer = weights_.layers[index];
  const int width = 2 * weights_.padded_channels();
  const size_t entry = static_cast<size_t>(time % layer.dilation) * Size(batch_);
  SetInput(&state.arrays[index].values[entry * Size(weights_.channels)]);
  float* first = to + Size(clips_.first) * Size(width);
  Multiply(kernels_, layer.past, input_, clips_.size(), first, Size(width), 0, layer.past.panels());
  for (int clip = 0; clip < clips_.size(); ++clip) {
    float* gates = first + Size(clip) * Size(width);
    kernels_.add(width, gates, layer.bias.data(), gates);
  }
}

// Eq. 2 and the residual connection. past: from Past, (batch, 2 * padded channels)
void WaveNetStepper::RunLayer(State& state, size_t index, const float* past) {
  const PackedDilatedLayer& layer = weights_.layers[index];
  const int padded = weights_.padded_channels();
  const size_t channels = Size(weights_.channels);
  const size_t all_channels = weights_.layers.size() * channels;
  const size_t entry = static_cast<size_t>(history_.clock() % layer.dilation) * Size(batch_);
  const size_t first = Size(clips_.first);
  const size_t count = Size(clips_.size());
  std::copy_n(&x_[first * channels], count * channels,
              &state.arrays[index].values[(entry + first) * channels]);
  SetInput(x_.data());
  Multiply(kernels_, layer.present, input_, clips_.size(), gates_.data(), 2 * Size(padded), 0,
           layer.present.panels());
  for (size_t clip = 0; clip < count; ++clip) {
    const float* before = past + (first + clip) * 2 * Size(padded);
    float* now = &gates_[clip * 2 * Size(padded)];
    if (!condition_.empty()) {
      const size_t row = clip * Size(weights_.condition.rows()) + index * 2 * Size(padded);
      kernels_.add(2 * padded, now, &condition_[row], now);
    }
    kernels_.gated(weights_.channels, now, now + padded, before, before + padded,
                   &shared_.gated[(first + clip) * all_channels + index * channels]);
  }
  if (layer.residual.rows() == 0) return;
  for (size_t clip = 0; clip < count; ++clip) {
    input_.Set(kernels_, static_cast<int>(clip),
               &shared_.gated[(first + clip) * all_channels + index * channels]);
  }
  Multiply(kernels_, layer.residual, input_, clips_.size(), gates_.data(), Size(padded), 0,
           layer.residual.panels());
  for (size_t clip = 0; clip < count; ++clip) {
    float* x = &x_[(first + clip) * channels];
    kernels_.add(weights_.channels, x, &gates_[clip * Size(padded)], x);
    kernels_.add(weights_.channels, x, layer.residual_bias.data(), x);
  }
}

// Adds the skip connections of a group of layers, in the rows of this thread.
void WaveNetStepper::Skips(size_t group) {
  const PackedSkips& skips = weights_.skips[group];
  const size_t channels = Size(weights_.channels);
  const size_t all_channels = weights_.layers.size() * channels;
  const int padded = weights_.padded();
  const int first = skip_rows_.first * kPanelRows;
  for (int clip = 0; clip < clips_.size(); ++clip) {
    skip_inputs_[group].Set(
        kernels_, clip,
        &shared_.gated[Size(clips_.first + clip) * all_channels + skips.first * channels]);
  }
  Multiply(kernels_, skips.map, skip_inputs_[group], clips_.size(), products_.data(), Size(padded),
           skip_rows_.first, skip_rows_.last);
  for (int clip = 0; clip < clips_.size(); ++clip) {
    float* sum = &shared_.skips[Size(clips_.first + clip) * Size(padded) + Size(first)];
    const float* before = group == 0 ? weights_.skip_bias.data() + first : sum;
    kernels_.add(skip_rows_.size() * kPanelRows, before,
                 &products_[Size(clip) * Size(padded) + Size(first)], sum);
  }
}

void WaveNetStepper::SampleLevel(const Chunk& chunk, int sample) {
  LoadForced(chunk, sample, clips_, codes_);
  if (!NeedsLogits(chunk)) return;
  const int padded = weights_.padded();
  for (int clip = clips_.first; clip < clips_.last; ++clip) {
    kernels_.relu(padded, &shared_.skips[Size(clip) * Size(padded)], zeros_.data(), relu_.data());
    mlp_.SetInput(division_, clip, relu_.data());
  }
  mlp_.Run(division_, chunk, sample, codes_);
}

// Where Past stores its result for a layer at `time`, if other threads than the chain's compute it.
float* WaveNetStepper::Lookahead(size_t index, int64_t time) const {
  const size_t width = Size(batch_) * 2 * Size(weights_.padded_channels());
  return shared_.lookahead[time % 2].data() + index * width;
}

void WaveNetStepper::SetInput(const float* vectors) {
  const size_t channels = Size(weights_.channels);
  for (int clip = 0; clip < clips_.size(); ++clip) {
    input_.Set(kernels_, clip, vectors + Size(clips_.first + clip) * channels);
  }
}

}  // namespace samplewise
