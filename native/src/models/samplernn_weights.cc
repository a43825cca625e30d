// The weights of a SampleRNN, packed.
#include <algorithm>
#include <stdexcept>
#include <string>

#include "models/samplernn.h"
#include "size.h"

namespace samplewise {
namespace {

constexpr int kMaxTiers = 16;
constexpr int kMaxLayers = 64;

void CheckSizes(const SampleRnnSpec& spec, int q_levels) {
  CheckRange("tiers", static_cast<int64_t>(spec.tiers.size()) + 1, 2, kMaxTiers);
  CheckRange("frame size", spec.window, 0, kMaxFrame);
  for (size_t i = 0; i < spec.tiers.size(); ++i) {
    const int size = spec.tiers[i].frame_size;
    CheckRange("frame size", size, 1, kMaxFrame);
    const int below = i == 0 ? size : spec.tiers[i - 1].frame_size;
    if (i > 0 && (size % below != 0 || size == below)) {
      throw std::invalid_argument("frame size " + std::to_string(size) +
                                  " must be a larger multiple of " + std::to_string(below));
    }
  }
  CheckRange("dim", spec.dim, 1, kMaxWidth);
  const auto n_rnn = static_cast<int64_t>(spec.tiers.front().layers.size());
  CheckRange("n_rnn", n_rnn, 1, kMaxLayers);
  for (const TierSpec& tier : spec.tiers) {
    CheckRange("layers of each tier", static_cast<int64_t>(tier.layers.size()), n_rnn, n_rnn);
  }
  CheckRange("real_values", static_cast<int64_t>(spec.real_values.size()), q_levels, q_levels);
}

// (blocks, width, FS) -> (blocks, FS, width): a block's rows for one sample of a frame together.
Floats BySample(const Floats& rows, int blocks, int width, int frame_size) {
  Floats result(rows.size());
  for (size_t block = 0; block < Size(blocks); ++block) {
    const size_t base = block * Size(width) * Size(frame_size);
    for (size_t row = 0; row < Size(width); ++row) {
      for (size_t j = 0; j < Size(frame_size); ++j) {
        result[base + j * Size(width) + row] = rows[base + row * Size(frame_size) + j];
      }
    }
  }
  return result;
}

}  // namespace

PackedSampleRnn::PackedSampleRnn(const SampleRnnSpec& spec, int q_levels, Format format)
    : format(format),
      conditioning{spec.condition_width, spec.hold},
      cell(spec.cell),
      dim(spec.dim),
      q_levels(q_levels) {
  CheckSizes(spec, q_levels);
  conditioning.Check();
  blocks = CeilPanels(dim);
  gates = cell == Cell::kLstm ? 4 : 3;
  n_rnn = static_cast<int>(spec.tiers.front().layers.size());
  skip = spec.skip;
  x_layers = skip ? n_rnn : 1;
  window = spec.window;
  real_values = spec.real_values;
  int below = 1;
  for (size_t i = 0; i < spec.tiers.size(); ++i) {
    const std::string name = "tier" + std::to_string(i + 2) + ".";
    tiers.push_back(PackTier(spec.tiers[i], name, below, i + 1 == spec.tiers.size()));
    below = spec.tiers[i].frame_size;
  }
  if (window > 0 && spec.window_map.values.data() != nullptr) {
    const std::span<const float> map = Checked(spec.window_map, "sample.window", dim, window);
    window_map = BySample(ByBlock(map, 1, dim, blocks, window), 1, padded(), window);
  } else if (window > 0) {
    table = Padded(Checked(spec.table, "sample.table", int64_t{window} * q_levels, dim),
                   window * q_levels, dim, padded());
  }
  mlp = PackedMlp(spec.mlp, dim, q_levels, format, real_values);
  if (spec.predictor.order != 0) {
    if (spec.mlp.gaussian) throw std::invalid_argument("Gaussians go without a linear predictor");
    predictor = PackedLinearPredictor(spec.predictor, dim, real_values);
    if (spec.mlp.components == 0) mlp.AddLogistic(spec.predictor);
  }
}

PackedTier PackedSampleRnn::PackTier(const TierSpec& spec, const std::string& name, int below,
                                     bool is_top) const {
  PackedTier tier;
  tier.frame_size = spec.frame_size;
  tier.ratio = tier.frame_size / below;
  const int inputs = gates * x_layers;
  if (tier.frame_size == 1 && spec.codes.values.data() != nullptr) {
    const std::span<const float> rows = Checked(spec.codes, name + "codes", q_levels, inputs * dim);
    const auto size = Size(inputs * dim);
    for (size_t code = 0; code < Size(q_levels); ++code) {
      const Floats row = ByBlock(rows.subspan(code * size, size), inputs, dim, blocks, 1);
      tier.codes.insert(tier.codes.end(), row.begin(), row.end());
    }
  } else {
    const std::span<const float> rows =
        Checked(spec.frame, name + "frame", inputs * dim, tier.frame_size);
    tier.frame = BySample(ByBlock(rows, inputs, dim, blocks, tier.frame_size), blocks,
                          input_width(), tier.frame_size);
  }
  if (!is_top) {
    const Floats rows =
        ByBlock(Checked(spec.above, name + "above", inputs * dim, dim), inputs, dim, blocks, dim);
    tier.above = PackedMatrix(rows, blocks * input_width(), dim, format);
  }
  if (conditioning.width > 0) {
    const std::span<const float> map =
        Checked(spec.condition, name + "condition", inputs * dim, conditioning.width);
    tier.condition =
        PackedMatrix(ByBlock(map, inputs, dim, blocks, conditioning.width), blocks * input_width(),
                     conditioning.width, ConditioningSize::FormatOfMaps(format));
  }
  for (int layer = 0; layer < n_rnn; ++layer) tier.layers.push_back(PackLayer(spec, name, layer));
  const int parts = cell == Cell::kLstm ? 2 : 1;
  tier.h0 = Padded(Checked(spec.h0, name + "h0", n_rnn, parts * dim), n_rnn * parts, dim, padded());
  tier.skip_bias.resize(Size(padded()));
  if (skip) tier.skip_bias = PaddedToPanels(spec.skip_bias, name + "skip_bias", 1, dim);
  const std::span<const float> up =
      Checked(spec.upsample, name + "upsample", int64_t{tier.ratio} * dim, dim);
  const size_t square = Size(dim) * Size(dim);
  for (size_t j = 0; j < Size(tier.ratio); ++j) {
    tier.upsample.emplace_back(up.subspan(j * square, square), dim, dim, format);
  }
  tier.upsample_bias =
      Padded(Checked(spec.upsample_bias, name + "upsample_bias", 1, int64_t{tier.ratio} * dim),
             tier.ratio, dim, padded());
  return tier;
}

PackedRecurrentLayer PackedSampleRnn::PackLayer(const TierSpec& spec, const std::string& tier,
                                                int layer) const {
  const RecurrentLayerSpec& own = spec.layers[Size(layer)];
  PackedRecurrentLayer packed;
  const size_t size = Size(gates * dim);
  const std::span<const float> bias = Checked(spec.bias, tier + "bias", 1, gates * n_rnn * dim);
  packed.bias = ByBlock(bias.subspan(Size(layer) * size, size), gates, dim, blocks, 1);
  const std::span<const float> recurrent =
      Checked(own.recurrent, Numbered(tier + "recurrent", Size(layer)), gates * dim, dim);
  const int together = cell == Cell::kGru ? 2 : gates;
  const size_t split = Size(together * dim) * Size(dim);
  packed.recurrent = PackedMatrix(ByBlock(recurrent.first(split), together, dim, blocks, dim),
                                  blocks * together * kPanelRows, dim, format);
  if (cell == Cell::kGru) {
    packed.candidate = PackedMatrix(recurrent.subspan(split), dim, dim, format);
  }
  packed.candidate_bias.resize(Size(padded()));
  if (cell == Cell::kGruResetAfter) {
    packed.candidate_bias =
        PaddedToPanels(own.candidate_bias, Numbered(tier + "candidate", Size(layer)), 1, dim);
  }
  if (layer > 0) {
    const Floats rows =
        ByBlock(Checked(own.input, Numbered(tier + "input", Size(layer)), gates * dim, dim), gates,
                dim, blocks, dim);
    packed.input = PackedMatrix(rows, blocks * gates * kPanelRows, dim, format);
  }
  if (skip) packed.skip = Packed(own.skip, Numbered(tier + "skip", Size(layer)), dim, dim, format);
  return packed;
}

std::vector<const PackedMatrix*> PackedTier::matrices() const {
  std::vector<const PackedMatrix*> all{&above};
  for (const PackedRecurrentLayer& layer : layers) {
    all.insert(all.end(), {&layer.input, &layer.recurrent, &layer.candidate, &layer.skip});
  }
  for (const PackedMatrix& map : upsample) all.push_back(&map);
  std::erase_if(all, [](const PackedMatrix* matrix) { return matrix->rows() == 0; });
  return all;
}

int PackedSampleRnn::lookback() const {
  return std::max({window, tiers.back().frame_size, predictor.lookback()});
}

int PackedSampleRnn::useful_threads(int) const { return std::max(blocks, mlp.output.panels()); }

std::vector<MatrixUse> PackedSampleRnn::matrices() const {
  std::vector<MatrixUse> all;
  for (size_t index = 0; index < tiers.size(); ++index) {
    for (const PackedMatrix* matrix : tiers[index].matrices()) {
      // `above` is read once for all conditions that a step of the tier above leaves.
      const double ratio = matrix == &tiers[index].above ? tiers[index + 1].ratio : 1;
      all.push_back({matrix, 1.0 / tiers[index].frame_size / ratio, ratio});
    }
    if (conditioning.width > 0) {
      all.push_back({&tiers[index].condition, 1.0 / conditioning.hold, 1.0});
    }
  }
  all.push_back({&mlp.hidden, 1.0, 1.0});
  all.push_back({&mlp.output, 1.0, 1.0});
  return all;
}

std::vector<StateArray> PackedSampleRnn::InitialState(int batch) const {
  std::vector<StateArray> arrays;
  for (size_t index = 0; index < tiers.size(); ++index) {
    StateArray states{{}, Size(state_width())};
    for (size_t layer = 0; layer < Size(n_rnn); ++layer) {
      const float* h0 = &tiers[index].h0[layer * states.width];
      for (int clip = 0; clip < batch; ++clip) {
        states.values.insert(states.values.end(), h0, h0 + states.width);
      }
    }
    arrays.push_back(std::move(states));
    const size_t width = Size(condition_width(index));
    arrays.push_back({Floats(Size(tiers[index].ratio) * Size(batch) * width), width});
  }
  if (predictor.order != 0) arrays.push_back(predictor.InitialState(batch));
  return arrays;
}

}  // namespace samplewise
