// The arithmetic of the engine, compiled once for each instruction set and chosen when the program
// runs.
//
// The code (body.inc) is written for vectors of a width that the instruction set defines. `Kernels`
// is the table of its functions. Nothing here allocates, locks or throws, except the functions that
// choose a table.

#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace samplewise {

inline constexpr int kLagGroup = 8;  // lags that an autocorrelation sums at a time
constexpr std::size_t RoundUpLags(int lags) {
  return static_cast<std::size_t>((lags + kLagGroup - 1) / kLagGroup * kLagGroup);
}

enum class Isa {
  kBaseline,  // every CPU of the architecture: 128-bit vectors
  kAvx2,      // AVX2, FMA, F16C
  kAvx512,    // AVX-512 F, BW, VL, DQ, VNNI
  kNeon,      // ARMv8.2 with dot products of bytes (sdot)
  kNeonI8mm,  // the same with those of signed and unsigned bytes (usdot)
};
inline constexpr Isa kAllIsas[] = {Isa::kBaseline, Isa::kAvx2, Isa::kAvx512, Isa::kNeon,
                                   Isa::kNeonI8mm};

const char* Name(Isa isa);

struct Product;  // product.h

// One step of one row of a recurrent layer in training; what a cell does not have is null. n units;
// gates are stacked: GRU r, z, n and LSTM i, f, g, o.
struct RecurrentStep {
  int n;
  const float* x;         // (gates, n): the input's share, bias included
  const float* u;         // recurrent products: of all gates, or of those of the same call
  const float* bias;      // (n,): within the reset; gru_after
  const float* before;    // (n,): h before the step
  const float* c_before;  // (n,): LSTM
  float* gates;           // r and z (2, n), or all four of an LSTM; out
  float* candidate;       // (n,): GRU; out
  float* aside;  // (n,): gru_after: the product that r multiplies, with its bias; gru_reset:
                 // r h; out
  float* h;      // (n,); out
  float* c;      // (n,): LSTM; out
};

// The same backwards: from the gradient of h to those of the gates.
struct RecurrentBack {
  int n;
  const float* grad;      // (n,): of h, from everything but the next step
  const float* before;    // (n,)
  const float* c_before;  // (n,)
  const float* c;         // (n,)
  const float* gates;
  const float* candidate;
  const float* aside;     // gru_after alone
  const float* to_aside;  // (n,): gradient of r h; gru_reset alone
  float* carried;     // (n,): gradient of h by the next step; out: of h before, but for products
  float* carried_c;   // (n,): of c; out: of c before
  float* grad_gates;  // (gates, n): of x; out
  float* grad_aside;  // (n,): gru_after: of the product that r multiplies; out
};

struct Kernels {
  Isa isa;
  const char* name;

  // Used by Multiply, PackedInput and MeasureRoofline only.

  // The product of one format, with all its weights or with its zero blocks left out:
  // [format][sparse].
  void (*multiply[4][2])(const Product& product);
  // Quantise n values, to nearest even; return the value of one step: 0 if all values are below
  // 1e-30 in magnitude, NaN if one is NaN or infinite. The integers are the same on every
  // instruction set. quantize8: to [0, kMaxByte], where *zero stands for 0. quantize16:
  // symmetrically to [-limit, limit].
  float (*quantize8)(int n, const float* x, std::uint8_t* out, std::int32_t* zero);
  float (*quantize16)(int n, const float* x, int limit, std::int16_t* out);
  // Reads `bytes` (a multiple of 512 * streams) at full speed, in `streams` parts side by side;
  // returns something that depends on all of them.
  std::uint32_t (*read)(const void* data, std::size_t bytes, int streams);
  // Multiply-adds from registers, with the fastest instructions for the format; peak_f16: with
  // every vector of half-precision weights loaded from L1 and converted. Each returns the number of
  // multiply-adds done in `rounds` rounds.
  double (*peak_f32)(int rounds);
  double (*peak_f16)(int rounds);
  double (*peak_int8)(int rounds);
  double (*peak_int8x16)(int rounds);

  // Element-wise.
  //
  // Any n >= 0 and any alignment. The result of an element depends neither on n nor on its
  // position. s is the logistic function; its absolute error is at most 2e-7, that of tanh 4e-7
  // (tested). +-inf saturates, NaN stays NaN, a finite input never gives NaN.

  // Gated recurrent unit whose reset gate applies after the recurrent product (torch, cuDNN), from
  // the input's share of the gates (bias included), the recurrent products and the bias of the
  // candidate: r = s(xr + ur), z = s(xz + uz), c = tanh(xn + r * (un + bn)), h = c + z * (h - c),
  // in place.
  void (*gru_after)(int n, const float* xr, const float* xz, const float* xn, const float* ur,
                    const float* uz, const float* un, const float* bn, float* h);
  // Gated recurrent unit whose reset gate applies before the recurrent product (Cho et al. 2014).
  // It is in two halves, because the product U_n (r * h) comes in between: rh = s(xr + ur) * h,
  // then z = s(xz + uz), c = tanh(xn + un), h = c + z * (h - c), in place.
  void (*gru_before_reset)(int n, const float* xr, const float* ur, const float* h, float* rh);
  void (*gru_before_update)(int n, const float* xz, const float* uz, const float* xn,
                            const float* un, float* h);
  // gru_after for `blocks` blocks of kPanelRows units whose gates r, z, n lie next to each other.
  // The input is k real numbers: x = bias + sum over j of columns[j] * v[j]. bias, u: (blocks, 3,
  // 32), columns: (blocks, k, 3, 32), v: (k,), bn, before, h: (blocks, 32); h may be `before`.
  void (*gru_real_inputs)(int blocks, int k, const float* bias, const float* columns,
                          const float* v, const float* u, const float* bn, const float* before,
                          float* h);
  // Gates i, f, g, o: c = s(f) c + s(i) tanh(g), h = s(o) tanh(c).
  void (*lstm)(int n, const float* const x[4], const float* const u[4], float* c, float* h);
  // Gated activation of a dilated layer (van den Oord et al. 2016, Eq. 2). The filter and the gate
  // are each the sum of two terms: z = tanh(xf + uf) * s(xg + ug).
  void (*gated)(int n, const float* xf, const float* xg, const float* uf, const float* ug,
                float* z);
  void (*add)(int n, const float* a, const float* b, float* out);  // out = a + b; out may be a or b
  // out = max(0, a + b); out may be a or b
  void (*relu)(int n, const float* a, const float* b, float* out);
  // out[i] += sum over j of table[j * n + i] * v[j], for the k small real-valued inputs of a frame.
  // table: (k, n), v: (k,)
  void (*accumulate)(int n, int k, const float* table, const float* v, float* out);
  // r[k] = sum over i < n of z[i] z[i + k], 0 <= k < lags, a multiple of kLagGroup. z: (n + lags,),
  // its last `lags` values 0.
  void (*autocorrelate)(int n, int lags, const double* z, double* r);
  // A predictor by Burg's method. `noise` is the power of white noise that is expected beside the
  // samples, `silence` is added to sums of squares. forward and backward: (n,) the samples, the
  // latest first or last, overwritten. weights: (order,), the nearest sample's first, order < n;
  // scratch: (order,).
  void (*burg)(int n, int order, double noise, double silence, double* forward, double* backward,
               double* weights, double* scratch);
  // out[i] = logits[i] - 2 log(2 cosh(z)), z = (codes[i] - place) * half. Absolute error at most
  // 1e-6 of the larger of 1 and the result.
  void (*add_logistic)(int n, const float* codes, float place, float half, const float* logits,
                       float* out);

  // Training (recurrence.h).
  //
  // As gru_after, gru_before_* and lstm above, with everything kept that the gradients need;
  // *_back: the gradients. A GRU whose reset comes first takes two calls a step, around the product
  // of r h: gru_reset_step, gru_candidate_step; backwards gru_candidate_back, gru_reset_back.
  void (*gru_after_step)(const RecurrentStep& step);
  void (*gru_after_back)(const RecurrentBack& step);
  void (*gru_reset_step)(const RecurrentStep& step);
  void (*gru_candidate_step)(const RecurrentStep& step);
  void (*gru_candidate_back)(const RecurrentBack& step);
  void (*gru_reset_back)(const RecurrentBack& step);
  void (*lstm_step)(const RecurrentStep& step);
  void (*lstm_back)(const RecurrentBack& step);

  // Drawing.
  //
  // logits: (q,), finite or -inf, at least one finite; q from 2 to 65536. The relative error of an
  // exponential is at most 2e-7, sums are kept in double precision.

  // Draws from softmax(logits / temperature): the first code at which the cumulative distribution
  // exceeds `uniform` in [0, 1). A code of probability 0 is never drawn. A temperature of 0 takes
  // the most probable code; ties are drawn from. *log_prob: ln p(code) at temperature 1. *residual:
  // the position of `uniform` within the code's interval of the cumulative distribution, in [0, 1),
  // which is uniform again. If a logit is NaN the code is in range and *log_prob is NaN. Codes at
  // most `min_p` times as probable as the most probable one, at that temperature, are not drawn.
  int (*draw)(const float* logits, int q, double temperature, double uniform, double* log_prob,
              double* residual, double min_p);
  double (*log_prob)(const float* logits, int q, int code);  // ln softmax(logits)[code]
};

// The best table that this CPU and this build support. The environment variable SAMPLEWISE_ISA
// (baseline, avx2, avx512, neon or neon-i8mm), read on the first call, lowers it; throws
// std::invalid_argument, naming the choices, if it names no table that can run here.
const Kernels& BestKernels();
// Throws std::invalid_argument if this CPU or this build does not have it.
const Kernels& KernelsFor(Isa isa);
std::vector<Isa> AvailableIsas();  // ascending

}  // namespace samplewise
