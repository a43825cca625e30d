// The choice of kernels, and the roofline.

#include <cstdlib>
#include <string>

#include "check.h"
#include "kernels/kernels.h"
#include "roofline.h"

namespace samplewise {
namespace {

void TestTables() {
  const std::vector<Isa> isas = AvailableIsas();
  CHECK(!isas.empty() && isas.front() == Isa::kBaseline, "no baseline");
  for (const Isa isa : kAllIsas) {
    bool available = false;
    for (const Isa other : isas) available = available || other == isa;
    CHECK(Refused([&] { KernelsFor(isa); }) == !available, "%s", Name(isa));
    if (!available) continue;
    CHECK(KernelsFor(isa).isa == isa && std::string(KernelsFor(isa).name) == Name(isa), "%s",
          Name(isa));
  }
}

// BestKernels reads the environment once, so main sets it first.
void TestWish() {
  setenv("SAMPLEWISE_ISA", "sse9", 1);
  bool named = false;
  try {
    BestKernels();
  } catch (const std::invalid_argument& error) {
    named = std::string(error.what()).find("sse9") != std::string::npos &&
            std::string(error.what()).find("baseline") != std::string::npos;
  }
  CHECK(named, "an unknown name is not refused by name");
  setenv("SAMPLEWISE_ISA", "baseline", 1);
  CHECK(BestKernels().isa == Isa::kBaseline, "%s", BestKernels().name);
}

void TestRoofline() {
  for (const Isa isa : AvailableIsas()) {
    for (const int threads : {1, 2}) {
      const Roofline r = MeasureRoofline(KernelsFor(isa), threads, 1 << 20);
      std::printf("%-8s %d threads: read %.1f GB/s, f32 %.1f, f16 %.1f, int8 %.1f GMAC/s\n",
                  Name(isa), threads, r.read_gb_s, r.f32_gmac_s, r.f16_gmac_s, r.int8_gmac_s);
      CHECK(r.read_gb_s > 0.001 && r.f32_gmac_s > 0.001 && r.f16_gmac_s > 0.0001 &&
                r.int8x16_gmac_s > 0.001 && r.int8_gmac_s > 0.001,
            "%s", Name(isa));
    }
  }
}

}  // namespace
}  // namespace samplewise

int main() {
  samplewise::TestTables();
  samplewise::TestWish();
  samplewise::TestRoofline();
  return Report("dispatch");
}
