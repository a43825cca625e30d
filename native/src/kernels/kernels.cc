#include "kernels/kernels.h"

#include <cstdlib>
#include <stdexcept>
#include <string>

#include "kernels/tables.h"

#if defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#elif defined(__aarch64__) && defined(__APPLE__)
#include <sys/sysctl.h>
#endif

namespace samplewise {
namespace {

#if defined(__aarch64__) && defined(__APPLE__)
bool HasFeature(const char* name) {
  int value = 0;
  std::size_t size = sizeof(value);
  return sysctlbyname(name, &value, &size, nullptr, 0) == 0 && value != 0;
}
#endif

bool Available(Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::kAvx2) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
           __builtin_cpu_supports("f16c");
  }
  if (isa == Isa::kAvx512) {
    return Available(Isa::kAvx2) && __builtin_cpu_supports("avx512f") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vnni");
  }
#elif defined(__aarch64__) && defined(__linux__)
  if (isa == Isa::kNeon) return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
  if (isa == Isa::kNeonI8mm) {
    return Available(Isa::kNeon) && (getauxval(AT_HWCAP2) & HWCAP2_I8MM) != 0;
  }
#elif defined(__aarch64__) && defined(__APPLE__)
  if (isa == Isa::kNeon) return HasFeature("hw.optional.arm.FEAT_DotProd");
  if (isa == Isa::kNeonI8mm) {
    return Available(Isa::kNeon) && HasFeature("hw.optional.arm.FEAT_I8MM");
  }
#endif
  return isa == Isa::kBaseline;
}

std::string Choices() {
  std::string names;
  for (const Isa isa : AvailableIsas()) {
    if (!names.empty()) names += ", ";
    names += Name(isa);
  }
  return names;
}

const Kernels& Choose() {
  const std::vector<Isa> isas = AvailableIsas();
  const char* wish = std::getenv("SAMPLEWISE_ISA");
  if (wish == nullptr || *wish == '\0') return KernelsFor(isas.back());
  for (const Isa isa : isas) {
    if (std::string(wish) == Name(isa)) return KernelsFor(isa);
  }
  throw std::invalid_argument("SAMPLEWISE_ISA is \"" + std::string(wish) +
                              "\"; this CPU and build have: " + Choices());
}

}  // namespace

const char* Name(Isa isa) {
  switch (isa) {
    case Isa::kBaseline:
      return "baseline";
    case Isa::kAvx2:
      return "avx2";
    case Isa::kAvx512:
      return "avx512";
    case Isa::kNeon:
      return "neon";
    case Isa::kNeonI8mm:
      return "neon-i8mm";
  }
  return "unknown";
}

std::vector<Isa> AvailableIsas() {
  std::vector<Isa> isas;
  for (const Isa isa : kAllIsas) {
    if (Available(isa)) isas.push_back(isa);
  }
  return isas;
}

const Kernels& KernelsFor(Isa isa) {
  if (!Available(isa)) {
    throw std::invalid_argument("kernels for " + std::string(Name(isa)) +
                                " cannot run here; this CPU and build have: " + Choices());
  }
#if defined(__x86_64__)
  if (isa == Isa::kAvx512) return kAvx512Kernels;
  if (isa == Isa::kAvx2) return kAvx2Kernels;
#elif defined(__aarch64__)
  if (isa == Isa::kNeonI8mm) return kNeonI8mmKernels;
  if (isa == Isa::kNeon) return kNeonKernels;
#endif
  return kBaselineKernels;
}

const Kernels& BestKernels() {
  static const Kernels& best = Choose();
  return best;
}

}  // namespace samplewise
