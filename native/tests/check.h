// What the tests share: a check that counts and reports failures, and random numbers.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <random>
#include <stdexcept>
#include <vector>

inline int failures = 0;

// CHECK(condition, printf-style account of the case)
#define CHECK(condition, ...)                                       \
  do {                                                              \
    if (!(condition)) {                                             \
      if (++failures <= 20) {                                       \
        std::printf("%s:%d: %s: ", __FILE__, __LINE__, #condition); \
        std::printf(__VA_ARGS__);                                   \
        std::printf("\n");                                          \
      }                                                             \
    }                                                               \
  } while (false)

template <typename Call>
bool Refused(const Call& call) {
  try {
    call();
  } catch (const std::invalid_argument&) {
    return true;
  }
  return false;
}

inline std::vector<float> Normal(std::size_t n, unsigned seed, float deviation = 1.0f) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0.0f, deviation);
  std::vector<float> values(n);
  for (float& value : values) value = normal(generator);
  return values;
}

// Whether a test is to be short, as the first word of its command line says.
inline bool IsShort(int argc, char** argv) {
  return argc > 1 && std::strcmp(argv[1], "short") == 0;
}

// For the end of main.
inline int Report(const char* name) {
  if (failures > 0) std::printf("%s: %d checks failed\n", name, failures);
  return failures > 0 ? 1 : 0;
}
