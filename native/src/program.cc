#include "program.h"

#include <algorithm>

#include "kernels/kernels.h"

namespace samplewise {
namespace {

constexpr int kGroup = 16;

size_t Size(int a) { return static_cast<size_t>(a); }

// Bounds that give each thread about the same share of the costs.
Shares Split(const std::vector<size_t>& costs, int threads) {
  size_t total = 0;
  for (const size_t cost : costs) total += cost;
  Shares shares{{0}};
  size_t sum = 0;
  int next = 0;
  const int count = static_cast<int>(costs.size());
  for (int thread = 1; thread <= threads; ++thread) {
    const size_t target = total * Size(thread) / Size(threads);
    while (next < count && sum + costs[Size(next)] / 2 < target) sum += costs[Size(next++)];
    shares.bounds.push_back(thread == threads ? count : next);
  }
  return shares;
}

// What the hidden units of each block cost in a stretch of time: bytes of their rows.
std::vector<size_t> UnitCosts(const PackedSampleRnn& model) {
  std::vector<size_t> costs(Size(model.blocks));
  const auto add = [&](const PackedMatrix& matrix, int times) {
    if (matrix.rows() == 0) return;
    const int per_block = matrix.panels() / model.blocks;
    for (int panel = 0; panel < matrix.panels(); ++panel) {
      costs[Size(panel / per_block)] += matrix.panel_bytes(panel) * Size(times);
    }
  };
  for (const PackedTier& tier : model.tiers) {
    const int times = std::max(1, model.top_frame() / tier.frame_size);
    for (const PackedMatrix* matrix : model.matrices(tier)) add(*matrix, times);
  }
  add(model.hidden, model.top_frame());
  return costs;
}

}  // namespace

Workspace::Workspace(const PackedSampleRnn& model, int max_batch, int threads)
    : model(model), threads(threads) {
  const size_t batch = Size(max_batch);
  const size_t vector = batch * Size(model.padded());
  const size_t gates = vector * Size(model.gates);
  for (size_t index = 0; index < model.tiers.size(); ++index) {
    Tier tier;
    for (Floats& h : tier.h) h.resize(vector * Size(model.n_rnn));
    if (model.cell == Cell::kLstm) tier.c.resize(vector * Size(model.n_rnn));
    tier.reset.resize(vector);
    tier.output.resize(vector);
    tier.inputs.resize(gates * Size(model.x_layers));
    tier.x.resize(gates);
    tier.u.resize(gates);
    const size_t ratio = Size(model.tiers[index].ratio);
    tier.conditions.resize(ratio * vector);
    if (index > 0) tier.left.resize(ratio * batch * Size(model.condition_width(index)));
    tiers.push_back(std::move(tier));
  }
  std::vector<size_t> levels;
  for (int panel = 0; panel < model.output.panels(); ++panel) {
    levels.push_back(model.output.panel_bytes(panel));
  }
  this->units = Split(UnitCosts(model), threads);
  this->levels = Split(levels, threads);
  hidden.resize(vector);
  logits.resize(batch * Size(model.output.padded_rows()));
  drawn.resize(batch);
}

Workspace::Range Workspace::Own(const Shares& shares, int thread, int active) const {
  if (active == 1) return {shares.bounds.front(), shares.bounds.back()};
  return {shares.bounds[Size(thread)], shares.bounds[Size(thread) + 1]};
}

Program::Program(Workspace& shared, Team& team, int max_batch, int thread)
    : shared_(shared),
      model_(shared.model),
      kernels_(shared.model.kernels),
      team_(team),
      thread_(thread),
      group_(std::max(1, kGroup / max_batch) * max_batch),
      operand_(model_.dim, max_batch, model_.format),
      many_(model_.dim, group_, model_.format),
      frame_(Size(model_.lookback)),
      sums_(Size(model_.padded())),
      products_(Size(max_batch) * Size(model_.padded())),
      now_(model_.tiers.size()),
      history_(Size(max_batch) * Size(2 * model_.lookback)),
      codes_(Size(max_batch)) {}

void Program::Run(State& state, const Chunk& chunk, int begin, int end, int active) {
  units_ = shared_.Own(shared_.units, thread_, active);
  levels_ = shared_.Own(shared_.levels, thread_, active);
  Load(state);
  const size_t window = Size(2 * model_.lookback);
  for (int sample = begin; sample < end; ++sample) {
    for (size_t index = model_.tiers.size(); index-- > 0;) {
      if (clock_ % model_.tiers[index].frame_size == 0) RunTier(index);
    }
    SampleLevel(chunk, sample);
    const size_t place = Size(static_cast<int>(clock_ % model_.lookback));
    for (size_t voice = 0; voice < Size(batch_); ++voice) {
      history_[voice * window + place] = codes_[voice];
      history_[voice * window + place + window / 2] = codes_[voice];
    }
    ++clock_;
  }
  team_.Barrier();  // nobody writes what others still read
  if (thread_ == 0) Store(state);
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
  state.clock = clock_;
  for (int voice = 0; voice < batch_; ++voice) {
    std::copy_n(Window(voice, model_.lookback), model_.lookback,
                &state.history[Size(voice) * Size(model_.lookback)]);
  }
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

void Program::SampleLevel(const Chunk& chunk, int sample) {
  const bool forced = chunk.forced != nullptr;
  if (forced) {
    for (int voice = 0; voice < batch_; ++voice) {
      codes_[Size(voice)] = chunk.forced[Size(voice) * Size(chunk.samples) + Size(sample)];
    }
    if (chunk.log_probs == nullptr && chunk.logits == nullptr) return;
  }
  const int padded = model_.padded();
  const Workspace::Tier& above = shared_.tiers[0];
  const auto slot = Size(static_cast<int>(clock_ % model_.tiers[0].ratio));
  for (int voice = 0; voice < batch_; ++voice) {
    const int32_t* codes = Window(voice, model_.sample_frame);
    const float* sum = &above.conditions[(slot * Size(batch_) + Size(voice)) * Size(padded)];
    for (int place = 0; place < model_.sample_frame; ++place) {  // Eq. 8, one row for each code
      const size_t row = Size(place) * Size(model_.q_levels) + Size(codes[place]);
      const auto last = place == model_.sample_frame - 1;
      (last ? kernels_.relu : kernels_.add)(padded, sum, &model_.table[row * Size(padded)],
                                            sums_.data());
      sum = sums_.data();
    }
    operand_.Set(kernels_, voice, sums_.data());
  }
  Multiply(kernels_, model_.hidden, operand_, batch_, shared_.hidden.data(), Size(padded),
           units_.first, units_.last);
  const int first = units_.first * kPanelRows;
  const int count = (units_.last - units_.first) * kPanelRows;
  for (int voice = 0; voice < batch_; ++voice) {
    float* h = shared_.hidden.data() + Size(voice) * Size(padded) + Size(first);
    kernels_.relu(count, h, model_.hidden_bias.data() + first, h);
  }
  team_.Barrier();
  SetAll(shared_.hidden.data());
  const size_t stride = Size(model_.output.padded_rows());
  Multiply(kernels_, model_.output, operand_, batch_, shared_.logits.data(), stride, levels_.first,
           levels_.last);
  const int level = levels_.first * kPanelRows;
  const int levels = (levels_.last - levels_.first) * kPanelRows;
  for (int voice = 0; voice < batch_; ++voice) {
    float* logits = shared_.logits.data() + Size(voice) * stride + Size(level);
    kernels_.add(levels, logits, model_.output_bias.data() + level, logits);
  }
  team_.Barrier();
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

void Program::Draw(const Chunk& chunk, int sample, int voice, bool keep) {
  const float* logits = &shared_.logits[Size(voice) * Size(model_.output.padded_rows())];
  const size_t at = Size(voice) * Size(chunk.samples) + Size(sample);
  double log_prob = 0.0;
  if (chunk.forced == nullptr) {
    const double temperature = chunk.temperature == nullptr ? 1.0 : chunk.temperature[sample];
    const int code = kernels_.draw(logits, model_.q_levels, temperature,
                                   static_cast<double>(chunk.uniforms[at]), &log_prob);
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
