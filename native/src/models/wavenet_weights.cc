// The weights of a WaveNet, packed.
#include <algorithm>
#include <string>

#include "models/wavenet.h"
#include "size.h"

namespace samplewise {
namespace {

constexpr int kMaxDilations = 1024;
constexpr int64_t kMaxPast = int64_t{1} << 30;
// Columns of one product of skip maps, about: long rows are read fast, and with several products a
// sample other threads begin before the last layer has ended.
constexpr int kSkipCols = 640;

void CheckSizes(const WaveNetSpec& spec) {
  CheckRange("dilations", static_cast<int64_t>(spec.layers.size()), 1, kMaxDilations);
  CheckRange("channels", spec.channels, 1, kMaxWidth);
  int64_t past = 0;
  for (const DilatedLayerSpec& layer : spec.layers) {
    CheckRange("dilation", layer.dilation, 1, kMaxFrame);
    past += int64_t{layer.dilation} * spec.channels;
  }
  CheckRange("dilations x channels", past, 1, kMaxPast);
  CheckRange("dim", spec.dim, 1, kMaxWidth);
  CheckRange("components", spec.mlp.components, 0, 0);
}

// Columns [first, first + cols) of (rows, all).
Floats Columns(std::span<const float> matrix, int rows, int all, int first, int cols) {
  Floats result;
  for (int row = 0; row < rows; ++row) {
    const auto from = matrix.subspan(Size(row) * Size(all) + Size(first), Size(cols));
    result.insert(result.end(), from.begin(), from.end());
  }
  return result;
}

// (2 * channels, cols) -> (2 * padded channels, cols)
Floats PaddedGates(const Floats& rows, int channels, int padded, int cols) {
  Floats result(2 * Size(padded) * Size(cols));
  const size_t half = Size(channels) * Size(cols);
  std::copy_n(rows.begin(), half, result.begin());
  std::copy_n(rows.begin() + static_cast<std::ptrdiff_t>(half), half,
              result.begin() + static_cast<std::ptrdiff_t>(Size(padded) * Size(cols)));
  return result;
}

// Matrices (rows, cols) side by side: (rows, count * cols).
Floats SideBySide(const std::vector<std::span<const float>>& matrices, int rows, int cols) {
  Floats result;
  for (size_t row = 0; row < Size(rows); ++row) {
    for (const std::span<const float> matrix : matrices) {
      const auto from = matrix.subspan(row * Size(cols), Size(cols));
      result.insert(result.end(), from.begin(), from.end());
    }
  }
  return result;
}

}  // namespace

PackedWaveNet::PackedWaveNet(const WaveNetSpec& spec, int q_levels, Format format)
    : format(format),
      conditioning{spec.condition_width, spec.hold},
      q_levels(q_levels),
      channels(spec.channels),
      dim(spec.dim) {
  CheckSizes(spec);
  conditioning.Check();
  blocks = CeilPanels(dim);
  const int gates = 2 * channels;
  const int padded_gates = padded_channels();
  const std::span<const float> values =
      Checked(spec.embedding, "stack.embedding", q_levels, channels);
  embedding.assign(values.begin(), values.end());
  Floats conditions;
  for (size_t index = 0; index < spec.layers.size(); ++index) {
    const DilatedLayerSpec& own = spec.layers[index];
    const std::span<const float> taps =
        Checked(own.taps, Numbered("stack.taps", index), gates, gates);
    const auto tap = [&](int first) {
      const Floats rows = Columns(taps, gates, gates, first, channels);
      return PackedMatrix(PaddedGates(rows, channels, padded_gates, channels), 2 * padded_gates,
                          channels, format);
    };
    PackedDilatedLayer layer;
    layer.dilation = own.dilation;
    layer.past = tap(0);
    layer.present = tap(channels);
    const std::span<const float> bias = Checked(own.bias, Numbered("stack.bias", index), 1, gates);
    layer.bias = PaddedGates({bias.begin(), bias.end()}, channels, padded_gates, 1);
    if (index + 1 < spec.layers.size()) {
      layer.residual =
          Packed(own.residual, Numbered("stack.residual", index), channels, channels, format);
      layer.residual_bias =
          PaddedToPanels(own.residual_bias, Numbered("stack.residual_bias", index), 1, channels);
    }
    if (conditioning.width > 0) {
      const std::span<const float> map =
          Checked(own.condition, Numbered("stack.condition", index), gates, conditioning.width);
      const Floats rows =
          PaddedGates({map.begin(), map.end()}, channels, padded_gates, conditioning.width);
      conditions.insert(conditions.end(), rows.begin(), rows.end());
    }
    layers.push_back(std::move(layer));
  }
  const size_t group = Size(std::max(1, kSkipCols / channels));
  for (size_t first = 0; first < layers.size(); first += group) {
    const size_t last = std::min(first + group, layers.size());
    std::vector<std::span<const float>> maps;
    for (size_t index = first; index < last; ++index) {
      maps.push_back(
          Checked(spec.layers[index].skip, Numbered("stack.skip", index), dim, channels));
    }
    const int cols = static_cast<int>(maps.size()) * channels;
    skips.push_back(
        {first, last, PackedMatrix(SideBySide(maps, dim, channels), dim, cols, format)});
  }
  if (conditioning.width > 0) {
    condition = PackedMatrix(conditions, static_cast<int>(layers.size()) * 2 * padded_gates,
                             conditioning.width, ConditioningSize::FormatOfMaps(format));
  }
  skip_bias = PaddedToPanels(spec.skip_bias, "stack.skip_bias", 1, dim);
  mlp = PackedMlp(spec.mlp, dim, q_levels, format);
}

int PackedWaveNet::useful_threads(int max_batch) const {
  return std::max({blocks, mlp.output.panels(), max_batch});
}

std::vector<MatrixUse> PackedWaveNet::matrices() const {
  std::vector<MatrixUse> all;
  const auto add = [&](const PackedMatrix& matrix) { all.push_back({&matrix, 1.0, 1.0}); };
  for (const PackedDilatedLayer& layer : layers) {
    add(layer.past);
    add(layer.present);
    if (layer.residual.rows() > 0) add(layer.residual);
  }
  for (const PackedSkips& group : skips) add(group.map);
  add(mlp.hidden);
  add(mlp.output);
  if (conditioning.width > 0) all.push_back({&condition, 1.0 / conditioning.hold, 1.0});
  return all;
}

std::vector<StateArray> PackedWaveNet::InitialState(int batch) const {
  std::vector<StateArray> rings;
  const size_t width = Size(channels);
  for (const PackedDilatedLayer& layer : layers) {
    rings.push_back({Floats(Size(layer.dilation) * Size(batch) * width), width});
  }
  return rings;
}

}  // namespace samplewise
