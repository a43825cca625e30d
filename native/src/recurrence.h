// The time loop of a recurrent layer in training, forwards and backwards, in single precision.
//
// Rows of a batch never meet, so each thread takes rows of its own through all steps. A row's
// numbers depend neither on the batch nor on the number of threads, bit for bit.
#pragma once

#include "kernels/kernels.h"
#include "samplewise/specs.h"

namespace samplewise {

// Sizes of a layer and its sequence; gates: 3, LSTM 4.
struct RecurrenceSize {
  Cell cell = Cell::kGru;
  int time = 0;
  int batch = 0;
  int dim = 0;

  int gates() const { return cell == Cell::kLstm ? 4 : 3; }
};

// Row-major. h[0] and c[0] are given; the rest of h and c, gate_values, candidate and aside are
// results: h after each step, and what RunBack needs.
struct RecurrenceArrays {
  const float* x = nullptr;       // (time, batch, gates * dim): the input's share of the gates
  const float* weight = nullptr;  // (gates * dim, dim)
  const float* bias = nullptr;    // (dim,): gru-reset-after
  float* h = nullptr;             // (time + 1, batch, dim)
  float* c = nullptr;             // (time + 1, batch, dim): LSTM
  float* gate_values = nullptr;   // (time, batch, 2 * dim), LSTM: 4 * dim
  float* candidate = nullptr;     // (time, batch, dim): GRU
  float* aside = nullptr;         // (time, batch, dim): GRU, see RecurrentStep
};

struct RecurrenceGradients {
  const float* grad = nullptr;        // (time, batch, dim): of h after each step
  const float* transposed = nullptr;  // (dim, gates * dim)
  const float* h = nullptr;           // of the forward pass, as all that follow; GRU
  const float* c = nullptr;
  const float* gate_values = nullptr;
  const float* candidate = nullptr;
  const float* aside = nullptr;  // gru-reset-after
  float* carried = nullptr;      // (batch, dim): zeros; out: gradient of h[0]
  float* carried_c = nullptr;    // (batch, dim): gradient of the last c; out: of c[0]
  float* grad_gates = nullptr;   // (time, batch, gates * dim): of x; out
  float* grad_aside = nullptr;   // (time, batch, dim): gru-reset-after, of W_n h + b; out
};

void RunForward(const Kernels& kernels, const RecurrenceSize& size, const RecurrenceArrays& arrays,
                int threads);
void RunBack(const Kernels& kernels, const RecurrenceSize& size, const RecurrenceGradients& arrays,
             int threads);

}  // namespace samplewise
