#include "kernels/rows.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/half.h"
#include "size.h"

namespace samplewise {
namespace {

// The largest sum, of either sign, of the weights of a group.
double LargestGroupSum(const float* weights, int cols) {
  double largest = 0.0;
  for (int first = 0; first < cols; first += kGroupCols) {
    for (int pair = 0; pair < kGroupCols / 2; pair += 2) {
      double positive = 0.0;
      double negative = 0.0;
      for (const int col : {first + pair, first + pair + 1, first + pair + 4, first + pair + 5}) {
        if (col < cols) (weights[col] > 0.0f ? positive : negative) += weights[col];
      }
      largest = std::max({largest, positive, -negative});
    }
  }
  return largest;
}

StoredRow QuantizeRow(const float* weights, int cols, Format format) {
  StoredRow stored{std::vector<std::uint8_t>(Size(cols))};
  float largest = 0.0f;
  for (int c = 0; c < cols; ++c) largest = std::max(largest, std::abs(weights[c]));
  stored.scale = largest / 127.0f;
  if (format == Format::kInt8) {
    // Rounding adds at most a half to each of the four weights.
    constexpr double kMaxUnrounded = kMaxGroupSum - 2;
    stored.scale =
        std::max(stored.scale, static_cast<float>(LargestGroupSum(weights, cols) / kMaxUnrounded));
  }
  if (stored.scale < std::numeric_limits<float>::min()) {  // inexact, or 0: a row of zeros
    stored.scale = 0.0f;
    return stored;
  }
  for (int c = 0; c < cols; ++c) {
    const double steps = static_cast<double>(weights[c]) / static_cast<double>(stored.scale);
    const long value = std::lrint(steps);
    stored.bytes[Size(c)] = static_cast<std::uint8_t>(value);
    stored.sum += static_cast<std::int32_t>(value);
  }
  return stored;
}

bool IsZero(const std::uint8_t* bytes, size_t n, Format format) {
  if (IsInteger(format)) return std::all_of(bytes, bytes + n, [](auto b) { return b == 0; });
  const size_t width = WeightBytes(format);
  for (size_t i = 0; i < n; ++i) {  // -0 is zero as well
    const bool sign = i % width == width - 1;
    if ((bytes[i] & (sign ? 0x7f : 0xff)) != 0) return false;
  }
  return true;
}

}  // namespace

StoredRow StoreRow(const float* weights, int cols, Format format) {
  if (IsInteger(format)) return QuantizeRow(weights, cols, format);
  StoredRow stored{std::vector<std::uint8_t>(Size(cols) * WeightBytes(format))};
  if (format == Format::kF32) {
    std::memcpy(stored.bytes.data(), weights, stored.bytes.size());
    return stored;
  }
  for (int c = 0; c < cols; ++c) {
    const std::uint16_t half = HalfFromFloat(weights[c]);
    std::memcpy(stored.bytes.data() + 2 * c, &half, sizeof(half));
  }
  return stored;
}

bool IsZeroBlock(std::span<const StoredRow> rows, int first_col, int cols, Format format) {
  const int n = std::min(ColsOfBlock(format), cols - first_col);
  const size_t width = WeightBytes(format);
  return std::all_of(rows.begin(), rows.end(), [&](const StoredRow& row) {
    return IsZero(row.bytes.data() + Size(first_col) * width, Size(n) * width, format);
  });
}

}  // namespace samplewise
