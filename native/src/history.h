// The last codes of every clip.
#pragma once

#include <cstdint>
#include <vector>

#include "partition.h"
#include "samplewise/engine.h"

namespace samplewise {

// A ring of codes for each clip, one copy per thread. Everything is stored twice, so that the last
// codes lie next to each other wherever they begin.
class History {
 public:
  History(int max_batch, int lookback);

  void Load(const State& state);
  void Store(Range clips, State& state) const;

  int64_t clock() const { return clock_; }  // samples so far
  // The last `size` codes of a clip, oldest first.
  const int32_t* Last(int clip, int size) const;
  int32_t Last(int clip) const { return *Last(clip, 1); }
  // Appends one code for each of `clips` and advances the clock. codes: (batch,)
  void Push(Range clips, const std::vector<int32_t>& codes);

 private:
  int lookback_;
  int64_t clock_ = 0;
  std::vector<int32_t> ring_;  // (batch, 2 * lookback)
};

}  // namespace samplewise
