// Optimisers over one flat arena, and the teacher's moving average in the same pass. Contract and formulas: kernels/optimizer.h.
// Adam with a teacher reads g, p, m, v, teacher and writes p, m, v, teacher: 36 bytes a parameter for about 15 flops, so memory
// decides: four parameters a thread in 16-byte accesses. The step is read on the device, so that a captured step replays.
#include "retort/kernels/optimizer.h"

#include "retort/kernels/cuda/all.h"
#include "retort/kernels/cuda/map.cuh"
#include "retort/kernels/registry.h"

#include <cmath>

namespace retort {
namespace {

constexpr int threads = 256;

/// The part of Adam that is the same for all parameters.
struct AdamStep {
  float step_size;   // lr / (1 - beta1^t)
  float correction;  // 1 / sqrt(1 - beta2^t)
};

/// ln beta1 and ln beta2, taken in double on the host.
struct AdamLogs {
  float beta1, beta2;
};

// 1 - beta^t cancels in the first steps (beta2 is 0.999); -expm1(t ln beta) does not, and needs no pow in double. Once a block.
__device__ inline AdamStep adam_step(const AdamHyper& h, const AdamLogs& logs, std::int32_t completed) {
  const float t = static_cast<float>(completed) + 1.0f;
  return {h.lr / -expm1f(t * logs.beta1), 1.0f / sqrtf(-expm1f(t * logs.beta2))};
}

__device__ inline void adam_update(const AdamHyper& h, const AdamStep& step, float& p, float g, float& m, float& v) {
  if (h.decoupled)
    p -= h.lr * h.weight_decay * p;
  else
    g = fmaf(h.weight_decay, p, g);
  m = fmaf(h.beta1, m, (1.0f - h.beta1) * g);
  v = fmaf(h.beta2, v, (1.0f - h.beta2) * g * g);
  p -= step.step_size * m / (sqrtf(v) * step.correction + h.eps);
}

__device__ inline float average(float beta, float old, float now) { return fmaf(beta, old, (1.0f - beta) * now); }

__device__ inline float4& at4(float* x, std::int64_t i) { return *reinterpret_cast<float4*>(x + i); }

/// All arrays: (n); teacher may be null. `vector`: all are 16-byte aligned.
__global__ void __launch_bounds__(threads)
    adam_kernel(std::int64_t n, bool vector, const AdamHyper h, const AdamLogs logs, const std::int32_t* completed, float* p,
                const float* g, float* m, float* v, float* teacher) {
  __shared__ AdamStep step;
  const std::int64_t first = (static_cast<std::int64_t>(blockIdx.x) * threads + threadIdx.x) * 4;
  const bool whole = vector && first + 3 < n;
  float4 p4{}, g4{}, m4{}, v4{}, old{};
  if (whole) {  // on their way while the first thread works out the step
    p4 = at4(p, first), g4 = *reinterpret_cast<const float4*>(g + first), m4 = at4(m, first), v4 = at4(v, first);
    if (teacher != nullptr) old = at4(teacher, first);
  }
  if (threadIdx.x == 0) step = adam_step(h, logs, *completed);
  __syncthreads();
  if (whole) {
    adam_update(h, step, p4.x, g4.x, m4.x, v4.x);
    adam_update(h, step, p4.y, g4.y, m4.y, v4.y);
    adam_update(h, step, p4.z, g4.z, m4.z, v4.z);
    adam_update(h, step, p4.w, g4.w, m4.w, v4.w);
    at4(p, first) = p4, at4(m, first) = m4, at4(v, first) = v4;
    if (teacher == nullptr) return;
    at4(teacher, first) = make_float4(average(h.ema, old.x, p4.x), average(h.ema, old.y, p4.y), average(h.ema, old.z, p4.z),
                                      average(h.ema, old.w, p4.w));
    return;
  }
  for (std::int64_t i = first; i < n && i < first + 4; ++i) {
    adam_update(h, step, p[i], g[i], m[i], v[i]);
    if (teacher != nullptr) teacher[i] = average(h.ema, teacher[i], p[i]);
  }
}

void adam_ema(Stream& stream, std::int64_t n, const AdamHyper& hyper, const std::int32_t* step, float* p, const float* g,
              float* m, float* v, float* teacher) {
  if (n == 0) return;
  const bool vector = aligned16(p) && aligned16(g) && aligned16(m) && aligned16(v) && aligned16(teacher);
  const AdamLogs logs{static_cast<float>(std::log(static_cast<double>(hyper.beta1))),
                      static_cast<float>(std::log(static_cast<double>(hyper.beta2)))};
  launch({stream, "optimizer.adam_ema", dim3(count(ceil_div(n, threads * 4))), dim3(threads)}, adam_kernel, n, vector, hyper,
         logs, step, p, g, m, v, teacher);
}

/// One parameter a thread. velocity is null without momentum.
__global__ void __launch_bounds__(threads)
    sgd_kernel(std::int64_t n, const SgdHyper h, const std::int32_t* completed, float* p, const float* g, float* velocity) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * threads + threadIdx.x;
  if (i >= n) return;
  float change = fmaf(h.weight_decay, p[i], g[i]);
  if (velocity != nullptr) {
    if (*completed > 0) change = fmaf(h.momentum, velocity[i], change);  // at the first step the velocity holds nothing yet
    velocity[i] = change;
  }
  p[i] -= h.lr * change;
}

void sgd(Stream& stream, std::int64_t n, const SgdHyper& hyper, const std::int32_t* step, float* p, const float* g,
         float* velocity) {
  if (n == 0) return;
  launch({stream, "optimizer.sgd", dim3(count(ceil_div(n, threads))), dim3(threads)}, sgd_kernel, n, hyper, step, p, g, velocity);
}

struct Average {
  float beta;
  __device__ float operator()(const MapValues& v) const { return average(beta, v.b, v.a); }
};

void ema(Stream& stream, std::int64_t n, float beta, const float* from, float* to) {
  map(stream, "optimizer.ema", n, {from, to}, to, Average{beta});
}

__global__ void advance_kernel(std::int32_t* step) { ++*step; }

void advance(Stream& stream, std::int32_t* step) {
  launch({stream, "optimizer.advance", dim3(1), dim3(1)}, advance_kernel, step);
}

}  // namespace

template <>
const void* some_kernel<this_device>() {
  return reinterpret_cast<const void*>(advance_kernel);
}

template <>
void register_optimizer<this_device>() {
  KernelTable<OptimizerKernels>::instance().add(this_device, "cuda", 10, {adam_ema, sgd, ema, advance});
}

}  // namespace retort
