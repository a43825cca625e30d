#include "arrays.h"

#include <algorithm>
#include <stdexcept>

namespace samplewise {
namespace {

std::string Shape(int64_t rows, int64_t cols) {
  return std::to_string(rows) + " x " + std::to_string(cols);
}

}  // namespace

std::span<const float> Arrays::Take(const std::string& name, int64_t rows, int64_t cols) const {
  const auto found = arrays_.find(name);
  if (found == arrays_.end()) throw std::invalid_argument("array " + name + " is missing");
  const Array& array = found->second;
  const auto size = static_cast<size_t>(rows) * static_cast<size_t>(cols);
  if (array.rows != rows || array.cols != cols || array.values.size() != size) {
    throw std::invalid_argument(name + " is " + Shape(array.rows, array.cols) + ", not " +
                                Shape(rows, cols));
  }
  return array.values;
}

int CeilPanels(int rows) { return (rows + kPanelRows - 1) / kPanelRows; }

Floats ByBlock(std::span<const float> rows, int groups, int dim, int blocks, int cols) {
  const auto width = static_cast<size_t>(cols);
  Floats result(static_cast<size_t>(blocks) * static_cast<size_t>(groups) * kPanelRows * width);
  for (int group = 0; group < groups; ++group) {
    for (int unit = 0; unit < dim; ++unit) {
      const size_t from =
          static_cast<size_t>(group) * static_cast<size_t>(dim) + static_cast<size_t>(unit);
      const int block = unit / kPanelRows;
      const size_t to = static_cast<size_t>(block * groups + group) * kPanelRows +
                        static_cast<size_t>(unit % kPanelRows);
      std::copy_n(rows.begin() + static_cast<std::ptrdiff_t>(from * width), width,
                  result.begin() + static_cast<std::ptrdiff_t>(to * width));
    }
  }
  return result;
}

Floats Padded(std::span<const float> values, int rows, int cols, int padded_cols) {
  Floats result(static_cast<size_t>(rows) * static_cast<size_t>(padded_cols));
  for (int row = 0; row < rows; ++row) {
    std::copy_n(values.begin() + static_cast<std::ptrdiff_t>(row) * cols, cols,
                result.begin() + static_cast<std::ptrdiff_t>(row) * padded_cols);
  }
  return result;
}

}  // namespace samplewise
