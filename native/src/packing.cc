#include "packing.h"

#include <algorithm>
#include <stdexcept>

#include "size.h"

namespace samplewise {
namespace {

std::string Shape(int64_t rows, int64_t cols) {
  return std::to_string(rows) + " x " + std::to_string(cols);
}

}  // namespace

void CheckRange(const char* name, int64_t value, int64_t low, int64_t high) {
  if (value < low || value > high) {
    throw std::invalid_argument(std::string(name) + " = " + std::to_string(value) +
                                " must lie in [" + std::to_string(low) + ", " +
                                std::to_string(high) + "]");
  }
}

std::string Numbered(std::string name, size_t index) {
  name += '.';
  name += std::to_string(index);
  return name;
}

std::span<const float> Checked(const Array& array, const std::string& name, int64_t rows,
                               int64_t cols) {
  if (array.values.data() == nullptr) throw std::invalid_argument("array " + name + " is missing");
  const auto size = static_cast<size_t>(rows) * static_cast<size_t>(cols);
  if (array.rows != rows || array.cols != cols || array.values.size() != size) {
    throw std::invalid_argument(name + " is " + Shape(array.rows, array.cols) + ", not " +
                                Shape(rows, cols));
  }
  return array.values;
}

PackedMatrix Packed(const Array& array, const std::string& name, int rows, int cols,
                    Format format) {
  return PackedMatrix(Checked(array, name, rows, cols), rows, cols, format);
}

Floats PaddedToPanels(const Array& array, const std::string& name, int rows, int cols) {
  return Padded(Checked(array, name, rows, cols), rows, cols, CeilPanels(cols) * kPanelRows);
}

Floats ByBlock(std::span<const float> rows, int groups, int dim, int blocks, int cols) {
  const size_t width = Size(cols);
  Floats result(Size(blocks) * Size(groups) * kPanelRows * width);
  for (int group = 0; group < groups; ++group) {
    for (int unit = 0; unit < dim; ++unit) {
      const size_t from = Size(group) * Size(dim) + Size(unit);
      const int block = unit / kPanelRows;
      const size_t to = Size(block * groups + group) * kPanelRows + Size(unit % kPanelRows);
      std::copy_n(rows.begin() + static_cast<std::ptrdiff_t>(from * width), width,
                  result.begin() + static_cast<std::ptrdiff_t>(to * width));
    }
  }
  return result;
}

Floats Padded(std::span<const float> values, int rows, int cols, int padded_cols) {
  Floats result(Size(rows) * Size(padded_cols));
  for (int row = 0; row < rows; ++row) {
    std::copy_n(values.begin() + static_cast<std::ptrdiff_t>(row) * cols, cols,
                result.begin() + static_cast<std::ptrdiff_t>(row) * padded_cols);
  }
  return result;
}

}  // namespace samplewise
