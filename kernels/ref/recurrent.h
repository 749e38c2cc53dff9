// The formulas of kernels/recurrent.h as loops. Sums are taken in double whatever T is.
#pragma once

#include "retort/kernels/recurrent.h"

#include <cmath>
#include <vector>

namespace retort::ref {

inline double logistic(double x) { return 1 / (1 + std::exp(-x)); }

/// b[row] + <row `row` of w, v>; b and v may be null (then they are zero).
template <class T>
double affine_row(const T* w, const T* b, std::int64_t row, std::int64_t in, const T* v) {
  double sum = b != nullptr ? b[row] : 0.0;
  if (v != nullptr)
    for (std::int64_t k = 0; k < in; ++k) sum += double(w[row * in + k]) * v[k];
  return sum;
}

/// The step walked at position i, and the one walked before it (-1 for none).
inline std::int64_t step_at(const RecurrentShape& z, std::int64_t i) { return z.reverse ? z.steps - 1 - i : i; }
inline std::int64_t step_before(const RecurrentShape& z, std::int64_t i) { return i == 0 ? -1 : step_at(z, i - 1); }

template <class T>
void lstm_forward(Stream&, const RecurrentShape& z, const T* x, const T* w_ih, const T* w_hh, const T* b_ih, const T* b_hh,
                  T* gates, T* cells, T* y) {
  const std::int64_t h = z.hidden;
  for (std::int64_t i = 0; i < z.steps; ++i)
    for (std::int64_t n = 0; n < z.rows; ++n) {
      const std::int64_t at = step_at(z, i) * z.rows + n, before = step_before(z, i) < 0 ? -1 : step_before(z, i) * z.rows + n;
      for (std::int64_t j = 0; j < h; ++j) {
        double a[4];
        for (std::int64_t g = 0; g < 4; ++g)
          a[g] = affine_row(w_ih, b_ih, g * h + j, z.in, x + at * z.in) +
                 affine_row(w_hh, b_hh, g * h + j, h, before < 0 ? nullptr : y + before * h);
        const double in = logistic(a[0]), forget = logistic(a[1]), candidate = std::tanh(a[2]), out = logistic(a[3]);
        const double c = forget * (before < 0 ? 0.0 : double(cells[before * h + j])) + in * candidate;
        const double gate[4] = {in, forget, candidate, out};
        for (std::int64_t g = 0; g < 4; ++g) gates[at * 4 * h + g * h + j] = T(gate[g]);
        cells[at * h + j] = T(c);
        y[at * h + j] = T(out * std::tanh(c));
      }
    }
}

template <class T>
void gru_forward(Stream&, const RecurrentShape& z, const T* x, const T* w_ih, const T* w_hh, const T* b_ih, const T* b_hh,
                 T* gates, T* y) {
  const std::int64_t h = z.hidden;
  for (std::int64_t i = 0; i < z.steps; ++i)
    for (std::int64_t n = 0; n < z.rows; ++n) {
      const std::int64_t at = step_at(z, i) * z.rows + n, before = step_before(z, i) < 0 ? -1 : step_before(z, i) * z.rows + n;
      for (std::int64_t j = 0; j < h; ++j) {
        double from_x[3], from_h[3];
        for (std::int64_t g = 0; g < 3; ++g) {
          from_x[g] = affine_row(w_ih, b_ih, g * h + j, z.in, x + at * z.in);
          from_h[g] = affine_row(w_hh, b_hh, g * h + j, h, before < 0 ? nullptr : y + before * h);
        }
        const double r = logistic(from_x[0] + from_h[0]), u = logistic(from_x[1] + from_h[1]);
        const double candidate = std::tanh(from_x[2] + r * from_h[2]);
        const double gate[4] = {r, u, candidate, from_h[2]};
        for (std::int64_t g = 0; g < 4; ++g) gates[at * 4 * h + g * h + j] = T(gate[g]);
        y[at * h + j] = T((1 - u) * candidate + u * (before < 0 ? 0.0 : double(y[before * h + j])));
      }
    }
}

/// From the gradients d (steps, rows, 4 hidden) of the sums before the activations to those of everything they were made of. The
/// block of d that belongs to gate g is g for the input's side and hidden_block[g] for the state's side.
template <class T>
void recurrent_gradients(const RecurrentShape& z, std::int64_t gates, const std::int64_t* hidden_block,
                         const std::vector<double>& d, const T* x, const T* w_ih, const T* y, T* dx, T* dw_ih, T* dw_hh, T* db_ih,
                         T* db_hh) {
  const std::int64_t h = z.hidden;
  const auto at = [&](std::int64_t row, std::int64_t block, std::int64_t j) {
    return d[static_cast<std::size_t>(row * 4 * h + block * h + j)];
  };
  if (dx != nullptr)
    for (std::int64_t row = 0; row < z.steps * z.rows; ++row)
      for (std::int64_t k = 0; k < z.in; ++k) {
        double sum = 0;
        for (std::int64_t g = 0; g < gates; ++g)
          for (std::int64_t j = 0; j < h; ++j) sum += at(row, g, j) * w_ih[(g * h + j) * z.in + k];
        dx[row * z.in + k] = T(sum);
      }
  for (std::int64_t g = 0; g < gates; ++g)
    for (std::int64_t j = 0; j < h; ++j) {
      std::vector<double> ih(static_cast<std::size_t>(z.in)), hh(static_cast<std::size_t>(h));
      double bias_ih = 0, bias_hh = 0;
      for (std::int64_t i = 0; i < z.steps; ++i)
        for (std::int64_t n = 0; n < z.rows; ++n) {
          const std::int64_t row = step_at(z, i) * z.rows + n, before = step_before(z, i);
          const double from_x = at(row, g, j), from_h = at(row, hidden_block[g], j);
          for (std::int64_t k = 0; k < z.in; ++k) ih[static_cast<std::size_t>(k)] += from_x * x[row * z.in + k];
          for (std::int64_t k = 0; before >= 0 && k < h; ++k)
            hh[static_cast<std::size_t>(k)] += from_h * y[(before * z.rows + n) * h + k];
          bias_ih += from_x;
          bias_hh += from_h;
        }
      const std::int64_t out = g * h + j;
      for (std::int64_t k = 0; dw_ih != nullptr && k < z.in; ++k)
        dw_ih[out * z.in + k] = T(dw_ih[out * z.in + k] + ih[static_cast<std::size_t>(k)]);
      for (std::int64_t k = 0; dw_hh != nullptr && k < h; ++k)
        dw_hh[out * h + k] = T(dw_hh[out * h + k] + hh[static_cast<std::size_t>(k)]);
      if (db_ih != nullptr) db_ih[out] = T(db_ih[out] + bias_ih);
      if (db_hh != nullptr) db_hh[out] = T(db_hh[out] + bias_hh);
    }
}

/// Gradient that reaches state element j of one row from the sums of the step after: sum over gates and units of d * w_hh.
template <class T>
double carried(const RecurrentShape& z, std::int64_t gates, const std::int64_t* hidden_block, const double* d, const T* w_hh,
               std::int64_t j) {
  double sum = 0;
  for (std::int64_t g = 0; g < gates; ++g)
    for (std::int64_t u = 0; u < z.hidden; ++u)
      sum += d[hidden_block[g] * z.hidden + u] * w_hh[(g * z.hidden + u) * z.hidden + j];
  return sum;
}

template <class T>
void lstm_backward(Stream&, const RecurrentShape& z, const T* x, const T* w_ih, const T* w_hh, const T* gates, const T* cells,
                   const T* y, const T* dy, T* dx, T* dw_ih, T* dw_hh, T* db_ih, T* db_hh) {
  const std::int64_t h = z.hidden, blocks[4] = {0, 1, 2, 3};
  std::vector<double> d(static_cast<std::size_t>(z.steps * z.rows * 4 * h)), dc(static_cast<std::size_t>(z.rows * h));
  for (std::int64_t i = z.steps - 1; i >= 0; --i)
    for (std::int64_t n = 0; n < z.rows; ++n) {
      const std::int64_t at = step_at(z, i) * z.rows + n, before = step_before(z, i) < 0 ? -1 : step_before(z, i) * z.rows + n;
      const double* after = i + 1 < z.steps ? &d[static_cast<std::size_t>((step_at(z, i + 1) * z.rows + n) * 4 * h)] : nullptr;
      for (std::int64_t j = 0; j < h; ++j) {
        const T* gate = gates + at * 4 * h + j;
        const double in = gate[0], forget = gate[h], candidate = gate[2 * h], out = gate[3 * h];
        const double tanh_c = std::tanh(double(cells[at * h + j]));
        const double dh = dy[at * h + j] + (after != nullptr ? carried(z, 4, blocks, after, w_hh, j) : 0.0);
        double& dcell = dc[static_cast<std::size_t>(n * h + j)];
        dcell += dh * out * (1 - tanh_c * tanh_c);
        double* to = &d[static_cast<std::size_t>(at * 4 * h + j)];
        to[0] = dcell * candidate * in * (1 - in);
        to[h] = before < 0 ? 0.0 : dcell * cells[before * h + j] * forget * (1 - forget);
        to[2 * h] = dcell * in * (1 - candidate * candidate);
        to[3 * h] = dh * tanh_c * out * (1 - out);
        dcell *= forget;
      }
    }
  recurrent_gradients(z, 4, blocks, d, x, w_ih, y, dx, dw_ih, dw_hh, db_ih, db_hh);
}

template <class T>
void gru_backward(Stream&, const RecurrentShape& z, const T* x, const T* w_ih, const T* w_hh, const T* gates, const T* y,
                  const T* dy, T* dx, T* dw_ih, T* dw_hh, T* db_ih, T* db_hh) {
  const std::int64_t h = z.hidden, blocks[3] = {0, 1, 3};
  std::vector<double> d(static_cast<std::size_t>(z.steps * z.rows * 4 * h)), direct(static_cast<std::size_t>(z.rows * h));
  for (std::int64_t i = z.steps - 1; i >= 0; --i)
    for (std::int64_t n = 0; n < z.rows; ++n) {
      const std::int64_t at = step_at(z, i) * z.rows + n, before = step_before(z, i) < 0 ? -1 : step_before(z, i) * z.rows + n;
      const double* after = i + 1 < z.steps ? &d[static_cast<std::size_t>((step_at(z, i + 1) * z.rows + n) * 4 * h)] : nullptr;
      for (std::int64_t j = 0; j < h; ++j) {
        const T* gate = gates + at * 4 * h + j;
        const double r = gate[0], u = gate[h], candidate = gate[2 * h], from_h = gate[3 * h];
        double& past = direct[static_cast<std::size_t>(n * h + j)];  // what reaches h' along z h'
        const double dh = dy[at * h + j] + past + (after != nullptr ? carried(z, 3, blocks, after, w_hh, j) : 0.0);
        const double dn = dh * (1 - u) * (1 - candidate * candidate);
        double* to = &d[static_cast<std::size_t>(at * 4 * h + j)];
        to[0] = dn * from_h * r * (1 - r);
        to[h] = dh * ((before < 0 ? 0.0 : double(y[before * h + j])) - candidate) * u * (1 - u);
        to[2 * h] = dn;
        to[3 * h] = dn * r;
        past = dh * u;
      }
    }
  recurrent_gradients(z, 3, blocks, d, x, w_ih, y, dx, dw_ih, dw_hh, db_ih, db_hh);
}

template <class T>
void permute(Stream&, const PermuteShape& z, const T* x, T* y) {
  for (std::int64_t i = 0; i < z.sizes[0]; ++i)
    for (std::int64_t j = 0; j < z.sizes[1]; ++j)
      for (std::int64_t k = 0; k < z.sizes[2]; ++k)
        y[(i * z.sizes[1] + j) * z.sizes[2] + k] = x[i * z.strides[0] + j * z.strides[1] + k * z.strides[2]];
}

}  // namespace retort::ref
