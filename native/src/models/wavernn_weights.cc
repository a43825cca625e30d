// The weights of a WaveRNN, packed: its halves separately, each padded to whole panels.
#include <algorithm>
#include <stdexcept>
#include <string>

#include "models/wavernn.h"
#include "size.h"

namespace samplewise {
namespace {

constexpr int kGates = 3;

void CheckSizes(const WaveRnnSpec& spec, int q_levels) {
  CheckRange("dim", spec.dim, 1, kMaxWidth);
  CheckRange("q_levels", q_levels, kStageLevels * kStageLevels, kStageLevels * kStageLevels);
  if (spec.dim % 2 != 0) {
    throw std::invalid_argument("dim = " + std::to_string(spec.dim) +
                                " must be even: half of the units are for the coarse 8 bits");
  }
}

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
  for (const int index : {kCoarse, kFine}) {
    const Floats own = RowsOfHalf(rows, groups, half, index, cols);
    const Floats blocks = ByBlock(own, groups, half, CeilPanels(half), cols);
    result.insert(result.end(), blocks.begin(), blocks.end());
  }
  return result;
}

// (rows, 2 * half) -> (rows, 2 * padded half): columns in the order of the units.
Floats PaddedHalves(std::span<const float> values, int rows, int half) {
  return Padded(values, 2 * rows, half, CeilPanels(half) * kPanelRows);
}

// Columns of the gates, (count, blocks * 96), for each block together: (blocks, count, 96).
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

PackedHalf PackHalf(const WaveRnnHalfSpec& spec, int index, int half, Format format) {
  PackedHalf packed;
  packed.hidden = Packed(spec.hidden, Numbered("wavernn.hidden", Size(index)), half, half, format);
  packed.hidden_bias =
      PaddedToPanels(spec.hidden_bias, Numbered("wavernn.hidden_bias", Size(index)), 1, half);
  packed.output =
      Packed(spec.output, Numbered("wavernn.output", Size(index)), kStageLevels, half, format);
  packed.output_bias = PaddedToPanels(
      spec.output_bias, Numbered("wavernn.output_bias", Size(index)), 1, kStageLevels);
  return packed;
}

}  // namespace

PackedWaveRnn::PackedWaveRnn(const WaveRnnSpec& spec, int q_levels, Format format)
    : format(format),
      conditioning{spec.condition_width, spec.hold},
      half(spec.dim / 2),
      blocks(CeilPanels(half)) {
  CheckSizes(spec, q_levels);
  conditioning.Check();
  const int dim = spec.dim;
  const int rows = 2 * blocks * kGates * kPanelRows;
  const Floats all =
      ByHalf(Checked(spec.recurrent, "wavernn.recurrent", kGates * dim, dim), kGates, half, dim);
  recurrent = PackedMatrix(PaddedHalves(all, rows, half), rows, padded(), format);
  bias = ByHalf(Checked(spec.bias, "wavernn.bias", 1, kGates * dim), kGates, half, 1);
  candidate_bias = PaddedHalves(Checked(spec.candidate_bias, "wavernn.candidate", 1, dim), 1, half);
  const std::span<const float> input = Checked(spec.input, "wavernn.input", kGates * dim, 2);
  const std::span<const float> current = Checked(spec.current, "wavernn.current", kGates * half, 1);
  halves[kCoarse] = PackHalf(spec.coarse, kCoarse, half, format);
  halves[kFine] = PackHalf(spec.fine, kFine, half, format);
  for (const int index : {kCoarse, kFine}) {
    const Floats own = RowsOfHalf(input, kGates, half, index, 2);
    std::vector<Floats> columns(2);
    for (size_t i = 0; i < own.size(); ++i) columns[i % 2].push_back(own[i]);
    if (index == kFine) columns.emplace_back(current.begin(), current.end());
    for (Floats& column : columns) column = ByBlock(column, kGates, half, blocks, 1);
    halves[index].columns = ColumnsByBlock(columns, blocks);
  }
  if (spec.condition_width > 0) {
    const std::span<const float> map =
        Checked(spec.condition, "wavernn.condition", kGates * dim, spec.condition_width);
    condition = PackedMatrix(ByHalf(map, kGates, half, spec.condition_width), rows,
                             spec.condition_width, ConditioningSize::FormatOfMaps(format));
  }
  h0 = PaddedHalves(Checked(spec.h0, "wavernn.h0", 1, dim), 1, half);
}

std::vector<MatrixUse> PackedWaveRnn::matrices() const {
  std::vector<MatrixUse> all{{&recurrent, 1.0, 1.0}};
  for (const PackedHalf& own : halves) {
    all.push_back({&own.hidden, 1.0, 1.0});
    all.push_back({&own.output, 1.0, 1.0});
  }
  if (is_conditioned()) all.push_back({&condition, 1.0 / conditioning.hold, 1.0});
  return all;
}

std::vector<StateArray> PackedWaveRnn::InitialState(int batch) const {
  StateArray h{{}, Size(padded())};
  for (int clip = 0; clip < batch; ++clip) h.values.insert(h.values.end(), h0.begin(), h0.end());
  return {h};
}

}  // namespace samplewise
