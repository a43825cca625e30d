#include "partition.h"

#include "size.h"

namespace samplewise {

Partition Partition::Balanced(const std::vector<size_t>& costs, int threads) {
  size_t total = 0;
  for (const size_t cost : costs) total += cost;
  std::vector<int> bounds{0};
  size_t sum = 0;
  int next = 0;
  const int count = static_cast<int>(costs.size());
  for (int thread = 1; thread < threads; ++thread) {
    const size_t target = total * Size(thread) / Size(threads);
    while (next < count && sum + costs[Size(next)] / 2 < target) sum += costs[Size(next++)];
    bounds.push_back(next);
  }
  bounds.push_back(count);
  return Partition(std::move(bounds));
}

Range Partition::Of(int thread, int active) const {
  if (active == 1) return {bounds_.front(), bounds_.back()};
  return {bounds_[Size(thread)], bounds_[Size(thread) + 1]};
}

Partition Partition::Shifted(int offset) const {
  Partition shifted = *this;
  for (int& bound : shifted.bounds_) bound += offset;
  return shifted;
}

std::vector<size_t> PanelCosts(const PackedMatrix& matrix) {
  std::vector<size_t> costs;
  for (int panel = 0; panel < matrix.panels(); ++panel) costs.push_back(matrix.panel_bytes(panel));
  return costs;
}

}  // namespace samplewise
