#include "program.h"

#include <algorithm>

#include "kernels/kernels.h"

namespace samplewise {
namespace {

constexpr int kGroup = 16;

size_t Size(int a) { return static_cast<size_t>(a); }

}  // namespace

Program::Program(Workspace& shared, Team& team, int max_batch, int thread)
    : shared_(shared),
      model_(shared.model),
      kernels_(shared.model.kernels),
      team_(team),
      thread_(thread),
      group_(std::max(1, kGroup / max_batch) * max_batch),
      operand_(model_.is_wavernn() ? model_.padded() : model_.dim, max_batch, model_.format),
      many_(model_.dim, group_, model_.format),
      frame_(Size(model_.lookback)),
      sums_(Size(model_.padded())),
      zeros_(Size(model_.padded())),
      products_(Size(max_batch) * Size(model_.padded())),
      now_(model_.tiers.size()),
      history_(Size(max_batch) * Size(2 * model_.lookback)),
      codes_(Size(max_batch)) {
  if (const PackedWaveRnn& rnn = model_.wavernn; model_.is_wavernn()) {
    narrow_ = Operand(rnn.half, max_batch, model_.format);
    if (rnn.condition.rows() > 0) {
      vectors_ = Operand(rnn.condition.cols(), max_batch, rnn.condition.format());
    }
    stages_.resize(Size(max_batch));
    rests_.resize(Size(max_batch));
    scores_.resize(Size(max_batch));
  }
  const PackedStack& stack = model_.stack;
  if (stack.layers.empty()) return;
  narrow_ = Operand(stack.channels, max_batch, model_.format);
  for (const PackedSkips& some : stack.skips) {
    wide_.emplace_back(some.map.cols(), max_batch, model_.format);
  }
  x_.resize(Size(max_batch) * Size(stack.channels));
  gates_.resize(Size(max_batch) * 2 * Size(stack.padded()));
  past_.resize(gates_.size());
}

// Dilated layers are many and small: threads meet as rarely as can be, not at all if there is a
// voice for each.
void Program::Share(const State& state, int active) {
  const bool has_stack = !model_.stack.layers.empty();
  apart_ = has_stack && state.batch >= active;
  voices_ = {0, state.batch};
  if (apart_) {
    voices_ = {state.batch * thread_ / active, state.batch * (thread_ + 1) / active};
    active = 1;
  }
  units_ = shared_.Own(shared_.units, thread_, active);
  levels_ = shared_.Own(shared_.levels, thread_, active);
  if (has_stack) skips_ = shared_.Own(shared_.through, thread_, active);
  if (!model_.is_wavernn()) return;
  for (const int index : {0, 1}) {
    const Workspace::Half& all = shared_.halves[index];
    halves_[index] = {shared_.Own(all.units, thread_, active),
                      shared_.Own(all.hidden, thread_, active),
                      shared_.Own(all.levels, thread_, active)};
  }
  has_conditions_ = false;
}

void Program::Run(State& state, const Chunk& chunk, int begin, int end, int active) {
  Share(state, active);
  Load(state);
  const bool has_stack = !model_.stack.layers.empty();
  if (has_stack && !apart_) BeginStack(state);
  const bool wanted = chunk.draws() || chunk.log_probs != nullptr || chunk.logits != nullptr;
  const size_t window = Size(2 * model_.lookback);
  for (int sample = begin; sample < end; ++sample) {
    if (model_.is_wavernn()) {
      RunWaveRnn(chunk, sample, wanted);
    } else {
      for (size_t index = model_.tiers.size(); index-- > 0;) {
        if (clock_ % model_.tiers[index].frame_size == 0) RunTier(index);
      }
      if (has_stack) RunStack(state, wanted);
      SampleLevel(chunk, sample);
    }
    const size_t place = Size(static_cast<int>(clock_ % model_.lookback));
    for (size_t voice = Size(voices_.first); voice < Size(voices_.last); ++voice) {
      history_[voice * window + place] = codes_[voice];
      history_[voice * window + place + window / 2] = codes_[voice];
    }
    ++clock_;
  }
  team_.Barrier();  // nobody writes what others still read
  if (thread_ == 0 || apart_) Store(state);
}

void Program::Load(const State& state) {
  batch_ = state.batch;
  clock_ = state.clock;
  const int lookback = model_.lookback;
  for (int voice = 0; voice < batch_; ++voice) {
    int32_t* ring = &history_[Size(voice) * Size(2 * lookback)];
    for (int i = 0; i < lookback; ++i) {
      const auto place = static_cast<int>((clock_ + i) % lookback);
      ring[place] = ring[place + lookback] = state.history[Size(voice) * Size(lookback) + Size(i)];
    }
  }
  for (size_t index = 0; index < now_.size(); ++index) now_[index] = shared_.tiers[index].now;
}

void Program::Store(State& state) const {
  for (int voice = voices_.first; voice < voices_.last; ++voice) {
    std::copy_n(Window(voice, model_.lookback), model_.lookback,
                &state.history[Size(voice) * Size(model_.lookback)]);
  }
  if (thread_ != 0) return;
  state.clock = clock_;
  for (size_t index = 0; index < now_.size(); ++index) shared_.tiers[index].now = now_[index];
}

// The last `size` codes of a voice, oldest first.
const int32_t* Program::Window(int voice, int size) const {
  const int lookback = model_.lookback;
  const auto place = static_cast<int>((clock_ + lookback - size) % lookback);
  return &history_[Size(voice) * Size(2 * lookback) + Size(place)];
}

float* Program::Latest(size_t index, size_t layer) const {
  const size_t vectors = layer * Size(batch_) * Size(model_.padded());
  return shared_.tiers[index].h[now_[index]].data() + vectors;
}

float* Program::Next(size_t index, size_t layer) const {
  const size_t vectors = layer * Size(batch_) * Size(model_.padded());
  return shared_.tiers[index].h[1 - now_[index]].data() + vectors;
}

void Program::SetAll(const float* vectors) {
  for (int voice = 0; voice < batch_; ++voice) {
    operand_.Set(kernels_, voice, vectors + Size(voice) * Size(model_.padded()));
  }
}

// What a voice's MLP is given beside its window (Eq. 6), or the sum of skip connections.
const float* Program::Condition(int voice) const {
  const size_t padded = Size(model_.padded());
  if (model_.tiers.empty()) return &shared_.skips[Size(voice) * padded];
  const auto slot = Size(static_cast<int>(clock_ % model_.tiers[0].ratio));
  return &shared_.tiers[0].conditions[(slot * Size(batch_) + Size(voice)) * padded];
}

void Program::SampleLevel(const Chunk& chunk, int sample) {
  const bool forced = chunk.forced != nullptr;
  if (forced) {
    for (int voice = voices_.first; voice < voices_.last; ++voice) {
      codes_[Size(voice)] = chunk.forced[Size(voice) * Size(chunk.samples) + Size(sample)];
    }
    if (chunk.log_probs == nullptr && chunk.logits == nullptr) return;
  }
  Hidden();
  Meet();
  Logits();
  Meet();
  if (apart_) {
    for (int voice = voices_.first; voice < voices_.last; ++voice) Draw(chunk, sample, voice, true);
    return;
  }
  // One voice: everybody draws it, which saves a barrier. Many: each thread draws some.
  const int step = batch_ == 1 ? 1 : team_.active();
  for (int voice = batch_ == 1 ? 0 : thread_; voice < batch_; voice += step) {
    Draw(chunk, sample, voice, batch_ > 1 || thread_ == 0);
  }
  if (batch_ > 1 && !forced) {
    team_.Barrier();
    std::copy_n(shared_.drawn.begin(), batch_, codes_.begin());
  }
}

// The MLP up to its last hidden layer.
void Program::Hidden() {
  const int padded = model_.padded();
  for (int voice = voices_.first; voice < voices_.last; ++voice) {
    const int32_t* codes = Window(voice, model_.sample_frame);
    const float* sum = Condition(voice);
    if (model_.sample_frame == 0) kernels_.relu(padded, sum, zeros_.data(), sums_.data());
    for (int place = 0; place < model_.sample_frame; ++place) {  // Eq. 8, one row for each code
      const size_t row = Size(place) * Size(model_.q_levels) + Size(codes[place]);
      const auto last = place == model_.sample_frame - 1;
      (last ? kernels_.relu : kernels_.add)(padded, sum, &model_.table[row * Size(padded)],
                                            sums_.data());
      sum = sums_.data();
    }
    operand_.Set(kernels_, voice - voices_.first, sums_.data());
  }
  float* to = &shared_.hidden[Size(voices_.first) * Size(padded)];
  Multiply(kernels_, model_.hidden, operand_, voices_.size(), to, Size(padded), units_.first,
           units_.last);
  const int first = units_.first * kPanelRows;
  for (int voice = 0; voice < voices_.size(); ++voice) {
    float* h = to + Size(voice) * Size(padded) + Size(first);
    kernels_.relu(units_.size() * kPanelRows, h, model_.hidden_bias.data() + first, h);
  }
}

void Program::Logits() {
  const size_t padded = Size(model_.padded());
  const size_t stride = Size(model_.output.padded_rows());
  for (int voice = 0; voice < voices_.size(); ++voice) {
    operand_.Set(kernels_, voice, &shared_.hidden[Size(voices_.first + voice) * padded]);
  }
  float* to = &shared_.logits[Size(voices_.first) * stride];
  Multiply(kernels_, model_.output, operand_, voices_.size(), to, stride, levels_.first,
           levels_.last);
  const int first = levels_.first * kPanelRows;
  for (int voice = 0; voice < voices_.size(); ++voice) {
    float* logits = to + Size(voice) * stride + Size(first);
    kernels_.add(levels_.size() * kPanelRows, logits, model_.output_bias.data() + first, logits);
  }
}

void Program::Draw(const Chunk& chunk, int sample, int voice, bool keep) {
  const float* logits = &shared_.logits[Size(voice) * Size(model_.output.padded_rows())];
  const size_t at = Size(voice) * Size(chunk.samples) + Size(sample);
  double log_prob = 0.0;
  double rest = 0.0;
  if (chunk.forced == nullptr) {
    const double temperature = chunk.temperature == nullptr ? 1.0 : chunk.temperature[at];
    const int code =
        kernels_.draw(logits, model_.q_levels, temperature, static_cast<double>(chunk.uniforms[at]),
                      &log_prob, &rest, chunk.min_p);
    codes_[Size(voice)] = code;
    if (batch_ > 1) shared_.drawn[Size(voice)] = code;
  } else if (chunk.log_probs != nullptr) {
    log_prob = kernels_.log_prob(logits, model_.q_levels, codes_[Size(voice)]);
  }
  if (!keep) return;
  if (chunk.codes != nullptr) chunk.codes[at] = codes_[Size(voice)];
  if (chunk.log_probs != nullptr) chunk.log_probs[at] = log_prob;
  if (chunk.logits != nullptr) {
    std::copy_n(logits, model_.q_levels, chunk.logits + at * Size(model_.q_levels));
  }
}

}  // namespace samplewise
