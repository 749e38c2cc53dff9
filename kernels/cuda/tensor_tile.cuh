// A tile of a matrix product on tensor cores: factors rounded to TF32 (8 bits of exponent, 10 of mantissa), sums in float. The
// instruction is mma.sync.m16n8k8 ("PTX ISA", 9.7.14.5), one for 16 x 8 sums and 8 values of k. On the host the same function
// brings the lanes' factors together and multiplies them out; rounding is the same, the order of the eight products is not
// specified by NVIDIA and here it is ascending.
#pragma once

#include "retort/kernels/cuda/launch.cuh"

namespace retort {
namespace {

/// To the nearest TF32, ties away from zero, as cvt.rna does.
__device__ inline float round_to_tf32(float x) {
#if defined(__CUDACC__)
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  std::uint32_t bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
  return __uint_as_float(bits);
#else
  return x;
#endif
#else
  if (!std::isfinite(x)) return x;
  return __int_as_float((__float_as_int(x) + 0x1000) & ~0x1fff);
#endif
}

/// c += a b over one warp; a: 16 x 8, b: 8 x 8, c: 16 x 8. With lane = 4 group + place, a lane holds
///   a[0..3]: (row group, k place), (row group + 8, k place), (row group, k place + 4), (row group + 8, k place + 4)
///   b[0..1]: (k place, column group), (k place + 4, column group)
///   c[0..3]: (row group, columns 2 place and 2 place + 1), (row group + 8, the same columns)
__device__ inline void multiply_add_tf32(float (&c)[4], const float (&a)[4], const float (&b)[2]) {
#if defined(__CUDACC__)
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
               : "r"(__float_as_uint(a[0])), "r"(__float_as_uint(a[1])), "r"(__float_as_uint(a[2])), "r"(__float_as_uint(a[3])),
                 "r"(__float_as_uint(b[0])), "r"(__float_as_uint(b[1])));
#else
  __trap();  // code for older GPUs; require_tensor_cores() did not let it be launched there
#endif
#else
  __shared__ float factors_a[32][16][8], factors_b[32][8][8];
  const int warp = static_cast<int>(threadIdx.x / 32), group = static_cast<int>(threadIdx.x % 32 / 4),
            place = static_cast<int>(threadIdx.x % 4);
  for (int i = 0; i < 4; ++i) factors_a[warp][group + i % 2 * 8][place + i / 2 * 4] = a[i];
  for (int i = 0; i < 2; ++i) factors_b[warp][place + i * 4][group] = b[i];
  __syncwarp();
  for (int i = 0; i < 4; ++i)
    for (int k = 0; k < 8; ++k) c[i] = fmaf(factors_a[warp][group + i / 2 * 8][k], factors_b[warp][k][2 * place + i % 2], c[i]);
  __syncwarp();
#endif
}

/// Throws DeviceError on a GPU without TF32.
inline void require_tensor_cores() {
#if defined(__CUDACC__)
  static const int capability = [] {
    int device = 0, major = 0;
    cuda_check(cudaGetDevice(&device), "cudaGetDevice");
    cuda_check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device), "cudaDeviceGetAttribute");
    return major;
  }();
  check<DeviceError>(capability >= 8, "tf32: this GPU (compute capability {}.x) has no TF32, 8.0 and newer do; leave --tf32 out",
                     capability);
#endif
}

/// The sums of one thread: 64 x 64 a block of four warps, 32 x 32 a warp. Same interface as gemm.cuh's FloatTile.
struct TensorTile {
  // With rows of 64 + 8 floats the 32 lanes' reads, 4 rows by 8 columns, fall into 32 banks.
  static constexpr int m = 64, n = 64, depth = 32, pad = 8, threads = 128;
  static constexpr int kept_sums = 1;  // none: a sum is whole in one thread

  __device__ static float as_factor(float x) { return round_to_tf32(x); }

  __device__ void multiply(const float (&tile_a)[depth][m + pad], const float (&tile_b)[depth][n + pad]) {
#pragma unroll
    for (int k = 0; k < depth; k += 8) {
      float b[4][2];
#pragma unroll
      for (int j = 0; j < 4; ++j)
#pragma unroll
        for (int e = 0; e < 2; ++e) b[j][e] = tile_b[k + place() + e * 4][column0() + j * 8 + group()];
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        float a[4];
#pragma unroll
        for (int e = 0; e < 4; ++e) a[e] = tile_a[k + place() + e / 2 * 4][row0() + i * 16 + e % 2 * 8 + group()];
#pragma unroll
        for (int j = 0; j < 4; ++j) multiply_add_tf32(sum[i][j], a, b[j]);
      }
    }
  }

  template <class Visit>
  __device__ void for_each(float (&/*kept*/)[kept_sums], Visit&& visit) const {
#pragma unroll
    for (int i = 0; i < 2; ++i)
#pragma unroll
      for (int j = 0; j < 4; ++j)
#pragma unroll
        for (int e = 0; e < 4; ++e)
          visit(row0() + i * 16 + e / 2 * 8 + group(), column0() + j * 8 + place() * 2 + e % 2, sum[i][j][e]);
  }

 private:
  __device__ static int group() { return static_cast<int>(threadIdx.x) % 32 / 4; }
  __device__ static int place() { return static_cast<int>(threadIdx.x) % 4; }
  __device__ static int row0() { return static_cast<int>(threadIdx.x) / 64 * 32; }
  __device__ static int column0() { return static_cast<int>(threadIdx.x) / 32 % 2 * 32; }
  float sum[2][4][4] = {};
};

}  // namespace
}  // namespace retort
