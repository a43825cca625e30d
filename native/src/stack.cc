// The gated dilated layers of a Program (van den Oord et al. 2016, Eq. 2), one sample at a time.
//
// What a layer takes from its past does not depend on the sample at hand. A thread that has voices
// for itself does everything for them; when a voice is shared, the first thread runs the chain of
// layers, each of which waits for the one before it, and the others work out what the past will
// give to the next sample and most of the skip connections.
#include <algorithm>

#include "kernels/kernels.h"
#include "program.h"

namespace samplewise {
namespace {

size_t Size(int a) { return static_cast<size_t>(a); }

}  // namespace

void Program::RunStack(State& state, bool wanted) {
  const PackedStack& stack = model_.stack;
  if (apart_ || thread_ == 0) Embed();
  if (apart_) {
    for (size_t index = 0; index < stack.layers.size(); ++index) {
      Past(state, index, clock_, past_.data());
      RunDilated(state, index, past_.data());
    }
    for (size_t some = 0; wanted && some < stack.skips.size(); ++some) Skips(some);
    return;
  }
  if (thread_ == 0) {
    for (size_t some = 0; some < stack.skips.size(); ++some) {
      for (size_t index = stack.skips[some].first; index < stack.skips[some].last; ++index) {
        RunDilated(state, index, Ahead(index, clock_));
      }
      shared_.progress.Reach(++reached_);
    }
    for (size_t some = 0; wanted && some < stack.skips.size(); ++some) Skips(some);
  } else {
    LookAhead(state, false);
    for (size_t some = 0; some < stack.skips.size(); ++some) {
      shared_.progress.Await(++reached_);
      if (wanted) Skips(some);
    }
    LookAhead(state, true);
  }
  team_.Barrier();
}

// What the past gives to the first sample of a block of samples that threads share.
void Program::BeginStack(const State& state) {
  reached_ = 0;
  if (thread_ == 0) shared_.progress.Reset();
  for (size_t index = 0; index < model_.stack.layers.size(); ++index) {
    if (index % Size(team_.active()) != Size(thread_)) continue;
    Past(state, index, clock_, Ahead(index, clock_));
  }
  team_.Barrier();
}

// What the past gives to the next sample, in the layers of this thread, of which the first has
// none. Where the past is one sample long it is `known` only when the chain has come by.
void Program::LookAhead(const State& state, bool known) {
  for (size_t index = 0; index < model_.stack.layers.size(); ++index) {
    const bool is_short = model_.stack.layers[index].dilation == 1;
    const size_t owner = 1 + index % Size(team_.active() - 1);
    if (is_short != known || owner != Size(thread_)) continue;
    Past(state, index, clock_ + 1, Ahead(index, clock_ + 1));
  }
}

void Program::Embed() {
  const int channels = model_.stack.channels;
  for (int voice = voices_.first; voice < voices_.last; ++voice) {
    const size_t row = Size(*Window(voice, 1)) * Size(channels);
    std::copy_n(&model_.stack.embedding[row], channels, &x_[Size(voice) * Size(channels)]);
  }
}

// The share of a layer's past, and the bias, in its filters and gates at `time`.
// to: (batch, 2 * padded channels)
void Program::Past(const State& state, size_t index, int64_t time, float* to) {
  const PackedDilated& layer = model_.stack.layers[index];
  const int width = 2 * model_.stack.padded();
  const size_t channels = Size(model_.stack.channels);
  const size_t entry = static_cast<size_t>(time % layer.dilation) * Size(batch_);
  Narrow(&state.pasts[index][entry * channels]);
  float* first = to + Size(voices_.first) * Size(width);
  Multiply(kernels_, layer.past, narrow_, voices_.size(), first, Size(width), 0,
           layer.past.panels());
  for (int voice = 0; voice < voices_.size(); ++voice) {
    float* gates = first + Size(voice) * Size(width);
    kernels_.add(width, gates, layer.bias.data(), gates);
  }
}

// past: what Past has given, (batch, 2 * padded channels)
void Program::RunDilated(State& state, size_t index, const float* past) {
  const PackedStack& stack = model_.stack;
  const PackedDilated& layer = stack.layers[index];
  const int padded = stack.padded();
  const size_t channels = Size(stack.channels);
  const size_t through = stack.layers.size() * channels;
  const size_t entry = static_cast<size_t>(clock_ % layer.dilation) * Size(batch_);
  const size_t first = Size(voices_.first);
  const size_t count = Size(voices_.size());
  std::copy_n(&x_[first * channels], count * channels,
              &state.pasts[index][(entry + first) * channels]);
  Narrow(x_.data());
  Multiply(kernels_, layer.present, narrow_, voices_.size(), gates_.data(), 2 * Size(padded), 0,
           layer.present.panels());
  for (size_t voice = 0; voice < count; ++voice) {
    const float* before = past + (first + voice) * 2 * Size(padded);
    const float* now = &gates_[voice * 2 * Size(padded)];
    kernels_.gated(stack.channels, now, now + padded, before, before + padded,
                   &shared_.gated[(first + voice) * through + index * channels]);
  }
  if (layer.residual.rows() == 0) return;
  for (size_t voice = 0; voice < count; ++voice) {
    narrow_.Set(kernels_, static_cast<int>(voice),
                &shared_.gated[(first + voice) * through + index * channels]);
  }
  Multiply(kernels_, layer.residual, narrow_, voices_.size(), gates_.data(), Size(padded), 0,
           layer.residual.panels());
  for (size_t voice = 0; voice < count; ++voice) {
    float* x = &x_[(first + voice) * channels];
    kernels_.add(stack.channels, x, &gates_[voice * Size(padded)], x);
    kernels_.add(stack.channels, x, layer.residual_bias.data(), x);
  }
}

// Adds the skip connections of some layers, in the rows of this thread.
void Program::Skips(size_t some) {
  const PackedSkips& skips = model_.stack.skips[some];
  const size_t channels = Size(model_.stack.channels);
  const size_t through = model_.stack.layers.size() * channels;
  const int padded = model_.padded();
  const int first = skips_.first * kPanelRows;
  for (int voice = 0; voice < voices_.size(); ++voice) {
    wide_[some].Set(kernels_, voice,
                    &shared_.gated[Size(voices_.first + voice) * through + skips.first * channels]);
  }
  Multiply(kernels_, skips.map, wide_[some], voices_.size(), products_.data(), Size(padded),
           skips_.first, skips_.last);
  for (int voice = 0; voice < voices_.size(); ++voice) {
    float* sum = &shared_.skips[Size(voices_.first + voice) * Size(padded) + Size(first)];
    const float* before = some == 0 ? model_.stack.skip_bias.data() + first : sum;
    kernels_.add(skips_.size() * kPanelRows, before,
                 &products_[Size(voice) * Size(padded) + Size(first)], sum);
  }
}

// Where what the past gives to a layer at `time` waits for the chain.
float* Program::Ahead(size_t index, int64_t time) const {
  const size_t width = Size(batch_) * 2 * Size(model_.stack.padded());
  return shared_.ahead[time % 2].data() + index * width;
}

void Program::Narrow(const float* vectors) {
  const size_t channels = Size(model_.stack.channels);
  for (int voice = 0; voice < voices_.size(); ++voice) {
    narrow_.Set(kernels_, voice, vectors + Size(voices_.first + voice) * channels);
  }
}

}  // namespace samplewise
