// The frame-level tiers of a Program (Mehri et al. 2017, Eqs. 4-6).
#include <algorithm>

#include "kernels/kernels.h"
#include "program.h"

namespace samplewise {
namespace {

size_t Size(int a) { return static_cast<size_t>(a); }

}  // namespace

void Program::RunTier(size_t index) {
  TierInputs(index);
  for (size_t layer = 0; layer < Size(model_.n_rnn); ++layer) RunLayer(index, layer);
  TierOutputs(index);
  now_[index] = 1 - now_[index];
}

// Eq. 4, already multiplied by the input maps of the gates: the frame's share and the condition's.
void Program::TierInputs(size_t index) {
  const PackedTier& tier = model_.tiers[index];
  const bool is_top = index + 1 == model_.tiers.size();
  const int width = model_.x_layers * model_.gates * kPanelRows;
  const size_t row = Size(model_.blocks) * Size(width);
  const int slot =
      is_top ? 0 : static_cast<int>(clock_ / tier.frame_size % model_.tiers[index + 1].ratio);
  for (int voice = 0; voice < batch_; ++voice) {
    const int32_t* codes = Window(voice, tier.frame_size);
    for (int i = 0; i < tier.frame_size; ++i) frame_[Size(i)] = model_.real_values[Size(codes[i])];
    for (int block = units_.first; block < units_.last; ++block) {
      const size_t place = Size(block) * Size(width);
      float* to = &shared_.tiers[index].inputs[Size(voice) * row + place];
      if (is_top) {
        std::fill_n(to, width, 0.0F);
      } else {
        const Floats& left = shared_.tiers[index + 1].left;
        std::copy_n(&left[(Size(slot) * Size(batch_) + Size(voice)) * row + place], width, to);
      }
      if (tier.codes.empty()) {
        kernels_.accumulate(width, tier.frame_size, &tier.frame[place * Size(tier.frame_size)],
                            frame_.data(), to);
      } else {
        kernels_.add(width, to, &tier.codes[Size(codes[0]) * row + place], to);
      }
    }
  }
}

// Eq. 5.
void Program::RunLayer(size_t index, size_t layer) {
  const PackedLayer& weights = model_.tiers[index].layers[layer];
  Workspace::Tier& tier = shared_.tiers[index];
  const int together = model_.cell == Cell::kGru ? 2 : model_.gates;
  SetAll(Latest(index, layer));
  Multiply(kernels_, weights.recurrent, operand_, batch_, tier.u.data(),
           Size(together * model_.padded()), units_.first * together, units_.last * together);
  LayerInputs(index, layer);
  if (model_.cell == Cell::kGru) {
    ResetBefore(index, layer);
  } else {
    Gates(index, layer);
  }
  team_.Barrier();
}

// The gates' inputs that do not come from this layer's past: x, biases included.
void Program::LayerInputs(size_t index, size_t layer) {
  const PackedLayer& weights = model_.tiers[index].layers[layer];
  Workspace::Tier& tier = shared_.tiers[index];
  const int width = model_.gates * kPanelRows;
  const size_t row = Size(model_.blocks) * Size(width);
  if (layer > 0) {
    SetAll(Next(index, layer - 1));
    Multiply(kernels_, weights.input, operand_, batch_, tier.x.data(), row,
             units_.first * model_.gates, units_.last * model_.gates);
  }
  const bool sees_input = layer < Size(model_.x_layers);
  for (int voice = 0; voice < batch_; ++voice) {
    for (int block = units_.first; block < units_.last; ++block) {
      const size_t place = Size(block) * Size(width);
      float* x = &tier.x[Size(voice) * row + place];
      const float* bias = &weights.bias[place];
      if (sees_input) {
        const size_t from =
            (Size(voice) * Size(model_.blocks) + Size(block)) * Size(model_.x_layers) + layer;
        const float* input = &tier.inputs[from * Size(width)];
        kernels_.add(width, input, layer > 0 ? x : bias, x);
        if (layer == 0) continue;
      }
      kernels_.add(width, x, bias, x);
    }
  }
}

void Program::Gates(size_t index, size_t layer) {
  const PackedLayer& weights = model_.tiers[index].layers[layer];
  Workspace::Tier& tier = shared_.tiers[index];
  const int padded = model_.padded();
  const size_t width = Size(model_.gates) * kPanelRows;
  for (int voice = 0; voice < batch_; ++voice) {
    for (int block = units_.first; block < units_.last; ++block) {
      const size_t unit = Size(voice) * Size(padded) + Size(block) * kPanelRows;
      const size_t gate = (Size(voice) * Size(model_.blocks) + Size(block)) * width;
      const float* x = &tier.x[gate];
      const float* u = &tier.u[gate];
      float* h = Next(index, layer) + unit;
      if (model_.cell == Cell::kLstm) {
        const float* const xs[4] = {x, x + kPanelRows, x + 2 * kPanelRows, x + 3 * kPanelRows};
        const float* const us[4] = {u, u + kPanelRows, u + 2 * kPanelRows, u + 3 * kPanelRows};
        float* c = &tier.c[layer * Size(batch_) * Size(padded) + unit];
        kernels_.lstm(kPanelRows, xs, us, c, h);
      } else {
        std::copy_n(Latest(index, layer) + unit, kPanelRows, h);
        kernels_.gru_after(kPanelRows, x, x + kPanelRows, x + 2 * kPanelRows, u, u + kPanelRows,
                           u + 2 * kPanelRows, &weights.candidate_bias[Size(block) * kPanelRows],
                           h);
      }
    }
  }
}

void Program::ResetBefore(size_t index, size_t layer) {
  const PackedLayer& weights = model_.tiers[index].layers[layer];
  Workspace::Tier& tier = shared_.tiers[index];
  const int padded = model_.padded();
  const auto each = [&](const auto& block_of_voice) {
    for (int voice = 0; voice < batch_; ++voice) {
      for (int block = units_.first; block < units_.last; ++block) {
        const size_t row = Size(voice) * Size(model_.blocks) + Size(block);
        block_of_voice(row * kPanelRows, &tier.x[row * 3 * kPanelRows],
                       &tier.u[row * 2 * kPanelRows]);
      }
    }
  };
  each([&](size_t unit, const float* x, const float* u) {
    kernels_.gru_before_reset(kPanelRows, x, u, Latest(index, layer) + unit, &tier.reset[unit]);
  });
  team_.Barrier();
  SetAll(tier.reset.data());
  Multiply(kernels_, weights.candidate, operand_, batch_, products_.data(), Size(padded),
           units_.first, units_.last);
  each([&](size_t unit, const float* x, const float* u) {
    float* h = Next(index, layer) + unit;
    std::copy_n(Latest(index, layer) + unit, kPanelRows, h);
    kernels_.gru_before_update(kPanelRows, x + kPanelRows, u + kPanelRows, x + 2 * kPanelRows,
                               &products_[unit], h);
  });
}

void Program::TierOutputs(size_t index) {
  if (!model_.skip) {
    Conditions(index, Next(index, Size(model_.n_rnn) - 1));
    return;
  }
  Workspace::Tier& tier = shared_.tiers[index];
  const int padded = model_.padded();
  const int first = units_.first * kPanelRows;
  const int count = (units_.last - units_.first) * kPanelRows;
  for (size_t layer = 0; layer < Size(model_.n_rnn); ++layer) {
    SetAll(Next(index, layer));
    Multiply(kernels_, model_.tiers[index].layers[layer].skip, operand_, batch_, products_.data(),
             Size(padded), units_.first, units_.last);
    for (int voice = 0; voice < batch_; ++voice) {
      const size_t unit = Size(voice) * Size(padded) + Size(first);
      float* sum = tier.output.data() + unit;
      const float* before = layer == 0 ? model_.tiers[index].skip_bias.data() + first : sum;
      kernels_.add(count, before, products_.data() + unit, sum);
    }
  }
  team_.Barrier();
  Conditions(index, tier.output.data());
}

// Eq. 6, and for a frame-level tier below, what its gates make of the conditions.
void Program::Conditions(size_t index, const float* output) {
  const PackedTier& weights = model_.tiers[index];
  Workspace::Tier& tier = shared_.tiers[index];
  const int padded = model_.padded();
  const size_t vectors = Size(batch_) * Size(padded);
  const int first = units_.first * kPanelRows;
  const int count = (units_.last - units_.first) * kPanelRows;
  SetAll(output);
  for (int j = 0; j < weights.ratio; ++j) {
    float* to = tier.conditions.data() + Size(j) * vectors;
    Multiply(kernels_, weights.upsample[Size(j)], operand_, batch_, to, Size(padded), units_.first,
             units_.last);
    const float* bias = weights.upsample_bias.data() + Size(j) * Size(padded) + Size(first);
    for (int voice = 0; voice < batch_; ++voice) {
      float* condition = to + Size(voice) * Size(padded) + Size(first);
      kernels_.add(count, condition, bias, condition);
    }
  }
  team_.Barrier();
  if (index == 0) return;
  const int groups = model_.x_layers * model_.gates;
  const size_t width = Size(model_.condition_width(index));
  const int all = weights.ratio * batch_;
  for (int begin = 0; begin < all; begin += group_) {
    const int some = std::min(group_, all - begin);
    for (int i = 0; i < some; ++i) {
      many_.Set(kernels_, i, &tier.conditions[Size(begin + i) * Size(padded)]);
    }
    Multiply(kernels_, model_.tiers[index - 1].above, many_, some, &tier.left[Size(begin) * width],
             width, units_.first * groups, units_.last * groups);
  }
}

}  // namespace samplewise
