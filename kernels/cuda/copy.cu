// Rows moved about: concatenation, and picking a batch out of a data set that lives on the device; and windows permuted.
// Contracts: kernels/copy.h, kernels/recurrent.h.
#include "retort/kernels/copy.h"

#include "retort/kernels/cuda/all.h"
#include "retort/kernels/cuda/block.cuh"
#include "retort/kernels/recurrent.h"
#include "retort/kernels/registry.h"

namespace retort {
namespace {

constexpr int threads = 256;

/// `columns`, `from_stride` and `to_stride` in units of T (float, or float4 when rows are aligned). index: (rows) or null, then
/// row i comes from row i.
template <class T, class Index>
__global__ void __launch_bounds__(threads) rows_kernel(std::int64_t rows, Index columns, const std::int32_t* index, const T* from,
                                                       std::int64_t from_stride, T* to, std::int64_t to_stride) {
  const std::int64_t i = global_thread();
  if (i >= rows * columns) return;
  const Index row = static_cast<Index>(i) / columns, column = static_cast<Index>(i) % columns;
  const std::int64_t source = index == nullptr ? static_cast<std::int64_t>(row) : index[row];
  to[row * to_stride + column] = from[source * from_stride + column];
}

template <class T>
void launch_rows(Stream& stream, const char* name, std::int64_t rows, std::int64_t columns, const std::int32_t* index,
                 const T* from, std::int64_t from_stride, T* to, std::int64_t to_stride) {
  const std::int64_t n = rows * columns;
  if (n == 0) return;
  with_index(n, [&](auto type) {
    launch({stream, name, dim3(count(ceil_div(n, threads))), dim3(threads)}, rows_kernel<T, decltype(type)>, rows, columns, index,
           from, from_stride, to, to_stride);
  });
}

void copy_rows(Stream& stream, const char* name, std::int64_t rows, std::int64_t columns, const std::int32_t* index,
               const float* from, std::int64_t from_stride, float* to, std::int64_t to_stride) {
  if (columns % 4 == 0 && from_stride % 4 == 0 && to_stride % 4 == 0 && aligned16(from) && aligned16(to))
    launch_rows(stream, name, rows, columns / 4, index, reinterpret_cast<const float4*>(from), from_stride / 4,
                reinterpret_cast<float4*>(to), to_stride / 4);
  else
    launch_rows(stream, name, rows, columns, index, from, from_stride, to, to_stride);
}

void strided(Stream& stream, std::int64_t rows, std::int64_t columns, const float* from, std::int64_t from_stride, float* to,
             std::int64_t to_stride) {
  copy_rows(stream, "copy.strided", rows, columns, nullptr, from, from_stride, to, to_stride);
}

void gather(Stream& stream, std::int64_t rows, std::int64_t columns, const std::int32_t* index, const float* from, float* to) {
  copy_rows(stream, "copy.gather", rows, columns, index, from, columns, to, columns);
}

void gather_labels(Stream& stream, std::int64_t rows, const std::int32_t* index, const std::int32_t* from, std::int32_t* to) {
  launch_rows(stream, "copy.gather_labels", rows, 1, index, from, 1, to, 1);
}

/// In elements, along the three dimensions of y.
struct Strides {
  std::int64_t i, j, k;
};

/// y: (., rows, columns); y[i, j, k] = x[i * strides.i + j * strides.j + k * strides.k].
template <class Index>
__global__ void __launch_bounds__(threads)
    permute_kernel(std::int64_t n, Index rows, Index columns, const Strides strides, const float* x, float* y) {
  const std::int64_t at = global_thread();
  if (at >= n) return;
  const Index line = static_cast<Index>(at) / columns, k = static_cast<Index>(at) % columns, i = line / rows, j = line % rows;
  y[at] = x[i * strides.i + j * strides.j + k * strides.k];
}

void permute(Stream& stream, const PermuteShape& s, const float* x, float* y) {
  const std::int64_t n = s.sizes[0] * s.sizes[1] * s.sizes[2];
  if (n == 0) return;
  with_index(n, [&](auto type) {
    launch({stream, "permute.forward", dim3(count(ceil_div(n, threads))), dim3(threads)}, permute_kernel<decltype(type)>, n,
           s.sizes[1], s.sizes[2], Strides{s.strides[0], s.strides[1], s.strides[2]}, x, y);
  });
}

}  // namespace

template <>
void register_copy<this_device>() {
  KernelTable<CopyKernels>::instance().add(this_device, "cuda", 10, {strided, gather, gather_labels});
  KernelTable<PermuteKernels>::instance().add(this_device, "cuda", 10, {permute});
}

}  // namespace retort
