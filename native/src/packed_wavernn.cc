// Packing of a WaveRNN: its halves apart, each filled up to whole panels.
#include <algorithm>
#include <string>

#include "arrays.h"
#include "packed.h"

namespace samplewise {
namespace {

constexpr int kGates = 3;

size_t Size(int a) { return static_cast<size_t>(a); }

// Rows (groups, 2 * half, cols), those of one half: (groups, half, cols).
Floats RowsOfHalf(std::span<const float> rows, int groups, int half, int index, int cols) {
  Floats result;
  const size_t size = Size(half) * Size(cols);
  for (int group = 0; group < groups; ++group) {
    const auto from = rows.subspan(Size(2 * group + index) * size, size);
    result.insert(result.end(), from.begin(), from.end());
  }
  return result;
}

// (groups, 2 * half, cols) -> (2 * blocks, groups, 32, cols)
Floats ByHalf(std::span<const float> rows, int groups, int half, int cols) {
  Floats result;
  for (const int index : {0, 1}) {
    const Floats own = RowsOfHalf(rows, groups, half, index, cols);
    const Floats blocks = ByBlock(own, groups, half, CeilPanels(half), cols);
    result.insert(result.end(), blocks.begin(), blocks.end());
  }
  return result;
}

// (rows, 2 * half) -> (rows, 2 * padded): the columns lie as the units do.
Floats PaddedHalves(std::span<const float> values, int rows, int half, int padded) {
  return Padded(values, 2 * rows, half, padded);
}

// Columns that stand one below the other, (count, width), for each block: (blocks, count, 96).
Floats ColumnsByBlock(const std::vector<Floats>& columns, int blocks) {
  constexpr int kWidth = kGates * kPanelRows;
  Floats result;
  for (int block = 0; block < blocks; ++block) {
    for (const Floats& column : columns) {
      const auto from = column.begin() + block * kWidth;
      result.insert(result.end(), from, from + kWidth);
    }
  }
  return result;
}

}  // namespace

PackedWaveRnn PackedModel::PackWaveRnn(const Arrays& arrays, int condition_width, int hold) const {
  PackedWaveRnn result;
  const int half = result.half = dim / 2;
  const int half_blocks = result.blocks = CeilPanels(half);
  const int padded_half = result.padded_half();
  const int rows = blocks * kGates * kPanelRows;
  const Floats recurrent =
      ByHalf(arrays.Take("wavernn.recurrent", kGates * dim, dim), kGates, half, dim);
  result.recurrent =
      PackedMatrix(PaddedHalves(recurrent, rows, half, padded_half), rows, padded(), format);
  result.bias = ByHalf(arrays.Take("wavernn.bias", 1, kGates * dim), kGates, half, 1);
  result.candidate_bias =
      PaddedHalves(arrays.Take("wavernn.candidate", 1, dim), 1, half, padded_half);
  const std::span<const float> input = arrays.Take("wavernn.input", kGates * dim, 2);
  const std::span<const float> current = arrays.Take("wavernn.current", kGates * half, 1);
  for (const int index : {0, 1}) {
    PackedHalf& packed = result.halves[index];
    const Floats own = RowsOfHalf(input, kGates, half, index, 2);
    std::vector<Floats> columns(2);
    for (size_t i = 0; i < own.size(); ++i) columns[i % 2].push_back(own[i]);
    if (index == 1) columns.emplace_back(current.begin(), current.end());
    for (Floats& column : columns) column = ByBlock(column, kGates, half, half_blocks, 1);
    packed.columns = ColumnsByBlock(columns, half_blocks);
    const std::string number = "." + std::to_string(index);
    packed.hidden =
        PackedMatrix(arrays.Take("wavernn.hidden" + number, half, half), half, half, format);
    packed.hidden_bias =
        Padded(arrays.Take("wavernn.hidden_bias" + number, 1, half), 1, half, padded_half);
    packed.output = PackedMatrix(arrays.Take("wavernn.output" + number, kStageLevels, half),
                                 kStageLevels, half, format);
    const auto bias = arrays.Take("wavernn.output_bias" + number, 1, kStageLevels);
    packed.output_bias.assign(bias.begin(), bias.end());
  }
  if (condition_width > 0) {
    const auto map = arrays.Take("wavernn.condition", kGates * dim, condition_width);
    // Chosen: not in 8 bits. It is read once in `hold` samples, and its vectors are not gates' h.
    result.condition =
        PackedMatrix(ByHalf(map, kGates, half, condition_width), rows, condition_width,
                     format == Format::kF32 ? Format::kF32 : Format::kF16);
    result.hold = hold;
  }
  return result;
}

// What the rest of the engine needs to carry h from call to call.
PackedTier PackedModel::WaveRnnState(const Arrays& arrays) const {
  PackedTier tier;
  tier.frame_size = 1;
  tier.h0 = PaddedHalves(arrays.Take("wavernn.h0", 1, dim), 1, wavernn.half, wavernn.padded_half());
  return tier;
}

std::vector<const PackedMatrix*> PackedWaveRnn::matrices() const {
  std::vector<const PackedMatrix*> all;
  if (half == 0) return all;
  all.push_back(&recurrent);
  for (const PackedHalf& own : halves) all.insert(all.end(), {&own.hidden, &own.output});
  return all;
}

}  // namespace samplewise
