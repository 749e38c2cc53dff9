// Picking a batch out of a data set that lives on the device, labels and all in one launch, and noting its losses. Contract:
// kernels/batch.h.
#include "retort/kernels/batch.h"

#include "retort/kernels/cuda/all.h"
#include "retort/kernels/cuda/block.cuh"
#include "retort/kernels/registry.h"

namespace retort {
namespace {

constexpr int threads = 256;
constexpr std::int64_t most_values = 1024;

struct BatchLabels {
  const std::int32_t *data1, *data2;  // (n)
  std::int32_t *labels1, *labels2;    // (rows)
};

/// One element of T (float, or float4 when the rows are aligned) a thread; `columns` in units of T. The thread of a row's first
/// element brings the labels.
template <class T, class Index>
__global__ void __launch_bounds__(threads)
    gather_kernel(Index elements, Index columns, std::int64_t stride, const std::int32_t* order, const std::int32_t* batch,
                  const T* data, T* windows, const BatchLabels labels) {
  const Index i = static_cast<Index>(global_thread());
  if (i >= elements) return;
  const Index row = i / columns, column = i % columns;
  const std::int64_t k = order[*batch * stride + row];
  windows[i] = data[k * columns + column];
  if (column != 0) return;
  labels.labels1[row] = labels.data1[k];
  labels.labels2[row] = labels.data2[k];
}

template <class T>
void launch_gather(Stream& stream, const BatchShape& s, std::int64_t columns, const std::int32_t* order,
                   const std::int32_t* batch, const T* data, T* windows, const BatchLabels& labels) {
  const std::int64_t n = s.rows * columns;
  if (n == 0) return;
  with_index(n + threads, [&](auto type) {
    launch({stream, "batch.gather", dim3(count(ceil_div(n, threads))), dim3(threads)}, gather_kernel<T, decltype(type)>, n,
           columns, s.stride, order, batch, data, windows, labels);
  });
}

void gather(Stream& stream, const BatchShape& s, const std::int32_t* order, const std::int32_t* batch, const float* data,
            const std::int32_t* data1, const std::int32_t* data2, float* windows, std::int32_t* labels1, std::int32_t* labels2) {
  const BatchLabels labels{data1, data2, labels1, labels2};
  if (s.columns % 4 == 0 && aligned16(data) && aligned16(windows))
    launch_gather(stream, s, s.columns / 4, order, batch, reinterpret_cast<const float4*>(data),
                  reinterpret_cast<float4*>(windows), labels);
  else
    launch_gather(stream, s, s.columns, order, batch, data, windows, labels);
}

/// One block. Everybody has read the counter before it moves on.
__global__ void __launch_bounds__(most_values) record_kernel(int n, const float* values, float* history, std::int32_t* batch) {
  const std::int64_t first = std::int64_t{*batch} * n;
  const int j = static_cast<int>(threadIdx.x);
  if (j < n) history[first + j] = values[j];
  __syncthreads();
  if (j == 0) ++*batch;
}

void record(Stream& stream, std::int64_t n, const float* values, float* history, std::int32_t* batch) {
  check(n <= most_values, "batch.record: {} values, at most {} fit", n, most_values);
  launch({stream, "batch.record", dim3(1), dim3(count(std::max<std::int64_t>(ceil_div(n, 32), 1) * 32))}, record_kernel, n,
         values, history, batch);
}

}  // namespace

template <>
void register_batch<this_device>() {
  KernelTable<BatchKernels>::instance().add(this_device, "cuda", 10, {gather, record});
}

}  // namespace retort
