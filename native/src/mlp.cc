#include "mlp.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "size.h"

namespace samplewise {
namespace {

// The same numbers as in samplewise/models/sample_level.py.
constexpr float kLeastLogScale = -3.0F;
constexpr float kLargestLogScale = 5.0F;  // of 256 codes
constexpr int kCodesOfScales = 256;
constexpr int kMaxComponents = 1024;  // as in samplewise/config/validation.py

float LargestLogScale(int q_levels) {
  return kLargestLogScale +
         static_cast<float>(std::log(q_levels / static_cast<double>(kCodesOfScales)));
}

}  // namespace

PackedMlp::PackedMlp(const MlpSpec& spec, int dim, int q_levels, Format format,
                     std::span<const float> values)
    : dim(dim), q_levels(q_levels), components(spec.components) {
  CheckRange("components", components, spec.gaussian ? 1 : 0, kMaxComponents);
  outputs = components == 0 ? q_levels : 3 * components;
  hidden = Packed(spec.hidden, "sample.hidden", dim, dim, format);
  hidden_bias = PaddedToPanels(spec.hidden_bias, "sample.hidden_bias", 1, dim);
  output = Packed(spec.output, "sample.output", outputs, dim, format);
  output_bias = PaddedToPanels(spec.output_bias, "sample.output_bias", 1, outputs);
  if (spec.gaussian) this->values.assign(values.begin(), values.end());
}

void PackedMlp::AddLogistic(const LinearPredictorSpec& spec) {
  logistic = PaddedToPanels(spec.logistic, "sample.logistic", 2, dim);
  const std::span<const float> bias = Checked(spec.logistic_bias, "sample.logistic_bias", 1, 2);
  logistic_bias.assign(bias.begin(), bias.end());
  codes.resize(Size(q_levels));
  std::iota(codes.begin(), codes.end(), 0.0F);
}

MlpWorkspace::MlpWorkspace(const PackedMlp& weights, int max_batch, int threads)
    : output(Partition::Balanced(PanelCosts(weights.output), threads)),
      hidden(Size(max_batch) * Size(weights.hidden.padded_rows())),
      logits(Size(max_batch) * Size(weights.output.padded_rows())),
      drawn(Size(max_batch)) {}

MlpStepper::MlpStepper(const PackedMlp& weights, MlpWorkspace& shared, const Kernels& kernels,
                       ThreadTeam& team, int max_batch, int thread)
    : weights_(weights),
      shared_(shared),
      kernels_(kernels),
      team_(team),
      thread_(thread),
      padded_(Size(weights.hidden.padded_rows())),
      input_(weights.dim, max_batch, weights.hidden.format()),
      // Without a predictor a mixture lies around silence.
      predictions_(Size(max_batch), {static_cast<float>(weights.q_levels - 1) / 2,
                                     static_cast<float>(weights.q_levels) / 16}),
      logistics_(Size(max_batch)),
      with_logistic_(weights.codes.size()),
      logistic_mixture_(weights.components, weights.q_levels),
      gaussian_mixture_(weights.components, weights.values),
      moved_(3 * Size(weights.components)) {}

void MlpStepper::SetInput(const Division& division, int clip, const float* x) {
  input_.Set(kernels_, clip - division.clips.first, x);
}

void MlpStepper::Run(const Division& division, const Chunk& chunk, int sample,
                     std::vector<int32_t>& codes) {
  Hidden(division);
  if (!division.by_clip) team_.Barrier();
  Logits(division);
  if (division.by_clip) {
    for (int clip = division.clips.first; clip < division.clips.last; ++clip) {
      Draw(chunk, sample, clip, true, codes);
    }
    return;
  }
  // All threads draw a single clip, which saves a barrier; of several clips each draws some.
  const int batch = division.batch;
  const int step = batch == 1 ? 1 : team_.active();
  const int first = batch == 1 ? 0 : thread_;
  if (!weights_.logistic.empty()) {
    for (int clip = first; clip < batch; clip += step) MoveLogistic(clip);
  }
  team_.Barrier();
  for (int clip = first; clip < batch; clip += step) {
    Draw(chunk, sample, clip, batch > 1 || thread_ == 0, codes);
    if (batch > 1) shared_.drawn[Size(clip)] = codes[Size(clip)];
  }
  if (batch > 1 && chunk.forced == nullptr) {
    team_.Barrier();
    std::copy_n(shared_.drawn.begin(), batch, codes.begin());
  }
}

void MlpStepper::Hidden(const Division& division) {
  const Range units = division.units;
  float* to = &shared_.hidden[Size(division.clips.first) * padded_];
  Multiply(kernels_, weights_.hidden, input_, division.clips.size(), to, padded_, units.first,
           units.last);
  const int first = units.first * kPanelRows;
  for (int clip = 0; clip < division.clips.size(); ++clip) {
    float* h = to + Size(clip) * padded_ + Size(first);
    kernels_.relu(units.size() * kPanelRows, h, weights_.hidden_bias.data() + first, h);
  }
}

void MlpStepper::Logits(const Division& division) {
  const Range output = division.output;
  const size_t stride = Size(weights_.output.padded_rows());
  for (int clip = 0; clip < division.clips.size(); ++clip) {
    input_.Set(kernels_, clip, &shared_.hidden[Size(division.clips.first + clip) * padded_]);
  }
  float* to = &shared_.logits[Size(division.clips.first) * stride];
  Multiply(kernels_, weights_.output, input_, division.clips.size(), to, stride, output.first,
           output.last);
  const int first = output.first * kPanelRows;
  for (int clip = 0; clip < division.clips.size(); ++clip) {
    float* logits = to + Size(clip) * stride + Size(first);
    kernels_.add(output.size() * kPanelRows, logits, weights_.output_bias.data() + first, logits);
  }
}

void MlpStepper::Draw(const Chunk& chunk, int sample, int clip, bool store,
                      std::vector<int32_t>& codes) {
  const float* logits = &shared_.logits[Size(clip) * Size(weights_.output.padded_rows())];
  const int q = weights_.q_levels;
  if (!weights_.logistic.empty()) {  // in memory of this thread: all may draw the same clip
    const Logistic& logistic = logistics_[Size(clip)];
    kernels_.add_logistic(q, weights_.codes.data(), logistic.place,
                          0.5F * std::exp(-logistic.log_scale), logits, with_logistic_.data());
    logits = with_logistic_.data();
  }
  const size_t index = IndexOf(chunk, clip, sample);
  if (weights_.components != 0) {
    const auto draw = [&](auto& mixture, const float* parameters) {
      const Drawn drawn = chunk.forced == nullptr
                              ? mixture.Draw(chunk, index, parameters)
                              : mixture.Score(chunk, parameters, codes[Size(clip)]);
      codes[Size(clip)] = drawn.code;
      if (store)
        StoreSample(chunk, index, drawn.code, drawn.log_prob, parameters, weights_.outputs);
    };
    if (weights_.values.empty()) {
      draw(logistic_mixture_, MoveMixture(clip, logits));
    } else {
      draw(gaussian_mixture_, logits);
    }
    return;
  }
  const Drawn drawn =
      chunk.forced == nullptr
          ? DrawCode(kernels_, chunk, index, logits, q, static_cast<double>(chunk.uniforms[index]))
          : ScoreCode(kernels_, chunk, logits, q, codes[Size(clip)]);
  codes[Size(clip)] = drawn.code;
  if (store) StoreSample(chunk, index, drawn.code, drawn.log_prob, logits, q);
}

// The logistic distribution around the prediction, moved by the last hidden layer. Between the
// barriers: the next sample overwrites that layer while other threads still draw.
void MlpStepper::MoveLogistic(int clip) {
  const float* hidden = &shared_.hidden[Size(clip) * padded_];
  std::array<float, 2> moves{};
  for (size_t row = 0; row < moves.size(); ++row) {
    constexpr size_t kSums = 8;
    const float* weights = &weights_.logistic[row * padded_];
    std::array<float, kSums> sums{};
    for (size_t i = 0; i < padded_; i += kSums) {
      for (size_t j = 0; j < kSums; ++j) sums[j] += weights[i + j] * hidden[i + j];
    }
    moves[row] = std::accumulate(sums.begin(), sums.end(), weights_.logistic_bias[row]);
  }
  const auto& [place, size] = predictions_[Size(clip)];
  const float log_scale =
      std::clamp(moves[1] + std::log(size), kLeastLogScale, LargestLogScale(weights_.q_levels));
  logistics_[Size(clip)] = {place + moves[0] * size, log_scale};
}

// The mixture around the prediction, in units of its errors.
const float* MlpStepper::MoveMixture(int clip, const float* outputs) {
  const auto& [place, size] = predictions_[Size(clip)];
  const size_t components = Size(weights_.components);
  const float log_size = std::log(size);
  const float largest = LargestLogScale(weights_.q_levels);
  for (size_t k = 0; k < components; ++k) {
    moved_[k] = outputs[k];
    moved_[components + k] = place + outputs[components + k] * size;
    moved_[2 * components + k] =
        std::clamp(outputs[2 * components + k] + log_size, kLeastLogScale, largest);
  }
  return moved_.data();
}

void LoadForced(const Chunk& chunk, int sample, Range clips, std::vector<int32_t>& codes) {
  if (chunk.forced == nullptr) return;
  for (int clip = clips.first; clip < clips.last; ++clip) {
    codes[Size(clip)] = ForcedCode(chunk, clip, sample);
  }
}

}  // namespace samplewise
