#include "conditioning.h"

#include <limits>

#include "packing.h"
#include "size.h"

namespace samplewise {

void ConditioningSize::Check() const {
  CheckRange("condition_width", width, 0, kMaxWidth);
  if (width > 0) CheckRange("hold", hold, 1, std::numeric_limits<int>::max());
}

ConditioningInput::ConditioningInput(ConditioningSize size, int max_batch, Format format)
    : size_(size) {
  if (size.width == 0) return;
  vectors_ = PackedInput(size.width, max_batch, ConditioningSize::FormatOfMaps(format));
}

bool ConditioningInput::Take(const Kernels& kernels, const Chunk& chunk, int sample, int64_t clock,
                             Range clips) {
  if (size_.width == 0 || (is_taken_ && clock % size_.hold != 0)) return false;
  is_taken_ = true;
  const int64_t begin = clock - sample;  // of the chunk
  const auto vector = static_cast<size_t>(clock / size_.hold - begin / size_.hold);
  for (int clip = clips.first; clip < clips.last; ++clip) {
    const size_t place = (Size(clip) * Size(chunk.vectors) + vector) * Size(size_.width);
    vectors_.Set(kernels, clip - clips.first, chunk.conditioning + place);
  }
  return true;
}

}  // namespace samplewise
