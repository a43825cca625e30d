// The arrays of a description: looked up by name, checked, and laid out for panels.
#pragma once

#include <span>
#include <string>

#include "packed.h"
#include "samplewise/engine.h"

namespace samplewise {

class Arrays {
 public:
  explicit Arrays(const ModelSpec& spec) : arrays_(spec.arrays) {}

  bool Has(const std::string& name) const { return arrays_.contains(name); }
  // Throws std::invalid_argument if there is none of this shape.
  std::span<const float> Take(const std::string& name, int64_t rows, int64_t cols) const;

 private:
  const std::map<std::string, Array>& arrays_;
};

int CeilPanels(int rows);

// Rows (groups, dim, cols) -> (blocks, groups, 32, cols): the rows of a block of units together.
Floats ByBlock(std::span<const float> rows, int groups, int dim, int blocks, int cols);

// (rows, cols) -> (rows, padded_cols), filled up with zeros.
Floats Padded(std::span<const float> values, int rows, int cols, int padded_cols);

}  // namespace samplewise
