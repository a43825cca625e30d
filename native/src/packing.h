// Arrays of a spec: checked, and laid out for panels.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "matrix.h"
#include "samplewise/specs.h"

namespace samplewise {

using Floats = std::vector<float>;

inline constexpr int kMaxWidth = 1 << 16;  // of layers and vectors
inline constexpr int kMaxFrame = 1 << 20;  // samples

// Throws std::invalid_argument unless low <= value <= high.
void CheckRange(const char* name, int64_t value, int64_t low, int64_t high);

// `name`.`index`, for messages.
std::string Numbered(std::string name, size_t index);

// The values of an array. Throws std::invalid_argument, naming it, unless it is rows x cols.
std::span<const float> Checked(const Array& array, const std::string& name, int64_t rows,
                               int64_t cols);

// The same, packed as a matrix.
PackedMatrix Packed(const Array& array, const std::string& name, int rows, int cols, Format format);

// The same, (rows, cols) -> (rows, padded_cols), padded with zeros to whole panels.
Floats PaddedToPanels(const Array& array, const std::string& name, int rows, int cols);

// Panels that hold `rows` rows.
constexpr int CeilPanels(int rows) { return (rows + kPanelRows - 1) / kPanelRows; }

// Rows (groups, dim, cols) -> (blocks, groups, 32, cols): all rows of a block of 32 units together.
// Threads own blocks of units, so that a gate's non-linearity needs nothing from other threads.
Floats ByBlock(std::span<const float> rows, int groups, int dim, int blocks, int cols);

// (rows, cols) -> (rows, padded_cols), padded with zeros.
Floats Padded(std::span<const float> values, int rows, int cols, int padded_cols);

// A packed matrix as it is used, for reports of speed.
struct MatrixUse {
  const PackedMatrix* matrix;
  double reads;    // how often its bytes are read per sample
  double vectors;  // that it multiplies in one read
};

}  // namespace samplewise
