// Recurrent layers in training: h and c against double precision, gradients against finite
// differences of it.

#include "recurrence.h"

#include <algorithm>
#include <cmath>

#include "check.h"
#include "size.h"

namespace samplewise {
namespace {

constexpr int kTime = 3, kBatch = 5, kDim = 35;

double S(double x) { return 1.0 / (1.0 + std::exp(-x)); }

struct Layer {
  explicit Layer(Cell cell) : size{cell, kTime, kBatch, kDim} {
    const size_t rows = Size(size.gates()) * kDim;
    x = Normal(kTime * kBatch * rows, 1);
    weight = Normal(rows * kDim, 2, 0.3f);
    bias = Normal(kDim, 3);
    h0 = Normal(kBatch * kDim, 4, 0.5f);
    c0 = Normal(kBatch * kDim, 5, 0.5f);
    grad = Normal(kTime * kBatch * kDim, 6);
    grad_c = Normal(kBatch * kDim, 7);
    if (cell != Cell::kLstm) std::fill(grad_c.begin(), grad_c.end(), 0.0f);
  }
  RecurrenceSize size;
  std::vector<float> x, weight, bias, h0, c0, grad, grad_c;
};

// h after every step, then the last c; of one row of the batch, in double precision. `moved` is
// added to one number of `which`.
struct Move {
  int which = -1;  // 0: x, 1: h0, 2: c0
  size_t index = 0;
  double by = 0.0;
};

double At(const std::vector<float>& values, size_t index, int which, const Move& move) {
  return values[index] + (move.which == which && move.index == index ? move.by : 0.0);
}

std::vector<double> Row(const Layer& layer, size_t row, const Move& move) {
  const Cell cell = layer.size.cell;
  const size_t gates = Size(layer.size.gates());
  std::vector<double> h(kDim), c(kDim), all;
  for (size_t i = 0; i < kDim; ++i) {
    h[i] = At(layer.h0, row * kDim + i, 1, move);
    c[i] = At(layer.c0, row * kDim + i, 2, move);
  }
  const auto product = [&](size_t gate, size_t unit, const std::vector<double>& of) {
    double sum = 0.0;
    for (size_t j = 0; j < kDim; ++j) sum += layer.weight[(gate * kDim + unit) * kDim + j] * of[j];
    return sum;
  };
  for (size_t t = 0; t < kTime; ++t) {
    const auto x = [&](size_t gate, size_t unit) {
      const size_t index = ((t * kBatch + row) * gates + gate) * kDim + unit;
      return At(layer.x, index, 0, move);
    };
    std::vector<double> next(kDim), reset(kDim);
    for (size_t i = 0; i < kDim; ++i) reset[i] = S(x(0, i) + product(0, i, h)) * h[i];
    for (size_t i = 0; i < kDim; ++i) {
      if (cell == Cell::kLstm) {
        const double input = S(x(0, i) + product(0, i, h)), forget = S(x(1, i) + product(1, i, h));
        c[i] = forget * c[i] + input * std::tanh(x(2, i) + product(2, i, h));
        next[i] = S(x(3, i) + product(3, i, h)) * std::tanh(c[i]);
        continue;
      }
      const double r = S(x(0, i) + product(0, i, h)), z = S(x(1, i) + product(1, i, h));
      const double u =
          cell == Cell::kGru ? product(2, i, reset) : r * (product(2, i, h) + layer.bias[i]);
      const double n = std::tanh(x(2, i) + u);
      next[i] = (1 - z) * n + z * h[i];
    }
    h = next;
    all.insert(all.end(), h.begin(), h.end());
  }
  all.insert(all.end(), c.begin(), c.end());
  return all;
}

// What the gradients are of.
double Loss(const Layer& layer, size_t row, const Move& move) {
  const std::vector<double> all = Row(layer, row, move);
  double sum = 0.0;
  for (size_t t = 0; t <= kTime; ++t) {
    for (size_t i = 0; i < kDim; ++i) {
      const size_t at = (t * kBatch + row) * kDim + i;
      sum += all[t * kDim + i] * (t < kTime ? layer.grad[at] : layer.grad_c[row * kDim + i]);
    }
  }
  return sum;
}

void TestLayer(const Kernels& k, Cell cell) {
  const Layer layer(cell);
  const RecurrenceSize& size = layer.size;
  const bool lstm = cell == Cell::kLstm;
  const size_t steps = kTime * kBatch, rows = Size(size.gates()) * kDim;
  std::vector<float> h(layer.h0), c(layer.c0), values(steps * 4 * kDim), candidate(steps * kDim),
      aside(steps * kDim), transposed(rows * kDim), carried(kBatch * kDim), carried_c(layer.grad_c),
      grad_gates(steps * rows), grad_aside(steps * kDim);
  h.resize((kTime + 1) * kBatch * kDim);
  c.resize(h.size());
  for (size_t i = 0; i < rows; ++i) {
    for (size_t j = 0; j < kDim; ++j) transposed[j * rows + i] = layer.weight[i * kDim + j];
  }
  RunForward(k, size,
             {layer.x.data(), layer.weight.data(), layer.bias.data(), h.data(), c.data(),
              values.data(), candidate.data(), aside.data()},
             1);
  RunBack(
      k, size,
      {layer.grad.data(), transposed.data(), h.data(), c.data(), values.data(), candidate.data(),
       aside.data(), carried.data(), carried_c.data(), grad_gates.data(), grad_aside.data()},
      1);
  const int kind = static_cast<int>(cell);
  for (size_t row = 0; row < kBatch; ++row) {
    const std::vector<double> expected = Row(layer, row, {});
    for (size_t t = 0; t < kTime; ++t) {
      for (size_t i = 0; i < kDim; ++i) {
        const double found = h[((t + 1) * kBatch + row) * kDim + i];
        CHECK(std::abs(found - expected[t * kDim + i]) < 3e-6, "%s, cell %d: h", k.name, kind);
      }
    }
    for (size_t i = 0; lstm && i < kDim; ++i) {
      const double found = c[(kTime * kBatch + row) * kDim + i];
      CHECK(std::abs(found - expected[kTime * kDim + i]) < 3e-6, "%s, cell %d: c", k.name, kind);
    }
    const auto check = [&](int which, size_t index, float found) {
      constexpr double kMove = 1e-5;
      const double slope =
          (Loss(layer, row, {which, index, kMove}) - Loss(layer, row, {which, index, -kMove})) /
          (2 * kMove);
      CHECK(std::abs(found - slope) < 3e-5, "%s, cell %d, array %d: %g, not %g", k.name, kind,
            which, static_cast<double>(found), slope);
    };
    for (size_t unit = row % 4; unit < kDim; unit += 11) {
      check(1, row * kDim + unit, carried[row * kDim + unit]);
      if (lstm) check(2, row * kDim + unit, carried_c[row * kDim + unit]);
      for (size_t gate = 0; gate < Size(size.gates()); ++gate) {
        for (size_t t = 0; t < kTime; ++t) {
          const size_t index = ((t * kBatch + row) * Size(size.gates()) + gate) * kDim + unit;
          check(0, index, grad_gates[index]);
        }
      }
    }
  }
}

// With enough work for several threads, the bits are those of one.
void TestThreads(const Kernels& k, Cell cell) {
  const RecurrenceSize size{cell, 12, 24, 128};
  const size_t gates = Size(size.gates()) * 128, row = 24 * 128, steps = 12 * row;
  const std::vector<float> x = Normal(12 * 24 * gates, 1), weight = Normal(gates * 128, 2, 0.1f);
  const std::vector<float> bias = Normal(128, 3), grad = Normal(steps, 4);
  std::vector<std::vector<float>> found;
  for (const int threads : {1, 3}) {
    std::vector<float> h = Normal(row, 5), c = Normal(row, 6), carried(row), carried_c(row);
    std::vector<float> values(4 * steps), candidate(steps), aside(steps), to_gates(12 * 24 * gates),
        to_aside(steps);
    h.resize(row + steps);
    c.resize(row + steps);
    RunForward(k, size,
               {x.data(), weight.data(), bias.data(), h.data(), c.data(), values.data(),
                candidate.data(), aside.data()},
               threads);
    RunBack(k, size,
            {grad.data(), weight.data(), h.data(), c.data(), values.data(), candidate.data(),
             aside.data(), carried.data(), carried_c.data(), to_gates.data(), to_aside.data()},
            threads);
    to_gates.insert(to_gates.end(), h.begin(), h.end());
    to_gates.insert(to_gates.end(), carried.begin(), carried.end());
    found.push_back(to_gates);
  }
  CHECK(found[0] == found[1], "%s, cell %d", k.name, static_cast<int>(cell));
}

}  // namespace
}  // namespace samplewise

int main() {
  using namespace samplewise;
  for (const Isa isa : AvailableIsas()) {
    for (const Cell cell : {Cell::kGru, Cell::kGruResetAfter, Cell::kLstm}) {
      TestLayer(KernelsFor(isa), cell);
      TestThreads(KernelsFor(isa), cell);
    }
  }
  return Report("test_recurrence");
}
