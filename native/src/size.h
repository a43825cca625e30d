// Conversion of a size that is not negative, for the standard library's unsigned sizes.
#pragma once

#include <cstddef>

namespace samplewise {

constexpr std::size_t Size(int value) { return static_cast<std::size_t>(value); }

}  // namespace samplewise
