// Counter-based random numbers, Philox4x64-10 (Salmon et al. 2011): the same as
// samplewise/generate/uniforms.py.
#pragma once

#include <array>
#include <cstdint>

namespace samplewise {

// Draw `index` of clip `clip` under `seed`, in [0, 1).
inline float Uniform(std::uint64_t seed, std::uint64_t clip, std::uint64_t index) {
  __extension__ using Wide = unsigned __int128;
  constexpr int kRounds = 10;
  std::array<std::uint64_t, 4> words{index / 4 + 1, 0, 0, 0};
  for (int round = 0; round < kRounds; ++round) {
    const Wide a = Wide{0xD2E7470EE14C6C93} * words[0];
    const Wide b = Wide{0xCA5A826395121157} * words[2];
    words = {static_cast<std::uint64_t>(b >> 64) ^ words[1] ^ seed, static_cast<std::uint64_t>(b),
             static_cast<std::uint64_t>(a >> 64) ^ words[3] ^ clip, static_cast<std::uint64_t>(a)};
    seed += 0x9E3779B97F4A7C15;
    clip += 0xBB67AE8584CAA73B;
  }
  return static_cast<float>(words[index % 4] >> 40) * 0x1p-24F;
}

}  // namespace samplewise
