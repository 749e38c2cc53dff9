// Element-wise maps: Eigen arrays where there is an exp, log or tanh to vectorise, plain loops elsewhere.
#include "retort/kernels/elementwise.h"

#include "retort/kernels/cpu/eigen.h"
#include "retort/kernels/cpu/register.h"
#include "retort/kernels/thread_team.h"

#include <algorithm>

namespace retort::eigen {
namespace {

void unary_piece(Unary f, ConstArray x, Array y) {
  switch (f) {
    case Unary::relu:
      y = (x < 0).select(0.0f, x);
      break;  // NaN stays NaN
    case Unary::exp:
      y = x.exp();
      break;
    case Unary::log:
      y = x.log();
      break;
    case Unary::tanh:
      y = x.tanh();
      break;
    case Unary::sigmoid:
      y = (1 + (-x).exp()).inverse();
      break;
  }
}

void unary_forward(Stream& stream, Unary f, std::int64_t n, const float* x, float* y) {
  stream.threads().for_ranges(n, grain, [&](std::int64_t begin, std::int64_t end) {
    unary_piece(f, array(x + begin, end - begin), array(y + begin, end - begin));
  });
}

void unary_backward(Stream& stream, Unary f, std::int64_t n, const float* x, const float* y, const float* dy, float* dx) {
  stream.threads().for_ranges(n, grain, [&](std::int64_t begin, std::int64_t end) {
    const std::int64_t count = end - begin;
    // Only one of x and y is read; the other may be null.
    const ConstArray source = array((f == Unary::log ? x : y) + begin, count), g = array(dy + begin, count);
    Array out = array(dx + begin, count);
    switch (f) {
      case Unary::relu:
        out = (source > 0).select(g, 0.0f);
        break;
      case Unary::exp:
        out = g * source;
        break;
      case Unary::log:
        out = g / source;
        break;
      case Unary::tanh:
        out = g * (1 - source * source);
        break;
      case Unary::sigmoid:
        out = g * source * (1 - source);
        break;
    }
  });
}

void combine(Binary f, ConstArray a, ConstArray b, Array y) {
  switch (f) {
    case Binary::add:
      y = a + b;
      break;
    case Binary::sub:
      y = a - b;
      break;
    case Binary::mul:
      y = a * b;
      break;
  }
}

void binary_forward(Stream& stream, Binary f, const BinaryShape& z, const float* a, const float* b, float* y) {
  if (z.b_rows == z.rows) {
    stream.threads().for_ranges(z.rows * z.columns, grain, [&](std::int64_t begin, std::int64_t end) {
      combine(f, array(a + begin, end - begin), array(b + begin, end - begin), array(y + begin, end - begin));
    });
    return;
  }
  stream.threads().for_ranges(z.rows, rows_per_task(z.columns), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i)
      combine(f, array(a + i * z.columns, z.columns), array(b, z.columns), array(y + i * z.columns, z.columns));
  });
}

/// g, -g or g * other: the gradient with respect to one operand.
void operand_gradient(Binary f, bool second, ConstArray g, const float* other, Array out) {
  if (f == Binary::mul)
    out = g * array(other, g.size());
  else if (f == Binary::sub && second)
    out = -g;
  else
    out = g;
}

/// db of a row that was repeated: sums over the rows, in double; a task being some columns.
void repeated_row_gradient(Stream& stream, Binary f, const BinaryShape& z, const float* a, const float* dy, float* db) {
  constexpr std::int64_t width = 64;
  stream.threads().for_ranges(z.columns, width, [&](std::int64_t begin, std::int64_t end) {
    double total[width] = {};
    for (std::int64_t i = 0; i < z.rows; ++i) {
      const float *g = dy + i * z.columns + begin, *other = a + i * z.columns + begin;
      if (f == Binary::mul)
        for (std::int64_t j = 0; j < end - begin; ++j) total[j] += g[j] * other[j];
      else
        for (std::int64_t j = 0; j < end - begin; ++j) total[j] += g[j];
    }
    for (std::int64_t j = 0; j < end - begin; ++j) db[begin + j] = static_cast<float>(f == Binary::sub ? -total[j] : total[j]);
  });
}

void binary_backward(Stream& stream, Binary f, const BinaryShape& z, const float* a, const float* b, const float* dy, float* da,
                     float* db) {
  const bool repeated = z.b_rows != z.rows;
  const std::int64_t columns = z.columns;
  stream.threads().for_ranges(z.rows, rows_per_task(columns), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const ConstArray g = array(dy + i * columns, columns);
      if (da != nullptr)
        operand_gradient(f, false, g, f == Binary::mul ? b + (repeated ? 0 : i * columns) : nullptr,
                         array(da + i * columns, columns));
      if (db != nullptr && !repeated)
        operand_gradient(f, true, g, f == Binary::mul ? a + i * columns : nullptr, array(db + i * columns, columns));
    }
  });
  if (db != nullptr && repeated) repeated_row_gradient(stream, f, z, a, dy, db);
}

void scale_forward(Stream& stream, std::int64_t n, float alpha, const float* x, float beta, float* y) {
  stream.threads().for_ranges(n, grain, [&](std::int64_t begin, std::int64_t end) {
    const ConstArray from = array(x + begin, end - begin);
    Array to = array(y + begin, end - begin);
    if (beta == 0)
      to = alpha * from;
    else
      to = alpha * from + beta * to;
  });
}

}  // namespace

void register_elementwise() {
  add(UnaryKernels{unary_forward, unary_backward});
  add(BinaryKernels{binary_forward, binary_backward});
  add(ScaleKernels{scale_forward});
}

}  // namespace retort::eigen
