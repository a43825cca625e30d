// Rows of matrices divided among threads.
#pragma once

#include <vector>

#include "matrix.h"

namespace samplewise {

struct Range {
  int first = 0;
  int last = 0;

  int size() const { return last - first; }
};

// Panels, or blocks of hidden units: each thread owns a range of them for good.
class Partition {
 public:
  Partition() = default;
  // Thread i owns bounds[i] .. bounds[i + 1] - 1.
  explicit Partition(std::vector<int> bounds) : bounds_(std::move(bounds)) {}
  // Gives each thread about the same share of the costs.
  static Partition Balanced(const std::vector<size_t>& costs, int threads);

  // The range of `thread` when `active` threads run: everything if it is the only one.
  Range Of(int thread, int active) const;
  Partition Shifted(int offset) const;

 private:
  std::vector<int> bounds_;
};

// The bytes of each panel.
std::vector<size_t> PanelCosts(const PackedMatrix& matrix);

}  // namespace samplewise
