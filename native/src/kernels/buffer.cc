#include "kernels/buffer.h"

#include <cstdlib>
#include <cstring>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace samplewise {
namespace {

constexpr std::size_t kLine = 64;
constexpr std::size_t kLargePage = std::size_t{1} << 21;

std::size_t RoundUp(std::size_t bytes, std::size_t multiple) {
  return (bytes + multiple - 1) / multiple * multiple;
}

}  // namespace

Buffer::Buffer(std::size_t bytes) : size_(bytes) {
  if (bytes == 0) return;
  // From half a large page on, a whole one is used: otherwise address translation costs 5 to 10% of
  // the time to read weights.
  const std::size_t alignment = bytes >= kLargePage / 2 ? kLargePage : kLine;
  const std::size_t rounded = RoundUp(bytes, alignment);
  auto* memory = static_cast<std::uint8_t*>(std::aligned_alloc(alignment, rounded));
  if (memory == nullptr) throw std::bad_alloc();
#if defined(__linux__)
  if (alignment == kLargePage)
    madvise(memory, rounded, MADV_HUGEPAGE);  // a hint; failure is harmless
#endif
  std::memset(memory, 0, rounded);
  bytes_.reset(memory);
}

void Buffer::Free::operator()(std::uint8_t* bytes) const { std::free(bytes); }

}  // namespace samplewise
