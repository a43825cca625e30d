// The number of threads on made-up machines, with made-up time.

#include <algorithm>

#include "check.h"
#include "thread_scaler.h"

namespace samplewise {
namespace {

// A machine on which one thread takes 35 us for a sample and two take 18.
struct Machine {
  double wake = 0.0;        // seconds until a thread that slept works
  double lost_until = 0.0;  // until then, the second core is another program's
  double seconds = 0.0;     // since the beginning
  double with_two = 0.0;    // of these, with two threads
  bool slept = true;

  double Run(int samples, int threads, bool is_new_call) {
    double block = samples * (threads == 1 ? 35e-6 : seconds < lost_until ? 1e-3 : 18e-6);
    if (threads == 2 && (slept || is_new_call)) block += wake;
    slept = threads == 1;
    seconds += block;
    if (threads == 2) with_two += block;
    return block;
  }
};

// Draws for a while, `piece` samples in each call, and returns the share of the last second during
// which two threads worked.
double ShareOfTwo(Machine machine, double until, int piece) {
  ThreadScaler scaler(2, Pace::kAdaptive);
  double before = 0.0;
  while (machine.seconds < until) {
    scaler.Begin();
    bool is_new_call = true;
    for (int done = 0; done < piece && machine.seconds < until;) {
      if (machine.seconds < until - 1.0) before = machine.with_two;
      const int samples = std::min(scaler.samples(), piece - done);
      scaler.Record(samples, machine.Run(samples, scaler.active(), is_new_call));
      done += samples;
      is_new_call = false;
    }
  }
  return machine.with_two - before;
}

void TestTwoThreadsThatAreFasterWork() {
  for (const double wake : {0.0, 30e-6, 1e-3, 5e-3}) {
    const double share = ShareOfTwo({.wake = wake}, 3.0, 1 << 30);
    CHECK(share > 0.9, "%g of the time with two threads that wake in %g s", share, wake);
  }
  // Pieces of 20 ms of 16 kHz, for each of which the other thread wakes up.
  const double share = ShareOfTwo({.wake = 1e-3}, 3.0, 320);
  CHECK(share > 0.9, "%g of the time with pieces", share);
}

// Of the time during which a core is taken, little is lost; and two threads work soon after it.
void TestATakenCore() {
  const double taken = ShareOfTwo({.lost_until = 10.0}, 3.0, 1 << 30);
  CHECK(taken < 0.1, "%g of the time with two threads, one of which waits", taken);
  const double after = ShareOfTwo({.lost_until = 3.0}, 6.0, 1 << 30);
  CHECK(after > 0.9, "%g of the time with two threads, 2 s after the core came back", after);
}

// A piece so short that waking a thread costs more than it brings.
void TestShortPieces() {
  const double share = ShareOfTwo({.wake = 1e-3}, 3.0, 16);
  CHECK(share < 0.1, "%g of the time with two threads", share);
}

}  // namespace
}  // namespace samplewise

int main() {
  samplewise::TestTwoThreadsThatAreFasterWork();
  samplewise::TestATakenCore();
  samplewise::TestShortPieces();
  return Report("thread_scaler");
}
