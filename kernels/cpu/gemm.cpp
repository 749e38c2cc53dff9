#include "retort/kernels/cpu/gemm.h"

#include "retort/kernels/cpu/eigen.h"

#include <algorithm>

#pragma GCC diagnostic ignored "-Wignored-attributes"  // a vector type as a template's argument

namespace retort::eigen {
namespace {

// ---- Eigen's product, which copies both factors into panels first ----

using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using View = Eigen::Map<Matrix, Eigen::Unaligned, Eigen::OuterStride<>>;
using ConstView = Eigen::Map<const Matrix, Eigen::Unaligned, Eigen::OuterStride<>>;

template <class A, class B>
void multiply(const A& a, const B& b, View c, Write write) {
  if (write == Write::accumulate)
    c.noalias() += a * b;
  else
    c.noalias() = a * b;
}

template <class A>
void multiply(const A& a, std::int64_t k, std::int64_t n, Operand b, View c, Write write) {
  if (b.transposed)
    multiply(a, ConstView(b.data, n, k, Eigen::OuterStride<>(b.stride)).transpose(), c, write);
  else
    multiply(a, ConstView(b.data, k, n, Eigen::OuterStride<>(b.stride)), c, write);
}

void packed(std::int64_t m, std::int64_t n, std::int64_t k, Operand a, Operand b, float* c, std::int64_t c_stride, Write write) {
  View result(c, m, n, Eigen::OuterStride<>(c_stride));
  if (a.transposed)
    multiply(ConstView(a.data, k, m, Eigen::OuterStride<>(a.stride)).transpose(), k, n, b, result, write);
  else
    multiply(ConstView(a.data, m, k, Eigen::OuterStride<>(a.stride)), k, n, b, result, write);
}

// ---- in place: vectors along b's rows as they lie in memory, times one element of a after the other ----

namespace packet = Eigen::internal;  // by these names in all versions since 3.0
using Packet = packet::packet_traits<float>::type;
constexpr std::int64_t lanes = packet::packet_traits<float>::size;
constexpr bool many_registers = EIGEN_ARCH_DEFAULT_NUMBER_OF_REGISTERS >= 32;
constexpr int tallest = many_registers ? 6 : 4, widest = many_registers ? 4 : 3;  // sums that fill the registers
constexpr std::int64_t depth_block = 256;  // rows of b that all rows of a meet before the next ones: a panel of them stays in L2
constexpr std::int64_t fetch_ahead = 12;   // rows of b

Packet load(const float* p) { return packet::ploadu<Packet>(p); }
Packet spread(float x) { return packet::pset1<Packet>(x); }

/// k products of a column of a, elements `a_row` apart and the columns `a_step`, and a row of b.
struct Product {
  std::int64_t k;
  const float* a;
  std::int64_t a_row, a_step;
  const float* b;
  std::int64_t b_row;
  float* c;
  std::int64_t c_row;
  Write write;
  std::int64_t ahead = 0;  ///< so many floats further on lies what will be needed of b; it is fetched meanwhile
};

template <int M, int N>
void multiply_tile(const Product& p) {
  Packet sum[M][N];
#pragma GCC unroll 6
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) sum[m][n] = p.write == Write::accumulate ? load(p.c + m * p.c_row + n * lanes) : spread(0.0f);
  const float *a = p.a, *b = p.b;
  for (std::int64_t i = 0; i < p.k; ++i, a += p.a_step, b += p.b_row) {
    Packet row[N];
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) {
      row[n] = load(b + n * lanes);
      if (p.ahead != 0) __builtin_prefetch(b + p.ahead + n * lanes);
    }
#pragma GCC unroll 6
    for (int m = 0; m < M; ++m) {
      const Packet factor = spread(a[m * p.a_row]);
#pragma GCC unroll 4
      for (int n = 0; n < N; ++n) sum[m][n] = packet::pmadd(factor, row[n], sum[m][n]);
    }
  }
#pragma GCC unroll 6
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) packet::pstoreu(p.c + m * p.c_row + n * lanes, sum[m][n]);
}

template <int N>
void multiply_rows(Product p, std::int64_t rows) {
  constexpr void (*rest[])(const Product&) = {multiply_tile<1, N>, multiply_tile<2, N>, multiply_tile<3, N>, multiply_tile<4, N>,
                                              multiply_tile<5, N>};
  for (; rows >= tallest; rows -= tallest, p.a += tallest * p.a_row, p.c += tallest * p.c_row) {
    multiply_tile<tallest, N>(p);
    p.ahead = 0;  // the other rows find b in the cache
  }
  if (rows > 0) rest[rows - 1](p);
}

/// `packets` vectors of columns, at most `widest`.
void multiply_panel(const Product& p, std::int64_t rows, std::int64_t packets) {
  switch (packets) {
    case 1:
      return multiply_rows<1>(p, rows);
    case 2:
      return multiply_rows<2>(p, rows);
    case 3:
      return multiply_rows<3>(p, rows);
    default:
      return multiply_rows<widest>(p, rows);
  }
}

/// The last columns, fewer than a vector has lanes: a whole vector that ends with them, of which only they are kept.
void multiply_last(Product p, std::int64_t rows, std::int64_t columns) {
  float sums[tallest * lanes];
  const std::int64_t before = lanes - columns, c_row = p.c_row;
  float* c = p.c;
  p.b -= before, p.c = sums, p.c_row = lanes;
  const bool add = p.write == Write::accumulate;
  p.write = Write::overwrite;
  for (std::int64_t m = 0; m < rows; m += tallest, p.a += tallest * p.a_row) {
    const std::int64_t count = std::min<std::int64_t>(tallest, rows - m);
    multiply_rows<1>(p, count);
    for (std::int64_t i = 0; i < count; ++i, c += c_row)
      for (std::int64_t j = 0; j < columns; ++j) c[j] = (add ? c[j] : 0.0f) + sums[i * lanes + before + j];
  }
}

void in_place(std::int64_t m, std::int64_t n, Product p) {
  const std::int64_t k = p.k, whole = n / lanes;
  const Product all = p;
  p.ahead = fetch_ahead * p.b_row;
  for (std::int64_t i = 0; i < k; i += depth_block) {
    p.k = std::min(depth_block, k - i);
    p.a = all.a + i * p.a_step;
    if (i > 0) p.write = Write::accumulate;
    for (std::int64_t v = 0; v < whole; v += widest) {
      p.b = all.b + i * p.b_row + v * lanes, p.c = all.c + v * lanes;
      multiply_panel(p, m, std::min<std::int64_t>(widest, whole - v));
    }
    p.b = all.b + i * p.b_row + whole * lanes, p.c = all.c + whole * lanes;
    if (whole * lanes < n) multiply_last(p, m, n - whole * lanes);
  }
}

}  // namespace

void transpose(std::int64_t rows, std::int64_t columns, const float* from, std::int64_t from_stride, float* to,
               std::int64_t to_stride) {
  const std::int64_t whole_rows = rows / lanes * lanes, whole_columns = columns / lanes * lanes;
  for (std::int64_t i = 0; i < whole_rows; i += lanes)
    for (std::int64_t j = 0; j < whole_columns; j += lanes) {
      packet::PacketBlock<Packet, lanes> block;
      for (int l = 0; l < lanes; ++l) block.packet[l] = load(from + (i + l) * from_stride + j);
      packet::ptranspose(block);
      for (int l = 0; l < lanes; ++l) packet::pstoreu(to + (j + l) * to_stride + i, block.packet[l]);
    }
  for (std::int64_t i = 0; i < rows; ++i)
    for (std::int64_t j = i < whole_rows ? whole_columns : 0; j < columns; ++j) to[j * to_stride + i] = from[i * from_stride + j];
}

void gemm(std::int64_t m, std::int64_t n, std::int64_t k, Operand a, Operand b, float* c, std::int64_t c_stride, Write write) {
  if (b.transposed || n < lanes || k == 0) return packed(m, n, k, a, b, c, c_stride, write);
  in_place(m, n, {k, a.data, a.transposed ? 1 : a.stride, a.transposed ? a.stride : 1, b.data, b.stride, c, c_stride, write});
}

}  // namespace retort::eigen
