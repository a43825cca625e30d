#include "models/samplernn.h"

#include <algorithm>

#include "size.h"

namespace samplewise {
namespace {

constexpr int kAboveBatch = 16;  // vectors that `above` multiplies together, about

// The bytes that each block of units reads in one step of the top tier.
std::vector<size_t> UnitCosts(const PackedSampleRnn& weights) {
  std::vector<size_t> costs(Size(weights.blocks));
  const auto add = [&](const PackedMatrix& matrix, int times) {
    const int per_block = matrix.panels() / weights.blocks;
    for (int panel = 0; panel < matrix.panels(); ++panel) {
      costs[Size(panel / per_block)] += matrix.panel_bytes(panel) * Size(times);
    }
  };
  const int top_frame = weights.tiers.back().frame_size;
  for (const PackedTier& tier : weights.tiers) {
    for (const PackedMatrix* matrix : tier.matrices()) add(*matrix, top_frame / tier.frame_size);
  }
  add(weights.mlp.hidden, top_frame);
  return costs;
}

}  // namespace

SampleRnnWorkspace::SampleRnnWorkspace(const PackedSampleRnn& weights, const Kernels& kernels,
                                       ThreadTeam& team, int max_batch)
    : weights(weights),
      kernels(kernels),
      team(team),
      max_batch(max_batch),
      units(Partition::Balanced(UnitCosts(weights), team.threads())),
      mlp(weights.mlp, max_batch, team.threads()) {
  const size_t batch = Size(max_batch);
  const size_t vector = batch * Size(weights.padded());
  const size_t gates = vector * Size(weights.gates);
  for (size_t index = 0; index < weights.tiers.size(); ++index) {
    Tier tier;
    for (Floats& h : tier.h) h.resize(vector * Size(weights.n_rnn));
    if (weights.cell == Cell::kLstm) tier.c.resize(vector * Size(weights.n_rnn));
    tier.reset.resize(vector);
    tier.output.resize(vector);
    tier.inputs.resize(gates * Size(weights.x_layers));
    tier.x.resize(gates);
    tier.u.resize(gates);
    const size_t ratio = Size(weights.tiers[index].ratio);
    tier.conditions.resize(ratio * vector);
    if (weights.conditioning.width > 0) tier.conditioning.resize(gates * Size(weights.x_layers));
    if (index > 0) tier.above.resize(ratio * batch * Size(weights.condition_width(index)));
    tiers.push_back(std::move(tier));
  }
}

void SampleRnnWorkspace::Load(const State& state) {
  const size_t padded = Size(weights.padded());
  for (size_t index = 0; index < tiers.size(); ++index) {
    Tier& tier = tiers[index];
    tier.latest = 0;
    const auto& [from, width] = state.arrays[2 * index];
    for (size_t vector = 0; vector * width < from.size(); ++vector) {
      std::copy_n(&from[vector * width], padded, &tier.h[0][vector * padded]);
      if (weights.cell != Cell::kLstm) continue;
      std::copy_n(&from[vector * width + padded], padded, &tier.c[vector * padded]);
    }
    const Floats& conditions = state.arrays[2 * index + 1].values;
    std::copy(conditions.begin(), conditions.end(),
              (index == 0 ? tier.conditions : tier.above).begin());
  }
}

void SampleRnnWorkspace::Store(State& state) const {
  const size_t padded = Size(weights.padded());
  for (size_t index = 0; index < tiers.size(); ++index) {
    const Tier& tier = tiers[index];
    auto& [to, width] = state.arrays[2 * index];
    for (size_t vector = 0; vector * width < to.size(); ++vector) {
      std::copy_n(&tier.h[tier.latest][vector * padded], padded, &to[vector * width]);
      if (weights.cell != Cell::kLstm) continue;
      std::copy_n(&tier.c[vector * padded], padded, &to[vector * width + padded]);
    }
    Floats& conditions = state.arrays[2 * index + 1].values;
    std::copy_n((index == 0 ? tier.conditions : tier.above).begin(), conditions.size(),
                conditions.begin());
  }
}

SampleRnnStepper::SampleRnnStepper(SampleRnnWorkspace& shared, int thread)
    : shared_(shared),
      weights_(shared.weights),
      kernels_(shared.kernels),
      team_(shared.team),
      thread_(thread),
      above_batch_(std::max(1, kAboveBatch / shared.max_batch) * shared.max_batch),
      predictor_(weights_.predictor, kernels_, shared.max_batch),
      history_(shared.max_batch, weights_.lookback()),
      conditioning_(weights_.conditioning, shared.max_batch, weights_.format),
      mlp_(weights_.mlp, shared.mlp, kernels_, team_, shared.max_batch, thread),
      input_(weights_.dim, shared.max_batch, weights_.format),
      above_input_(weights_.dim, above_batch_, weights_.format),
      frame_(Size(weights_.lookback())),
      features_(Size(weights_.predictor.features())),
      sums_(Size(weights_.padded())),
      zeros_(Size(weights_.padded())),
      products_(Size(shared.max_batch) * Size(weights_.padded())),
      latest_(weights_.tiers.size()),
      codes_(Size(shared.max_batch)) {}

void SampleRnnStepper::Run(State& state, const Chunk& chunk, int begin, int end, int active) {
  batch_ = state.batch;
  units_ = shared_.units.Of(thread_, active);
  division_ = {false, batch_, {0, batch_}, units_, shared_.mlp.output.Of(thread_, active)};
  history_.Load(state);
  conditioning_.Forget();  // rows may have gone to another thread
  const bool predicts = weights_.predictor.order != 0;
  if (predicts) predictor_.Load(state, state.arrays.back());
  for (size_t index = 0; index < latest_.size(); ++index) {
    latest_[index] = shared_.tiers[index].latest;
  }
  for (int sample = begin; sample < end; ++sample) {
    if (conditioning_.Take(kernels_, chunk, sample, history_.clock(), {0, batch_})) Condition();
    for (size_t index = weights_.tiers.size(); index-- > 0;) {
      if (history_.clock() % weights_.tiers[index].frame_size == 0) RunTier(index);
    }
    SampleLevel(chunk, sample);
    for (int clip = 0; predicts && clip < batch_; ++clip) {
      predictor_.Observe(history_, clip, codes_[Size(clip)]);
    }
    history_.Push(division_.clips, codes_);
  }
  team_.Barrier();  // before anything is written that other threads may still read
  if (thread_ != 0) return;
  history_.Store(division_.clips, state);
  if (predicts) predictor_.Store(division_.clips, history_.clock(), state.arrays.back());
  state.clock = history_.clock();
  for (size_t index = 0; index < latest_.size(); ++index) {
    shared_.tiers[index].latest = latest_[index];
  }
}

// What the conditioning vectors in force give to the gates of every tier.
void SampleRnnStepper::Condition() {
  const int groups = weights_.x_layers * weights_.gates;
  for (size_t index = 0; index < weights_.tiers.size(); ++index) {
    Multiply(kernels_, weights_.tiers[index].condition, conditioning_.vectors(), batch_,
             shared_.tiers[index].conditioning.data(),
             Size(weights_.blocks) * Size(weights_.input_width()), units_.first * groups,
             units_.last * groups);
  }
}

void SampleRnnStepper::RunTier(size_t index) {
  TierInputs(index);
  for (size_t layer = 0; layer < Size(weights_.n_rnn); ++layer) RunLayer(index, layer);
  TierOutputs(index);
  latest_[index] = 1 - latest_[index];
}

// Eq. 4, already multiplied by the input maps of the gates: the terms of the frame and of the
// condition from the tier above.
void SampleRnnStepper::TierInputs(size_t index) {
  const PackedTier& tier = weights_.tiers[index];
  const bool is_top = index + 1 == weights_.tiers.size();
  const int width = weights_.input_width();
  const size_t row = Size(weights_.blocks) * Size(width);
  const int slot =
      is_top
          ? 0
          : static_cast<int>(history_.clock() / tier.frame_size % weights_.tiers[index + 1].ratio);
  for (int clip = 0; clip < batch_; ++clip) {
    const int32_t* codes = history_.Last(clip, tier.frame_size);
    LoadFrame(codes, tier.frame_size);
    for (int block = units_.first; block < units_.last; ++block) {
      const size_t place = Size(block) * Size(width);
      float* to = &shared_.tiers[index].inputs[Size(clip) * row + place];
      if (is_top) {
        std::fill_n(to, width, 0.0F);
      } else {
        const Floats& above = shared_.tiers[index + 1].above;
        std::copy_n(&above[(Size(slot) * Size(batch_) + Size(clip)) * row + place], width, to);
      }
      const Floats& conditioning = shared_.tiers[index].conditioning;
      if (!conditioning.empty())
        kernels_.add(width, to, &conditioning[Size(clip) * row + place], to);
      if (tier.codes.empty()) {
        kernels_.accumulate(width, tier.frame_size, &tier.frame[place * Size(tier.frame_size)],
                            frame_.data(), to);
      } else {
        kernels_.add(width, to, &tier.codes[Size(codes[0]) * row + place], to);
      }
    }
  }
}

void SampleRnnStepper::LoadFrame(const int32_t* codes, int size) {
  for (int i = 0; i < size; ++i) frame_[Size(i)] = weights_.real_values[Size(codes[i])];
}

// Eq. 5.
void SampleRnnStepper::RunLayer(size_t index, size_t layer) {
  const PackedRecurrentLayer& weights = weights_.tiers[index].layers[layer];
  SampleRnnWorkspace::Tier& tier = shared_.tiers[index];
  const int together = weights_.cell == Cell::kGru ? 2 : weights_.gates;
  SetAll(Previous(index, layer));
  Multiply(kernels_, weights.recurrent, input_, batch_, tier.u.data(),
           Size(together * weights_.padded()), units_.first * together, units_.last * together);
  LayerInputs(index, layer);
  if (weights_.cell == Cell::kGru) {
    ResetBefore(index, layer);
  } else {
    Gates(index, layer);
  }
  team_.Barrier();
}

// x, the terms of the gates that do not come from the layer's own past, with the bias.
void SampleRnnStepper::LayerInputs(size_t index, size_t layer) {
  const PackedRecurrentLayer& weights = weights_.tiers[index].layers[layer];
  SampleRnnWorkspace::Tier& tier = shared_.tiers[index];
  const int width = weights_.gates * kPanelRows;
  const size_t row = Size(weights_.blocks) * Size(width);
  if (layer > 0) {
    SetAll(Next(index, layer - 1));
    Multiply(kernels_, weights.input, input_, batch_, tier.x.data(), row,
             units_.first * weights_.gates, units_.last * weights_.gates);
  }
  const bool sees_input = layer < Size(weights_.x_layers);
  for (int clip = 0; clip < batch_; ++clip) {
    for (int block = units_.first; block < units_.last; ++block) {
      const size_t place = Size(block) * Size(width);
      float* x = &tier.x[Size(clip) * row + place];
      const float* bias = &weights.bias[place];
      if (sees_input) {
        const size_t from =
            (Size(clip) * Size(weights_.blocks) + Size(block)) * Size(weights_.x_layers) + layer;
        const float* input = &tier.inputs[from * Size(width)];
        kernels_.add(width, input, layer > 0 ? x : bias, x);
        if (layer == 0) continue;
      }
      kernels_.add(width, x, bias, x);
    }
  }
}

// The gates of an LSTM or of a GRU whose reset comes after the recurrent product.
void SampleRnnStepper::Gates(size_t index, size_t layer) {
  const PackedRecurrentLayer& weights = weights_.tiers[index].layers[layer];
  SampleRnnWorkspace::Tier& tier = shared_.tiers[index];
  const int padded = weights_.padded();
  const size_t width = Size(weights_.gates) * kPanelRows;
  for (int clip = 0; clip < batch_; ++clip) {
    for (int block = units_.first; block < units_.last; ++block) {
      const size_t unit = Size(clip) * Size(padded) + Size(block) * kPanelRows;
      const size_t gate = (Size(clip) * Size(weights_.blocks) + Size(block)) * width;
      const float* x = &tier.x[gate];
      const float* u = &tier.u[gate];
      float* h = Next(index, layer) + unit;
      if (weights_.cell == Cell::kLstm) {
        const float* const xs[4] = {x, x + kPanelRows, x + 2 * kPanelRows, x + 3 * kPanelRows};
        const float* const us[4] = {u, u + kPanelRows, u + 2 * kPanelRows, u + 3 * kPanelRows};
        float* c = &tier.c[layer * Size(batch_) * Size(padded) + unit];
        kernels_.lstm(kPanelRows, xs, us, c, h);
      } else {
        std::copy_n(Previous(index, layer) + unit, kPanelRows, h);
        kernels_.gru_after(kPanelRows, x, x + kPanelRows, x + 2 * kPanelRows, u, u + kPanelRows,
                           u + 2 * kPanelRows, &weights.candidate_bias[Size(block) * kPanelRows],
                           h);
      }
    }
  }
}

// The gates of a GRU whose reset comes before the recurrent product: r h, its product, then h.
void SampleRnnStepper::ResetBefore(size_t index, size_t layer) {
  const PackedRecurrentLayer& weights = weights_.tiers[index].layers[layer];
  SampleRnnWorkspace::Tier& tier = shared_.tiers[index];
  const int padded = weights_.padded();
  const auto for_each_block = [&](const auto& visit) {
    for (int clip = 0; clip < batch_; ++clip) {
      for (int block = units_.first; block < units_.last; ++block) {
        const size_t row = Size(clip) * Size(weights_.blocks) + Size(block);
        visit(row * kPanelRows, &tier.x[row * 3 * kPanelRows], &tier.u[row * 2 * kPanelRows]);
      }
    }
  };
  for_each_block([&](size_t unit, const float* x, const float* u) {
    kernels_.gru_before_reset(kPanelRows, x, u, Previous(index, layer) + unit, &tier.reset[unit]);
  });
  team_.Barrier();
  SetAll(tier.reset.data());
  Multiply(kernels_, weights.candidate, input_, batch_, products_.data(), Size(padded),
           units_.first, units_.last);
  for_each_block([&](size_t unit, const float* x, const float* u) {
    float* h = Next(index, layer) + unit;
    std::copy_n(Previous(index, layer) + unit, kPanelRows, h);
    kernels_.gru_before_update(kPanelRows, x + kPanelRows, u + kPanelRows, x + 2 * kPanelRows,
                               &products_[unit], h);
  });
}

void SampleRnnStepper::TierOutputs(size_t index) {
  if (!weights_.skip) {
    Conditions(index, Next(index, Size(weights_.n_rnn) - 1));
    return;
  }
  SampleRnnWorkspace::Tier& tier = shared_.tiers[index];
  const int padded = weights_.padded();
  const int first = units_.first * kPanelRows;
  const int count = units_.size() * kPanelRows;
  for (size_t layer = 0; layer < Size(weights_.n_rnn); ++layer) {
    SetAll(Next(index, layer));
    Multiply(kernels_, weights_.tiers[index].layers[layer].skip, input_, batch_, products_.data(),
             Size(padded), units_.first, units_.last);
    for (int clip = 0; clip < batch_; ++clip) {
      const size_t unit = Size(clip) * Size(padded) + Size(first);
      float* sum = tier.output.data() + unit;
      const float* before = layer == 0 ? weights_.tiers[index].skip_bias.data() + first : sum;
      kernels_.add(count, before, products_.data() + unit, sum);
    }
  }
  team_.Barrier();
  Conditions(index, tier.output.data());
}

// Eq. 6: the conditions for the tier below. For a frame-level tier they are multiplied by its
// input maps here, all together: one read of the weights.
void SampleRnnStepper::Conditions(size_t index, const float* output) {
  const PackedTier& weights = weights_.tiers[index];
  SampleRnnWorkspace::Tier& tier = shared_.tiers[index];
  const int padded = weights_.padded();
  const size_t vectors = Size(batch_) * Size(padded);
  const int first = units_.first * kPanelRows;
  const int count = units_.size() * kPanelRows;
  SetAll(output);
  for (int j = 0; j < weights.ratio; ++j) {
    float* to = tier.conditions.data() + Size(j) * vectors;
    Multiply(kernels_, weights.upsample[Size(j)], input_, batch_, to, Size(padded), units_.first,
             units_.last);
    const float* bias = weights.upsample_bias.data() + Size(j) * Size(padded) + Size(first);
    for (int clip = 0; clip < batch_; ++clip) {
      float* condition = to + Size(clip) * Size(padded) + Size(first);
      kernels_.add(count, condition, bias, condition);
    }
  }
  team_.Barrier();
  if (index == 0) return;
  const int groups = weights_.x_layers * weights_.gates;
  const size_t width = Size(weights_.condition_width(index));
  const int all = weights.ratio * batch_;
  for (int begin = 0; begin < all; begin += above_batch_) {
    const int count_now = std::min(above_batch_, all - begin);
    for (int i = 0; i < count_now; ++i) {
      above_input_.Set(kernels_, i, &tier.conditions[Size(begin + i) * Size(padded)]);
    }
    Multiply(kernels_, weights_.tiers[index - 1].above, above_input_, count_now,
             &tier.above[Size(begin) * width], width, units_.first * groups, units_.last * groups);
  }
}

// The sample-level MLP (Eqs. 7-9). Its first map is folded into the table and into tier 2.
void SampleRnnStepper::SampleLevel(const Chunk& chunk, int sample) {
  LoadForced(chunk, sample, division_.clips, codes_);
  const bool predicts = weights_.predictor.order != 0;
  if (!NeedsLogits(chunk)) {
    for (int clip = 0; predicts && clip < batch_; ++clip) {
      predictor_.Predict(history_, clip, features_.data());
    }
    return;
  }
  const int padded = weights_.padded();
  const Floats& conditions = shared_.tiers[0].conditions;
  const auto slot = Size(static_cast<int>(history_.clock() % weights_.tiers[0].ratio));
  for (int clip = 0; clip < batch_; ++clip) {
    const int32_t* codes = history_.Last(clip, weights_.window);
    const float* sum = &conditions[(slot * Size(batch_) + Size(clip)) * Size(padded)];
    if (predicts) {
      std::copy_n(sum, padded, sums_.data());
      mlp_.SetPrediction(clip, predictor_.Predict(history_, clip, features_.data()));
      kernels_.accumulate(padded, weights_.predictor.features(), weights_.predictor.weights.data(),
                          features_.data(), sums_.data());
      sum = sums_.data();
    }
    if (!weights_.window_map.empty()) {
      LoadFrame(codes, weights_.window);
      if (!predicts) std::copy_n(sum, padded, sums_.data());
      sum = sums_.data();
      kernels_.accumulate(padded, weights_.window, weights_.window_map.data(), frame_.data(),
                          sums_.data());
    }
    if (weights_.table.empty()) kernels_.relu(padded, sum, zeros_.data(), sums_.data());
    for (int place = 0; !weights_.table.empty() && place < weights_.window; ++place) {  // Eq. 8
      const size_t row = Size(place) * Size(weights_.q_levels) + Size(codes[place]);
      const bool is_last = place == weights_.window - 1;
      (is_last ? kernels_.relu : kernels_.add)(padded, sum, &weights_.table[row * Size(padded)],
                                               sums_.data());
      sum = sums_.data();
    }
    mlp_.SetInput(division_, clip, sums_.data());
  }
  mlp_.Run(division_, chunk, sample, codes_);
}

void SampleRnnStepper::SetAll(const float* vectors) {
  for (int clip = 0; clip < batch_; ++clip) {
    input_.Set(kernels_, clip, vectors + Size(clip) * Size(weights_.padded()));
  }
}

float* SampleRnnStepper::Previous(size_t index, size_t layer) const {
  const size_t vectors = layer * Size(batch_) * Size(weights_.padded());
  return shared_.tiers[index].h[latest_[index]].data() + vectors;
}

float* SampleRnnStepper::Next(size_t index, size_t layer) const {
  const size_t vectors = layer * Size(batch_) * Size(weights_.padded());
  return shared_.tiers[index].h[1 - latest_[index]].data() + vectors;
}

}  // namespace samplewise
