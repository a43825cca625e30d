#include "packed.h"

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <string>

#include "arrays.h"
#include "kernels/kernels.h"

namespace samplewise {
namespace {

constexpr int kMaxTiers = 16;
constexpr int kMaxWidth = 1 << 16;
constexpr int kMaxFrame = 1 << 20;
constexpr int kMaxLayers = 1024;
constexpr int64_t kMaxPast = int64_t{1} << 30;

void Check(const char* name, int64_t value, int64_t low, int64_t high) {
  if (value < low || value > high) {
    throw std::invalid_argument(std::string(name) + " = " + std::to_string(value) +
                                " must lie in [" + std::to_string(low) + ", " +
                                std::to_string(high) + "]");
  }
}

void CheckFrames(const std::vector<int>& frames, bool has_tiers) {
  Check("tiers", static_cast<int64_t>(frames.size()), has_tiers ? 2 : 1, has_tiers ? kMaxTiers : 1);
  for (size_t k = 0; k < frames.size(); ++k) {
    Check("frame size", frames[k], k == 0 ? 0 : 1, has_tiers ? kMaxFrame : 0);
    if (k >= 2 && (frames[k] % frames[k - 1] != 0 || frames[k] == frames[k - 1])) {
      throw std::invalid_argument("frame size " + std::to_string(frames[k]) +
                                  " must be a larger multiple of " + std::to_string(frames[k - 1]));
    }
  }
}

void CheckStack(const std::vector<int>& dilations, int channels) {
  if (dilations.empty()) return;
  Check("dilations", static_cast<int64_t>(dilations.size()), 1, kMaxLayers);
  Check("channels", channels, 1, kMaxWidth);
  int64_t past = 0;
  for (const int dilation : dilations) {
    Check("dilation", dilation, 1, kMaxFrame);
    past += int64_t{dilation} * channels;
  }
  Check("dilations x channels", past, 1, kMaxPast);
}

void CheckWaveRnn(const ModelSpec& spec) {
  Check("condition_width", spec.condition_width, 0, spec.is_wavernn ? kMaxWidth : 0);
  if (spec.condition_width > 0) Check("hold", spec.hold, 1, std::numeric_limits<int>::max());
  if (!spec.is_wavernn) return;
  Check("dilations", static_cast<int64_t>(spec.dilations.size()), 0, 0);
  Check("n_rnn", spec.n_rnn, 1, 1);
  Check("skip", spec.skip, 0, 0);
  Check("q_levels", spec.q_levels, kStageLevels * kStageLevels, kStageLevels * kStageLevels);
  if (spec.cell != Cell::kGruResetAfter || spec.dim % 2 != 0) {
    throw std::invalid_argument("a WaveRNN of dim = " + std::to_string(spec.dim) +
                                " must be a gru-reset-after with an even number of units");
  }
}

void CheckSizes(const ModelSpec& spec) {
  CheckFrames(spec.frame_sizes, spec.dilations.empty() && !spec.is_wavernn);
  CheckStack(spec.dilations, spec.channels);
  Check("dim", spec.dim, 1, kMaxWidth);
  Check("n_rnn", spec.n_rnn, 1, 64);
  Check("q_levels", spec.q_levels, 2, kMaxWidth);
  Check("silence", spec.silence, 0, spec.q_levels - 1);
  Check("real_values", static_cast<int64_t>(spec.real_values.size()), spec.q_levels, spec.q_levels);
  CheckWaveRnn(spec);
}

// (blocks, width, FS) -> (blocks, FS, width): a block's rows for one sample of a frame together.
Floats BySample(const Floats& rows, int blocks, int width, int frame_size) {
  Floats result(rows.size());
  const auto size = static_cast<size_t>(frame_size);
  for (size_t block = 0; block < static_cast<size_t>(blocks); ++block) {
    const size_t base = block * static_cast<size_t>(width) * size;
    for (size_t row = 0; row < static_cast<size_t>(width); ++row) {
      for (size_t j = 0; j < size; ++j) {
        result[base + j * static_cast<size_t>(width) + row] = rows[base + row * size + j];
      }
    }
  }
  return result;
}

}  // namespace

PackedModel::PackedModel(const ModelSpec& spec, Format format, const Kernels& kernels)
    : kernels(kernels), format(format) {
  CheckSizes(spec);
  cell = spec.cell;
  dim = spec.dim;
  blocks = spec.is_wavernn ? 2 * CeilPanels(dim / 2) : CeilPanels(dim);
  gates = cell == Cell::kLstm ? 4 : 3;
  n_rnn = spec.n_rnn;
  skip = spec.skip;
  x_layers = skip ? n_rnn : 1;
  q_levels = spec.q_levels;
  silence = spec.silence;
  sample_frame = spec.frame_sizes.front();
  lookback = std::max(1, *std::max_element(spec.frame_sizes.begin(), spec.frame_sizes.end()));
  real_values = spec.real_values;
  const Arrays arrays(spec);
  if (spec.is_wavernn) {
    wavernn = PackWaveRnn(arrays, spec.condition_width, spec.hold);
    tiers.push_back(WaveRnnState(arrays));
    return;
  }
  for (size_t k = 2; k <= spec.frame_sizes.size(); ++k) {
    tiers.push_back(PackTier(arrays, spec.frame_sizes, k));
  }
  if (!spec.dilations.empty()) stack = PackStack(arrays, spec.dilations, spec.channels);
  if (sample_frame > 0) {
    table = Padded(arrays.Take("sample.table", int64_t{sample_frame} * q_levels, dim),
                   sample_frame * q_levels, dim, padded());
  }
  hidden = PackedMatrix(arrays.Take("sample.hidden", dim, dim), dim, dim, format);
  hidden_bias = Padded(arrays.Take("sample.hidden_bias", 1, dim), 1, dim, padded());
  output = PackedMatrix(arrays.Take("sample.output", q_levels, dim), q_levels, dim, format);
  output_bias = Padded(arrays.Take("sample.output_bias", 1, q_levels), 1, q_levels,
                       CeilPanels(q_levels) * kPanelRows);
}

PackedTier PackedModel::PackTier(const Arrays& arrays, const std::vector<int>& frame_sizes,
                                 size_t k) const {
  const std::string name = "tier" + std::to_string(k) + ".";
  PackedTier tier;
  tier.frame_size = frame_sizes[k - 1];
  tier.ratio = tier.frame_size / (k > 2 ? frame_sizes[k - 2] : 1);
  const int inputs = gates * x_layers;
  const int width = inputs * kPanelRows;
  if (tier.frame_size == 1 && arrays.Has(name + "codes")) {
    const std::span<const float> rows = arrays.Take(name + "codes", q_levels, inputs * dim);
    const auto size = static_cast<size_t>(inputs * dim);
    for (size_t code = 0; code < static_cast<size_t>(q_levels); ++code) {
      const Floats row = ByBlock(rows.subspan(code * size, size), inputs, dim, blocks, 1);
      tier.codes.insert(tier.codes.end(), row.begin(), row.end());
    }
  } else {
    const std::span<const float> rows = arrays.Take(name + "frame", inputs * dim, tier.frame_size);
    tier.frame = BySample(ByBlock(rows, inputs, dim, blocks, tier.frame_size), blocks, width,
                          tier.frame_size);
  }
  if (k < frame_sizes.size()) {
    const Floats rows =
        ByBlock(arrays.Take(name + "above", inputs * dim, dim), inputs, dim, blocks, dim);
    tier.above = PackedMatrix(rows, blocks * width, dim, format);
  }
  for (int layer = 0; layer < n_rnn; ++layer) tier.layers.push_back(PackLayer(arrays, name, layer));
  const int parts = cell == Cell::kLstm ? 2 : 1;
  tier.h0 = Padded(arrays.Take(name + "h0", n_rnn, parts * dim), n_rnn * parts, dim, padded());
  tier.skip_bias.resize(static_cast<size_t>(padded()));
  if (skip) tier.skip_bias = Padded(arrays.Take(name + "skip_bias", 1, dim), 1, dim, padded());
  const std::span<const float> up = arrays.Take(name + "upsample", int64_t{tier.ratio} * dim, dim);
  const auto square = static_cast<size_t>(dim) * static_cast<size_t>(dim);
  for (size_t j = 0; j < static_cast<size_t>(tier.ratio); ++j) {
    tier.upsample.emplace_back(up.subspan(j * square, square), dim, dim, format);
  }
  tier.upsample_bias = Padded(arrays.Take(name + "upsample_bias", 1, int64_t{tier.ratio} * dim),
                              tier.ratio, dim, padded());
  return tier;
}

PackedLayer PackedModel::PackLayer(const Arrays& arrays, const std::string& tier, int layer) const {
  const std::string number = "." + std::to_string(layer);
  PackedLayer packed;
  const auto share = static_cast<size_t>(gates * dim);
  const std::span<const float> bias = arrays.Take(tier + "bias", 1, gates * n_rnn * dim);
  packed.bias =
      ByBlock(bias.subspan(static_cast<size_t>(layer) * share, share), gates, dim, blocks, 1);
  const std::span<const float> recurrent =
      arrays.Take(tier + "recurrent" + number, gates * dim, dim);
  const int together = cell == Cell::kGru ? 2 : gates;
  const auto split = static_cast<size_t>(together * dim) * static_cast<size_t>(dim);
  packed.recurrent = PackedMatrix(ByBlock(recurrent.first(split), together, dim, blocks, dim),
                                  blocks * together * kPanelRows, dim, format);
  if (cell == Cell::kGru) {
    packed.candidate = PackedMatrix(recurrent.subspan(split), dim, dim, format);
  }
  packed.candidate_bias.resize(static_cast<size_t>(padded()));
  if (cell == Cell::kGruResetAfter) {
    packed.candidate_bias =
        Padded(arrays.Take(tier + "candidate" + number, 1, dim), 1, dim, padded());
  }
  if (layer > 0) {
    const Floats rows =
        ByBlock(arrays.Take(tier + "input" + number, gates * dim, dim), gates, dim, blocks, dim);
    packed.input = PackedMatrix(rows, blocks * gates * kPanelRows, dim, format);
  }
  if (skip) {
    packed.skip = PackedMatrix(arrays.Take(tier + "skip" + number, dim, dim), dim, dim, format);
  }
  return packed;
}

std::vector<const PackedMatrix*> PackedModel::matrices(const PackedTier& tier) const {
  std::vector<const PackedMatrix*> all{&tier.above};
  for (const PackedLayer& layer : tier.layers) {
    all.insert(all.end(), {&layer.input, &layer.recurrent, &layer.candidate, &layer.skip});
  }
  for (const PackedMatrix& map : tier.upsample) all.push_back(&map);
  return all;
}

}  // namespace samplewise
