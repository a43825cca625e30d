// Rows of weights in a format's numbers, before they are arranged in panels.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "matrix.h"

namespace samplewise {

constexpr bool IsInteger(Format format) {
  return format == Format::kInt8 || format == Format::kInt8x16;
}
constexpr std::size_t WeightBytes(Format format) {
  return format == Format::kF32 ? 4 : format == Format::kF16 ? 2 : 1;
}
// Columns that a block of a sparse matrix spans.
constexpr int ColsOfBlock(Format format) { return IsInteger(format) ? 4 : 1; }

// kInt8: the products of the columns c, c + 1, c + 4 and c + 5, where c is 0 or 2 in each eight,
// are added in 16 bits (AVX2). They cannot overflow if the positive weights of each such group, and
// the negative ones, sum to at most this in magnitude: kMaxGroupSum * kMaxByte < 2^15. Chosen:
// equal, which divides the loss of precision evenly between weights and activations.
inline constexpr int kMaxGroupSum = 181;
inline constexpr int kGroupCols = 8;

// The weights of one row as they are stored.
struct StoredRow {
  std::vector<std::uint8_t> bytes;  // (cols,) of WeightBytes each
  float scale = 1.0f;
  std::int32_t sum = 0;
};

StoredRow StoreRow(const float* weights, int cols, Format format);

// Whether the block of these rows (16, fewer at the end) whose columns begin at `first_col` is all
// zero.
bool IsZeroBlock(std::span<const StoredRow> rows, int first_col, int cols, Format format);

}  // namespace samplewise
