// Packing of gated dilated layers.
#include <algorithm>
#include <string>

#include "arrays.h"
#include "packed.h"

namespace samplewise {
namespace {

// Columns of one skip product, about: long rows are read fast, and several products a sample let
// other threads begin before the last layer has ended.
constexpr int kSkipCols = 640;

size_t Size(int a) { return static_cast<size_t>(a); }

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

PackedStack PackedModel::PackStack(const Arrays& arrays, const std::vector<int>& dilations,
                                   int channels) const {
  PackedStack result;
  result.channels = channels;
  const int gates = 2 * channels;
  const int padded = result.padded();
  const std::span<const float> embedding = arrays.Take("stack.embedding", q_levels, channels);
  result.embedding.assign(embedding.begin(), embedding.end());
  for (size_t index = 0; index < dilations.size(); ++index) {
    const std::string number = "." + std::to_string(index);
    const std::span<const float> taps = arrays.Take("stack.taps" + number, gates, gates);
    const auto half = [&](int first) {
      const Floats rows = Columns(taps, gates, gates, first, channels);
      return PackedMatrix(PaddedGates(rows, channels, padded, channels), 2 * padded, channels,
                          format);
    };
    PackedDilated layer;
    layer.dilation = dilations[index];
    layer.past = half(0);
    layer.present = half(channels);
    const std::span<const float> bias = arrays.Take("stack.bias" + number, 1, gates);
    layer.bias = PaddedGates({bias.begin(), bias.end()}, channels, padded, 1);
    if (index + 1 < dilations.size()) {
      layer.residual = PackedMatrix(arrays.Take("stack.residual" + number, channels, channels),
                                    channels, channels, format);
      layer.residual_bias =
          Padded(arrays.Take("stack.residual_bias" + number, 1, channels), 1, channels, padded);
    }
    result.layers.push_back(std::move(layer));
  }
  const size_t together = Size(std::max(1, kSkipCols / channels));
  for (size_t first = 0; first < dilations.size(); first += together) {
    const size_t last = std::min(first + together, dilations.size());
    std::vector<std::span<const float>> maps;
    for (size_t index = first; index < last; ++index) {
      maps.push_back(arrays.Take("stack.skip." + std::to_string(index), dim, channels));
    }
    const int cols = static_cast<int>(maps.size()) * channels;
    result.skips.push_back(
        {first, last, PackedMatrix(SideBySide(maps, dim, channels), dim, cols, format)});
  }
  result.skip_bias = Padded(arrays.Take("stack.skip_bias", 1, dim), 1, dim, this->padded());
  return result;
}

std::vector<const PackedMatrix*> PackedStack::matrices() const {
  std::vector<const PackedMatrix*> all;
  for (const PackedDilated& layer : layers) {
    all.insert(all.end(), {&layer.past, &layer.present});
    if (layer.residual.rows() > 0) all.push_back(&layer.residual);
  }
  for (const PackedSkips& some : skips) all.push_back(&some.map);
  return all;
}

}  // namespace samplewise
