#include "history.h"

#include <algorithm>

#include "size.h"

namespace samplewise {

History::History(int max_batch, int lookback)
    : lookback_(lookback), ring_(Size(max_batch) * Size(2 * lookback)) {}

void History::Load(const State& state) {
  clock_ = state.clock;
  for (int clip = 0; clip < state.batch; ++clip) {
    int32_t* ring = &ring_[Size(clip) * Size(2 * lookback_)];
    for (int i = 0; i < lookback_; ++i) {
      const auto place = static_cast<int>((clock_ + i) % lookback_);
      ring[place] = ring[place + lookback_] = state.history[Size(clip) * Size(lookback_) + Size(i)];
    }
  }
}

void History::Store(Range clips, State& state) const {
  for (int clip = clips.first; clip < clips.last; ++clip) {
    std::copy_n(Last(clip, lookback_), lookback_, &state.history[Size(clip) * Size(lookback_)]);
  }
}

const int32_t* History::Last(int clip, int size) const {
  const auto place = static_cast<int>((clock_ + lookback_ - size) % lookback_);
  return &ring_[Size(clip) * Size(2 * lookback_) + Size(place)];
}

void History::Push(Range clips, const std::vector<int32_t>& codes) {
  const auto place = Size(static_cast<int>(clock_ % lookback_));
  for (int clip = clips.first; clip < clips.last; ++clip) {
    int32_t* ring = &ring_[Size(clip) * Size(2 * lookback_)];
    ring[place] = ring[place + Size(lookback_)] = codes[Size(clip)];
  }
  ++clock_;
}

}  // namespace samplewise
