#include "recurrence.h"

#include <vector>

#include "kernels/buffer.h"
#include "kernels/product.h"
#include "matrix.h"
#include "packing.h"
#include "partition.h"
#include "size.h"
#include "thread_team.h"

namespace samplewise {
namespace {

// Rows [first, first + rows), columns [first_col, first_col + cols) of a row-major matrix of
// `width` columns, in the panels of a dense PackedMatrix. Weights of a training step are packed
// once a call.
class Panels {
 public:
  Panels(const float* matrix, int width, int rows, int first_col, int cols)
      : cols_(cols),
        panels_(CeilPanels(rows)),
        weights_(Size(panels_) * Size(cols) * kPanelRows * sizeof(float)) {
    auto* to = weights_.as<float>();
    for (int row = 0; row < rows; ++row) {
      const float* from = matrix + Size(row) * Size(width) + Size(first_col);
      float* column = to + Size(row / kPanelRows) * Size(cols) * kPanelRows + row % kPanelRows;
      for (int col = 0; col < cols; ++col) column[Size(col) * kPanelRows] = from[col];
    }
  }

  int padded_rows() const { return panels_ * kPanelRows; }

  // y[b] = W x[b] for `batch` vectors; strides in floats.
  void Multiply(const Kernels& kernels, const float* x, size_t x_stride, int batch,
                float* y) const {
    Product product{};
    product.weights = weights_.as<std::uint8_t>();
    product.units = cols_;
    product.x = reinterpret_cast<const std::uint8_t*>(x);
    product.x_stride = x_stride * sizeof(float);
    product.y = y;
    product.y_stride = Size(padded_rows());
    product.batch = batch;
    product.last_panel = panels_;
    kernels.multiply[static_cast<int>(Format::kF32)][0](product);
  }

 private:
  int cols_;
  int panels_;
  Buffer weights_;
};

double Macs(const RecurrenceSize& size) {
  return 1.0 * size.time * size.batch * size.gates() * size.dim * size.dim;
}

}  // namespace

void RunForward(const Kernels& kernels, const RecurrenceSize& size, const RecurrenceArrays& arrays,
                int threads) {
  const size_t dim = Size(size.dim);
  const size_t batch = Size(size.batch);
  const size_t gates = Size(size.gates()) * dim;
  const size_t kept = (size.cell == Cell::kLstm ? 4 : 2) * dim;
  const bool before = size.cell == Cell::kGru;
  const int together = before ? 2 : size.gates();
  const Panels first(arrays.weight, size.dim, together * size.dim, 0, size.dim);
  const Panels second(arrays.weight + (before ? 2 * dim * dim : 0), size.dim, before ? size.dim : 1,
                      0, size.dim);
  const size_t width = Size(first.padded_rows());
  std::vector<float> products(batch * width);
  DivideRows(size.batch, threads, Macs(size), [&](int first_row, int last_row) {
    const Range rows{first_row, last_row};
    for (size_t t = 0; t < Size(size.time); ++t) {
      const auto step = [&](int row, size_t product_width) {
        const size_t at = t * batch + Size(row);
        RecurrentStep s{};
        s.n = size.dim;
        s.x = arrays.x + at * gates;
        s.u = &products[Size(rows.first) * width + Size(row - rows.first) * product_width];
        s.bias = arrays.bias;
        s.before = arrays.h + at * dim;
        s.h = arrays.h + (at + batch) * dim;
        s.gates = arrays.gate_values + at * kept;
        if (size.cell == Cell::kLstm) {
          s.c_before = arrays.c + at * dim;
          s.c = arrays.c + (at + batch) * dim;
        } else {
          s.candidate = arrays.candidate + at * dim;
          s.aside = arrays.aside + at * dim;
        }
        return s;
      };
      const size_t now = t * batch + Size(rows.first);
      float* own = &products[Size(rows.first) * width];
      first.Multiply(kernels, arrays.h + now * dim, dim, rows.size(), own);
      const auto run = size.cell == Cell::kLstm ? kernels.lstm_step
                       : before                 ? kernels.gru_reset_step
                                                : kernels.gru_after_step;
      for (int row = rows.first; row < rows.last; ++row) run(step(row, width));
      if (!before) continue;
      second.Multiply(kernels, arrays.aside + now * dim, dim, rows.size(), own);
      for (int row = rows.first; row < rows.last; ++row) {
        kernels.gru_candidate_step(step(row, Size(second.padded_rows())));
      }
    }
  });
}

void RunBack(const Kernels& kernels, const RecurrenceSize& size, const RecurrenceGradients& arrays,
             int threads) {
  const size_t dim = Size(size.dim);
  const size_t batch = Size(size.batch);
  const size_t gates = Size(size.gates()) * dim;
  const size_t kept = (size.cell == Cell::kLstm ? 4 : 2) * dim;
  const bool is_gru = size.cell != Cell::kLstm;
  const bool before = size.cell == Cell::kGru;
  const int all = size.gates() * size.dim;
  const int joint = is_gru ? 2 * size.dim : all;  // gates whose gradients are multiplied together
  const Panels first(arrays.transposed, all, size.dim, 0, joint);
  const Panels second(arrays.transposed, all, is_gru ? size.dim : 1, all - size.dim, size.dim);
  const size_t width = Size(first.padded_rows());
  std::vector<float> products(batch * width);
  DivideRows(size.batch, threads, Macs(size), [&](int first_row, int last_row) {
    const Range rows{first_row, last_row};
    float* own = &products[Size(rows.first) * width];
    for (size_t t = Size(size.time); t-- > 0;) {
      const auto step = [&](int row) {
        const size_t at = t * batch + Size(row);
        RecurrentBack s{};
        s.n = size.dim;
        s.grad = arrays.grad + at * dim;
        s.gates = arrays.gate_values + at * kept;
        s.carried = arrays.carried + Size(row) * dim;
        s.grad_gates = arrays.grad_gates + at * gates;
        s.to_aside = own + Size(row - rows.first) * width;
        if (is_gru) {
          s.before = arrays.h + at * dim;
          s.candidate = arrays.candidate + at * dim;
        } else {
          s.c_before = arrays.c + at * dim;
          s.c = arrays.c + (at + batch) * dim;
          s.carried_c = arrays.carried_c + Size(row) * dim;
        }
        if (size.cell == Cell::kGruResetAfter) {
          s.aside = arrays.aside + at * dim;
          s.grad_aside = arrays.grad_aside + at * dim;
        }
        return s;
      };
      const auto add_products = [&] {
        for (int row = rows.first; row < rows.last; ++row) {
          float* carried = arrays.carried + Size(row) * dim;
          kernels.add(size.dim, carried, own + Size(row - rows.first) * width, carried);
        }
      };
      const auto run = !is_gru  ? kernels.lstm_back
                       : before ? kernels.gru_candidate_back
                                : kernels.gru_after_back;
      for (int row = rows.first; row < rows.last; ++row) run(step(row));
      const size_t now = t * batch + Size(rows.first);
      const float* grad_gates = arrays.grad_gates + now * gates;
      if (before) {
        second.Multiply(kernels, grad_gates + 2 * dim, gates, rows.size(), own);
        for (int row = rows.first; row < rows.last; ++row) kernels.gru_reset_back(step(row));
      } else if (is_gru) {
        second.Multiply(kernels, arrays.grad_aside + now * dim, dim, rows.size(), own);
        add_products();
      }
      first.Multiply(kernels, grad_gates, gates, rows.size(), own);
      add_products();
    }
  });
}

}  // namespace samplewise
